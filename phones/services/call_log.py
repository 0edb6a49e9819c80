"""The call log: the calls that a workspace may see, newest first, page by page."""

from datetime import datetime, timedelta

from django.db.models import QuerySet, prefetch_related_objects
from django.utils import timezone

from core.lookups import read_related
from phones.errors import ImpossibleNumber
from phones.models import Account, Call, PhoneNumber, Recording
from phones.numbers import is_possible
from phones.services.paging import Position, cut, newest_first

# Calls of several lines are read from the index line by line and sorted afterwards. Looking back an hour, then eight,
# and so on bounds how many are sorted.
LOOK_BACK = [timedelta(hours=8**power) for power in range(6)]


def shown_numbers(workspace_id: str | None) -> QuerySet[PhoneNumber]:
    """The numbers that a workspace sees, with the calls of the time when they were its own."""
    return PhoneNumber.objects.filter(user__workspace=workspace_id, state__in=PhoneNumber.SHOWN)


def active_numbers(workspace_id: str | None) -> QuerySet[PhoneNumber]:
    """The numbers that are a workspace's own now, so that their recordings may be heard."""
    return shown_numbers(workspace_id).filter(state=PhoneNumber.State.ACTIVE)


def with_digits(numbers: QuerySet[PhoneNumber], number: str) -> QuerySet[PhoneNumber]:
    """Filter a workspace's numbers to these E.164 digits. Raises ImpossibleNumber if no numbering plan makes them
    possible and none of the numbers has them: then they were mistyped."""
    found = numbers.filter(number=number)
    if not is_possible(number) and not found.exists():
        raise ImpossibleNumber
    return found


def lines_of(numbers: QuerySet[PhoneNumber]) -> list[str | None]:
    """The ids of the numbers' lines. Read separately, because with a join no database uses the indexes of the calls."""
    return list(numbers.values_list("line_id", flat=True))


def accounts_of(workspace_id: str | None) -> list[str]:
    """The ids of a workspace's accounts: on a line that was in other hands before, the other calls are not its own."""
    return list(Account.objects.filter(workspace=workspace_id).values_list("pk", flat=True))


def calls_on(line_ids: list[str | None], workspace_id: str | None) -> QuerySet[Call]:
    """The workspace's calls on these lines."""
    return Call.objects.filter(line_id__in=line_ids, account_id__in=accounts_of(workspace_id))


def calls_of(numbers: QuerySet[PhoneNumber], workspace_id: str) -> QuerySet[Call]:
    """The workspace's calls on these numbers of its own."""
    return calls_on(lines_of(numbers), workspace_id)


def recordings_of(numbers: QuerySet[PhoneNumber], workspace_id: str) -> QuerySet[Recording]:
    """The recordings of these calls."""
    return Recording.objects.filter(call__line_id__in=lines_of(numbers), account_id__in=accounts_of(workspace_id))


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
