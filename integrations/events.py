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
from urllib.parse import parse_qsl, urlencode, urlsplit

log = logging.getLogger(__name__)

# Carriers send about thirty fields.
MAX_FIELDS = 1000
# Bodies up to this length are stored as received. The body of an ordinary event is half as long.
KEPT_LENGTH = 4096
# The longest values that we read are signed recording URLs.
KEPT_VALUE = 4096
E164 = re.compile(r"\+?([0-9]{2,15})")
# What stands in place of the number of a caller who withheld it, or of whom the network knows none.
NO_NUMBER = ("anonymous", "restricted", "blocked", "unknown", "unavailable")
WORDS = {word: word for word in NO_NUMBER}
WORDS |= {"private": "restricted", "withheld": "restricted", "no caller id": "restricted"}
# The words' digits on a keypad. Twilio's list: help.twilio.com/articles/223179988, cited in somleng/somleng#1820.
# 464 stands for an empty caller. RESTRICTED is 7378742883 there, 7378742833 on a keypad. Ten digits may also be a
# number in Texas, and three a short code, so both need the `+`, with which they are none.
WORDS |= {
    "266696687": "anonymous",
    "2562533": "blocked",
    "8656696": "unknown",
    "86282452253": "unavailable",
    "+7378742833": "restricted",
    "+7378742883": "restricted",
    "+464": "unknown",
}
# What may stand beside such a word: "Private Number".
BESIDE = re.compile(r"\b(caller|call|number|id)\b")
# `"Anonymous" <sip:anonymous@anonymous.invalid>` (RFC 3323, 4.1): the name, the user, and the host.
SIP_ADDRESS = re.compile(r"(?:([^<]*)<)?(?:sips?:)?([^@:;<>]*)@([^@:;<>]*)(?:[:;>].*)?")
BARE_ADDRESS = re.compile(r"<?(?:tel|sips?):([^;>]*)(?:[;>].*)?")
MAX_TEXT = 128
# A week. No call or recording is that long.
MAX_SECONDS = 7 * 24 * 60 * 60
# U+0000, which no text of PostgreSQL can hold, as forms write it and, after an even number of backslashes, JSON.
NUL_IN_FORM = re.compile("%00|\0")
NUL_IN_JSON = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")

# Our word for why a call ended: the media stream that it was connected with could not be reached, or broke off.
STREAM_FAILED = "stream_failed"

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

    Numbers are E.164 digits; a caller without a number is one of NO_NUMBER, and others (`sip:…`) are kept as they are.
    Times are in UTC. `cost` is what the carrier charges, as a positive amount in `currency` (ISO 4217). `forwarding` is
    the outcome of forwarding the call: completed if somebody took it, otherwise why nobody did.
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
    forwarding: CallStatus = CallStatus.UNKNOWN


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


# What carriers say of a call that they placed to forward another. `canceled`: the caller gave up while it was ringing,
# so nobody answered.
# https://www.twilio.com/docs/voice/twiml/dial#dialcallstatus-values (read 2026-11-29)
# https://docs.plivo.com/docs/voice/use-cases/dial-status-reporting/php (read 2026-11-29)
FORWARDING = {
    "completed": CallStatus.COMPLETED,
    "answered": CallStatus.COMPLETED,
    "busy": CallStatus.BUSY,
    "no-answer": CallStatus.NO_ANSWER,
    "timeout": CallStatus.NO_ANSWER,
    "cancel": CallStatus.NO_ANSWER,
    "canceled": CallStatus.NO_ANSWER,
    "cancelled": CallStatus.NO_ANSWER,
    "failed": CallStatus.FAILED,
}


def forwarding(theirs: object) -> CallStatus:
    """The outcome of forwarding a call; unknown if the call was not forwarded or nothing is said of it."""
    return translate(FORWARDING, theirs, CallStatus.UNKNOWN)


def outcome_of_leg(call_id: str, status: CallStatus) -> CallReport | None:
    """What the leg of a forwarded call, as a carrier lists it, says of that call; None while the leg has not ended."""
    return CallReport(id=call_id, forwarding=FORWARDING[status.value]) if status.is_final else None


# -- reading what carriers write --------------------------------------------------------------------------------------


