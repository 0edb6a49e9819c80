"""What carriers report about calls and recordings, in our words."""

import json
import logging
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl, urlencode

log = logging.getLogger(__name__)

# What a carrier sends has some thirty fields.
MAX_FIELDS = 1000
# A body up to this length is kept as received. That of an ordinary event is half as long.
KEPT_LENGTH = 4096
# Addresses of recordings that are signed are the longest values that are read.
KEPT_VALUE = 4096
E164 = re.compile(r"\+?([0-9]{2,15})")
MAX_TEXT = 128
MAX_SECONDS = 10**8

Payload = Mapping[str, Any]


class Progress(StrEnum):
    """Statuses in the order in which something goes through them."""

    @property
    def rank(self) -> int:
        return list(type(self)).index(self)


class CallStatus(Progress):
    """Those from `canceled` on are final."""

    UNKNOWN = "unknown"
    QUEUED = "queued"
    RINGING = "ringing"
    IN_PROGRESS = "in-progress"
    CANCELED = "canceled"
    FAILED = "failed"
    NO_ANSWER = "no-answer"
    BUSY = "busy"
    COMPLETED = "completed"

    @property
    def is_final(self) -> bool:
        return self.rank >= CallStatus.CANCELED.rank


class RecordingStatus(Progress):
    UNKNOWN = "unknown"
    IN_PROGRESS = "in-progress"
    FAILED = "failed"
    ABSENT = "absent"
    COMPLETED = "completed"


class Direction(StrEnum):
    INBOUND = "inbound"
    OUTBOUND = "outbound"


Status = TypeVar("Status", bound=Progress)


class CallReport(NamedTuple):
    """What one event or one entry of a carrier's list says about a call. Empty is what it does not say.

    Numbers are E.164 digits; other parties (`anonymous`, `sip:…`) stay as they are. Times are in UTC. `cost` is what
    the carrier charges, above zero, in `currency` (ISO 4217).
    """

    id: str
    direction: Direction | None = None
    caller: str = ""
    callee: str = ""
    status: CallStatus = CallStatus.UNKNOWN
    started_at: datetime | None = None
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    duration_s: int | None = None
    hangup_cause: str = ""
    cost: Decimal | None = None
    currency: str = ""


class RecordingReport(NamedTuple):
    """What is said about a recording of a call."""

    id: str
    call_id: str
    status: RecordingStatus = RecordingStatus.UNKNOWN
    started_at: datetime | None = None
    duration_s: int | None = None
    channels: int | None = None
    url: str = ""


class CallEvent(NamedTuple):
    """What one webhook says. One about a leg of a forwarded call says nothing: a call is one entry in the log."""

    call: CallReport | None = None
    recording: RecordingReport | None = None


# -- reading what carriers write --------------------------------------------------------------------------------------


def read_payload(body: str) -> dict[str, Any]:
    """The fields of a webhook's body: of a JSON object, or of a form, in which the last of a repeated field counts.

    Raises ValueError.
    """
    if not body.startswith("{"):
        return dict(parse_qsl(body, keep_blank_values=True, max_num_fields=MAX_FIELDS))
    try:
        payload = json.loads(body)
        json.dumps(payload, ensure_ascii=False).encode()  # a ValueError for half a character, which no database takes
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return payload


class Traced(dict[str, Any]):
    """The fields of a webhook, which note those that are looked at."""

    def __init__(self, payload: Payload) -> None:
        super().__init__((name, Traced(one) if isinstance(one, dict) else one) for name, one in payload.items())
        self.looked_at: set[object] = set()

    def __contains__(self, name: object) -> bool:
        self.looked_at.add(name)
        return super().__contains__(name)

    def __getitem__(self, name: str) -> Any:
        self.looked_at.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.looked_at.add(name)
        return super().get(name, default)

    def what_was_read(self) -> dict[str, Any]:
        """The fields that were looked at, each cut to a bounded length."""
        return {name: cut(one) for name, one in self.items() if name in self.looked_at}


def cut(value: Any) -> Any:
    """As much of a value as is kept; of a list, or an object of which nothing is read, only that it is not empty."""
    if isinstance(value, str):
        return value[:KEPT_VALUE]
    if isinstance(value, Traced):
        return value.what_was_read() or bool(value)
    return value if isinstance(value, int | float | None) else bool(value)


def read_event(body: str, parse: Callable[[Payload], CallEvent]) -> tuple[CallEvent, str]:
    """What a webhook's body says, and what is kept of it: of one that is longer than usual only what is read.

    `parse` reads the same from that as from the body, if no value is absurdly long. Raises ValueError for a body that
    cannot be read.
    """
    payload = read_payload(body)
    if len(body) <= KEPT_LENGTH:
        return parse(payload), body
    traced = Traced(payload)
    said, read = parse(traced), traced.what_was_read()
    return said, json.dumps(read, ensure_ascii=False) if body.startswith("{") else urlencode(read)


def translate(table: Mapping[str, Status], theirs: object, unknown: Status) -> Status:
    """Our word for a carrier's. A word that the table lacks is logged, and is not an error: carriers add some."""
    if theirs in (None, ""):
        return unknown
    ours = table.get(str(theirs).lower())
    if ours is None:
        log.warning("A carrier reports the status %.40r, which no table knows", theirs)
    return ours or unknown


def text(value: object) -> str:
    return str(value)[:MAX_TEXT] if isinstance(value, str | int) and not isinstance(value, bool) else ""


def party(value: object) -> str:
    """Who calls or is called: E.164 digits, or what the carrier writes for something that is no number."""
    number = E164.fullmatch(text(value).strip())
    return number[1] if number else text(value)


def whole(value: object) -> int | None:
    """A count or a number of seconds, which carriers also write as text or with decimals."""
    try:
        number = round(float(str(value)))
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number <= MAX_SECONDS else None


def amount(value: object) -> Decimal | None:
    """A sum of money: Twilio writes what it charges with a minus."""
    try:
        sum_of_money = abs(Decimal(str(value))).quantize(Decimal("0.000001"))
    except InvalidOperation:
        return None
    return sum_of_money if sum_of_money.is_finite() and sum_of_money < 10**6 else None


def moment(value: object) -> datetime | None:
    """A time in UTC, from ISO 8601 (with or without a zone) or RFC 2822; None for one that no call can have."""
    written = str(value or "").strip()
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            time = read(written)
        except (ValueError, TypeError, OverflowError):
            continue
        if 2000 <= time.year < 2100:
            return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    return None
