"""A request at the carriers' door, and the answer to a call."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from hmac import compare_digest
from urllib.parse import parse_qs

from integrations.errors import BadSignature
from integrations.events import MAX_FIELDS

FORM = "application/x-www-form-urlencoded"
# What XML 1.0 cannot hold, however it is escaped. https://www.w3.org/TR/xml/#charsets (read 2026-11-23)
# Named one by one, not as the complement of what it can: that takes 2 ms to compile, this a tenth.
NOT_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]+")
DEFAULT_GREETING = "Hello. Nobody can take your call now. Please leave a message after the tone."
VOICEMAIL_S, SILENCE_S, FORWARDED_S = 120, 5, 4 * 60 * 60


@dataclass(frozen=True)
class Urls:
    """Our webhook addresses for one account: what to do with a call, if that failed, what became of a call, of a
    recording, and what to do next when a verb of our answer is done."""

    answer: str
    status: str
    fallback: str
    recording: str
    done: str

    @classmethod
    def under(cls, base: str) -> "Urls":
        return cls(**{field.name: f"{base}/{field.name}" for field in fields(cls)})


# What comes before the kind of carrier, the account's secret and the kind of webhook, whatever PUBLIC_URL is.
WEBHOOKS_PATH = "/api/webhooks/"


def is_ours(actual: str, ours: str) -> bool:
    """Whether a setting is as we set it, perhaps before PUBLIC_URL was changed: the secret in an address tells it."""
    _, mark, path = ours.partition(WEBHOOKS_PATH)
    return actual == ours or (bool(mark) and actual.endswith(mark + path))


KINDS = frozenset(field.name for field in fields(Urls))


@dataclass(frozen=True)
class Webhook:
    """A request as received. `url` is the one that we configured, with the query string as received."""

    url: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_form(self) -> bool:
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower() == FORM

    def form(self) -> dict[str, list[str]]:
        """The fields of the body, each with all its values. Raises BadSignature if they cannot be read."""
        try:
            return parse_qs(self.body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
        except ValueError:
            raise BadSignature("the body is no form") from None


def one_fits(given: Iterable[str], expected: Iterable[str]) -> bool:
    """Whether a signature that was given is one that we expect, in a time that tells nothing of how close it is."""
    received = [one.encode() for one in given]
    return any(compare_digest(one, other.encode()) for other in expected for one in received)


def digest(signed: bytes) -> str:
    """What tells one signed content from another."""
    return hashlib.sha256(signed).hexdigest()


class Action(StrEnum):
    VOICEMAIL = "voicemail"
    FORWARD = "forward"
    REJECT = "reject"
    HANGUP = "hangup"


@dataclass(frozen=True)
class Answer:
    """What a caller shall meet. `forward_to` and `our_number` are E.164 digits; `record` is about a forwarded call."""

    action: Action
    greeting: str = ""
    forward_to: str = ""
    our_number: str = ""
    record: bool = False

    @property
    def spoken(self) -> str:
        """The greeting as it may stand in a document."""
        return NOT_XML.sub(" ", self.greeting).strip() or DEFAULT_GREETING
