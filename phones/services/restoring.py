"""Rolling back what an operation did at a carrier: at once after a failure, or by another process after a crash."""

import json
import logging
from contextlib import suppress
from datetime import datetime, timedelta
from enum import Enum

from core import clock, keys
from core.fields import new_object_id
from core.secrets import CannotOpen, Secret
from integrations.base import Provider
from integrations.errors import NumberNotOwned
from integrations.transport import Deadline
from phones.errors import LineBusy
from phones.models import Account, Line, PhoneNumber
from phones.services import leases
from phones.services.accounts import Credentials
from phones.services.carriers import ROLL_BACK_BUDGET_S, urls_for
from phones.services.keyring import Keyring, Operation
from phones.services.ownership import is_in_use
from phones.services.releasing import is_routed, release_account
from phones.services.routes import account_routed_to

log = logging.getLogger(__name__)

State = PhoneNumber.State
# Numbers whose operation may have changed the carrier's settings.
CHANGING = [State.APPLYING, State.REMOVING]
# How long after a change without an answer the carrier may still carry it out.
SETTLING = timedelta(minutes=5)


class Restoration(Enum):
    """What became of a number's settings at the carrier when the number left us."""

    DONE = "done"
    UNCHANGED = "the number was no longer routed to us"
    STILL_NEEDED = "another number needs the line"
    NUMBER_GONE = "the account no longer has the number"
    SETTINGS_LOST = "the previous settings cannot be read"
    LEFT_ALONE = "the number is in other hands"
    LATER = "reconcile will finish it"

    @property
    def is_complete(self) -> bool:
        """Whether the customer's settings are in effect now."""
        return self in (Restoration.DONE, Restoration.UNCHANGED)


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
    row: PhoneNumber,
    deadline: Deadline,
    *,
    verified: Credentials | None = None,
    number_seen: bool = False,
    in_doubt: bool,
) -> Restoration:
    """End an unfinished add, or a removal, under our lease: the carrier as it was before, the row deleted.

    Args:
        row: reserved, applying or removing, with our lease id.
        verified: credentials that the carrier accepted a moment ago: if they are of the line's account, the first to be
            tried.
        number_seen: the number was there a moment ago, so a carrier that reports it gone is not believed yet.
        in_doubt: a change that the operation requested may still be carried out, as always if its process died. Then
            the line stays, to be looked at again.

    Returns what became of the settings at the carrier.

    Raises:
        IntegrationError: the carrier cannot be asked. LineBusy: another operation holds the line. CannotOpen: a key is
        missing. The row stays as it is, to be rolled back later.
    """
    line = row.line or Line.objects.filter(lease_id=row.lease_id).first()
    if line is None:
        leases.owned(row, row.lease_id).delete()
        return Restoration.DONE
    line.account = account_of(row, line)
    keyring = Keyring(line.account, verified=verified, left_by=row)
    restoration = Restoration.UNCHANGED
    if row.state in CHANGING:
        if not leases.owned(line, row.lease_id).exists() and not leases.acquire(line, row.lease_id):
            raise LineBusy
        try:
            restoration = restore_carrier_settings(line, keyring, deadline)
        except NumberNotOwned:
            if number_seen:
                raise
            restoration = Restoration.NUMBER_GONE
        finally:
            if in_doubt or keyring.in_doubt:
                leave_unsettled(line, row)
    leases.owned(row, row.lease_id).delete()
    release_line(line, row.lease_id, keyring, deadline, is_restored=row.state in CHANGING)
    return restoration


def account_of(row: PhoneNumber, line: Line) -> Account:
    """The account with which a number's operation on a line began; the line's own if that cannot be read."""
    with suppress(CannotOpen):
        if row.operation:
            return Operation.of(row).account_for(line)
    return line.account


def roll_back_or_release(
    row: PhoneNumber,
    deadline: Deadline,
    *,
    verified: Credentials | None = None,
    number_seen: bool = False,
    in_doubt: bool,
) -> Restoration:
    """Roll back as `roll_back` does. If that fails, end its leases, so that the next attempt need not wait, and raise
    the error."""
    try:
        return roll_back(row, deadline, verified=verified, number_seen=number_seen, in_doubt=in_doubt)
    except BaseException:
        lines = Line.objects.filter(lease_id=row.lease_id)
        end = leases.expire if in_doubt or lines.exclude(unsettled_until=None).exists() else leases.let_go
        end(leases.owned(row, row.lease_id))
        end(lines)
        raise


# -- lines ------------------------------------------------------------------------------------------------------------


