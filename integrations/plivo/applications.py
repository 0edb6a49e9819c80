"""Plivo's applications. https://www.plivo.com/docs/account/api/application (read 2026-11-23)"""

from typing import TYPE_CHECKING, Any

from integrations.applications import Applications
from integrations.types import Application, Settings, identifier, setting
from integrations.webhooks import Urls

if TYPE_CHECKING:
    from integrations.plivo.provider import Plivo


# The maximum of `limit` in every list, not only that of applications.
PAGE_SIZE = 20


class PlivoApplications(Applications):
    max_pages = 50
    answer_url_name = "answer_url"

    provider: "Plivo"

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

    def look_up_linked(self, application_id: str) -> list[str]:
        """Reads the whole list of numbers: it has no filter for the application.
        https://www.plivo.com/docs/numbers/api/account-phone-number/list-all-my-numbers (read 2026-11-30)"""
        numbers = self.provider.all_numbers()
        return [record.number for record in numbers if record.settings["application_id"] == application_id]

    def _page(self, number: int, name: str) -> tuple[list[Application], bool]:
        return self.provider.page(
            "Application", application_of, number * PAGE_SIZE, **({"app_name": name} if name else {})
        )

    def _create(self, urls: Urls, profile_id: str | None) -> Application:
        name, settings = self.provider.site.application_name, self.wanted(urls)

        def create() -> Application:
            reply = self.provider.request("POST", "Application", app_name=name, **settings)
            return Application(identifier(reply.app_id), name, settings)

        return self.provider.ask(create, attempts=1, is_change=True)

    def _update(self, application: Application, changes: Settings, profile_id: str) -> None:
        self.provider.change("Application", application.id, **changes)

    def _delete(self, application_id: str) -> None:
        """The page says what becomes of endpoints and nothing of numbers, so linked numbers would not stop it.
        [U: plivo-deletion]
        https://www.plivo.com/docs/account/api/application/delete-an-application (read 2026-11-30)"""
        if application_id:
            self.provider.find(lambda: self.provider.request("DELETE", "Application", application_id, cascade=False))


def application_of(reply: Any) -> Application:
    names = ("answer_url", "answer_method", "hangup_url", "hangup_method", "fallback_answer_url", "fallback_method")
    settings = {name: setting(getattr(reply, name, "")) for name in names}
    return Application(identifier(reply.app_id), setting(reply.app_name), settings)
