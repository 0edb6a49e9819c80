"""Limits on what a bulk add asks carriers: a gate for each account, a breaker for each carrier."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

from integrations.errors import Unanswered
from integrations.gate import Gate
from integrations.transport import Deadline

# How long to wait after a 429 that does not say; and the longest wait that we accept from a carrier.
PAUSE_S, MAX_PAUSE_S = 1.0, 120.0
# Keeps waiting requests from all coming back at the same moment.
JITTER = 0.25


class AccountGate(Gate):
    """Limits the concurrent requests for one carrier account.

    After a 429 nothing passes until the carrier's waiting time is over, and from then on the limit is halved for good.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.closed_until = 0.0
        self.slowed_at = 0.0
        self._in_flight = 0
        self._changed = Condition()

    @property
    def is_closed(self) -> bool:
        return time.monotonic() < self.closed_until

    @contextmanager
    def admitted(self, deadline: Deadline) -> Iterator[float]:
        began = self._enter(deadline)
        try:
            yield began
        finally:
            with self._changed:
                self._in_flight -= 1
                self._changed.notify()

    def _enter(self, deadline: Deadline) -> float:
        with self._changed:
            while True:
                now = time.monotonic()
                closed_s = self.closed_until - now
                if closed_s <= 0 and self._in_flight < self.limit:
                    self._in_flight += 1
                    return now
                if not deadline.remaining_s():
                    raise Unanswered("out of time at the account's gate")
                self._changed.wait(min(deadline.remaining_s(), closed_s if closed_s > 0 else deadline.remaining_s()))

    def slow_down(self, began: float, retry_after_s: float | None, deadline: Deadline) -> bool:
        pause_s = min(PAUSE_S if retry_after_s is None else retry_after_s, MAX_PAUSE_S)
        with self._changed:
            now = time.monotonic()
            # Requests that were in progress together halve the limit once, not once for each 429.
            if began > self.slowed_at:
                self.limit = max(1, self.limit // 2)
                self.slowed_at = now
            until = now + pause_s * (1 + random.uniform(0, JITTER)) + random.uniform(0, JITTER)
            self.closed_until = max(self.closed_until, until)
            return self.closed_until - now < deadline.remaining_s()


class Breaker:
    """Stops asking a carrier that does not answer: after FAILURES in a row, one row is tried every REST_S seconds."""

    FAILURES = 5
    REST_S = 30.0

    def __init__(self) -> None:
        self.failures = 0
        self.next_trial = 0.0

    def allows(self) -> bool:
        """Whether the carrier may be asked now. After too many failures a True is the only one for REST_S seconds."""
        if self.failures < self.FAILURES:
            return True
        now = time.monotonic()
        if now < self.next_trial:
            return False
        self.next_trial = now + self.REST_S
        return True

    def note(self, *, answered: bool) -> None:
        """Record whether the carrier answered."""
        self.failures = 0 if answered else self.failures + 1
        if self.failures == self.FAILURES:
            self.next_trial = time.monotonic() + self.REST_S
