"""What time it is for whatever several machines must agree on: leases, limits, replies that are kept."""

from datetime import datetime

from django.db import connection
from django.utils import timezone


def now() -> datetime:
    """The time by the database's clock, where the database is not on this machine. Raises nothing."""
    clock = getattr(connection, "clock", None)
    return timezone.now() + clock.ahead() if clock else timezone.now()
