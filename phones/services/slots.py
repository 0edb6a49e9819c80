"""Limits how many requests of a process wait for a carrier, so that threads remain for webhooks and pages."""

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
    """Hold a slot while a request asks a carrier and its client waits. Raises LimitReached at once if none is free."""
    if not slots.acquire(blocking=False):
        log.warning("No carrier slot was free; all %s wait for a carrier", settings.CARRIER_SLOTS)
        raise LimitReached(RETRY_AFTER_S)
    try:
        yield
    finally:
        slots.release()
