"""The format and content of log lines, and the filter. Loaded by the settings, so it imports nothing from Django."""

import logging
import re
from contextvars import ContextVar
from typing import Any

from core.redaction import redact

# Characters that end a line or change the display of the text after them: with these, input could forge lines.
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

# Characters of a message. What clients send may be longer than anybody wants to read.
LONGEST = 4096

request_id: ContextVar[str] = ContextVar("request_id", default="-")


class RequestIdFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id.get()
        return True


class TextLines(logging.Formatter):
    """Lines for people: time, level, logger, request, message; a traceback follows, indented."""

    def __init__(self) -> None:
        super().__init__("{asctime} {levelname} {name} [{request_id}] {message}", style="{")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return on_one_line(shortened(redact(super().formatMessage(record))))

    def format(self, record: logging.LogRecord) -> str:
        record.exc_text = None  # cached by another handler, which may not have redacted it
        return super().format(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return indented(redact(super().formatException(ei)))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802
        return indented(redact(super().formatStack(stack_info)))


def shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def indented(text: str) -> str:
    return "\n".join(f"    {on_one_line(line)}" for line in text.split("\n"))


def on_one_line(text: str) -> str:
    return CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def is_unexplained(record: logging.LogRecord) -> bool:
    """Whether Django's line about a failed request adds anything: the API and /readyz log theirs themselves."""
    path = getattr(getattr(record, "request", None), "path", "")
    return bool(record.exc_info) or not path.startswith(("/api/", "/readyz"))
