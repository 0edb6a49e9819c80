"""The figures of the dashboard: counted in the background (`reconcile`), so that no page counts a table."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from typing import Any

from django.db.models import Count, QuerySet
from django.utils import timezone

from phones.models import Call, Figure, Line, PhoneNumber
from users.models import AuditEntry

DAYS = 14

Counts = dict[str, int]


def count_figures() -> None:
    """Count today, and the days of the last two weeks that were not over when they were counted last."""
    today = timezone.now().date()
    for day in (today - timedelta(days=back) for back in reversed(range(DAYS))):
        if day == today or not is_final(day):
            count_day(day)
    keep(today, "numbers", numbers_by_health())
    Figure.objects.filter(day__lt=today - timedelta(days=2 * DAYS)).delete()


def is_final(day: date) -> bool:
    return Figure.objects.filter(day=day, name="day", counted_at__gte=end_of(day)).exists()


def count_day(day: date) -> None:
    within = (start_of(day), end_of(day))
    adds = AuditEntry.objects.filter(action="phone.add", at__gte=within[0], at__lt=within[1])
    calls = Call.objects.filter(created_at__gte=within[0], created_at__lt=within[1])
    keep(day, "adds", count_by(adds.filter(outcome="ok"), "detail"))
    keep(day, "refusals", count_by(adds.exclude(outcome="ok"), "outcome"))
    keep(day, "calls", count_by(calls, "account__integration"))
    keep(day, "day", {"": 1})  # last: it says that the others are there


def numbers_by_health() -> Counts:
    lines = Line.objects.filter(phone_numbers__state=PhoneNumber.State.ACTIVE)
    found = lines.values_list("account__integration", "health").annotate(count=Count("phone_numbers"))
    return {f"{integration} {health}": count for integration, health, count in found}


def count_by(rows: QuerySet[Any], field: str) -> Counts:
    return dict(rows.order_by().values_list(field).annotate(count=Count("pk")))


def keep(day: date, name: str, counts: Counts) -> None:
    now = timezone.now()
    for key, count in counts.items():
        Figure.objects.update_or_create(day=day, name=name, key=key[:64], defaults={"count": count, "counted_at": now})
    Figure.objects.filter(day=day, name=name, counted_at__lt=now - timedelta(milliseconds=1)).delete()


def start_of(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def end_of(day: date) -> datetime:
    return start_of(day + timedelta(days=1))


def figures_of(name: str) -> dict[date, Counts]:
    """What was counted on each of the last days, the oldest first; a day without figures is empty."""
    today = timezone.now().date()
    first = today - timedelta(days=DAYS - 1)
    rows = Figure.objects.filter(name=name, day__gte=first).order_by("day")
    counted = {day: {row.key: row.count for row in of_day} for day, of_day in groupby(rows, lambda row: row.day)}
    return {day: counted.get(day, {}) for day in days_from(first)}


def days_from(first: date) -> Iterable[date]:
    return (first + timedelta(days=number) for number in range(DAYS))


def counted_at() -> datetime | None:
    """When the figures were counted last."""
    latest = Figure.objects.filter(name="day").order_by("-day").first()
    return latest.counted_at if latest else None
