"""Who may send a request to a carrier now. Set around a piece of work; without it everybody may."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from integrations.transport import Deadline


class Gate:
    """An open gate. A caller that sends many requests has its own, which makes them wait for each other."""

    @contextmanager
    def admitted(self, deadline: Deadline) -> Iterator[float]:
        """Around one request. Yields when it began, on the monotonic clock. Raises Unanswered when out of time."""
        yield 0.0

    def slow_down(self, began: float, retry_after_s: float | None, deadline: Deadline) -> bool:
        """The carrier says that a request which began then was one too many. Says whether it may be sent once more."""
        return False


OPEN = Gate()
# Threads that read for others inherit it (transport.in_parallel).
gate: ContextVar[Gate] = ContextVar("gate", default=OPEN)


@contextmanager
def through(one: Gate) -> Iterator[None]:
    """Every request to a carrier in this block goes through this gate."""
    token = gate.set(one)
    try:
        yield
    finally:
        gate.reset(token)
