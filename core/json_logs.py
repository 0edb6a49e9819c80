"""Log lines as JSON. A separate module, so that python-json-logger is imported only for LOG_FORMAT=json."""

from typing import Any

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from core.logs import shortened
from core.redaction import redact_all


class JsonLines(JsonFormatter):
    """One JSON object per line, for programs, with the record's extra fields and its traceback as a single string."""

    def __init__(self) -> None:
        names = {"levelname": "level", "name": "logger", "request_id": "requestId", "exc_info": "traceback"}
        super().__init__(
            "{levelname}{name}{request_id}{message}", style="{", rename_fields=names, timestamp="time",
            reserved_attrs=[*RESERVED_ATTRS, "request"],
        )  # fmt: skip

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        redacted: dict[str, Any] = redact_all(super().process_log_record(log_data))
        return redacted | {"message": shortened(redacted["message"])}
