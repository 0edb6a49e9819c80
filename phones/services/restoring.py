"""Rolling back what an operation did at a carrier: at once after a failure, or by another process after a crash."""

import json
import logging
from collections.abc import Iterable
from contextlib import suppress
from enum import Enum

from core import keys
from core.fields import new_object_id
from core.secrets import CannotOpen
from integrations.base import Provider
from integrations.errors import NumberNotOwned
from integrations.transport import Deadline
from phones.errors import LineBusy
from phones.models import Line, PhoneNumber
from phones.services import leases
from phones.services.accounts import Credentials, release_account
from phones.services.carriers import ROLL_BACK_BUDGET_S, urls_for
from phones.services.keyring import Keyring

log = logging.getLogger(__name__)

State = PhoneNumber.State
# Not active, but the carrier may still send us the calls.
ROUTED = [State.APPLYING, State.REMOVING]


class Restoration(Enum):
    """What became of a number's settings at the carrier when the number left us."""

    DONE = "done"
    STILL_NEEDED = "another number needs the line"
    NUMBER_GONE = "the account no longer has the number"
    SETTINGS_LOST = "the previous settings cannot be read"
    LATER = "reconcile will finish it"


# -- unfinished operations --------------------------------------------------------------------------------------------


def claim_abandoned(row: PhoneNumber) -> bool:
    """Take over the unfinished operation of a dead process, with the line that it held. Returns whether it is ours now;
    if so, the row object has our lease id."""
    lease_id = new_object_id()
    if not leases.take_over(row, lease_id):
        return False
    if row.lease_id:
        Line.objects.filter(leases.free(), lease_id=row.lease_id).update(**leases.terms(lease_id))
    row.lease_id = lease_id
    return True


def roll_back(
    row: PhoneNumber, deadline: Deadline, *, verified: Credentials | None = None, number_seen: bool = False
) -> Restoration:
    """End an unfinished add, or a removal, under our lease: the carrier as it was before, the row deleted.

    Args:
        row: reserved, applying or removing, with our lease id.
        verified: credentials of the same account that the carrier accepted a moment ago, to be tried first.
        number_seen: the number was there a moment ago, so a carrier that reports it gone is not believed yet.

    Returns what became of the settings at the carrier.

    Raises:
        IntegrationError: the carrier cannot be asked. LineBusy: another operation holds the line. CannotOpen: a key is
        missing. The row stays as it is, to be rolled back later.
    """
    line = row.line or Line.objects.filter(lease_id=row.lease_id).first()
    if line is None:
        leases.owned(row, row.lease_id).delete()
        return Restoration.DONE
    keyring = Keyring(line.account, verified=verified, operation_of=row)
    restoration = Restoration.DONE
    if row.state in ROUTED:
        if not leases.owned(line, row.lease_id).exists() and not leases.acquire(line, row.lease_id):
            raise LineBusy
        try:
            restoration = restore_carrier_settings(line, keyring, deadline)
        except NumberNotOwned:
            if number_seen:
                raise
            restoration = Restoration.NUMBER_GONE
    leases.owned(row, row.lease_id).delete()
    release_line(line, row.lease_id, keyring, deadline)
    return restoration


def roll_back_or_release(
    row: PhoneNumber, deadline: Deadline, *, verified: Credentials | None = None, number_seen: bool = False
) -> Restoration:
    """Roll back as `roll_back` does. If that fails, let its leases expire, so that the next attempt need not wait,
    and raise the error."""
    try:
        return roll_back(row, deadline, verified=verified, number_seen=number_seen)
    except BaseException:
        leases.expire(leases.owned(row, row.lease_id))
        leases.expire(Line.objects.filter(lease_id=row.lease_id))
        raise


# -- lines ------------------------------------------------------------------------------------------------------------


def is_needed(line: Line, *, without: Iterable[str] = ()) -> bool:
    """Whether an active number, apart from those with these ids, is on the line, so that it must stay routed to us."""
    return line.phone_numbers.filter(state=State.ACTIVE).exclude(pk__in=without).exists()


def restore_carrier_settings(line: Line, keyring: Keyring, deadline: Deadline) -> Restoration:
    """Restore the number's settings at the carrier, unless an active number needs the line.

    Raises IntegrationError; NumberNotOwned when the number is gone; CannotOpen when the settings cannot be read until a
    missing key is back. If that key is lost for good, the settings stay as they are.
    """
    if is_needed(line):
        return Restoration.STILL_NEEDED
    account = line.account
    try:
        snapshot = json.loads(line.snapshot.open())
    except CannotOpen:
        if keys.missing():
            raise
        log.error("%s of %s: the previous settings are lost. Restore them in the carrier's console.", line, account)
        return Restoration.SETTINGS_LOST

    def restore(provider: Provider) -> None:
        provider.restore(line.carrier_id, snapshot, urls_for(account), account.application_id)

    keyring.try_each(restore, deadline)
    return Restoration.DONE


def release_line(line: Line, lease_id: str, keyring: Keyring, deadline: Deadline) -> None:
    """Release the lease of a line. If no number is on the line any more, delete it, and its account likewise.

    Raises IntegrationError when the carrier cannot be asked about the account's application.
    """
    if not delete_line(line, lease_id):
        leases.release(line, lease_id)
        return
    keyring.try_each(lambda provider: release_account(line.account, lease_id, provider), deadline)


def delete_line(line: Line, lease_id: str) -> bool:
    """Delete a line whose lease is ours, unless a number is on it. Returns whether it was deleted.

    No number comes onto a line without its lease; if the lease is lost by now, the line stays.
    """
    if line.phone_numbers.exists():
        return False
    return leases.delete_matching(leases.owned(line, lease_id), then=lambda: line.calls.update(line=None))


def roll_back_line(line: Line, deadline: Deadline, *, verified: Credentials) -> None:
    """Roll back the operations that the dead holder of a line, whose lease is ours now, left on it. Raises as
    `roll_back` does."""
    for row in line.phone_numbers.filter(leases.free(), state__in=ROUTED):
        if claim_abandoned(row):
            with suppress(NumberNotOwned):
                restore_carrier_settings(line, Keyring(line.account, verified=verified, operation_of=row), deadline)
            leases.owned(row, row.lease_id).delete()


def clean_up_line(line: Line, lease_id: str) -> None:
    """End what a dead holder left of a line, whose lease is ours now. Raises as `roll_back` does.

    If a number is on the line, only the lease is released. If not, the carrier's settings are restored and the line is
    deleted: the number may have been deleted without a removal, and then the carrier still sends us its calls.
    """
    if line.phone_numbers.exists():
        leases.release(line, lease_id)
        return
    deadline = Deadline(ROLL_BACK_BUDGET_S)
    try:
        keyring = Keyring(line.account)
        with suppress(NumberNotOwned):
            restore_carrier_settings(line, keyring, deadline)
        release_line(line, lease_id, keyring, deadline)
    except BaseException:
        leases.expire(leases.owned(line, lease_id))
        raise
