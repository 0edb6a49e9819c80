"""Progress of a long command: a bar on a terminal, otherwise a line every few seconds."""

import time
from collections import Counter
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

LINE_EVERY_S = 5.0


class Progress:
    """Counts results and shows the counts on a stream. A context manager."""

    def __init__(self, total: int, stream: TextIO) -> None:
        self.total, self.stream = total, stream
        self.counts: Counter[str] = Counter()
        self.began = self.last_line_at = time.monotonic()
        self.bar = Bar(
            BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[counts]}"), TimeRemainingColumn(),
            console=Console(file=stream), disable=not stream.isatty(),
        )  # fmt: skip
        self.task = self.bar.add_task("", total=total, counts="")

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
            self.bar.update(self.task, advance=1, counts=self.summary())
        elif time.monotonic() - self.last_line_at > LINE_EVERY_S:
            self.last_line_at = time.monotonic()
            self.print_line(f"{self.counts.total()} of {self.total}, {self.summary()}, {self.left_s():.0f} s left")

    def print_line(self, text: str) -> None:
        """Print a line of its own, above the bar if there is one."""
        self.bar.console.print(text, markup=False, highlight=False)

    def rate(self) -> float:
        return self.counts.total() / max(time.monotonic() - self.began, 0.001)

    def left_s(self) -> float:
        return (self.total - self.counts.total()) / max(self.rate(), 0.001)

    def summary(self) -> str:
        results = ", ".join(f"{name} {count}" for name, count in sorted(self.counts.items()))
        return f"{results}, {self.rate():.1f}/s"
