"""The log of calls: which a workspace may see, newest first, page by page."""

import base64
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db.models import QuerySet
from django.utils import timezone

from phones.models import Call, PhoneNumber, Recording

# Calls of several lines come from the index line by line and are then sorted: looking back an hour, eight, ... bounds
# how many.
LOOK_BACK = [timedelta(hours=8**power) for power in range(6)]
# Milliseconds since 1970 and an id: together a multiple of three bytes, which in base64 needs no padding.
CURSOR = re.compile(r"([0-9]{14}) ([0-9a-f]{24})")


@dataclass(frozen=True)
class Position:
    """The call at which a page ended."""

    started_at: datetime
    id: str

    def __str__(self) -> str:
        """The cursor of the API."""
        milliseconds = round(self.started_at.timestamp() * 1000)
        return base64.urlsafe_b64encode(f"{milliseconds:014} {self.id}".encode()).decode()

    @classmethod
    def read(cls, cursor: str) -> "Position":
        """Raises ValueError."""
        written = CURSOR.fullmatch(base64.urlsafe_b64decode(cursor).decode())
        if not written:
            raise ValueError("not a cursor")
        return cls(datetime.fromtimestamp(int(written[1]) / 1000, UTC), written[2])


def active_numbers(workspace_id: str) -> QuerySet[PhoneNumber]:
    """The numbers of which a workspace may see the calls."""
    return PhoneNumber.objects.filter(user__workspace=workspace_id, state=PhoneNumber.State.ACTIVE)


def calls_of(numbers: QuerySet[PhoneNumber]) -> QuerySet[Call]:
    return Call.objects.filter(line__in=numbers.values("line"))


def recordings_of(numbers: QuerySet[PhoneNumber]) -> QuerySet[Recording]:
    return Recording.objects.filter(call__line__in=numbers.values("line"))


def newest_calls(
    calls: QuerySet[Call],
    *,
    limit: int,
    after: datetime | None = None,
    before: datetime | None = None,
    position: Position | None = None,
) -> tuple[list[Call], Position | None]:
    """A page of calls, newest first, and where the next one goes on, if there is one.

    Args:
        calls: those to choose from (`calls_of`), with the filters that are wanted.
        limit: the size of the page.
        after, before: bounds of the start of a call; `after` is within them, `before` is not.
        position: where the page before this one ended.
    """
    calls = calls.order_by("-started_at", "-pk").select_related("line", "account").prefetch_related("recordings")
    if after:
        calls = calls.filter(started_at__gte=after)
    if before:
        calls = calls.filter(started_at__lt=before)
    if position:
        # Not "earlier, or the same and a smaller id": of that the databases make no range of their index.
        calls = calls.filter(started_at__lte=position.started_at)
        calls = calls.exclude(started_at=position.started_at, pk__gte=position.id)
    latest = [timezone.now(), *filter(None, [before, position.started_at if position else None])]
    page = look_back(calls, min(latest), limit + 1)
    if len(page) <= limit:
        return page, None
    last = page[limit - 1]
    return page[:limit], Position(last.started_at, last.pk)


def look_back(calls: QuerySet[Call], upper: datetime, wanted: int) -> list[Call]:
    for period in LOOK_BACK:
        page = list(calls.filter(started_at__gte=upper - period)[:wanted])
        if len(page) == wanted:
            return page
    return list(calls[:wanted])
