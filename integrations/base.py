"""What a provider is: the few verbs with which the services speak to any carrier."""

import hashlib
import random
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, ClassVar, NoReturn, TypeVar

from prometheus_client import Histogram

from integrations.errors import (
    CarrierUnavailable,
    IntegrationError,
    InvalidCredentials,
    MediaMissing,
    NumberNotOwned,
    NumberNotUsable,
    RateLimited,
    Refused,
    RequestFailed,
    Unanswered,
    WebhookSetupFailed,
    WrongPublicKey,
)
from integrations.events import CallEvent, CallReport, Payload, RecordingReport
from integrations.gate import gate
from integrations.transport import Deadline, Timeouts, retry_after_s
from integrations.webhooks import Answer, Urls, Webhook

T = TypeVar("T")
Settings = dict[str, str]

# Of a list of calls: more than any account has in the hours that are asked for.
MAX_PAGES = 10_000
RETRY_PAUSE_S = (0.05, 0.25)
# Amazon's S3 as carriers write it, with the bucket in the path. A bucket in the host name is anybody's.
S3_PLACES = r"s3(\.[a-z0-9-]+)?\.amazonaws\.com/[^/]+/.+"
# Of what we make at a carrier.
NAME_PREFIX = "workspace-phones-"

REQUESTS = Histogram(
    "phones_carrier_request_seconds",
    "Requests to carriers: answered, refused (4xx), rate_limited, or unanswered (silence, 5xx, nonsense).",
    ["carrier", "outcome"],
)


class Route(Enum):
    """Where a number's calls go now."""

    NONE = "none"
    OURS = "ours"
    ELSEWHERE = "elsewhere"


@dataclass(frozen=True)
class Site:
    """This installation as a provider needs to know it."""

    public_url: str
    api_url: str
    timeouts: Timeouts

    @property
    def webhooks_url(self) -> str:
        return f"{self.public_url}/api/webhooks/"

    @property
    def application_name(self) -> str:
        """The same for all that share a PUBLIC_URL, different between installations on one carrier account."""
        return f"{NAME_PREFIX}{hashlib.sha256(self.public_url.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Application:
    """A carrier's application: where webhooks live at Plivo and Telnyx.

    `settings` are the fields that we set, as they are there. `profile_id` is Telnyx's outbound voice profile.
    """

    id: str
    name: str
    settings: Settings
    profile_id: str = ""


@dataclass(frozen=True)
class CarrierNumber:
    """A number that the account owns and that can take calls.

    `id` is the carrier's id of it; `settings` what restore() needs to know; `application` the one that was asked for,
    if there is one; `profile_id` an outbound voice profile for an application yet to be made: empty if there is none,
    None if it was not asked for; `public_key` the account's webhook key, if the carrier has one and tells it.
    """

    id: str
    settings: Settings
    route: Route
    application: Application | None = None
    profile_id: str | None = None
    public_key: str = field(default="", repr=False)


@dataclass(frozen=True)
class Difference:
    """Something at the carrier that is not as it should be; `reason` is for machines."""

    reason: str
    expected: str
    actual: str


@dataclass(frozen=True)
class ListedNumber:
    """One number of an account, to pick from. `number` is E.164 digits; `id` and `settings` as in CarrierNumber."""

    number: str
    voice: bool
    active: bool
    route: Route
    id: str
    settings: Settings = field(repr=False)


def compare_settings(wanted: Settings, actual: Settings) -> list[Difference]:
    """What differs between the addresses and methods that we want and those that are there."""
    return [
        Difference(reason_of(name, actual[name]), value, actual[name])
        for name, value in wanted.items()
        if actual[name] != value
    ]


def reason_of(name: str, actual: str) -> str:
    if name.endswith("_method"):
        return "wrong_http_method"
    return "url_mismatch" if actual else "not_set"


def identifier(value: Any) -> str:
    """A carrier's id as text. Raises TypeError for what is none, so that an answer without it counts as nonsense."""
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise TypeError("not an id")
    return str(value)


