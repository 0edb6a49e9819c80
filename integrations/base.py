"""The provider interface: the few verbs through which the services use any carrier."""

import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from integrations.answers import Plan
from integrations.asking import Asking
from integrations.errors import NumberNotOwned
from integrations.events import CallReport, ParsedEvent, Payload, RecordingReport
from integrations.transport import Deadline
from integrations.types import Application, CarrierNumber, Difference, ListedNumber, NumberRecord, Route, Settings, Site
from integrations.webhooks import Urls, Webhook

if TYPE_CHECKING:
    from integrations.applications import Applications

# Amazon S3 URLs as carriers write them, with the bucket in the path. A bucket in the host name could be anyone's.
S3_PLACES = r"s3(\.[a-z0-9-]+)?\.amazonaws\.com/[^/]+/.+"


class Provider(Asking):
    """One carrier, used with one account's credentials until a deadline.

    Args:
        account_id: Twilio Account SID, Plivo Auth ID, Telnyx application id (may be empty).
        auth_token: Twilio or Plivo Auth Token, Telnyx API key.
        site: our URLs and timeouts.
        deadline: when all requests must be done.

    Every verb raises IntegrationError. A read raises InvalidCredentials when the carrier rejects the credentials and
    CarrierUnavailable when it cannot be reached; a write raises WebhookSetupFailed.
    """

    # The settings of an unrouted number.
    blank: ClassVar[Settings]
    # Host and path of recordings stored outside the carrier's API.
    media_places: ClassVar[re.Pattern[str]]
    # Paths of recordings within the API; %s is the account's id. Empty: accept any path the API has just returned.
    recording_path: ClassVar[str] = ""
    # What `can_reach` is true of, for a sentence that says what to send.
    reachable: ClassVar[str] = "a sip: address without ;transport=tls, a wss: address or a number"
    # Whether webhooks are signed with a key per account, which we may not have, instead of the auth token.
    signs_with_public_key: ClassVar[bool] = False

    def __init__(self, *, account_id: str, auth_token: str, site: Site, deadline: Deadline) -> None:
        self.account_id = account_id
        self.auth_token = auth_token
        self.site = site
        self.deadline = deadline

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    @classmethod
    def warm_up(cls) -> None:
        """Import what the first request would otherwise import lazily. Opens no connection."""
        return

    @property
    def applications(self) -> "Applications | None":
        """The account's applications; None if the carrier stores webhooks on the number."""
        return None

    # -- verbs --------------------------------------------------------------------------------------------------------

    @abstractmethod
    def verify(self, number: str, *, application_id: str, names_application: bool = False) -> CarrierNumber:
        """Verify that the credentials are valid and that the account owns the number and can receive calls on it.

        Reads only.

        Args:
            number: E.164 digits.
            application_id: the application to look up; if empty, the one with our name.
            names_application: the customer named this application, so list the other numbers linked to it too. Only for
                carriers whose accounts are identified by an application.

        Raises:
            InvalidCredentials, NumberNotOwned, NumberNotUsable, CarrierUnavailable.
        """

    def apply(self, number_id: str, urls: Urls, application_id: str) -> Settings | None:
        """Route the number to us. Writes absolute values, so it is safe to repeat.

        Returns the number's new settings, or None if the carrier does not return them or did not reply.
        """
        return self.write(lambda: self._update(number_id, self.wanted(urls, application_id)))

    def read(self, number_id: str) -> Settings:
        """The number's current settings. Raises NumberNotOwned when the account no longer has it."""
        with self.reading():
            found = self._number(number_id)
        if found is None:
            raise NumberNotOwned(self.carrier)
        return found.settings

    def routes_to_us(self, settings: Settings, urls: Urls, application_id: str) -> bool:
        """Whether these settings route the number's calls to us."""
        wanted = self.wanted(urls, application_id)
        return settings == wanted and wanted != self.blank

    @abstractmethod
    def compare(self, number_id: str, urls: Urls, application_id: str, public_key: str) -> list[Difference]:
        """List what differs from the state that apply() sets up, including a webhook key other than `public_key`.
        Reads only."""

    def repair(self, number_id: str, urls: Urls, application_id: str) -> None:
        """Like apply(), but writes only the settings that differ."""
        now = self.read(number_id)
        differing = {name: value for name, value in self.wanted(urls, application_id).items() if now[name] != value}
        if differing:
            self.write(lambda: self._update(number_id, differing))

    @abstractmethod
    def list_numbers(self, cursor: str) -> tuple[list[ListedNumber], str]:
        """A page of the account's numbers, and the cursor of the next page; empty after the last.

        A route into this installation is ours, whichever workspace's it is. Raises ValueError for an invalid cursor.
        """

    @abstractmethod
    def restore(self, number_id: str, snapshot: Settings, urls: Urls, application_id: str) -> bool:
        """Restore the original settings where our own values are still in place, and read them back.

        Returns whether our own values were there, so that something was restored. Raises NumberNotOwned when the
        account no longer has the number.
        """

    def read_public_key(self) -> str:
        """The public key for the account's webhooks; empty if the carrier uses none or does not return it."""
        return ""

    # -- receiving ----------------------------------------------------------------------------------------------------

    @classmethod
    @abstractmethod
    def check_signature(cls, webhook: Webhook, *, auth_tokens: Iterable[str], public_key: str) -> str:
        """Verify that the carrier sent this webhook.

        Args:
            auth_tokens: the account's auth tokens, any of which may have signed it. Unused if the carrier signs with a
                public key.
            public_key: the account's webhook key, base64 (Telnyx). If empty, the signature is not checked.

        Returns a digest of the signed content, the same for every repeat of the webhook. Raises BadSignature.
        """

    @classmethod
    @abstractmethod
    def parse_event(cls, payload: Payload) -> ParsedEvent:
        """Normalise the fields of a webhook. Never raises: fields that make no sense are ignored."""

    @classmethod
    @abstractmethod
    def render_answer(cls, plan: Plan, urls: Urls) -> str:
        """The XML document that instructs the carrier to do this."""

    @classmethod
    def can_reach(cls, target: str) -> bool:
        """Whether the carrier can connect a call with a well-formed target (`phones.targets`) without sending it in
        clear text where encryption was asked for."""
        return not (target.startswith("sips:") or target.endswith(";transport=tls"))

    @abstractmethod
    def media_url(self, recording_id: str, known_url: str) -> str:
        """The current URL of a recording's audio. Raises MediaMissing when the carrier no longer has it."""

    def media_auth(self) -> tuple[str, str] | None:
        """User and password for downloading audio, sent only to the carrier's own hosts."""
        return self.account_id, self.auth_token

    @abstractmethod
    def calls_page(self, since: datetime, cursor: str) -> tuple[list[CallReport], str]:
        """Called within ask(): a page of the account's calls since then, and the cursor of the next page; empty after
        the last.

        Of the legs of forwarded calls, only the outcome for the call that they belong to is listed. At Telnyx they
        cannot be told apart from other outbound calls, so only inbound calls are listed.
        """

    @abstractmethod
    def recordings_page(self, since: datetime, cursor: str) -> tuple[list[RecordingReport], str]:
        """Like calls_page(), for the account's recordings."""

    def list_calls(self, since: datetime) -> Iterator[CallReport]:
        """Yield the account's calls since then, fetching pages as needed."""
        return self.all_pages(lambda cursor: self.calls_page(since, cursor))

    def list_recordings(self, since: datetime) -> Iterator[RecordingReport]:
        """Yield the account's recordings since then, fetching pages as needed."""
        return self.all_pages(lambda cursor: self.recordings_page(since, cursor))

    # -- requests -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def _number(self, number_id: str) -> NumberRecord | None:
        """The number, or None if the account no longer has it. Raises RequestFailed."""

    @abstractmethod
    def _update(self, number_id: str, settings: Settings) -> Settings | None:
        """Called within ask(): write these settings. Returns all settings afterwards, or None if omitted."""

    # -- facts --------------------------------------------------------------------------------------------------------

    @abstractmethod
    def wanted(self, urls: Urls, application_id: str) -> Settings:
        """The settings that route the number to us; for an application carrier, blank if `application_id` is empty."""

    @abstractmethod
    def route_of(self, settings: Settings, application: Application | None) -> Route:
        """Where calls to a number with these settings go, given the account's application."""
