"""Log lines that anybody can cause: each kind at most once a minute."""

import time
from collections.abc import Iterable
from mmap import mmap
from threading import Lock

QUIET_S = 60.0


class Quiet:
    """Whose turn it is to be logged.

    The processes of the server share it if it is made before they are forked. There is no lock between them, which
    would stay locked if its holder died; so a line or two more may be logged.
    """

    def __init__(self, kinds: Iterable[str]) -> None:
        self._kinds = list(kinds)
        memory = memoryview(mmap(-1, 2 * 8 * len(self._kinds))).cast("d")
        # For each kind, when it was last logged, and how often it was not since.
        self._logged_at, self._unlogged = memory[: len(self._kinds)], memory[len(self._kinds) :]
        self._lock = Lock()

    def turn(self, kind: str) -> int | None:
        """Return None if one of this kind was logged within the last minute, otherwise how many were not logged since
        the last one. The caller logs this one then."""
        place, now = self._kinds.index(kind), time.monotonic()
        with self._lock:
            if self._logged_at[place] and now - self._logged_at[place] < QUIET_S:
                self._unlogged[place] += 1
                return None
            self._logged_at[place], unlogged, self._unlogged[place] = now, int(self._unlogged[place]), 0
            return unlogged
