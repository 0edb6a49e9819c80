"""Figures that tests count while they run, added up over all processes and printed in the end."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

Tally = Callable[..., None]


@pytest.fixture
def tally(record_property: Callable[[str, object], None]) -> Tally:
    """`tally("forged webhooks tried", 10)`: what a run has counted goes with the test's report."""

    def add(name: str, count: int = 1) -> None:
        record_property(f"tally:{name}", count)

    return add


def pytest_terminal_summary(terminalreporter: Any) -> None:
    counted: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", "") == "call":
                for name, count in report.user_properties:
                    if name.startswith("tally:"):
                        counted[name.removeprefix("tally:")] += count
    if counted:
        terminalreporter.section("figures")
        width = max(map(len, counted))
        for name in sorted(counted):
            terminalreporter.write_line(f"{name:<{width}}  {counted[name]:>12,}")
