"""The dashboard on the first page of the admin."""

from datetime import timedelta
from typing import Any

from django import template
from django.utils import timezone

from core.envelope import ERRORS
from integrations import PROVIDERS
from phones.desk.charts import by_day
from phones.models import Line, PhoneNumber
from phones.numbers import readable
from phones.services.checking import open_reasons
from phones.services.figures import counted_at, figures_of, newest_figures
from phones.services.reasons import in_words

register = template.Library()

UNWELL, MOST_UNFINISHED = 5, 1_000
OLD = timedelta(minutes=10)


@register.inclusion_tag("admin/phones/dashboard.html", takes_context=True)
def dashboard(context: dict[str, Any]) -> dict[str, Any]:
    """Everything that the dashboard shows, for those who may see numbers."""
    if not context["request"].user.has_perm("phones.view_phonenumber"):
        return {"shown": False}
    carriers, counted = sorted(PROVIDERS), counted_at()
    unfinished = PhoneNumber.objects.filter(state__in=PhoneNumber.UNFINISHED)[:MOST_UNFINISHED].count()
    return {
        "shown": True,
        "counted_at": counted,
        "is_old": counted is None or counted < timezone.now() - OLD,
        "carriers": [(name, PROVIDERS[name]) for name in carriers],
        "health": health_table(),
        "adds": by_day(figures_of("adds"), carriers),
        "calls": by_day(figures_of("calls"), carriers),
        "refusals": refusals(),
        "unwell": oldest_unwell(),
        "unfinished": unfinished,
    }


def health_table() -> list[dict[str, Any]]:
    """A row for each carrier: its numbers, and how they are."""
    counts = newest_figures("numbers")
    rows = []
    for name, label in sorted(PROVIDERS.items()):
        cells = {health: counts.get(f"{name} {health}", 0) for health in Line.Health.values}
        rows.append({"name": name, "label": label, "cells": cells, "total": sum(cells.values())})
    return rows


def refusals() -> list[dict[str, Any]]:
    """Why adds were refused in these days, the most frequent first."""
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
    """The numbers that have been unwell for longest, with the reason."""
    lines = Line.objects.filter(unwell_since__isnull=False).select_related("account").order_by("unwell_since")
    return [row_of(line) for line in lines[:UNWELL]]


def row_of(line: Line) -> dict[str, Any]:
    phone = line.phone_numbers.filter(state=PhoneNumber.State.ACTIVE).select_related("user").first()
    reasons = open_reasons(line)
    what = in_words(reasons[0]["reason"])[0] if reasons else ""
    return {"line": line, "phone": phone, "number": readable(line.number), "what": what}
