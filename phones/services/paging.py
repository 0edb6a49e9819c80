"""Pages of a list that is sorted by time, newest first, each beginning where the one before ended."""

import base64
import re
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar

from django.db.models import Model, QuerySet

Row = TypeVar("Row", bound=Model)

# Milliseconds since 1970 and an id: together a multiple of three bytes, which in base64 needs no padding.
CURSOR = re.compile(r"([0-9]{14}) ([0-9a-f]{24})")


class Position(NamedTuple):
    """Where a page ended."""

    time: datetime
    id: str

    def __str__(self) -> str:
        """The cursor of the API."""
        milliseconds = round(self.time.timestamp() * 1000)
        return base64.urlsafe_b64encode(f"{milliseconds:014} {self.id}".encode()).decode()

    @classmethod
    def read(cls, cursor: str) -> "Position":
        """Raises ValueError."""
        written = CURSOR.fullmatch(base64.urlsafe_b64decode(cursor).decode())
        if not written:
            raise ValueError("not a cursor")
        return cls(datetime.fromtimestamp(int(written[1]) / 1000, UTC), written[2])


def newest_first(rows: QuerySet[Row], time: str, position: Position | None) -> QuerySet[Row]:
    """The rows after a position, sorted by this field and then by id."""
    rows = rows.order_by(f"-{time}", "-pk")
    if position is None:
        return rows
    # Not "earlier, or the same and a smaller id": of that the databases make no range of their index.
    rows = rows.filter(**{f"{time}__lte": position.time})
    return rows.exclude(**{time: position.time, "pk__gte": position.id})


def cut(rows: list[Row], time: str, limit: int) -> tuple[list[Row], Position | None]:
    """A page of `limit` out of rows of which one more was asked for, and where the next page goes on."""
    if len(rows) <= limit:
        return rows, None
    last = rows[limit - 1]
    return rows[:limit], Position(getattr(last, time), str(last.pk))
