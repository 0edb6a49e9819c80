"""Slow tests. SAMPLE_SEED selects some of their cases, others for each seed; without it all run."""

import os
from collections import defaultdict
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from sandbox.sandbox import Sandbox
from tests.support import EVERY_CASE
from tests.support.environment import ENGINE
from tests.support.killing import Killer

HERE = Path(__file__).parent
# One in so many of the cases that are not needed to reach each value runs as well.
REST = 100
COUNTS = pytest.StashKey[tuple[int, int]]()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Choose from what -k and -m have left."""
    seed = "" if EVERY_CASE else os.environ.get("SAMPLE_SEED")
    proofs = [item for item in items if HERE in item.path.parents]
    if seed and proofs:
        kept = set(sampled(proofs, f"{seed} {ENGINE}"))
        config.stash[COUNTS] = (len(kept), len(proofs))
        left_out = set(proofs) - kept
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]


def sampled(items: list[pytest.Item], seed: str) -> list[pytest.Item]:
    """Cases of each test such that each value of each of its parameters is in one of them, and some more."""
    tests: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        tests[item.nodeid.partition("[")[0]].append(item)
    return [item for cases in tests.values() for item in covering(cases, seed)]


def covering(cases: list[pytest.Item], seed: str) -> list[pytest.Item]:
    left = sorted(cases, key=lambda item: rank(item, seed))
    missing = set().union(*map(values_of, cases))
    kept = []
    while missing:
        best = max(left, key=lambda item: len(values_of(item) & missing))
        left.remove(best)
        kept.append(best)
        missing -= values_of(best)
    return kept + [item for item in left if rank(item, seed) % REST == 0]


def values_of(item: pytest.Item) -> set[tuple[str, str]]:
    """What a case is made of. The fields of a data class that says so are parameters of their own."""
    values = {("", "")}  # of a test without parameters
    callspec = getattr(item, "callspec", None)
    for name, value in callspec.params.items() if callspec else ():
        parts = vars(value) if getattr(value, "sampled_by_field", False) else {"": value}
        values |= {(f"{name}.{part}", repr(one)) for part, one in parts.items()}
    return values


def rank(item: pytest.Item, seed: str) -> int:
    return int.from_bytes(sha256(f"{seed} {item.nodeid}".encode()).digest()[:8])


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput") and COUNTS in session.config.stash:
        session.config.workeroutput["sampled"] = session.config.stash[COUNTS]


def pytest_testnodedown(node: Any) -> None:
    if "sampled" in getattr(node, "workeroutput", {}):
        node.config.stash[COUNTS] = node.workeroutput["sampled"]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if COUNTS in config.stash:
        kept, of = config.stash[COUNTS]
        terminalreporter.write_line(
            f"{kept} of {of} cases on {ENGINE}, chosen by SAMPLE_SEED={os.environ['SAMPLE_SEED']}"
        )


@pytest.fixture(scope="session")
def killer(django_db_setup: None, running_sandbox: Sandbox) -> Iterator[Killer]:
    killer = Killer(running_sandbox)
    yield killer
    killer.stop()
