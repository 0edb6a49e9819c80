"""Putting a line into an add's hands: inserted, waited for or taken over, with what is to be restored one day."""

from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from integrations.types import CarrierNumber
from phones.models import Account, Line
from phones.services import leases
from phones.services.additions import Addition, begin
from phones.services.ownership import Holder, Verdict, ask_holder, is_in_use, line_of, retire
from phones.services.releasing import mark_used
from phones.services.restoring import end_abandoned
from phones.services.routes import is_ours, sealed


def lock_line(addition: Addition, account: Account, found: CarrierNumber) -> tuple[Line | None, bool]:
    """Insert the line with our lease, or wait for the lease of the line that exists and take it over.

    If we find our own route there, the settings to restore are not known yet: then the line's snapshot is None.

    Returns the line and whether begin() was called and succeeded; no line if the account is gone, or if the number
    turned out to be on another account of the workspace. Raises LineBusy when out of time, NumberInAnotherWorkspace,
    CarrierUnavailable.
    """
    integration, number = account.integration, addition.reservation.number
    ours = is_ours(account, found)
    snapshot = None if ours else sealed(found.settings)
    while True:
        line = Line(
            account=account, integration=integration, number=number, carrier_id=found.id, snapshot=snapshot,
            **leases.terms(addition.lease_id),
        )  # fmt: skip
        try:
            with transaction.atomic():  # one disk flush instead of two
                line.save(force_insert=True)
                return line, not ours and begin(addition, account, line)
        except IntegrityError:
            earlier = line_of(integration, number)
        if earlier is None:
            if not Account.objects.filter(pk=account.pk).exists():
                return None, False
            leases.pause(addition.deadline)
            continue
        if leases.acquire(earlier, addition.lease_id):
            if earlier.lease_id:
                end_abandoned(earlier)
            earlier = line_of(integration, number)
            if earlier and earlier.lease_id == addition.lease_id:
                return claim(addition, earlier, account, found), False
        leases.pause(addition.deadline)


def claim(addition: Addition, line: Line, account: Account, found: CarrierNumber) -> Line | None:
    """Give a line whose lease is ours to the account. Returns None if the add must verify again. Raises as `lock_line`
    if another workspace keeps the line.

    What the customer had configured before us stays what is restored, unless the number has left that account since, or
    nothing of ours is at the carrier any more.
    """
    is_held, verdict = is_in_use(line), None
    if is_held and line.account_id != account.pk and not addition.moves(line):
        holder = ask_again(addition, line)
        verdict = holder.verdict
        if verdict is Verdict.HAS_IT:
            leases.release(line, addition.lease_id)
            addition.follow(holder)
            return None
        if not retire(holder, for_workspace=account.workspace_id):
            leases.release(line, addition.lease_id)
            return None
        addition.taken_from = line.account
    if not mark_used(account, addition.lease_id):
        leases.release(line, addition.lease_id)
        return None
    is_lost = verdict is Verdict.GONE or not is_held
    changes = changes_of_hands(line, account, found, is_held=is_held, is_lost=is_lost, moves=addition.moves(line))
    leases.owned(line, addition.lease_id).update(**changes)
    for name, value in changes.items():
        setattr(line, name, value)
    return line


def changes_of_hands(
    line: Line, account: Account, found: CarrierNumber, *, is_held: bool, is_lost: bool, moves: bool
) -> dict[str, Any]:
    """The new values of a line's fields.

    Args:
        is_held: an active number was on the line.
        is_lost: what is to be restored is of no use any more, unless it is our own route that we find.
        moves: the line stays in its hands until the end.
    """
    changes: dict[str, Any] = {"carrier_id": found.id}
    if not moves:
        changes["account"] = account
        if line.account_id != account.pk:
            changes["unsettled_token"] = None
        if not is_held or line.account.workspace_id != account.workspace_id:
            changes["held_since"] = timezone.now()
    if is_lost:
        ours = is_ours(account, found)
        if is_held or not ours:  # if nobody had it, our own route is what an operation has left
            changes["snapshot"] = None if ours else sealed(found.settings)
    return changes


def ask_again(addition: Addition, line: Line) -> Holder:
    """The line's holder as it was asked before the lease or, if the line has changed hands since, as it is now."""
    if addition.holder is None or not addition.holder.is_still(line):
        addition.holder = ask_holder(line, addition.deadline)
    return addition.holder
