"""Acts that start at the same moment."""

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections

from sandbox.sandbox import Sandbox

WAIT_S = 5.0


def repeated(times: int) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("attempt", range(times))


def together(*acts: Callable[[], Any]) -> list[Any]:
    """The results of acts that start at the same moment, each in a thread with a database connection of its own."""
    start = threading.Barrier(len(acts))

    def run(act: Callable[[], Any]) -> Any:
        try:
            start.wait(WAIT_S)
            return act()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(acts)) as pool:
        return [future.result() for future in [pool.submit(run, act) for act in acts]]


def jitter(sandbox: Sandbox, longest_s: float = 0.03, requests: int = 150) -> None:
    """Delay each of the next carrier requests by a time of its own. To be set after all other faults."""
    for _ in range(requests):
        sandbox.fault("delay", seconds=random.uniform(0, longest_s))


def wait_for(condition: Callable[[], Any]) -> None:
    give_up_at = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < give_up_at, "what the test waits for did not happen"
        time.sleep(0.005)
