"""How a call is answered, as steps that each carrier's documents can express."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from integrations.languages import DEFAULT_LANGUAGE

VOICEMAIL_S, SILENCE_S, CONNECTED_S = 120, 5, 4 * 60 * 60
# Characters that XML 1.0 cannot contain, even escaped. https://www.w3.org/TR/xml/#charsets (read 2026-11-23)
# Listed explicitly: the complement of the allowed characters takes 2 ms to compile, this a tenth of it.
NOT_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]+")
# Telnyx replaces `{{From}}` in a document by a field of its request.
# https://developers.telnyx.com/docs/voice/programmable-voice/texml-interpreter (read 2026-11-29)
TWO_BRACES = re.compile(r"(?<=\{)(?=\{)|(?<=\})(?=\})")
# Percent-encoded characters of a verb. Twilio speaks 4500 of them (error 13521, https://www.twilio.com/docs/api/errors/13521)
# and, with the voices that we use, 3000 characters; so do Plivo and Telnyx. (read 2026-11-29)
MAX_SPOKEN = 3000
SENTENCE_END, BLANK = re.compile(r"[.!?…。！？।]+\s*"), re.compile(r"\s+")


@dataclass(frozen=True)
class Say:
    """Speak a text in a language (a key of `integrations.languages.VOICES`)."""

    text: str
    language: str = DEFAULT_LANGUAGE

    def parts(self) -> Iterator[str]:
        """The text in parts that are short enough for a verb each; none if nothing in it can be spoken."""
        rest = speakable(self.text)
        while rest:
            end = end_of_part(rest)
            yield rest[:end].rstrip()
            rest = rest[end:].lstrip()


@dataclass(frozen=True)
class Record:
    """Record a message after a beep, until the caller presses # or is silent."""


@dataclass(frozen=True)
class Dial:
    """Ring a target and connect the caller with it.

    Args:
        target: E.164 digits or a `sip:` or `sips:` address.
        our_number: E.164 digits of the number that was called.
        ring_s: how long it rings, in seconds (5-120).
        record: whether the conversation is recorded.
    """

    target: str
    our_number: str
    ring_s: int
    record: bool = False

    @property
    def is_sip(self) -> bool:
        return ":" in self.target


@dataclass(frozen=True)
class Stream:
    """Exchange the call's audio with a server at a `wss:` address, until it closes the connection. The parameters reach
    it in its first message; their names and values are letters and digits, as Plivo demands."""

    url: str
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reject:
    """Refuse the call without answering it."""


@dataclass(frozen=True)
class HangUp:
    """End the call."""


Step = Say | Record | Dial | Stream | Reject | HangUp
Plan = tuple[Step, ...]


def speakable(text: str) -> str:
    """The text as it may stand in any carrier's document."""
    return TWO_BRACES.sub(" ", NOT_XML.sub(" ", text)).strip()


def end_of_part(text: str) -> int:
    """Where the first part of a text ends: after a sentence if possible, otherwise after a word."""
    length = 0
    for end, character in enumerate(text):
        length += len(quote(character, safe=""))
        if length > MAX_SPOKEN:
            breaks = (
                max((found.end() for found in kind.finditer(text[:end])), default=0) for kind in (SENTENCE_END, BLANK)
            )
            return next(filter(None, breaks), end)
    return len(text)
