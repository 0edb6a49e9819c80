"""What a provider is: the few verbs with which the services speak to any carrier."""

import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from integrations.asking import Asking
from integrations.errors import NumberNotOwned
from integrations.events import CallEvent, CallReport, Payload, RecordingReport
from integrations.transport import Deadline
from integrations.types import Application, CarrierNumber, Difference, ListedNumber, NumberRecord, Route, Settings, Site
from integrations.webhooks import Answer, Urls, Webhook

if TYPE_CHECKING:
    from integrations.applications import Applications

# Amazon's S3 as carriers write it, with the bucket in the path. A bucket in the host name is anybody's.
S3_PLACES = r"s3(\.[a-z0-9-]+)?\.amazonaws\.com/[^/]+/.+"


class Provider(Asking):
    """One carrier, spoken to with one account's credentials, up to a deadline.

    Args:
        account_id: Twilio Account SID, Plivo Auth ID, Telnyx application id (may be empty).
        auth_token: Twilio or Plivo Auth Token, Telnyx API key.
        site: our addresses and timeouts.
        deadline: when the work must be done.

    Every verb raises IntegrationError. A read raises InvalidCredentials when the carrier refuses it and
    CarrierUnavailable when it cannot be asked; a write raises WebhookSetupFailed.
    """

    # The settings of a number that is routed nowhere.
    blank: ClassVar[Settings]
    # Where the carrier keeps recordings, besides the address of its API: host and path.
    media_places: ClassVar[re.Pattern[str]]
    # The paths of recordings at that address; %s stands for the account's id. Empty: any that the API has just given.
    recording_path: ClassVar[str] = ""
    # Whether webhooks are signed with a key of the account's, which we may lack, and not with its auth token.
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
        """Import what the first request would wait for, beyond the module itself. Opens no connection."""
        return

    @property
    def applications(self) -> "Applications | None":
        """The account's applications; None where webhooks live on the number."""
        return None

    # -- verbs --------------------------------------------------------------------------------------------------------

    @abstractmethod
    def verify(self, number: str, *, application_id: str) -> CarrierNumber:
        """Ask whether the credentials are good and the account owns the number and can take calls on it. Reads only.

        Args:
            number: E.164 digits.
            application_id: the application to look for; empty: the one that has our name.

        Raises:
            InvalidCredentials, NumberNotOwned, NumberNotUsable, CarrierUnavailable.
        """

    def apply(self, number_id: str, urls: Urls, application_id: str) -> Settings | None:
        """Route the number to us with absolute values, safe to repeat.

        Returns the number's settings as they are then, or None where the carrier does not tell or gave no answer.
        """
        return self.write(lambda: self._update(number_id, self.wanted(urls, application_id)))

    def read(self, number_id: str) -> Settings:
        """The number's present settings. Raises NumberNotOwned when it is gone."""
        with self.reading():
            found = self._number(number_id)
        if found is None:
            raise NumberNotOwned(self.carrier)
        return found.settings

    def routes_to_us(self, settings: Settings, urls: Urls, application_id: str) -> bool:
        """Whether these settings bring the number's calls to us."""
        wanted = self.wanted(urls, application_id)
        return settings == wanted and wanted != self.blank

    @abstractmethod
    def compare(self, number_id: str, urls: Urls, application_id: str, public_key: str) -> list[Difference]:
        """What is there and is not as apply() leaves it, and whether the account's webhook key is another than the one
        that we have. Reads only."""

    def repair(self, number_id: str, urls: Urls, application_id: str) -> None:
        """As apply(), but only what differs is written."""
        now = self.read(number_id)
        differing = {name: value for name, value in self.wanted(urls, application_id).items() if now[name] != value}
        if differing:
            self.write(lambda: self._update(number_id, differing))

    @abstractmethod
    def list_numbers(self, cursor: str) -> tuple[list[ListedNumber], str]:
        """A page of the account's numbers, and the cursor of the next one; empty at the end.

        Raises ValueError for a cursor that is none of ours.
        """

    @abstractmethod
    def restore(self, number_id: str, snapshot: Settings, urls: Urls, application_id: str) -> None:
        """Put back what was there before us, as far as our own values are still there, and read back.

        Raises NumberNotOwned when the number is gone.
        """

    def read_public_key(self) -> str:
        """The key that the account's webhooks are signed with; empty if the carrier has none or does not tell."""
        return ""

    # -- receiving ----------------------------------------------------------------------------------------------------

    @classmethod
    @abstractmethod
    def check_signature(cls, webhook: Webhook, *, auth_tokens: Iterable[str], public_key: str) -> str:
        """Make sure that the carrier sent this.

        Args:
            auth_tokens: the account's, of which any may have signed it. Not read where the carrier has a key for it.
            public_key: the account's webhook key, base64 (Telnyx). Without it there is nothing to check by.

        Returns a digest of what was signed, the same for a repeat. Raises BadSignature.
        """

    @classmethod
    @abstractmethod
    def parse_event(cls, payload: Payload) -> CallEvent:
        """What the fields of a webhook say. Never raises: what makes no sense says nothing."""

    @classmethod
    @abstractmethod
    def render_answer(cls, answer: Answer, urls: Urls) -> str:
        """The XML document that makes the carrier do this, as text."""

    @abstractmethod
    def media_url(self, recording_id: str, known_url: str) -> str:
        """Where the audio of a recording is now. Raises MediaMissing when the carrier does not have it any more."""

    def media_auth(self) -> tuple[str, str] | None:
        """User and password for the audio, sent to the carrier's own hosts only."""
        return self.account_id, self.auth_token

    @abstractmethod
    def calls_page(self, since: datetime, cursor: str) -> tuple[list[CallReport], str]:
        """Within ask(): a page of the account's calls since then, and the cursor of the next one; empty at the end.

        Without the legs of forwarded calls, so at Telnyx only the inbound.
        """

    @abstractmethod
    def recordings_page(self, since: datetime, cursor: str) -> tuple[list[RecordingReport], str]:
        """The same of the account's recordings."""

    def list_calls(self, since: datetime) -> Iterator[CallReport]:
        """The account's calls since then, page by page as they are wanted."""
        return self.all_pages(lambda cursor: self.calls_page(since, cursor))

    def list_recordings(self, since: datetime) -> Iterator[RecordingReport]:
        """The account's recordings since then, page by page as they are wanted."""
        return self.all_pages(lambda cursor: self.recordings_page(since, cursor))

    # -- requests -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def _number(self, number_id: str) -> NumberRecord | None:
        """The number; None if it is gone. Raises RequestFailed."""

    @abstractmethod
    def _update(self, number_id: str, settings: Settings) -> Settings | None:
        """Within ask(): write these settings. Returns all that the number has then, if the carrier tells."""

    # -- facts --------------------------------------------------------------------------------------------------------

    @abstractmethod
    def wanted(self, urls: Urls, application_id: str) -> Settings:
        """The number's settings as we want them; where it is linked to an application, blank without one."""

    @abstractmethod
    def route_of(self, settings: Settings, application: Application | None) -> Route:
        """Where the calls of a number with these settings go, if this is the account's application."""
