"""What providers take and give."""

import hashlib
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from integrations.transport import Timeouts

Settings = dict[str, str]

# Of what we make at a carrier.
NAME_PREFIX = "workspace-phones-"


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
class NumberRecord:
    """A number as its carrier describes it. `number` is E.164 digits; `id` and `settings` as in CarrierNumber."""

    id: str
    number: str
    voice: bool
    active: bool
    settings: Settings = field(repr=False)


@dataclass(frozen=True)
class ListedNumber(NumberRecord):
    """One number of an account, to pick from."""

    route: Route

    @classmethod
    def of(cls, record: NumberRecord, route: Route) -> "ListedNumber":
        return cls(**vars(record), route=route)


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