def read_payload(body: str) -> dict[str, Any]:
    """Parse a webhook's body: a JSON object, or a form, where the last value of a repeated field counts.

    U+0000 becomes U+FFFD. Raises ValueError.
    """
    body = without_nul(body)
    if not body.startswith("{"):
        return dict(parse_qsl(body, keep_blank_values=True, max_num_fields=MAX_FIELDS))
    try:
        payload = json.loads(body)
        json.dumps(payload, ensure_ascii=False).encode()  # ValueError for a lone surrogate, which no database accepts
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return payload


def without_nul(body: str) -> str:
    """The body of a webhook with U+FFFD wherever it has U+0000."""
    if body.startswith("{"):
        return NUL_IN_JSON.sub(r"\1\\ufffd", body)
    return NUL_IN_FORM.sub("%EF%BF%BD", body)


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
    body = without_nul(body)
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
    if not isinstance(value, str | int) or isinstance(value, bool):
        return ""
    return str(value).replace("\0", "\ufffd")[:MAX_TEXT]


def uncut(value: object) -> str:
    """A text that is something else if it is cut, such as an id: empty if it is too long."""
    return text(value) if len(str(value)) <= MAX_TEXT else ""


def party(value: object) -> str:
    """The caller or callee: E.164 digits, one of NO_NUMBER, or the carrier's own text."""
    written = uncut(value).strip()
    number = E164.fullmatch(written)
    return no_number(written.lower()) or (number[1] if number else written)


def no_number(written: str) -> str:
    """The word that a carrier writes for a caller without a number, in whichever form; empty if it is none."""
    if sip := SIP_ADDRESS.fullmatch(written):
        return no_user(*sip.groups(default=""))
    bare = BARE_ADDRESS.fullmatch(written)
    return no_number_word(bare[1] if bare else written)


def no_number_word(written: str) -> str:
    plain = written.strip(' "')
    alone = BESIDE.sub("", plain).strip()
    return WORDS.get(plain) or WORDS.get(plain.lstrip("+")) or WORDS.get(alone, "")


def no_user(name: str, user: str, host: str) -> str:
    """The same of a SIP address. Users may be called "private", but no host is called `.invalid` (RFC 2606)."""
    word = no_number_word(user)
    if host.endswith(".invalid"):
        return word or no_number_word(host.removesuffix(".invalid")) or NO_NUMBER[0]
    if word == NO_NUMBER[0]:
        return word
    # Networks also write "Unknown" for the name of a caller whose number they do know.
    return "" if E164.fullmatch(user) else no_number_word(name)


def whole(value: object) -> int | None:
    """A count or a number of seconds; carriers also send these as text or with decimals."""
    try:
        number = float(str(value))
    except ValueError:
        return None
    return round(number) if 0 <= number <= MAX_SECONDS else None


def in_seconds(milliseconds: object) -> int | None:
    """A duration in milliseconds, as seconds."""
    try:
        return whole(float(str(milliseconds)) / 1000)
    except ValueError:
        return None


def link(value: object) -> str:
    """The URL of a recording; empty if it names no host, or is absurdly long."""
    if not isinstance(value, str) or len(value) > KEPT_VALUE:
        return ""
    return value.strip() if host_of(value) else ""


def foreign_link(value: object, own_hosts: re.Pattern[str]) -> str:
    """The URL of a recording that the customer has the carrier store elsewhere; empty for the carrier's own."""
    url = link(value)
    return "" if own_hosts.fullmatch(host_of(url)) else url


def host_of(url: str) -> str:
    """The host in a URL, in lower case; empty if there is none."""
    try:
        return (urlsplit(url.strip()).hostname or "").rstrip(".")
    except ValueError:
        return ""


def amount(value: object) -> Decimal | None:
    """An amount of money, always positive: Twilio sends charges as negative amounts."""
    try:
        sum_of_money = abs(Decimal(str(value))).quantize(Decimal("0.000001"))
    except InvalidOperation:
        return None
    return sum_of_money if sum_of_money.is_finite() and sum_of_money < 10**6 else None


def currency(value: object) -> str:
    """A currency's code of three letters (ISO 4217); empty if it is anything else."""
    return written if re.fullmatch("[A-Z]{3}", written := text(value)) else ""


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
