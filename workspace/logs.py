"""What log lines say and which are written. Loaded by the settings: imports nothing of Django."""

import logging
from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="-")


class RequestIdFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id.get()
        return True


def is_unexplained(record: logging.LogRecord) -> bool:
    """Whether Django's line about a failed request tells more than ours: envelope.py has logged API failures."""
    path = getattr(getattr(record, "request", None), "path", "")
    return bool(record.exc_info) or not path.startswith("/api/")
