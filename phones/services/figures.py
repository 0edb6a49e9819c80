"""The figures of the dashboard: counted in the background (`reconcile`), so that no page counts a table."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from typing import Any

from django.db.models import Count, QuerySet
from django.utils import timezone

from phones.models import Call, Figure, Line, PhoneNumber
from users.models import AuditEntry

DAYS = 14
# The name of the row that says when figures were counted.
COUNTED = "day"

Counts = dict[str, int]


def count_figures() -> None:
    """Count today, and the days of the last two weeks that were not over when figures were counted last."""
    now, latest = timezone.now(), counted_at()
    today = now.date()
    for day in last_days(today):
        if latest is None or end_of(day) > latest:
            count_day(day)
    keep(today, "numbers", numbers_by_health())
    # Last: it says that the others are there.
    Figure.objects.update_or_create(day=today, name=COUNTED, key="", defaults={"count": 1, "counted_at": now})
    Figure.objects.filter(day__lt=today - timedelta(days=2 * DAYS)).delete()


def count_day(day: date) -> None:
    within = (start_of(day), end_of(day))
    adds = AuditEntry.objects.filter(action="phone.add", at__gte=within[0], at__lt=within[1])
    calls = Call.objects.filter(created_at__gte=within[0], created_at__lt=within[1])
    keep(day, "adds", count_by(adds.filter(outcome="ok"), "detail"))
    keep(day, "refusals", count_by(adds.exclude(outcome="ok"), "outcome"))
    keep(day, "calls", count_by(calls, "account__integration"))


def numbers_by_health() -> Counts:
    lines = Line.objects.filter(phone_numbers__state=PhoneNumber.State.ACTIVE)
    found = lines.values_list("account__integration", "health").annotate(count=Count("phone_numbers"))
    return {f"{integration} {health}": count for integration, health, count in found}


def count_by(rows: QuerySet[Any], field: str) -> Counts:
    return dict(rows.order_by().values_list(field).annotate(count=Count("pk")))


def keep(day: date, name: str, counts: Counts) -> None:
    """Make the figures of this day and name these; most are that already."""
    there = dict(Figure.objects.filter(day=day, name=name).values_list("key", "count"))
    for key, count in counts.items():
        if there.get(key) != count:
            counted = {"count": count, "counted_at": timezone.now()}
            Figure.objects.update_or_create(day=day, name=name, key=key, defaults=counted)
    if gone := there.keys() - counts.keys():
        Figure.objects.filter(day=day, name=name, key__in=gone).delete()


def start_of(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def end_of(day: date) -> datetime:
    return start_of(day + timedelta(days=1))


def figures_of(name: str) -> dict[date, Counts]:
    """What was counted on each of the last days, the oldest first; a day without figures is empty."""
    days = last_days(timezone.now().date())
    rows = Figure.objects.filter(name=name, day__gte=days[0]).order_by("day")
    counted = {day: {row.key: row.count for row in of_day} for day, of_day in groupby(rows, lambda row: row.day)}
    return {day: counted.get(day, {}) for day in days}


def newest_figures(name: str) -> Counts:
    """What was counted of today; before the first count of a day empty, like what was never counted."""
    return list(figures_of(name).values())[-1]


def last_days(today: date) -> list[date]:
    """The days that the dashboard shows, the oldest first."""
    return [today - timedelta(days=back) for back in reversed(range(DAYS))]


def counted_at() -> datetime | None:
    """When the figures were counted last."""
    latest = Figure.objects.filter(name=COUNTED).order_by("-day").first()
    return latest.counted_at if latest else None
