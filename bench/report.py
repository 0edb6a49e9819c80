"""A table of ratios and their goals."""

import sys
from dataclasses import dataclass


@dataclass
class Line:
    """One measured value. `goal` is its maximum, or with `exact` the required value."""

    what: str
    value: float
    goal: float
    exact: bool = False

    @property
    def holds(self) -> bool:
        return self.value == self.goal if self.exact else self.value <= self.goal


def finish(lines: list[Line], *, check: bool) -> None:
    """Print the table and exit, with status 1 if a goal is missed and `check` is set."""
    width = max(len(line.what) for line in lines)
    for line in lines:
        sign = "=" if line.exact else "≤"
        verdict = "ok" if line.holds else "MISSED"
        print(f"{line.what:<{width}}  {line.value:6.2f}   {sign} {line.goal:g}   {verdict}")
    sys.exit(1 if check and not all(line.holds for line in lines) else 0)
