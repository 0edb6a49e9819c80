"""SAMPLE_SEED selects cases of the tests that several engines share, others for each seed.

Each proof, with each value of each of its parameters, runs on one of its engines, which differs from seed to seed. All other
tests run whole on SQLite, and each of those marked `engine` on one of the others at least. Without SAMPLE_SEED all cases run.
"""

import os
from collections import defaultdict
from collections.abc import Sequence
from hashlib import sha256
from types import NoneType
from typing import Any, TypeVar

import pytest

from tests.support import EVERY_CASE, PROJECT
from tests.support.environment import ENGINE, ENGINES

PROOFS = PROJECT / "tests" / "proofs"
# One in so many of the cases that are not needed to reach each value runs as well.
REST = 100
T = TypeVar("T")

# A parameter, and one of its values.
Value = tuple[str, str]
# Of a test without parameters.
ANY: Value = ("", "")
# Values whose text is the same in each process.
PLAIN = (str, bytes, int, float, NoneType)
COUNTS = pytest.StashKey[tuple[int, int]]()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Choose from what -k and -m have left."""
    seed = "" if EVERY_CASE else os.environ.get("SAMPLE_SEED")
    shared = [item for item in items if is_proof(item) or (ENGINE != "sqlite" and item.get_closest_marker("engine"))]
    if seed and shared:
        kept = set(sampled(shared, seed))
        config.stash[COUNTS] = (len(kept), len(shared))
        left_out = set(shared) - kept
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]


def is_proof(item: pytest.Item) -> bool:
    return PROOFS in item.path.parents


def sampled(items: list[pytest.Item], seed: str) -> list[pytest.Item]:
    """Cases of each test such that each value of each of its parameters is in one of them, and some more.

    A test that runs on several engines shares the values out among them, differently for each seed.
    """
    tests: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        tests[item.nodeid.partition("[")[0]].append(item)
    return [item for cases in tests.values() for item in covering(cases, seed)]


def covering(cases: list[pytest.Item], seed: str) -> list[pytest.Item]:
    left = sorted(cases, key=lambda item: rank(item, f"{seed} {ENGINE}"))
    values = values_of(cases)
    missing = {value for value in set().union(*values.values()) if is_due_here(cases[0], value, seed)}
    kept = []
    while missing:
        best = max(left, key=lambda item: len(values[item] & missing))
        left.remove(best)
        kept.append(best)
        missing -= values[best]
    return kept + [item for item in left if rank(item, f"{seed} {ENGINE}") % REST == 0]


def is_due_here(item: pytest.Item, value: Value, seed: str) -> bool:
    """Whether a case with this value must run on this engine."""
    engine = item.get_closest_marker("engine")
    if engine is None:
        return True
    test, only = item.nodeid.partition("[")[0], item.get_closest_marker("only")
    sharing = only.args if only else [name for name in ENGINES if is_proof(item) or name != "sqlite"]
    return sharing[number(f"{seed} {test} {value}") % len(sharing)] == ENGINE


def values_of(cases: list[pytest.Item]) -> dict[pytest.Item, set[Value]]:
    """What each case of a test is made of. The fields of a data class that says so are parameters of their own."""
    seen: dict[str, list[Any]] = defaultdict(list)

    def known_as(name: str, value: Any) -> Value:
        """By its text, or if that may differ between processes, by its place among those of this parameter."""
        if isinstance(value, PLAIN):
            return name, repr(value)
        if value not in seen[name]:
            seen[name].append(value)
        return name, str(seen[name].index(value))

    def of(item: pytest.Item) -> set[Value]:
        callspec: Any = getattr(item, "callspec", None)
        values = set()
        for name, value in callspec.params.items() if callspec else ():
            parts = vars(value) if getattr(value, "sampled_by_field", False) else {"": value}
            values |= {known_as(f"{name}.{part}", one) for part, one in parts.items()}
        return values or {ANY}

    return {item: of(item) for item in cases}


def one_of(values: Sequence[T]) -> Sequence[T]:
    """Parameters of a test that takes long: another one for each seed, or all without a seed."""
    seed = "" if EVERY_CASE else os.environ.get("SAMPLE_SEED")
    return [values[number(seed) % len(values)]] if seed else values


def rank(item: pytest.Item, seed: str) -> int:
    return number(f"{seed} {item.nodeid}")


def number(text: str) -> int:
    return int.from_bytes(sha256(text.encode()).digest()[:8])


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
