"""The clock of the replica set's primary, which every machine uses for its leases."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any

from pymongo.errors import PyMongoError

# Clocks drift apart by less than a second a day; this is how long it takes to notice a clock that was reset.
MEASURE_EVERY_S = 30.0


class ServerClock:
    """How far the primary's clock is ahead of this machine's, measured every 30 s. Thread-safe."""

    def __init__(self, hello: Callable[[], dict[str, Any]]) -> None:
        self._hello = hello
        self._ahead = timedelta(0)
        self._measure_at = 0.0
        self._lock = Lock()

    def ahead(self) -> timedelta:
        """The offset of the primary's clock. May ask the server; if it does not answer, returns the last measurement.

        Raises nothing.
        """
        if time.monotonic() >= self._measure_at and self._lock.acquire(blocking=False):
            try:
                self._measure_at = time.monotonic() + MEASURE_EVERY_S
                self._measure()
            finally:
                self._lock.release()
        return self._ahead

    def _measure(self) -> None:
        before = time.time()
        try:
            there = self._hello()["localTime"].replace(tzinfo=UTC)
        except PyMongoError:
            return
        here = datetime.fromtimestamp((before + time.time()) / 2, UTC)
        self._ahead = there - here
