"""Pages of a list sorted by time, newest first. Each page begins where the previous one ended."""

import base64
import re
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar

from django.db.models import Model, QuerySet

Row = TypeVar("Row", bound=Model)

# Milliseconds since 1970 and an id. Their length is a multiple of three bytes, so base64 needs no padding.
CURSOR = re.compile(r"([0-9]{14}) ([0-9a-f]{24})")


class Position(NamedTuple):
    """Where a page ended."""

    time: datetime
    id: str

    def __str__(self) -> str:
        """The cursor that the API returns."""
        milliseconds = round(self.time.timestamp() * 1000)
        return base64.urlsafe_b64encode(f"{milliseconds:014} {self.id}".encode()).decode()

    @classmethod
    def read(cls, cursor: str) -> "Position":
        """Parse a cursor. Raises ValueError."""
        written = CURSOR.fullmatch(base64.urlsafe_b64decode(cursor).decode())
        if not written:
            raise ValueError("not a cursor")
        return cls(datetime.fromtimestamp(int(written[1]) / 1000, UTC), written[2])


def newest_first(rows: QuerySet[Row], time: str, position: Position | None) -> QuerySet[Row]:
    """The rows after a position, sorted by the field `time` and then by id, both descending."""
    rows = rows.order_by(f"-{time}", "-pk")
    if position is None:
        return rows
    # "Earlier, or the same time and a smaller id" would mean the same, but the databases make no index range of it.
    rows = rows.filter(**{f"{time}__lte": position.time})
    return rows.exclude(**{time: position.time, "pk__gte": position.id})


def cut(rows: list[Row], time: str, limit: int) -> tuple[list[Row], Position | None]:
    """Cut `limit` + 1 rows to a page. Returns the page and the position where it ended; None if no row was cut off."""
    if len(rows) <= limit:
        return rows, None
    last = rows[limit - 1]
    return rows[:limit], Position(getattr(last, time), str(last.pk))
