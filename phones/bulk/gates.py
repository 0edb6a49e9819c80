"""How fast carriers may be asked by a run that adds many numbers: a gate for an account, a breaker for a carrier."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

from integrations.errors import Unanswered
from integrations.gate import Gate
from integrations.transport import Deadline

# Where a carrier that has had too many requests does not say how long to wait; and the longest that it is believed.
PAUSE_S, MAX_PAUSE_S = 1.0, 120.0
# So that those who wait do not all come back in the same moment.
JITTER = 0.25


class AccountGate(Gate):
    """Lets so many requests of one carrier account through at a time; fewer once the carrier says it was too many.

    After a 429 nobody passes until the carrier's time is over, and from then on half as many as before, for good.
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
            # All that were under way together were too many together: that is one reason to halve, not one for each.
            if began > self.slowed_at:
                self.limit = max(1, self.limit // 2)
                self.slowed_at = now
            until = now + pause_s * (1 + random.uniform(0, JITTER)) + random.uniform(0, JITTER)
            self.closed_until = max(self.closed_until, until)
            return self.closed_until - now < deadline.remaining_s()


class Breaker:
    """Spares a carrier that does not answer: after so many failures in a row nobody asks it, but one now and then."""

    FAILURES = 5
    REST_S = 30.0

    def __init__(self) -> None:
        self.failures = 0
        self.next_trial = 0.0

    def allows(self) -> bool:
        """Whether the carrier may be asked. When it is its time, says so to one and lets the next wait again."""
        if self.failures < self.FAILURES:
            return True
        now = time.monotonic()
        if now < self.next_trial:
            return False
        self.next_trial = now + self.REST_S
        return True

    def note(self, *, answered: bool) -> None:
        """Count how a question ended."""
        self.failures = 0 if answered else self.failures + 1
        if self.failures == self.FAILURES:
            self.next_trial = time.monotonic() + self.REST_S
