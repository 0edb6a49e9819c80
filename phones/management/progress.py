"""How far a long command is: a bar on a terminal, a line now and then where there is none."""

import time
from collections import Counter
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

LINE_EVERY_S = 5.0


class Progress:
    """Counts results on a stream. A context manager."""

    def __init__(self, total: int, stream: TextIO) -> None:
        self.total, self.stream = total, stream
        self.counts: Counter[str] = Counter()
        self.began = self.told = time.monotonic()
        self.bar = Bar(
            BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[told]}"), TimeRemainingColumn(),
            console=Console(file=stream), disable=not stream.isatty(),
        )  # fmt: skip
        self.task = self.bar.add_task("", total=total, told="")

    def __enter__(self) -> "Progress":
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def count(self, result: str) -> None:
        self.counts[result] += 1
        if not self.bar.disable:
            self.bar.update(self.task, advance=1, told=self.told_so_far())
        elif time.monotonic() - self.told > LINE_EVERY_S:
            self.told = time.monotonic()
            self.say(f"{self.counts.total()} of {self.total}, {self.told_so_far()}, {self.left_s():.0f} s left")

    def say(self, text: str) -> None:
        """A line of its own."""
        self.bar.console.print(text, markup=False, highlight=False)

    def rate(self) -> float:
        return self.counts.total() / max(time.monotonic() - self.began, 0.001)

    def left_s(self) -> float:
        return (self.total - self.counts.total()) / max(self.rate(), 0.001)

    def told_so_far(self) -> str:
        results = ", ".join(f"{name} {count}" for name, count in sorted(self.counts.items()))
        return f"{results}, {self.rate():.1f}/s"
