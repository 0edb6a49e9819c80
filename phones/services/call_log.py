"""The call log: the calls that a workspace may see, newest first, page by page."""

from datetime import datetime, timedelta

from django.db.models import QuerySet, prefetch_related_objects
from django.utils import timezone

from core.lookups import read_related
from phones.models import Call, PhoneNumber, Recording
from phones.services.paging import Position, cut, newest_first

# Calls of several lines are read from the index line by line and sorted afterwards. Looking back an hour, then eight,
# and so on bounds how many are sorted.
LOOK_BACK = [timedelta(hours=8**power) for power in range(6)]


def active_numbers(workspace_id: str) -> QuerySet[PhoneNumber]:
    """The numbers whose calls a workspace may see."""
    return PhoneNumber.objects.filter(user__workspace=workspace_id, state=PhoneNumber.State.ACTIVE)


def lines_of(numbers: QuerySet[PhoneNumber]) -> list[str | None]:
    """The ids of the numbers' lines. Read separately, because with a join no database uses the indexes of the calls."""
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
    """Return a page of calls, newest first, and the position where it ended; None if it is the last page.

    Args:
        calls: the calls to page through (`calls_of`), filtered.
        limit: the size of the page.
        after, before: bounds for the start of a call; `after` is inclusive, `before` exclusive.
        position: where the previous page ended.
    """
    calls = newest_first(calls, "started_at", None)
    if position and (before is None or position.time < before):
        first, upper = newest_first(calls, "started_at", position), position.time
    elif before:
        first, upper = calls.filter(started_at__lt=before), before
    else:
        first, upper = calls, timezone.now()
    page, following = cut(look_back(calls, first, min(upper, timezone.now()), after, limit + 1), "started_at", limit)
    # Only for the page: with a join, MongoDB would look them up for every call that it sorts.
    read_related(page, "line", "account")
    prefetch_related_objects(page, "recordings")
    return page, following


def look_back(
    calls: QuerySet[Call], part: QuerySet[Call], upper: datetime, after: datetime | None, wanted: int
) -> list[Call]:
    """The newest calls of `part` since `after`. Reads each period once, with a lower and an upper bound."""
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
