"""Plivo's applications. https://www.plivo.com/docs/account/api/application (read 2026-11-23)"""

from typing import TYPE_CHECKING, Any

from integrations.applications import Applications
from integrations.types import Application, Settings, identifier
from integrations.webhooks import Urls

if TYPE_CHECKING:
    from integrations.plivo.provider import Plivo


# The maximum of `limit` in every list, not only that of applications.
PAGE_SIZE = 20


class PlivoApplications(Applications):
    max_pages = 50

    provider: "Plivo"

    # -- verbs --------------------------------------------------------------------------------------------------------

    def delete(self, application_id: str) -> None:
        if application_id:
            with self.provider.writing():
                self.provider.find(
                    lambda: self.provider.request("DELETE", "Application", application_id, cascade=False)
                )

    # -- facts --------------------------------------------------------------------------------------------------------

    def wanted(self, urls: Urls) -> Settings:
        return {
            "answer_url": urls.answer, "answer_method": "POST",
            "hangup_url": urls.status, "hangup_method": "POST",
            "fallback_answer_url": urls.fallback, "fallback_method": "POST",
        }  # fmt: skip

    # -- requests -----------------------------------------------------------------------------------------------------

    def read(self, application_id: str) -> Application | None:
        return self.provider.find(lambda: application_of(self.provider.request("GET", "Application", application_id)))

    def _page(self, number: int, name: str) -> tuple[list[Application], bool]:
        return self.provider.page(
            "Application", application_of, number * PAGE_SIZE, **({"app_name": name} if name else {})
        )

    def _create(self, urls: Urls, profile_id: str | None) -> Application:
        name, settings = self.provider.site.application_name, self.wanted(urls)

        def create() -> Application:
            reply = self.provider.request("POST", "Application", app_name=name, **settings)
            return Application(identifier(reply.app_id), name, settings)

        return self.provider.ask(create, attempts=1)

    def _update(self, application: Application, changes: Settings, profile_id: str) -> None:
        self.provider.change("Application", application.id, **changes)


def application_of(reply: Any) -> Application:
    names = ("answer_url", "answer_method", "hangup_url", "hangup_method", "fallback_answer_url", "fallback_method")
    settings = {name: getattr(reply, name, "") or "" for name in names}
    return Application(identifier(reply.app_id), reply.app_name, settings)