def restore_carrier_settings(line: Line, keyring: Keyring, deadline: Deadline) -> Restoration:
    """Restore the number's settings at the carrier, unless an active number needs the line.

    Raises IntegrationError; NumberNotOwned when the number is gone; CannotOpen when the settings cannot be read until a
    missing key is back. If that key is lost for good, the settings stay as they are.
    """
    if is_in_use(line):
        return Restoration.STILL_NEEDED
    if line.snapshot is None:
        return Restoration.UNCHANGED
    account = line.account
    try:
        snapshot = json.loads(line.snapshot.open())
    except CannotOpen:
        if keys.missing():
            raise
        log.error("%s of %s: the previous settings are lost. Restore them in the carrier's console.", line, account)
        return Restoration.SETTINGS_LOST

    def restore(provider: Provider) -> bool:
        if provider.restore(line.carrier_id, snapshot, urls_for(account), account.application_id):
            return True
        # Before the line changed hands, or by a late change, the number may have come to another account of ours.
        other = account_routed_to(line.integration, provider.read(line.carrier_id))
        if other is None or other.pk == account.pk:
            return False
        return provider.restore(line.carrier_id, snapshot, urls_for(other), other.application_id)

    return Restoration.DONE if keyring.try_each(restore, deadline) else Restoration.UNCHANGED


def release_line(line: Line, lease_id: str, keyring: Keyring, deadline: Deadline, *, is_restored: bool) -> None:
    """Release the lease of a line. If no number is on the line any more, delete it, and its account likewise.

    Args:
        is_restored: nothing of ours is at the carrier any more. If only numbers that lost the line are on it, it goes
            back to the account of the last one, with nothing to restore.

    Raises IntegrationError when the carrier cannot be asked about the account's application.
    """
    if is_routed(line):
        leases.release(line, lease_id)
        return
    account = line.account
    if not delete_line(line, lease_id):
        retired = line.phone_numbers.filter(state=State.RETIRED).order_by("-retired_at").first()
        settled = leases.owned(line, lease_id).filter(unsettled_until=None)
        if is_restored and retired:
            settled.update(account=retired.retired_from, snapshot=None)
        leases.release(line, lease_id)
    keyring.try_each(lambda provider: release_account(account, lease_id, provider), deadline)


def delete_line(line: Line, lease_id: str) -> bool:
    """Delete a line whose lease is ours, unless a number is on it or it must be looked at again. Returns whether it was
    deleted.

    No number comes onto a line without its lease; if the lease is lost by now, the line stays.
    """
    if line.phone_numbers.exists():
        return False
    ours = leases.owned(line, lease_id).filter(unsettled_until=None)
    return leases.delete_matching(ours, then=lambda: line.calls.update(line=None))


def end_abandoned(line: Line) -> None:
    """End the operations that the dead holder of a line, whose lease is ours now, left on it: an add goes on with the
    line as it is. Their changes may yet be carried out, so the line is looked at again."""
    for row in line.phone_numbers.filter(leases.free(), state__in=CHANGING):
        may_change = row.lease_until is not None
        if claim_abandoned(row):
            if may_change:
                leave_unsettled(line, row)
            leases.owned(row, row.lease_id).delete()


def unsettled() -> dict[str, datetime]:
    """The fields of a line that is to be looked at again."""
    return {"unsettled_until": clock.now() + SETTLING}


def leave_unsettled(line: Line, row: PhoneNumber) -> None:
    """Have the line looked at until a change that the number's operation requested cannot be carried out any more; with
    the operation's token, while the line is in the hands of its account."""
    lines = Line.objects.filter(pk=line.pk)
    lines.update(**unsettled())
    with suppress(CannotOpen):
        if row.operation:
            operation = Operation.of(row)
            lines.filter(account=operation.account_id).update(unsettled_token=Secret.seal(operation.auth_token))


def clean_up_line(line: Line, lease_id: str) -> None:
    """End what a dead holder left of a line, whose lease is ours now. Raises as `roll_back` does.

    If a number is routed to us, only the lease is released. If not, the carrier's settings are restored and the line is
    deleted: the number may have been deleted without a removal, and then the carrier still sends us its calls.
    """
    if is_routed(line) or line.unsettled_until:
        leases.release(line, lease_id)
        return
    deadline = Deadline(ROLL_BACK_BUDGET_S)
    try:
        keyring = Keyring(line.account)
        with suppress(NumberNotOwned):
            restore_carrier_settings(line, keyring, deadline)
        release_line(line, lease_id, keyring, deadline, is_restored=True)
    except BaseException:
        leases.expire(leases.owned(line, lease_id))
        raise
