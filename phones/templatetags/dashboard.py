"""The dashboard on the first page of the admin: figures that `reconcile` counted, and charts of them as SVG."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, NamedTuple

from django import template
from django.utils import timezone

from core.envelope import ERRORS
from integrations import PROVIDERS
from phones.desk.words import hue_of
from phones.models import Line, PhoneNumber
from phones.numbers import readable
from phones.services.checking import open_reasons
from phones.services.figures import counted_at, figures_of, newest_figures
from phones.services.reasons import in_words

register = template.Library()

UNWELL, MAX_UNFINISHED = 5, 1_000
STALE_AFTER = timedelta(minutes=10)
# In units of the SVG, which is scaled to the page.
WIDTH, HEIGHT, LABEL_HEIGHT, GAP = 560, 140, 18, 6


@register.inclusion_tag("admin/phones/dashboard.html", takes_context=True)
def dashboard(context: dict[str, Any]) -> dict[str, Any]:
    """Return the dashboard's context; for users who may not view numbers, only `may_view`."""
    if not context["request"].user.has_perm("phones.view_phonenumber"):
        return {"may_view": False}
    counted = counted_at()
    unfinished = PhoneNumber.objects.filter(state__in=PhoneNumber.UNFINISHED)[:MAX_UNFINISHED].count()
    return {
        "may_view": True,
        "counted_at": counted,
        "is_stale": counted is None or counted < timezone.now() - STALE_AFTER,
        "carriers": sorted(PROVIDERS.items()),
        "health": health_table(),
        "adds": by_day(figures_of("adds")),
        "calls": by_day(figures_of("calls")),
        "refusals": refusals(),
        "unwell": oldest_unwell(),
        "unfinished": unfinished,
    }


def health_table() -> list[dict[str, Any]]:
    """Return a row for each carrier: how many numbers it has in each state of health."""
    counts = newest_figures("numbers")
    rows = []
    for name, label in sorted(PROVIDERS.items()):
        cells = {health: counts.get(f"{name} {health}", 0) for health in Line.Health.values}
        rows.append({"name": name, "label": label, "cells": cells, "total": sum(cells.values())})
    return rows


def refusals() -> list[dict[str, Any]]:
    """Return the reasons for refused adds in the last 14 days, the most frequent first."""
    totals: dict[str, int] = {}
    for of_day in figures_of("refusals").values():
        for code, count in of_day.items():
            totals[code] = totals.get(code, 0) + count
    most = max(totals.values(), default=1)
    return [
        {"code": code, "words": ERRORS.get(code, (0, code))[1], "count": count, "width": round(100 * count / most, 1)}
        for code, count in sorted(totals.items(), key=lambda item: (-item[1], item[0]))
    ]


def oldest_unwell() -> list[dict[str, Any]]:
    """Return the numbers that have needed attention the longest, with the first reason."""
    lines = Line.objects.filter(unwell_since__isnull=False).select_related("account").order_by("unwell_since")
    return [row_of(line) for line in lines[:UNWELL]]


def row_of(line: Line) -> dict[str, Any]:
    phone = line.phone_numbers.filter(state=PhoneNumber.State.ACTIVE).select_related("user").first()
    reasons = open_reasons(line)
    what = in_words(reasons[0]["reason"])[0] if reasons else ""
    return {"line": line, "phone": phone, "number": readable(line.number), "what": what}


# -- charts -----------------------------------------------------------------------------------------------------------


class Bar(NamedTuple):
    """One part of a stacked bar. `css` is the class that colours it."""

    x: float
    y: float
    width: float
    height: float
    css: str
    title: str


class Day(NamedTuple):
    """A stacked bar of the chart, and a row of the table below it."""

    label: str
    middle: float
    counts: list[int]
    total: int


class Chart(NamedTuple):
    """Stacked bars, one for each day. `most` is the highest total of a day."""

    names: list[str]
    days: list[Day]
    bars: list[Bar]
    most: int
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def total(self) -> int:
        return sum(day.total for day in self.days)


def by_day(counts: Mapping[date, Mapping[str, int]]) -> Chart:
    """Draw the counts of each day as a stacked bar with a part for each carrier."""
    carriers = sorted(PROVIDERS)
    step = WIDTH / max(1, len(counts))
    most = max((sum(of_day.values()) for of_day in counts.values()), default=0)
    scale = (HEIGHT - LABEL_HEIGHT - GAP) / most if most else 0
    days, bars = [], []
    for place, (day, of_day) in enumerate(counts.items()):
        values = [of_day.get(name, 0) for name in carriers]
        days.append(Day(f"{day.day} {day:%b}", round((place + 0.5) * step, 1), values, sum(values)))
        top = float(HEIGHT - LABEL_HEIGHT)
        for name, value in zip(carriers, values, strict=True):
            if value:
                top -= value * scale
                title = f"{day.day} {day:%b}, {PROVIDERS[name]}: {value}"
                left, width, height = (round(x, 1) for x in (place * step + GAP / 2, step - GAP, value * scale))
                bars.append(Bar(left, round(top, 1), width, height, hue_of(name), title))
    return Chart([PROVIDERS[name] for name in carriers], days, bars, most)
