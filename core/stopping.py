"""Lets long work end between two steps when its process is told to stop (`manage.py worker`)."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Event

_stop: ContextVar[Event | None] = ContextVar("stop", default=None)


class Stopped(BaseException):
    """The process is stopping. Not an Exception, so that code that survives errors does not continue."""


@contextmanager
def stopped_by(event: Event) -> Iterator[None]:
    """Let `raise_if_stopping` raise in this block once the event is set."""
    mark = _stop.set(event)
    try:
        yield
    finally:
        _stop.reset(mark)


def raise_if_stopping() -> None:
    """Call this between two steps of long work, where nothing is half done. Raises Stopped."""
    event = _stop.get()
    if event and event.is_set():
        raise Stopped
