"""Telnyx's TeXML applications, and the outbound voice profiles that they need for outbound calls."""

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from integrations.applications import Applications
from integrations.errors import Refused, RequestFailed, Unanswered, WebhookSetupFailed
from integrations.types import NAME_PREFIX, Application, Difference, Settings, identifier
from integrations.webhooks import Urls

if TYPE_CHECKING:
    from integrations.telnyx.provider import Telnyx

# The maximum page size of a list. https://developers.telnyx.com/api-reference/texml-applications/list-all-texml-applications
# (read 2026-11-23)
PAGE_SIZE = 250
APPLICATION_ID = re.compile(r"[0-9]{1,20}")


class TelnyxApplications(Applications):
    max_pages = 20

    provider: "Telnyx"

    # -- verbs --------------------------------------------------------------------------------------------------------

    def point(self, application: Application, urls: Urls) -> None:
        profile_id = ""
        if self.other_faults(application):
            with self.provider.reading():
                profile_id = self.provider.ask(self.profile_id) or self._make_profile()
        self.write(application, self.wanted(urls), profile_id)

    def other_faults(self, application: Application) -> list[Difference]:
        """Outbound calls fail without a profile. A customer's own application is left to the customer."""
        if application.name != self.provider.site.application_name or application.profile_id:
            return []
        return [Difference("no_outbound_profile", "an outbound voice profile", "")]

    def delete(self, application_id: str) -> None:
        name, client = self.provider.site.application_name, self.provider.client
        with self.provider.writing():
            if application_id:
                deleted = self.provider.find(lambda: client().texml_applications.delete(application_id))
                # An application created under an earlier PUBLIC_URL has a different name, and so has its profile.
                earlier_name = str(getattr(getattr(deleted, "data", None), "friendly_name", None) or "")
                name = earlier_name if earlier_name.startswith(NAME_PREFIX) else name
            for profile in self.provider.ask(self._profiles):
                if profile.name == name:
                    self.provider.find(partial(self._delete_profile, profile.id))

    # -- facts --------------------------------------------------------------------------------------------------------

    def wanted(self, urls: Urls) -> Settings:
        return {
            "voice_url": urls.answer, "voice_method": "post",
            "voice_fallback_url": urls.fallback,
            "status_callback": urls.status, "status_callback_method": "post",
        }  # fmt: skip

    # -- requests -----------------------------------------------------------------------------------------------------

    def read(self, application_id: str) -> Application | None:
        if not APPLICATION_ID.fullmatch(application_id):
            return None
        return self.provider.find(
            lambda: application_of(self.provider.client().texml_applications.retrieve(application_id).data),
            missing=(400, 404, 422),
        )

    def ours(self) -> set[str]:
        """The ids of applications with our name and of customers' that use our webhooks. Raises RequestFailed."""
        name, url = self.provider.site.application_name, self.provider.site.webhooks_url
        return {app.id for app in self.scan() if app.name == name or app.settings["voice_url"].startswith(url)}

    def _page(self, number: int, name: str) -> tuple[list[Application], bool]:
        page = self.provider.client().texml_applications.list(
            filter={"friendly_name": name} if name else {}, page_number=number + 1, page_size=PAGE_SIZE
        )
        found = [application_of(entry) for entry in listed(page)]
        return found, len(found) < PAGE_SIZE

    def _create(self, urls: Urls, profile_id: str | None) -> Application:
        if profile_id is None:
            profile_id = self.provider.ask(self.profile_id)
        profile_id = profile_id or self._make_profile()
        fields = write_fields(self.wanted(urls), self.provider.site.application_name, profile_id)
        return self.provider.ask(
            lambda: application_of(self.provider.client().texml_applications.create(**fields).data), attempts=1
        )

    def _update(self, application: Application, changes: Settings, profile_id: str) -> Application:
        """The outbound settings are a single field; without a new profile they stay unchanged."""
        settings = {"voice_url": application.settings["voice_url"]} | changes
        fields = write_fields(settings, application.name, profile_id)
        return application_of(self.provider.client().texml_applications.update(application.id, **fields).data)

    # -- outbound voice profiles --------------------------------------------------------------------------------------

    def profile_id(self) -> str:
        """Called within ask(): the id of an enabled outbound voice profile, which an application needs for outbound
        calls; empty if there is none."""
        return next((identifier(profile.id) for profile in self._profiles() if profile.enabled is not False), "")

    def _profiles(self) -> list[Any]:
        return listed(self.provider.client().outbound_voice_profiles.list(page_size=PAGE_SIZE))

    def _make_profile(self) -> str:
        try:
            return self.provider.ask(self._create_profile, attempts=1)
        except Refused as failure:
            raise WebhookSetupFailed(self.provider.carrier, failure.detail) from None
        except Unanswered as failure:
            try:
                found = self.provider.ask(self.profile_id)
            except RequestFailed:
                found = ""
            if not found:
                raise WebhookSetupFailed(self.provider.carrier, failure.detail) from None
            return found

    def _create_profile(self) -> str:
        name = self.provider.site.application_name
        created: Any = self.provider.client().outbound_voice_profiles.create(name=name).data
        return identifier(created.id)

    def _delete_profile(self, id: str) -> None:
        self.provider.client().outbound_voice_profiles.delete(id)


def listed(page: Any) -> list[Any]:
    """The entries of a page. A reply without a list is malformed, not an empty page."""
    if not isinstance(page.data, list):
        raise TypeError("not a list")
    return page.data


def write_fields(settings: Settings, name: str, profile_id: str) -> dict[str, Any]:
    """The body of a request that creates or changes an application; both require the name and `voice_url`."""
    outbound = {"outbound": {"outbound_voice_profile_id": profile_id}} if profile_id else {}
    return {"friendly_name": name, **settings, **outbound}


def application_of(entry: Any) -> Application:
    names = ("voice_url", "voice_method", "voice_fallback_url", "status_callback", "status_callback_method")
    profile_id = getattr(entry.outbound, "outbound_voice_profile_id", None) or ""
    settings = {name: getattr(entry, name) or "" for name in names}
    return Application(identifier(entry.id), identifier(entry.friendly_name), settings, profile_id)
