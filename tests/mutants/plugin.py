"""What pytest does differently while mutants are tried. Loaded with `-p`; two variables of the environment steer it.

MUTANTS_JOURNAL: a file that gets a line of JSON for each step of a test.
MUTANTS_TESTS: a file with a JSON list; these tests run, in this order.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

JOURNAL = os.environ.get("MUTANTS_JOURNAL") if "PYTEST_XDIST_WORKER" not in os.environ else None


def note(**step: object) -> None:
    if JOURNAL:
        with Path(JOURNAL).open("a") as journal:
            journal.write(json.dumps(step) + "\n")


def pytest_runtest_logstart(nodeid: str) -> None:
    note(test=nodeid, failed=False, seconds=0)


def pytest_runtest_logreport(report: Any) -> None:
    note(test=report.nodeid, failed=report.failed, seconds=report.duration)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if "MUTANTS_TESTS" in os.environ:
        order = {test: rank for rank, test in enumerate(json.loads(Path(os.environ["MUTANTS_TESTS"]).read_text()))}
        items[:] = sorted((item for item in items if item.nodeid in order), key=lambda item: order[item.nodeid])
