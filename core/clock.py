"""The time for everything that several machines must agree on: leases, rate limits, stored responses."""

from datetime import datetime

from django.db import connection
from django.utils import timezone


def now() -> datetime:
    """The current time by the database's clock, or by ours if the database is on this machine. Raises nothing."""
    clock = getattr(connection, "clock", None)
    return timezone.now() + clock.ahead() if clock else timezone.now()
