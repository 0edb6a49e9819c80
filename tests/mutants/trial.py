"""A copy of the project, in which one mutant at a time meets the tests."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from tests.mutants.draw import Mutant

TEST_TIMEOUT_S = 120
RUN_TIMEOUT_S = 120  # at least


class Step(TypedDict):
    test: str
    failed: bool
    seconds: float


@dataclass(frozen=True)
class Outcome:
    passed: bool
    test: str = ""  # that failed or was running
    how: str = ""

    @property
    def detail(self) -> str:
        return f"{self.test} {self.how}".strip()


class Copy:
    def __init__(self, root: Path, folder: Path) -> None:
        self.root = root
        self.tree = folder / "tree"
        self.journal = folder / "journal"
        self.output = folder / "output"
        self.wanted = folder / "wanted.json"
        listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        for name in subprocess.check_output(listing, cwd=root, text=True).split("\0"):
            if name and (root / name).is_file():
                (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, self.tree / name)

    def pytest(self, *arguments: str, timeout_s: float | None = None, **environment: str) -> int | None:
        """Runs pytest in the copy. Returns its exit code, or None after the timeout."""
        self.journal.unlink(missing_ok=True)
        command = [sys.executable, "-m", "pytest", "-p", "tests.mutants.plugin", "-p", "no:cacheprovider", *arguments]
        variables = os.environ | {"MUTANTS_JOURNAL": str(self.journal)} | environment
        with self.output.open("w") as output:
            process = subprocess.Popen(
                command, cwd=self.tree, env=variables, stdout=output, stderr=output, start_new_session=True
            )
            try:
                return process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                return None
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # with the servers that its tests have started
                process.wait()

    def steps(self) -> list[Step]:
        return [json.loads(line) for line in self.journal.read_text().splitlines()] if self.journal.exists() else []

    def run(self, tests: list[str], *, timeout_s: float) -> Outcome:
        """Runs the tests in this order, up to the first that fails or hangs."""
        self.wanted.write_text(json.dumps(tests))
        limit = ("-o", f"faulthandler_timeout={TEST_TIMEOUT_S}", "-o", "faulthandler_exit_on_timeout=true")
        code = self.pytest(
            "-x",
            *limit,
            *dict.fromkeys(test.split("::")[0] for test in tests),
            timeout_s=max(RUN_TIMEOUT_S, timeout_s),
            MUTANTS_TESTS=str(self.wanted),
        )
        steps = self.steps()
        if code == 0:
            return Outcome(passed=True)
        if not steps:
            return Outcome(passed=False, how="the tests can't be loaded")
        last = next((step for step in steps if step["failed"]), steps[-1])
        return Outcome(passed=False, test=last["test"], how="fails" if last["failed"] else "hangs")

    def try_out(self, mutant: Mutant, tests: list[str], *, timeout_s: float) -> Outcome:
        """Whether the tests notice the mutant.

        A failure counts only if the same tests, up to the one that failed, pass without the mutant.
        """
        while tests:
            (self.tree / mutant.file).write_text(mutant.code)
            outcome = self.run(tests, timeout_s=timeout_s)
            shutil.copy2(self.root / mutant.file, self.tree / mutant.file)
            if outcome.passed:
                break
            end = tests.index(outcome.test) + 1 if outcome.test else 1
            if self.run(tests[:end], timeout_s=timeout_s).passed:
                return outcome
            tests = tests[end:]
        return Outcome(passed=True)
