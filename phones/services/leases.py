"""Leases: who may change something at a carrier, and until when.

An operation (an add, a removal, a repair, an import) has an id of its own, the lease id, and writes it to each row that
it works on. A lease is granted only by an UPDATE of one row that compares before it sets; no row is ever locked.

A lease outlasts any operation that holds it, so an expired lease belongs to a dead process.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from core import clock, waiting
from core.leased import LEASE, Leased
from integrations.transport import Deadline
from phones.errors import LineBusy, NoSuchPhone
from phones.models import Account

POLL_S = (0.03, 0.08)

Row = TypeVar("Row", bound=Leased)


def terms(lease_id: str) -> dict[str, Any]:
    """A lease that begins now: the fields of a row that is inserted with it, or of an update that grants it."""
    return {"lease_id": lease_id, "lease_until": clock.now() + LEASE}


def expired() -> Q:
    """Rows whose holder died."""
    return Q(lease_until__lt=clock.now())


def free() -> Q:
    """Rows that no living operation holds."""
    return Q(lease_until=None) | expired()


def owned(row: Row, lease_id: str) -> QuerySet[Row]:
    """The row for as long as this operation has its lease. When the query matches no row, the lease is lost."""
    return type(row)._default_manager.filter(pk=row.pk, lease_id=lease_id)


def acquire(row: Leased, lease_id: str) -> bool:
    """Take the lease if it is free. Returns whether it was; the row object is not changed."""
    return bool(type(row)._default_manager.filter(free(), pk=row.pk).update(**terms(lease_id)))


def wait(row: Leased, lease_id: str, deadline: Deadline) -> None:
    """Take the lease as soon as it is free. Raises LineBusy when out of time, NoSuchPhone when the row is gone."""
    while not acquire(row, lease_id):
        if not type(row)._default_manager.filter(pk=row.pk).exists():
            raise NoSuchPhone
        pause(deadline)


def take_over(row: Leased, lease_id: str) -> bool:
    """Take the lease if it is free and was last held by `row.lease_id`, so that exactly one of the processes
    that find an abandoned operation continues it. Returns whether it is this one; the row object is not changed."""
    return bool(owned(row, row.lease_id).filter(free()).update(**terms(lease_id)))


def renew(row: Leased, lease_id: str) -> bool:
    """Extend the lease to its full duration. Returns False if the lease is lost."""
    return bool(owned(row, lease_id).update(**terms(lease_id)))


def release(row: Leased, lease_id: str, **changes: object) -> None:
    """Give up the lease, with a last change of the row in the same statement. Does nothing if the lease is lost."""
    owned(row, lease_id).update(lease_id="", lease_until=None, **changes)


def expire(rows: QuerySet[Any]) -> None:
    """Let the leases of rows run out now: their holder could not finish, and whoever comes next takes over.

    Args:
        rows: with the lease of the caller (`owned`).
    """
    rows.update(lease_until=clock.now())


def let_go(rows: QuerySet[Any]) -> None:
    """End the leases of rows whose operation is to be finished by whoever comes next: their holder lives, and nothing
    that it requested at a carrier is open. The lease id stays, because it connects the operation's rows.

    Args:
        rows: with the lease of the caller (`owned`).
    """
    rows.update(lease_until=None)


def pause(deadline: Deadline) -> None:
    """Wait a moment for another operation's lease. Raises LineBusy when out of time."""
    if not deadline.remaining_s():
        raise LineBusy
    waiting.pause(min(random.uniform(*POLL_S), deadline.remaining_s()))


@contextmanager
def held(account: Account, lease_id: str, deadline: Deadline) -> Iterator[bool]:
    """Hold an account's lease. Yields whether its last holder died, so that its work may be half done.

    The row object is refreshed. Raises Account.DoesNotExist when the row is gone, LineBusy when out of time.
    """
    while True:
        account.refresh_from_db()
        abandoned = bool(account.lease_id)
        if acquire(account, lease_id):
            break
        pause(deadline)
    try:
        account.refresh_from_db()
        yield abandoned
    finally:
        release(account, lease_id)


def delete_matching(rows: QuerySet[Any], then: Callable[[], object] | None = None) -> bool:
    """Delete rows in one statement, only while they match the query. Returns whether any did.

    `QuerySet.delete()` reads the rows and then deletes them by their keys: on MongoDB, which has no foreign keys,
    another operation may have come to rely on one in between.

    Args:
        then: what the deletion entails, such as clearing references to the rows; called only if they were deleted.
    """
    try:
        with transaction.atomic():
            is_deleted = bool(rows._raw_delete(rows.db))
            if is_deleted and then:
                then()
        return is_deleted
    except IntegrityError:
        return False
