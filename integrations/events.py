"""Carriers' reports about calls and recordings, normalised."""

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

# Carriers send about thirty fields.
MAX_FIELDS = 1000
# Bodies up to this length are stored as received. The body of an ordinary event is half as long.
KEPT_LENGTH = 4096
# The longest values that we read are signed recording URLs.
KEPT_VALUE = 4096
E164 = re.compile(r"\+?([0-9]{2,15})")
MAX_TEXT = 128
MAX_SECONDS = 10**8

Payload = Mapping[str, Any]


class Progress(StrEnum):
    """Statuses, in the order in which a call or recording passes through them."""

    @property
    def rank(self) -> int:
        return list(type(self)).index(self)


class CallStatus(Progress):
    """Statuses from `canceled` on are final."""

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
    """What an event, or an entry in a carrier's call list, says about a call. Fields it does not mention are empty.

    Numbers are E.164 digits; other parties (`anonymous`, `sip:…`) are kept as they are. Times are in UTC. `cost` is
    what the carrier charges, as a positive amount in `currency` (ISO 4217).
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
    """What an event, or an entry in a carrier's list, says about a recording of a call."""

    id: str
    call_id: str
    status: RecordingStatus = RecordingStatus.UNKNOWN
    started_at: datetime | None = None
    duration_s: int | None = None
    channels: int | None = None
    url: str = ""


class ParsedEvent(NamedTuple):
    """What a webhook says. Empty for a leg of a forwarded call, because a call is a single entry in the log."""

    call: CallReport | None = None
    recording: RecordingReport | None = None


# -- reading what carriers write --------------------------------------------------------------------------------------


def read_payload(body: str) -> dict[str, Any]:
    """Parse a webhook's body: a JSON object, or a form, where the last value of a repeated field counts.

    Raises ValueError.
    """
    if not body.startswith("{"):
        return dict(parse_qsl(body, keep_blank_values=True, max_num_fields=MAX_FIELDS))
    try:
        payload = json.loads(body)
        json.dumps(payload, ensure_ascii=False).encode()  # ValueError for a lone surrogate, which no database accepts
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return payload


class Traced(dict[str, Any]):
    """The fields of a webhook; records which of them are read."""

    def __init__(self, payload: Payload) -> None:
        super().__init__((name, Traced(value) if isinstance(value, dict) else value) for name, value in payload.items())
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
        """The fields that were read, each cut to a bounded length."""
        return {name: cut(value) for name, value in self.items() if name in self.looked_at}


def cut(value: Any) -> Any:
    """The part of a value that is stored; of a list, or an object with no field read, only whether it is non-empty."""
    if isinstance(value, str):
        return value[:KEPT_VALUE]
    if isinstance(value, Traced):
        return value.what_was_read() or bool(value)
    return value if isinstance(value, int | float | None) else bool(value)


def read_event(body: str, parse: Callable[[Payload], ParsedEvent]) -> tuple[ParsedEvent, str]:
    """Parse a webhook's body. Returns the event and the body to store: of a long body, only the fields that were read.

    `parse` reads the same event from the stored body as from the original, unless a value is absurdly long. Raises
    ValueError for a body that cannot be parsed.
    """
    payload = read_payload(body)
    if len(body) <= KEPT_LENGTH:
        return parse(payload), body
    traced = Traced(payload)
    event, read = parse(traced), traced.what_was_read()
    return event, json.dumps(read, ensure_ascii=False) if body.startswith("{") else urlencode(read)


def translate(table: Mapping[str, Status], theirs: object, unknown: Status) -> Status:
    """Our status for a carrier's. A status missing from the table is logged, not an error: carriers add new ones."""
    if theirs in (None, ""):
        return unknown
    ours = table.get(str(theirs).lower())
    if ours is None:
        log.warning("Unknown status from a carrier: %.40r", theirs)
    return ours or unknown


def text(value: object) -> str:
    return str(value)[:MAX_TEXT] if isinstance(value, str | int) and not isinstance(value, bool) else ""


def party(value: object) -> str:
    """The caller or callee: E.164 digits, or the carrier's own text if it is not a number."""
    number = E164.fullmatch(text(value).strip())
    return number[1] if number else text(value)


def whole(value: object) -> int | None:
    """A count or a number of seconds; carriers also send these as text or with decimals."""
    try:
        number = round(float(str(value)))
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number <= MAX_SECONDS else None


def amount(value: object) -> Decimal | None:
    """An amount of money, always positive: Twilio sends charges as negative amounts."""
    try:
        sum_of_money = abs(Decimal(str(value))).quantize(Decimal("0.000001"))
    except InvalidOperation:
        return None
    return sum_of_money if sum_of_money.is_finite() and sum_of_money < 10**6 else None


def moment(value: object) -> datetime | None:
    """Parse ISO 8601 (with or without a zone) or RFC 2822 to UTC; None if invalid or outside 2000-2099."""
    written = str(value or "").strip()
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            time = read(written)
        except (ValueError, TypeError, OverflowError):
            continue
        if 2000 <= time.year < 2100:
            return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    return None
