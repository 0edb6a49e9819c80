"""Telnyx: webhooks live on a TeXML application, to which numbers are assigned."""

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from integrations.applications import ApplicationProvider
from integrations.base import Application, CarrierNumber, Settings, Urls, identifier
from integrations.errors import Refused, RequestFailed, Unanswered
from integrations.transport import Timeouts, in_parallel, shared_httpx_client

if TYPE_CHECKING:
    from telnyx import Telnyx as Client

# https://developers.telnyx.com/api-reference/texml-applications/list-all-texml-applications (read 2026-11-23)
PAGE_SIZE = 250
MAX_PAGES = 20
APPLICATION_ID = re.compile(r"[0-9]{1,20}")
PUBLIC_KEY_BYTES = 32


class Telnyx(ApplicationProvider):
    """Telnyx API, version 2. https://developers.telnyx.com/api-reference (read 2026-11-23)"""

    label = "Telnyx"
    account_id_name = "App ID"
    auth_token_name = "API Key"

    @classmethod
    def warm_up(cls) -> None:
        from telnyx import Telnyx as Client

        with Client(api_key="none", public_key="") as client:
            # Each resource is imported when it is touched.
            _ = client.phone_numbers, client.texml_applications, client.outbound_voice_profiles

    # -- verbs --------------------------------------------------------------------------------------------------------

    def prove(self, number: str, *, application_id: str, want_public_key: bool) -> CarrierNumber:
        reads: list[Callable[[], Any]] = [
            lambda: self.ask(lambda timeouts: self._numbers_like(timeouts, number)),
            lambda: self._application(application_id) if application_id else self._find_application(),
            lambda: "" if application_id else self.ask(self._profile_id),
            lambda: self._public_key() if want_public_key else "",
        ]
        try:
            numbers, application, profile_id, public_key = in_parallel(*reads)
        except RequestFailed as failure:
            self.cannot_read(failure)
        # The filter also finds longer numbers that contain this one.
        found = next((one for one in numbers if one["phone_number"] == f"+{number}"), None)
        if found is None:
            raise self.not_owned()
        if found["status"] != "active":
            raise self.not_usable("is not active")
        settings = found["settings"]
        return CarrierNumber(
            found["id"], settings, self.route_of(settings, application), application, profile_id, public_key
        )

    def apply(self, number_id: str, urls: Urls, application_id: str) -> Settings | None:
        return self._assign(number_id, application_id)

    def read(self, number_id: str) -> Settings:
        try:
            return self.ask(lambda timeouts: settings_of(self.client(timeouts).phone_numbers.retrieve(number_id).data))
        except RequestFailed as failure:
            if isinstance(failure, Refused) and failure.status == 404:
                raise self.not_owned() from None
            self.cannot_read(failure)

    def link(self, number_id: str, application_id: str) -> None:
        try:
            self.ask(
                lambda timeouts: self.client(timeouts).phone_numbers.update(number_id, connection_id=application_id)
            )
        except Refused as failure:
            if not application_id or failure.status in (401, 403):
                raise self.setup_failed(failure.detail) from None
            self.link(number_id, "")  # the connection was deleted meanwhile
        except Unanswered:
            pass  # read back by restore()

    # -- applications -------------------------------------------------------------------------------------------------

    def wanted(self, urls: Urls) -> Settings:
        return {
            "voice_url": urls.answer, "voice_method": "post",
            "voice_fallback_url": urls.fallback,
            "status_callback": urls.status, "status_callback_method": "post",
        }  # fmt: skip

    def _create_application(self, urls: Urls, profile_id: str) -> Application:
        profile_id = profile_id or self._make_profile()
        fields = write_fields(self.wanted(urls), self.site.application_name, profile_id)
        return self.ask(
            lambda timeouts: application_of(self.client(timeouts).texml_applications.create(**fields).data), attempts=1
        )

    def point_application(self, application: Application, urls: Urls) -> None:
        if application.name == self.site.application_name and not application.profile_id:
            try:
                application = replace(application, profile_id=self.ask(self._profile_id))
            except RequestFailed as failure:
                self.cannot_read(failure)
        super().point_application(application, urls)

    def delete_application(self, application_id: str) -> None:
        try:
            if application_id:
                self._delete(lambda client: client.texml_applications.delete(application_id))
            for profile in self.ask(self._profiles):
                if profile.name == self.site.application_name:
                    self._delete(lambda client, id=profile.id: client.outbound_voice_profiles.delete(id))  # type: ignore[misc]
        except RequestFailed as failure:
            raise self.setup_failed(failure.detail) from None

    # -- requests -----------------------------------------------------------------------------------------------------

    def client(self, timeouts: Timeouts) -> "Client":
        # The SDK takes a second to load: only who speaks to Telnyx waits for it, and the server loads it at its start.
        import httpx
        from telnyx import Telnyx as Client

        return Client(
            api_key=self.auth_token,
            base_url=self.site.api_url,
            timeout=httpx.Timeout(timeouts.read_s, connect=timeouts.connect_s),
            max_retries=0,
            http_client=shared_httpx_client(self.site.api_url),
            # Given, so that the SDK does not take it from the environment for every tenant.
            public_key="",
        )

    def _numbers_like(self, timeouts: Timeouts, number: str) -> list[dict[str, Any]]:
        # Digits only: with a plus the filter finds nothing (OpenAPI, filter[phone_number]).
        page = self.client(timeouts).phone_numbers.list(filter={"phone_number": number}, page_size=20)
        return [
            {
                "id": identifier(one.id),
                "phone_number": one.phone_number,
                "status": one.status,
                "settings": settings_of(one),
            }
            for one in listed(page)
        ]

    def _assign(self, number_id: str, application_id: str) -> Settings | None:
        """Assign the number. Returns its settings afterwards, or None when the outcome is unknown."""
        try:
            return self.ask(
                lambda timeouts: settings_of(
                    self.client(timeouts).phone_numbers.update(number_id, connection_id=application_id).data
                )
            )
        except Refused as failure:
            raise self.setup_failed(failure.detail) from None
        except Unanswered:
            return None

    def _application(self, application_id: str) -> Application | None:
        if not APPLICATION_ID.fullmatch(application_id):
            return None
        try:
            return self.ask(
                lambda timeouts: application_of(self.client(timeouts).texml_applications.retrieve(application_id).data)
            )
        except Refused as failure:
            if failure.status in (400, 404, 422):
                return None
            raise

    def _find_application(self) -> Application | None:
        """The filter finds every name that contains ours: each page's names are compared here."""
        name = self.site.application_name
        matches: list[Application] = []
        for number in range(1, MAX_PAGES + 1):
            applications = self.ask(lambda timeouts, number=number: self._applications(timeouts, number))  # type: ignore[misc]
            matches += [one for one in applications if one.name == name]
            if len(applications) < PAGE_SIZE:
                break
        return min(matches, key=lambda one: (len(one.id), one.id), default=None)

    def _applications(self, timeouts: Timeouts, page_number: int) -> list[Application]:
        page = self.client(timeouts).texml_applications.list(
            filter={"friendly_name": self.site.application_name}, page_number=page_number, page_size=PAGE_SIZE
        )
        return [application_of(one) for one in listed(page)]

    def _write_application(self, application: Application, settings: Settings) -> None:
        fields = write_fields(settings, application.name, application.profile_id)
        try:
            after: Application | None = self.ask(
                lambda timeouts: application_of(
                    self.client(timeouts).texml_applications.update(application.id, **fields).data
                )
            )
        except Refused as failure:
            raise self.setup_failed(failure.detail) from None
        except Unanswered:
            try:
                after = self._application(application.id)
            except RequestFailed as failure:
                raise self.setup_failed(failure.detail) from None
        if after is None or after.settings != settings:
            raise self.setup_failed("the application was not changed")

    def _profile_id(self, timeouts: Timeouts) -> str:
        """An enabled outbound voice profile, without which an application cannot call out; empty if there is none."""
        return next((identifier(one.id) for one in self._profiles(timeouts) if one.enabled is not False), "")

    def _profiles(self, timeouts: Timeouts) -> list[Any]:
        return listed(self.client(timeouts).outbound_voice_profiles.list(page_size=PAGE_SIZE))

    def _make_profile(self) -> str:
        name = self.site.application_name
        try:
            return self.ask(lambda timeouts: self._create_profile(timeouts, name), attempts=1)
        except Refused as failure:
            raise self.setup_failed(failure.detail) from None
        except Unanswered as failure:
            try:
                found = self.ask(self._profile_id)
            except RequestFailed:
                found = ""
            if not found:
                raise self.setup_failed(failure.detail) from None
            return found

    def _create_profile(self, timeouts: Timeouts, name: str) -> str:
        made: Any = self.client(timeouts).outbound_voice_profiles.create(name=name).data
        return identifier(made.id)

    def _delete(self, delete: Callable[["Client"], Any]) -> None:
        try:
            self.ask(lambda timeouts: delete(self.client(timeouts)))
        except Refused as failure:
            if failure.status != 404:
                raise

    def _public_key(self) -> str:
        """The account's webhook key, or empty: the address is in no current document, so a no is not an error."""
        try:
            return self.ask(self._fetch_public_key, attempts=1)
        except RequestFailed:
            return ""

    def _fetch_public_key(self, timeouts: Timeouts) -> str:
        import httpx

        reply = self.client(timeouts).get("/public_key", cast_to=httpx.Response)
        key = identifier(reply.json()["data"]["public"])
        return key if is_public_key(key) else ""

    def status_of(self, error: Exception) -> int | None:
        return getattr(error, "status_code", None)


def is_public_key(key: str) -> bool:
    """Whether this is the base64 of an Ed25519 public key."""
    try:
        return len(base64.b64decode(key, validate=True)) == PUBLIC_KEY_BYTES
    except (binascii.Error, ValueError):
        return False


def write_fields(settings: Settings, name: str, profile_id: str) -> dict[str, Any]:
    """The body of a request that makes or changes an application: the name must be in both."""
    outbound = {"outbound": {"outbound_voice_profile_id": profile_id}} if profile_id else {}
    return {"friendly_name": name, **settings, **outbound}


def settings_of(number: Any) -> Settings:
    return {"application_id": str(number.connection_id or "")}


def application_of(one: Any) -> Application:
    names = ("voice_url", "voice_method", "voice_fallback_url", "status_callback", "status_callback_method")
    profile_id = getattr(one.outbound, "outbound_voice_profile_id", None) or ""
    settings = {name: getattr(one, name) or "" for name in names}
    return Application(identifier(one.id), identifier(one.friendly_name), settings, profile_id)


def listed(page: Any) -> list[Any]:
    """The entries of a page. An answer without them is nonsense, not an empty list."""
    if not isinstance(page.data, list):
        raise TypeError("not a list")
    return page.data
