"""How many requests of one process may wait for a carrier: threads are left for what asks none, such as webhooks."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

from django.conf import settings

from users.limits import LimitReached

RETRY_AFTER_S = 5

log = logging.getLogger(__name__)
slots = BoundedSemaphore(settings.CARRIER_SLOTS)


@contextmanager
def carrier_slot() -> Iterator[None]:
    """Around what asks a carrier while a client waits for the reply. Raises LimitReached at once when none is free."""
    if not slots.acquire(blocking=False):
        log.warning("No carrier slot was free; all %s wait for a carrier", settings.CARRIER_SLOTS)
        raise LimitReached(RETRY_AFTER_S)
    try:
        yield
    finally:
        slots.release()
