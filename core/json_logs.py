"""Log lines as JSON. A module of its own: only LOG_FORMAT=json pays for the import of python-json-logger."""

from typing import Any

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from core.redaction import redact_all


class JsonLines(JsonFormatter):
    """A JSON object a line, for programs: with what else a record carries, and its traceback as one text."""

    def __init__(self) -> None:
        names = {"levelname": "level", "name": "logger", "request_id": "requestId", "exc_info": "traceback"}
        super().__init__(
            "{levelname}{name}{request_id}{message}", style="{", rename_fields=names, timestamp="time",
            reserved_attrs=[*RESERVED_ATTRS, "request"],
        )  # fmt: skip

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        return redact_all(super().process_log_record(log_data))
