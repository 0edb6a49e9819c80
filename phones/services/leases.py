"""Who may change something at a carrier: a lease on a row, taken and given back by compare-and-set."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from core import clock
from integrations.transport import Deadline
from phones.errors import LineBusy, NoSuchPhone
from phones.models import LEASE, Account, Leased, lease_is_over

POLL_S = (0.03, 0.08)


def take(row: Leased, operation_id: str) -> bool:
    """Take the lease of a row if nobody living has it. Says whether it did; the row object is not changed."""
    free = type(row)._default_manager.filter(lease_is_over(), pk=row.pk)
    return bool(free.update(lease_id=operation_id, lease_until=clock.now() + LEASE))


def give_back(row: Leased, operation_id: str, **changes: object) -> None:
    """Give up the lease, if it is still this operation's, and with it make a last change of the row."""
    mine = type(row)._default_manager.filter(pk=row.pk, lease_id=operation_id)
    mine.update(lease_id="", lease_until=None, **changes)


def delete_as_described(rows: QuerySet[Any], then: Callable[[], object] | None = None) -> bool:
    """Delete rows in one statement, only while they are as the query says. Says whether it did.

    `QuerySet.delete()` reads the rows and then deletes them by their keys: on MongoDB, which knows no foreign keys,
    somebody may have come to rely on one in between.

    Args:
        then: what the deletion entails, such as clearing references to the rows; done only if they were deleted.
    """
    try:
        with transaction.atomic():
            is_deleted = bool(rows._raw_delete(rows.db))
            if is_deleted and then:
                then()
        return is_deleted
    except IntegrityError:
        return False


def pause(deadline: Deadline) -> None:
    """Wait a moment for somebody else's lease. Raises LineBusy when there is no more time."""
    if not deadline.remaining_s():
        raise LineBusy
    time.sleep(min(random.uniform(*POLL_S), deadline.remaining_s()))


def wait_for(row: Leased, operation_id: str, deadline: Deadline) -> None:
    """Take the lease of a row as soon as it is free. Raises LineBusy when out of time, NoSuchPhone when it is gone."""
    while not take(row, operation_id):
        if not type(row)._default_manager.filter(pk=row.pk).exists():
            raise NoSuchPhone
        pause(deadline)


@contextmanager
def held(account: Account, operation_id: str, deadline: Deadline) -> Iterator[bool]:
    """Hold an account's lease. Yields whether its last holder died with it, so that its work may lie about half-done.

    The row object is refreshed. Raises Account.DoesNotExist when the row is gone, LineBusy when out of time.
    """
    while True:
        account.refresh_from_db()
        abandoned = bool(account.lease_id)
        if take(account, operation_id):
            break
        pause(deadline)
    try:
        account.refresh_from_db()
        yield abandoned
    finally:
        give_back(account, operation_id)
