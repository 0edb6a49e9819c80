"""Controls when requests to a carrier may be sent. Set for a block of work; by default nothing waits."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from integrations.transport import Deadline


class Gate:
    """An open gate. A caller that sends many requests installs its own, which makes them wait for each other."""

    @contextmanager
    def admitted(self, deadline: Deadline) -> Iterator[float]:
        """Wraps one request. Yields its start time on the monotonic clock. Raises Unanswered when out of time."""
        yield 0.0

    def slow_down(self, began: float, retry_after_s: float | None, deadline: Deadline) -> bool:
        """Report a 429 for a request that began then. Returns whether the request may be retried."""
        return False


OPEN = Gate()
# Threads started by transport.in_parallel() inherit it.
gate: ContextVar[Gate] = ContextVar("gate", default=OPEN)


@contextmanager
def through(new_gate: Gate) -> Iterator[None]:
    """Send every carrier request in this block through this gate."""
    token = gate.set(new_gate)
    try:
        yield
    finally:
        gate.reset(token)
