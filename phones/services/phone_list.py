"""The numbers of a workspace, newest first, page by page."""

from typing import Any

from django.db.models import Count, OuterRef, Q, QuerySet, Subquery

from phones.models import Call, Line, PhoneNumber
from phones.services.call_log import accounts_of, shown_numbers, with_digits
from phones.services.paging import Position, cut, newest_first


def listed_numbers(workspace_id: str) -> QuerySet[PhoneNumber]:
    """The numbers that a workspace sees."""
    numbers = shown_numbers(workspace_id)
    return with_details(numbers, Call.objects.filter(account_id__in=accounts_of(workspace_id)))


def with_details(numbers: QuerySet[PhoneNumber], calls: QuerySet[Call]) -> QuerySet[PhoneNumber]:
    """Add the line, its account, the user and `last_call_at` to each number.

    Args:
        calls: the calls that may be the last one.
    """
    latest = calls.filter(line=OuterRef("line")).order_by("-started_at").values("started_at")[:1]
    return numbers.select_related("line__account", "retired_from", "user").annotate(last_call_at=Subquery(latest))


def newest_numbers(
    workspace_id: str,
    *,
    limit: int,
    position: Position | None = None,
    health: str = "",
    number: str = "",
    **filters: Any,
) -> tuple[list[PhoneNumber], Position | None]:
    """Return a page of numbers, newest first, and the position where it ended; None if it is the last page.

    Args:
        health: a Line.Health; empty for any.
        number: E.164 digits; empty for any. Raises ImpossibleNumber as with_digits() does.
        filters: `user_id`, `integration`.
    """
    numbers = listed_numbers(workspace_id)
    if number:
        numbers = with_digits(numbers, number)
    numbers = numbers.filter(**filters)
    if health:
        numbers = numbers.filter(healthy(health))
    page, following = cut(list(newest_first(numbers, "created_at", position)[: limit + 1]), "created_at", limit)
    count_sharing(page)
    return page, following


def healthy(health: str) -> Q:
    """Numbers of this health: that of their lines; a retired number is in drift."""
    retired = Q(state=PhoneNumber.State.RETIRED)
    return Q(line__health=health) | retired if health == Line.Health.DRIFT else Q(line__health=health) & ~retired


def count_sharing(phones: list[PhoneNumber]) -> None:
    """Set `shared_with` of each number: how many other users of its workspace have it."""
    active = PhoneNumber.objects.filter(line__in={phone.line_id for phone in phones}, state=PhoneNumber.State.ACTIVE)
    counts = dict(active.order_by().values_list("line").annotate(count=Count("pk")))
    for phone in phones:
        phone.shared_with = 0 if phone.is_retired else counts.get(phone.line_id, 1) - 1  # type: ignore[attr-defined]
