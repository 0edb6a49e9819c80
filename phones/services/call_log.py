"""The log of calls: which a workspace may see, newest first, page by page."""

from datetime import datetime, timedelta

from django.db.models import QuerySet, prefetch_related_objects
from django.utils import timezone

from core.lookups import read_related
from phones.models import Call, PhoneNumber, Recording
from phones.services.paging import Position, cut, newest_first

# Calls of several lines come from the index line by line and are then sorted: looking back an hour, eight, ... bounds
# how many.
LOOK_BACK = [timedelta(hours=8**power) for power in range(6)]


def active_numbers(workspace_id: str) -> QuerySet[PhoneNumber]:
    """The numbers of which a workspace may see the calls."""
    return PhoneNumber.objects.filter(user__workspace=workspace_id, state=PhoneNumber.State.ACTIVE)


def lines_of(numbers: QuerySet[PhoneNumber]) -> list[str | None]:
    """Their lines' ids. Read first, as a join would keep the databases from using the indexes of the calls."""
    return list(numbers.values_list("line_id", flat=True))


def calls_of(numbers: QuerySet[PhoneNumber]) -> QuerySet[Call]:
    return Call.objects.filter(line_id__in=lines_of(numbers))


def recordings_of(numbers: QuerySet[PhoneNumber]) -> QuerySet[Recording]:
    return Recording.objects.filter(call__line_id__in=lines_of(numbers))


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
    calls = newest_first(calls, "started_at", None)
    if position and (before is None or position.time < before):
        first, upper = newest_first(calls, "started_at", position), position.time
    elif before:
        first, upper = calls.filter(started_at__lt=before), before
    else:
        first, upper = calls, timezone.now()
    page, following = cut(look_back(calls, first, min(upper, timezone.now()), after, limit + 1), "started_at", limit)
    # Of the page alone: in a join MongoDB would look up those of every call that it sorts.
    read_related(page, "line", "account")
    prefetch_related_objects(page, "recordings")
    return page, following


def look_back(
    calls: QuerySet[Call], part: QuerySet[Call], upper: datetime, after: datetime | None, wanted: int
) -> list[Call]:
    """The newest calls of `part` since `after`, read period by period: each period once, with one bound at each end."""
    page: list[Call] = []
    for lower in (upper - period for period in LOOK_BACK):
        if after and lower <= after:
            break
        page += part.filter(started_at__gte=lower)[: wanted - len(page)]
        if len(page) == wanted:
            return page
        part = calls.filter(started_at__lt=lower)
    if after:
        part = part.filter(started_at__gte=after)
    return page + list(part[: wanted - len(page)])
