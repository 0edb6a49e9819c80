"""The figures on the dashboard. `reconcile` counts them, so that no page has to count a table."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from typing import Any

from django.db.models import Count, QuerySet
from django.db.models.functions import TruncDate
from django.utils import timezone

from phones.models import Call, Figure, Line, PhoneNumber
from users.models import AuditEntry

DAYS = 14
# The name of the row whose `counted_at` is the time of the last complete count.
COUNTED = "day"

Counts = dict[str, int]


def count_figures() -> None:
    """Count today, and each of the last 14 days that was not over at the last count."""
    now, latest = timezone.now(), counted_at()
    today = now.date()
    # Always today, because the clock may have been wrong.
    days = [day for day in last_days(today) if latest is None or end_of(day) > latest or day == today]
    since = start_of(days[0])
    adds = AuditEntry.objects.filter(action="phone.add", at__gte=since)
    calls = Call.objects.filter(created_at__gte=since)
    keep(days, "adds", count_by(adds.filter(outcome="ok"), "at", "detail"))
    keep(days, "refusals", count_by(adds.exclude(outcome="ok"), "at", "outcome"))
    keep(days, "calls", count_by(calls, "created_at", "account__integration"))
    keep([today], "numbers", {(today, key): count for key, count in numbers_by_health().items()})
    # Last, because this row says that the others are complete.
    Figure.objects.update_or_create(day=today, name=COUNTED, key="", defaults={"count": 1, "counted_at": now})
    Figure.objects.filter(day__lt=today - timedelta(days=2 * DAYS)).delete()


def numbers_by_health() -> Counts:
    lines = Line.objects.filter(phone_numbers__state=PhoneNumber.State.ACTIVE)
    found = lines.values_list("account__integration", "health").annotate(count=Count("phone_numbers"))
    return {f"{integration} {health}": count for integration, health, count in found}


def count_by(rows: QuerySet[Any], time: str, field: str) -> dict[tuple[date, str], int]:
    """Count the rows for each day of `time` and each value of `field`."""
    found = rows.order_by().values_list(TruncDate(time), field).annotate(count=Count("pk"))
    return {(day, key): count for day, key, count in found}


def keep(days: list[date], name: str, counts: dict[tuple[date, str], int]) -> None:
    """Store these figures of these days. Only changed figures are written."""
    of_days = Figure.objects.filter(day__in=days, name=name)
    there = {(day, key): count for day, key, count in of_days.values_list("day", "key", "count")}
    for (day, key), count in counts.items():
        if there.get((day, key)) != count:
            counted = {"count": count, "counted_at": timezone.now()}
            Figure.objects.update_or_create(day=day, name=name, key=key, defaults=counted)
    for day, key in there.keys() - counts.keys():
        Figure.objects.filter(day=day, name=name, key=key).delete()


def start_of(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def end_of(day: date) -> datetime:
    return start_of(day + timedelta(days=1))


def figures_of(name: str) -> dict[date, Counts]:
    """The figures of each of the last 14 days, oldest first. A day that was not counted is empty."""
    days = last_days(timezone.now().date())
    rows = Figure.objects.filter(name=name, day__gte=days[0]).order_by("day")
    counted = {day: {row.key: row.count for row in of_day} for day, of_day in groupby(rows, lambda row: row.day)}
    return {day: counted.get(day, {}) for day in days}


def newest_figures(name: str) -> Counts:
    """Today's figures; empty before the first count of the day."""
    return list(figures_of(name).values())[-1]


def last_days(today: date) -> list[date]:
    """The days that the dashboard shows, oldest first."""
    return [today - timedelta(days=back) for back in reversed(range(DAYS))]


def counted_at() -> datetime | None:
    """When the figures were last counted; None if never."""
    latest = Figure.objects.filter(name=COUNTED).order_by("-day").first()
    return latest.counted_at if latest else None
