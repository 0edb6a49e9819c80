"""Requests that a carrier carries out late, when the caller may have given up long ago."""

import threading
from collections.abc import Callable
from functools import partial


class Late:
    """The pending requests, in order of arrival. Each is carried out under `lock`, the sandbox's, and exactly once."""

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._pending: dict[Callable[[], object], threading.Timer] = {}

    def add(self, seconds: float, carry_out: Callable[[], object]) -> None:
        timer = threading.Timer(seconds, partial(self._land, carry_out))
        timer.daemon = True
        with self._lock:
            self._pending[carry_out] = timer
        timer.start()

    def land(self) -> int:
        """Carry out everything that is pending now, in order of arrival. Returns how many requests that was."""
        with self._lock:
            return sum(self._land(carry_out) for carry_out in list(self._pending))

    def cancel(self) -> None:
        with self._lock:
            for timer in self._pending.values():
                timer.cancel()
            self._pending.clear()

    def _land(self, carry_out: Callable[[], object]) -> bool:
        with self._lock:
            timer = self._pending.pop(carry_out, None)
            if timer is None:  # landed or cancelled while this thread waited for the lock
                return False
            timer.cancel()
            carry_out()
            return True
