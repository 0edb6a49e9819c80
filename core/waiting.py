"""What a thread does before it waits for somebody else: it gives back what others can use meanwhile."""

import time

from django.db import connection


def give_back_connection() -> None:
    """Return this thread's database connection to the pool of the process, if its engine has one.

    The next query takes one again. Within a transaction, nothing happens.
    """
    if give_back := getattr(connection, "give_back", None):
        give_back()


def pause(seconds: float) -> None:
    """Sleep, without a connection."""
    give_back_connection()
    time.sleep(seconds)
