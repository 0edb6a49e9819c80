"""Which tests execute which line."""

import ast
import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from coverage import CoverageData

from tests.mutants.draw import Mutant, files
from tests.mutants.trial import Copy


class Reach:
    """Which tests execute which line, as one run of them under coverage has shown.

    What was measured is kept in `store`, and measured again where files are newer.
    """

    def __init__(self, root: Path, store: Path, copy: Copy, paths: list[str]) -> None:
        self.root = root
        self.data = store / "coverage"
        self.times = store / "times.json"
        self.seconds: dict[str, float] = {}
        self.failing: list[str] = []
        if stale := self.stale(paths):
            store.mkdir(parents=True, exist_ok=True)
            self.measure(copy, stale)
        self.seconds = {test: s for test, s in self.seconds.items() if test.split("::")[0] in paths}
        self.read()

    def measure(self, copy: Copy, paths: list[str]) -> None:
        workers = ("-n", "2", "--dist", "worksteal")
        cover = ("--cov", "--cov-context=test", "--cov-report=", "--cov-append")
        if copy.pytest(*paths, *workers, *cover, COVERAGE_FILE=str(self.data)) not in (0, 1):
            raise SystemExit(copy.output.read_text())
        for step in copy.steps():
            self.seconds[step["test"]] = self.seconds.get(step["test"], 0) + step["seconds"]
            if step["failed"]:
                self.failing.append(step["test"])
        self.times.write_text(json.dumps({"seconds": self.seconds, "failing": self.failing}))

    def stale(self, paths: list[str]) -> list[str]:
        """The test files to measure: all after a change to the product, else those that have changed themselves."""
        measured_at = self.times.stat().st_mtime if self.times.exists() else 0
        if not measured_at or any((self.root / file).stat().st_mtime > measured_at for file in files(self.root)):
            self.data.unlink(missing_ok=True)
            return paths
        kept = json.loads(self.times.read_text())
        known = {test.split("::")[0] for test in kept["seconds"]}
        stale = [path for path in paths if path not in known or (self.root / path).stat().st_mtime > measured_at]
        self.seconds = {test: s for test, s in kept["seconds"].items() if test.split("::")[0] not in stale}
        self.failing = [test for test in kept["failing"] if test in self.seconds]
        return stale

    def read(self) -> None:
        data = CoverageData(str(self.data))
        data.read()
        self.lines: dict[str, dict[int, set[str]]] = {}
        size: Counter[str] = Counter()
        for file in data.measured_files():
            lines = {
                line: {context.rpartition("|")[0] for context in contexts if context}
                for line, contexts in data.contexts_by_lineno(file).items()
            }
            self.lines[file] = lines
            for tests in lines.values():
                size.update(tests)
        self.cost = {test: size[test] * (seconds + 0.05) for test, seconds in self.seconds.items()}

    def tests(self, mutant: Mutant) -> list[str]:
        """The tests that execute the mutated line, or all if it runs on import; likely killers first."""
        lines = self.lines.get(mutant.file, {})
        wanted = statement_lines((self.root / mutant.file).read_text(), mutant.line)
        return self.ordered({test for line in wanted for test in lines.get(line, ())} if wanted else self.seconds)

    def ordered(self, tests: Iterable[str]) -> list[str]:
        """The most specific and fastest test of each file, then the second of each file, and so on."""
        by_file: dict[str, list[str]] = defaultdict(list)
        for test in sorted(set(tests) & self.cost.keys() - set(self.failing), key=lambda test: (self.cost[test], test)):
            by_file[test.split("::")[0]].append(test)
        ranked = [(rank, self.cost[test], test) for group in by_file.values() for rank, test in enumerate(group)]
        return [test for _, _, test in sorted(ranked)]


def statement_lines(source: str, line: int) -> range:
    """The lines of the statement around `line`; of the head of a function its body; none for what runs on import.

    Of other compound statements only the head counts: the bodies have mutants of their own.
    """
    around = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.stmt) and first_line(node) <= line <= last_line(node)
    ]
    inmost = max(around, key=first_line)
    body: list[ast.stmt] = getattr(inmost, "body", [])
    if isinstance(inmost, ast.FunctionDef) and line < body[0].lineno:
        return range(body[0].lineno, last_line(inmost) + 1)
    if not any(isinstance(node, ast.FunctionDef) for node in around):
        return range(0)
    end = body[0].lineno - 1 if body and line < body[0].lineno else last_line(inmost)
    return range(first_line(inmost), end + 1)


def first_line(node: ast.stmt) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])


def last_line(node: ast.stmt) -> int:
    return node.end_lineno or node.lineno