class Provider(ABC):
    """One carrier, spoken to with one account's credentials, up to a deadline.

    Args:
        account_id: Twilio Account SID, Plivo Auth ID, Telnyx application id (may be empty).
        auth_token: Twilio or Plivo Auth Token, Telnyx API key.
        site: our addresses and timeouts.
        deadline: when the work must be done.

    Every verb raises IntegrationError. A read raises InvalidCredentials when the carrier refuses it and
    CarrierUnavailable when it cannot be asked; a write raises WebhookSetupFailed.
    """

    label: ClassVar[str]
    # Where the carrier keeps recordings, besides the address of its API: host and path.
    media_places: ClassVar[re.Pattern[str]]
    # The paths of recordings at that address; %s stands for the account's id. Empty: any that the API has just given.
    recording_path: ClassVar[str] = ""
    # Whether webhooks are signed with a key of the account's, which we may lack, and not with its auth token.
    signs_with_public_key: ClassVar[bool] = False
    account_id_name: ClassVar[str]
    auth_token_name: ClassVar[str]

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

    # -- verbs --------------------------------------------------------------------------------------------------------

    @abstractmethod
    def prove(self, number: str, *, application_id: str) -> CarrierNumber:
        """Ask whether the credentials are good and the account owns the number and can take calls on it. Reads only.

        Args:
            number: E.164 digits.
            application_id: the application to look for; empty: the one that has our name.

        Raises:
            InvalidCredentials, NumberNotOwned, NumberNotUsable, CarrierUnavailable.
        """

    @abstractmethod
    def apply(self, number_id: str, urls: Urls, application_id: str) -> Settings | None:
        """Route the number to us with absolute values, safe to repeat.

        Returns the number's settings as they are then, or None where the carrier does not tell or gave no answer.
        """

    @abstractmethod
    def read(self, number_id: str) -> Settings:
        """The number's present settings. Raises NumberNotOwned when it is gone."""

    @abstractmethod
    def routes_to_us(self, settings: Settings, urls: Urls, application_id: str) -> bool:
        """Whether these settings bring the number's calls to us."""

    @abstractmethod
    def compare(self, number_id: str, urls: Urls, application_id: str, public_key: str) -> list[Difference]:
        """What is there and is not as apply() leaves it, and whether the account's webhook key is another than the one
        that we have. Reads only."""

    @abstractmethod
    def repair(self, number_id: str, urls: Urls, application_id: str) -> None:
        """As apply(), but only what differs is written."""

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

    @abstractmethod
    def blank(self) -> Settings:
        """The settings of a number that is routed nowhere."""

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
    def calls_page(self, timeouts: Timeouts, since: datetime, cursor: str) -> tuple[list[CallReport], str]:
        """A page of the account's calls since then, and the cursor of the next one; empty at the end.

        Without the legs of forwarded calls, so at Telnyx only the inbound.
        """

    @abstractmethod
    def recordings_page(self, timeouts: Timeouts, since: datetime, cursor: str) -> tuple[list[RecordingReport], str]:
        """The same of the account's recordings."""

    @abstractmethod
    def media_url(self, recording_id: str, known_url: str) -> str:
        """Where the audio of a recording is now. Raises MediaMissing when the carrier does not have it any more."""

    def media_auth(self) -> tuple[str, str] | None:
        """User and password for the audio, sent to the carrier's own hosts only."""
        return self.account_id, self.auth_token

    # -- asking -------------------------------------------------------------------------------------------------------

    @abstractmethod
    def status_of(self, error: Exception) -> int | None:
        """The HTTP status behind an exception of the SDK, if there was a reply."""

    def headers_of(self, error: Exception) -> Mapping[str, str]:
        """The headers of that reply, their names in any case; empty if there was none."""
        return {}

    def ask(self, send: Callable[[Timeouts], T], *, attempts: int = 2) -> T:
        """Send one request; once more after silence, since a read or a write of absolute values may be repeated.

        `send` makes the SDK's call and turns the reply into ours, so that a reply without sense counts as none.
        What was one request too many waits at the gate, if there is one, as long as there is time.
        Raises Refused or Unanswered.
        """
        barrier = gate.get()
        while True:
            with barrier.admitted(self.deadline) as began:
                timeouts, sent_at = self.deadline.limit(self.site.timeouts), time.monotonic()
                try:
                    answer = send(timeouts)
                    self.measure("answered", sent_at)
                    return answer
                except RequestFailed:
                    raise
                except Exception as error:
                    # SDKs leak whatever they trip over: requests' and httpx' errors, JSONDecodeError, AttributeError.
                    failure = self.describe(error)
                    self.measure(failure.outcome, sent_at)
            if isinstance(failure, RateLimited) and barrier.slow_down(began, failure.retry_after_s, self.deadline):
                continue
            attempts -= 1
            if isinstance(failure, Refused) or not attempts:
                raise failure
            time.sleep(min(random.uniform(*RETRY_PAUSE_S), self.deadline.remaining_s()))

    def measure(self, outcome: str, sent_at: float) -> None:
        REQUESTS.labels(self.label.lower(), outcome).observe(time.monotonic() - sent_at)

    def describe(self, error: Exception) -> Refused | Unanswered:
        """Name the failure by its type and status alone: an SDK's text may hold the request."""
        status = self.status_of(error)
        detail = f"{self.label}: {type(error).__name__}, status {status}"
        if status is not None and 400 <= status < 500 and status not in (408, 429):
            return Refused(status, detail)
        if status == 429:
            return RateLimited(detail, retry_after_s(self.headers_of(error)))
        return Unanswered(detail)

    def list_calls(self, since: datetime) -> Iterator[CallReport]:
        """The account's calls since then, page by page as they are wanted."""
        return self._all_pages(lambda timeouts, cursor: self.calls_page(timeouts, since, cursor))

    def list_recordings(self, since: datetime) -> Iterator[RecordingReport]:
        """The account's recordings since then, page by page as they are wanted."""
        return self._all_pages(lambda timeouts, cursor: self.recordings_page(timeouts, since, cursor))

    def _all_pages(self, read_page: Callable[[Timeouts, str], tuple[list[T], str]]) -> Iterator[T]:
        cursor = ""
        for _ in range(MAX_PAGES):
            try:
                page, cursor = self.ask(lambda timeouts, cursor=cursor: read_page(timeouts, cursor))  # type: ignore[misc]
            except RequestFailed as failure:
                self.cannot_read(failure)
            yield from page
            if not cursor:
                return
        raise self.unavailable("a list without end")

    # -- sentences ----------------------------------------------------------------------------------------------------

    def cannot_read(self, failure: RequestFailed, *, refusals: tuple[int, ...] = (401, 403)) -> NoReturn:
        """Raise what a failed read means."""
        if isinstance(failure, Refused) and failure.status in refusals:
            raise self.invalid_credentials(failure.detail) from None
        raise self.unavailable(failure.detail) from None

    def invalid_credentials(self, detail: str = "") -> IntegrationError:
        names = f"{self.auth_token_name} (authToken) and {self.account_id_name} (accSId)"
        return InvalidCredentials(
            f"{self.label} refused the credentials. Check the {names}, and that the account is active.", detail
        )

    def unavailable(self, detail: str = "") -> IntegrationError:
        return CarrierUnavailable(f"{self.label} cannot be reached or does not answer. Try again in a minute.", detail)

    def setup_failed(self, detail: str = "") -> IntegrationError:
        return WebhookSetupFailed(
            f"{self.label} did not take over the webhook settings. Try again; if it stays, look at the number in the "
            f"{self.label} console.",
            detail,
        )

    def media_missing(self) -> IntegrationError:
        return MediaMissing(f"{self.label} does not have the audio of this recording (any more).")

    def media_elsewhere(self) -> IntegrationError:
        return MediaMissing(
            f"The audio of this recording is neither at {self.label} nor in a store of {self.label}'s own, so it is "
            "not fetched. Listen to it where the account stores its recordings."
        )

    def wrong_public_key(self, why: str) -> IntegrationError:
        return WrongPublicKey(f"publicKey: {why} Leave publicKey out: {self.label} is asked for the key.")

    def not_ready(self) -> IntegrationError:
        return CarrierUnavailable(f"{self.label} has not finished this recording yet. Try again in a minute.")

    def not_owned(self) -> IntegrationError:
        return NumberNotOwned(f"This {self.label} account does not own phoneNumber. Check the number and the account.")

    def not_usable(self, why: str) -> IntegrationError:
        return NumberNotUsable(f"phoneNumber {why} at {self.label}. Check the number in the {self.label} console.")
