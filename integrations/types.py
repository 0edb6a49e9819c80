"""The types that providers accept and return."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from integrations.events import E164
from integrations.transport import Timeouts

Settings = dict[str, str]

# The longest id or word, and the longest setting, that we believe a carrier.
MAX_ID, MAX_SETTING = 128, 8192
# The names of what we create at a carrier start with this.
NAME_PREFIX = "workspace-phones-"


class Route(Enum):
    """Where calls to a number currently go."""

    NONE = "none"
    OURS = "ours"
    ELSEWHERE = "elsewhere"


@dataclass(frozen=True)
class Site:
    """What a provider needs to know about this installation, and the workspace that it works for.

    `before_waiting` is called by each thread that is about to wait for the carrier, to give back what others need.
    """

    public_url: str
    api_url: str
    timeouts: Timeouts
    workspace_id: str
    before_waiting: Callable[[], None] = lambda: None

    @property
    def webhooks_url(self) -> str:
        return f"{self.public_url}/api/webhooks/"

    @property
    def application_name(self) -> str:
        """Different for each installation and workspace, since several of them may use the same carrier account."""
        return made_name(f"{self.public_url} {self.workspace_id}")

    @property
    def earlier_application_name(self) -> str:
        """The name of applications made before accounts belonged to workspaces. They keep it."""
        return made_name(self.public_url)

    def is_ours(self, name: str) -> bool:
        """Whether we give this name to what we create for the workspace at a carrier, or gave it earlier."""
        return name in (self.application_name, self.earlier_application_name)


def made_name(made_for: str) -> str:
    return f"{NAME_PREFIX}{hashlib.sha256(made_for.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Application:
    """A carrier's application, which holds the webhooks at Plivo and Telnyx.

    `settings` are the current values of the fields that we set. `profile_id` is Telnyx's outbound voice profile.
    """

    id: str
    name: str
    settings: Settings
    profile_id: str = ""


@dataclass(frozen=True)
class CarrierNumber:
    """A number that the account owns and that can receive calls.

    `id` is the carrier's id for it, `settings` what restore() needs, and `application` the requested application if it
    exists. `profile_id` is an outbound voice profile for an application yet to be created: empty if there is none, None
    if it was not looked up. `public_key` is the account's webhook key, if the carrier uses one and returns it.
    `also_linked` are the other numbers linked to an application that the customer named, as E.164 digits.
    """

    id: str
    settings: Settings
    route: Route
    application: Application | None = None
    profile_id: str | None = None
    public_key: str = field(default="", repr=False)
    also_linked: tuple[str, ...] = ()


@dataclass(frozen=True)
class Difference:
    """A setting at the carrier that is not as expected; `reason` is a machine code."""

    reason: str
    expected: str
    actual: str


@dataclass(frozen=True)
class NumberRecord:
    """A number as its carrier describes it. `number` is E.164 digits; `id` and `settings` as in CarrierNumber."""

    id: str
    number: str
    voice: bool
    active: bool
    settings: Settings = field(repr=False)


@dataclass(frozen=True)
class ListedNumber(NumberRecord):
    """A number in an account's list, for the user to choose from."""

    route: Route

    @classmethod
    def of(cls, record: NumberRecord, route: Route) -> "ListedNumber":
        return cls(**vars(record), route=route)


def compare_settings(wanted: Settings, actual: Settings) -> list[Difference]:
    """List the URLs and HTTP methods that differ from what we want."""
    return [
        Difference(reason_of(name, actual[name]), value, actual[name])
        for name, value in wanted.items()
        if actual[name] != value
    ]


def reason_of(name: str, actual: str) -> str:
    if name.endswith("_method"):
        return "wrong_http_method"
    return "url_mismatch" if actual else "not_set"


# -- reading what carriers reply: each raises TypeError for anything else, so that the reply counts as malformed ------


def identifier(value: Any) -> str:
    """A carrier's id as a string."""
    is_text = isinstance(value, str) and 0 < len(value) <= MAX_ID
    is_number = isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**64
    if not is_text and not is_number:
        raise TypeError("not an id")
    return str(value)


def address(value: Any) -> str:
    """A URL that the carrier must give."""
    if not value:
        raise TypeError("not a URL")
    return setting(value)


def setting(value: Any) -> str:
    """A setting of a number or application; empty if there is none."""
    if not isinstance(value, str | None) or len(value or "") > MAX_SETTING:
        raise TypeError("not a setting")
    return value or ""


def word(value: Any) -> str:
    """A status or the like, which no carrier sends as a number."""
    if not isinstance(value, str):
        raise TypeError("not a word")
    return identifier(value)


def flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("not a boolean")
    return value


def e164(value: Any) -> str:
    """A phone number, as E.164 digits."""
    number = E164.fullmatch(identifier(value))
    if number is None:
        raise TypeError("not a phone number")
    return number[1]
