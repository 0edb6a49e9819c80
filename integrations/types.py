"""The types that providers accept and return."""

import hashlib
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from integrations.transport import Timeouts

Settings = dict[str, str]

# The names of what we create at a carrier start with this.
NAME_PREFIX = "workspace-phones-"


class Route(Enum):
    """Where calls to a number currently go."""

    NONE = "none"
    OURS = "ours"
    ELSEWHERE = "elsewhere"


@dataclass(frozen=True)
class Site:
    """What a provider needs to know about this installation."""

    public_url: str
    api_url: str
    timeouts: Timeouts

    @property
    def webhooks_url(self) -> str:
        return f"{self.public_url}/api/webhooks/"

    @property
    def application_name(self) -> str:
        """Derived from PUBLIC_URL, so that installations which share a carrier account have different names."""
        return f"{NAME_PREFIX}{hashlib.sha256(self.public_url.encode()).hexdigest()[:8]}"


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
    """

    id: str
    settings: Settings
    route: Route
    application: Application | None = None
    profile_id: str | None = None
    public_key: str = field(default="", repr=False)


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


def identifier(value: Any) -> str:
    """A carrier's id as a string. Raises TypeError if it is not one, so that a reply without it counts as malformed."""
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise TypeError("not an id")
    return str(value)
