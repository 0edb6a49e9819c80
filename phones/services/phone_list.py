"""The numbers of a workspace, newest first, page by page."""

from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery

from phones.models import Call, PhoneNumber
from phones.services.call_log import active_numbers
from phones.services.paging import Position, cut, newest_first


def listed_numbers(workspace_id: str) -> QuerySet[PhoneNumber]:
    """The active numbers of a workspace."""
    return with_details(active_numbers(workspace_id))


def with_details(numbers: QuerySet[PhoneNumber]) -> QuerySet[PhoneNumber]:
    """Add the line, its account, the user and `last_call_at` to each number."""
    latest = Call.objects.filter(line=OuterRef("line")).order_by("-started_at").values("started_at")[:1]
    return numbers.select_related("line__account", "user").annotate(last_call_at=Subquery(latest))


def newest_numbers(
    workspace_id: str, *, limit: int, position: Position | None = None, **filters: Any
) -> tuple[list[PhoneNumber], Position | None]:
    """Return a page of numbers, newest first, and the position where it ended; None if it is the last page.

    Args:
        filters: `user_id`, `integration`, `number`, `line__health`.
    """
    numbers = newest_first(listed_numbers(workspace_id).filter(**filters), "created_at", position)
    return cut(list(numbers[: limit + 1]), "created_at", limit)
