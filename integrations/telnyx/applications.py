"""Telnyx's TeXML applications, and the outbound voice profiles that they need for outbound calls."""

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from integrations.applications import Applications
from integrations.errors import Refused, RequestFailed, Unanswered
from integrations.types import NAME_PREFIX, Application, Difference, Settings, flag, identifier, setting
from integrations.webhooks import Urls

if TYPE_CHECKING:
    from integrations.telnyx.provider import Telnyx

# The maximum page size of a list. https://developers.telnyx.com/api-reference/texml-applications/list-all-texml-applications
# (read 2026-11-23)
PAGE_SIZE = 250
APPLICATION_ID = re.compile(r"[0-9]{1,20}")


class TelnyxApplications(Applications):
    max_pages = 20
    answer_url_name = "voice_url"

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
        if application.profile_id or not self.provider.site.is_ours(application.name):
            return []
        return [Difference("no_outbound_profile", "an outbound voice profile", "")]

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

    def look_up_linked(self, application_id: str) -> list[str]:
        if not APPLICATION_ID.fullmatch(application_id):
            return []
        linked: list[str] = []
        page_number = 1
        while True:
            found = self.provider.ask(partial(self.provider.page_of_numbers, page_number, application_id))
            linked += [record.number for record in found if record.settings["application_id"] == application_id]
            if len(found) < PAGE_SIZE:
                return linked
            page_number += 1

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
            lambda: application_of(self.provider.client().texml_applications.create(**fields).data),
            attempts=1,
            is_change=True,
        )

    def _update(self, application: Application, changes: Settings, profile_id: str) -> Application:
        """The outbound settings are a single field; without a new profile they stay unchanged."""
        settings = {"voice_url": application.settings["voice_url"]} | changes
        fields = write_fields(settings, application.name, profile_id)
        return application_of(self.provider.client().texml_applications.update(application.id, **fields).data)

    def _delete(self, application_id: str) -> None:
        """No document says what becomes of numbers that are linked to it. [U: telnyx-deletion]"""
        site, deleted = self.provider.site, None
        if application_id:
            client = self.provider.client
            deleted = self.provider.find(lambda: client().texml_applications.delete(application_id))
        # An application made under an earlier PUBLIC_URL has a different name, and so has its profile.
        name = str(getattr(getattr(deleted, "data", None), "friendly_name", None) or "")
        names = (site.application_name, name if name.startswith(NAME_PREFIX) else site.earlier_application_name)
        for profile in self.provider.ask(self._profiles):
            if profile.name in names:
                self.provider.find(partial(self._delete_profile, profile.id))

    # -- outbound voice profiles --------------------------------------------------------------------------------------

    def profile_id(self) -> str:
        """Called within ask(): the id of an enabled outbound voice profile, which an application needs for outbound
        calls; empty if there is none. One made for another workspace or installation would go with its application."""
        name = self.provider.site.application_name
        return next(
            (
                identifier(profile.id)
                for profile in self._profiles()
                if (profile.enabled is None or flag(profile.enabled))
                and (profile.name == name or not str(profile.name).startswith(NAME_PREFIX))
            ),
            "",
        )

    def _profiles(self) -> list[Any]:
        return listed(self.provider.client().outbound_voice_profiles.list(page_size=PAGE_SIZE))

    def _make_profile(self) -> str:
        try:
            return self.provider.ask(self._create_profile, attempts=1, is_change=True)
        except Refused as failure:
            raise self.provider.change_failed(failure) from None
        except Unanswered as failure:
            try:
                found = self.provider.ask(self.profile_id)
            except RequestFailed:
                found = ""
            if not found:
                raise self.provider.change_failed(failure) from None
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
    profile_id = "" if entry.outbound is None else setting(entry.outbound.outbound_voice_profile_id)
    settings = {name: setting(getattr(entry, name)) for name in names}
    return Application(identifier(entry.id), setting(entry.friendly_name), settings, profile_id)
