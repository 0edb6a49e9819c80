"""Bars for the dashboard, as numbers that a template draws as SVG."""

from collections.abc import Mapping
from datetime import date
from typing import NamedTuple

# In units of the drawing; it is scaled to the page.
WIDTH, HEIGHT, LABEL_HEIGHT, GAP = 560, 140, 18, 6


class Bar(NamedTuple):
    """One part of a stack; `css` colours it."""

    x: float
    y: float
    width: float
    height: float
    css: str
    title: str


class Day(NamedTuple):
    """A column of the chart and a row of its table."""

    label: str
    middle: float
    counts: list[int]
    total: int


class Chart(NamedTuple):
    """Stacked bars, one for each day."""

    names: list[str]
    days: list[Day]
    bars: list[Bar]
    most: int
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def total(self) -> int:
        return sum(day.total for day in self.days)


def by_day(counts: Mapping[date, Mapping[str, int]], names: list[str]) -> Chart:
    """Draw counts of each day, one part of the bar for each name."""
    step = WIDTH / max(1, len(counts))
    most = max((sum(of_day.values()) for of_day in counts.values()), default=0)
    scale = (HEIGHT - LABEL_HEIGHT - GAP) / most if most else 0
    days, bars = [], []
    for place, (day, of_day) in enumerate(counts.items()):
        values = [of_day.get(name, 0) for name in names]
        days.append(Day(f"{day.day} {day:%b}", round((place + 0.5) * step, 1), values, sum(values)))
        top = float(HEIGHT - LABEL_HEIGHT)
        for name, value in zip(names, values, strict=True):
            if value:
                top -= value * scale
                title = f"{day.day} {day:%b}, {name}: {value}"
                left, height = place * step + GAP / 2, value * scale
                bars.append(Bar(round(left, 1), round(top, 1), round(step - GAP, 1), round(height, 1), name, title))
    return Chart(names, days, bars, most)
