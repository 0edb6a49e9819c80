"""The clock of a database server, which every machine uses for its leases."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Lock

from django.db import DatabaseError

# Clocks drift apart by less than a second a day; this is how long it takes to notice a clock that was reset.
MEASURE_EVERY_S = 30.0


class ServerClock:
    """How far the server's clock is ahead of this machine's, measured every 30 s. Thread-safe.

    Args:
        read: asks the server for its time, with a time zone. May raise DatabaseError.
        connect: waits for what `read` needs, if that may take long. May raise DatabaseError.
    """

    def __init__(self, read: Callable[[], datetime], connect: Callable[[], object] = lambda: None) -> None:
        self._read = read
        self._connect = connect
        self._ahead = timedelta(0)
        self._measure_at = 0.0
        self._lock = Lock()

    def ahead(self) -> timedelta:
        """The offset of the server's clock. May ask the server; if it does not answer, returns the last measurement.

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
        try:
            self._connect()  # before it is timed: half of the time is taken for the answer's way
            before = time.time()
            there = self._read()
        except DatabaseError:
            return
        here = datetime.fromtimestamp((before + time.time()) / 2, UTC)
        self._ahead = there - here
