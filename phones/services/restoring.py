"""Taking back what an operation did at a carrier: after a failure at once, after a crash by whoever finds it."""

import json
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from enum import Enum

from core import clock, keys
from core.fields import new_object_id
from core.secrets import CannotOpen
from integrations.base import Provider
from integrations.errors import InvalidCredentials, NumberNotOwned
from integrations.transport import Deadline
from phones.errors import LineBusy
from phones.models import LEASE, Account, Line, PhoneNumber, lease_is_over
from phones.services import leases
from phones.services.accounts import release_account
from phones.services.carriers import SETTLE_BUDGET_S, connect, urls_for

log = logging.getLogger(__name__)

State = PhoneNumber.State
# Not active, and perhaps the carrier still brings us the calls.
ROUTED = [State.APPLYING, State.REMOVING]


class Restoration(Enum):
    """What became of a number's settings at the carrier when the number left us."""

    DONE = "done"
    STILL_NEEDED = "another number needs the line"
    NUMBER_GONE = "the account does not have the number any more"
    SETTINGS_LOST = "what was there before us cannot be read"
    LATER = "reconcile goes on"


def take_over(row: PhoneNumber) -> bool:
    """Make the unfinished operation of a dead process ours. Says whether it is; the row object is updated."""
    operation_id = new_object_id()
    dead = PhoneNumber.objects.filter(lease_is_over(), pk=row.pk, operation_id=row.operation_id)
    if not dead.update(operation_id=operation_id, lease_until=clock.now() + LEASE):
        return False
    Line.objects.filter(lease_is_over(), lease_id=row.operation_id).exclude(lease_id="").update(
        lease_id=operation_id, lease_until=clock.now() + LEASE
    )
    row.operation_id = operation_id
    return True


def settle(row: PhoneNumber, deadline: Deadline, *, proved_token: str = "", just_proved: bool = False) -> Restoration:
    """End an unfinished add, or a removal, whose operation is ours: the carrier as before, the row gone.

    Args:
        row: reserved, applying or removing, with our operation id.
        deadline: when it must be done.
        proved_token: credentials of the same account that were good a moment ago, to be tried first.
        just_proved: the number was there a moment ago, so a carrier that says it is gone is not believed yet.

    Returns what became of the settings at the carrier.

    Raises:
        IntegrationError: the carrier cannot be asked. LineBusy: somebody else has the line. CannotOpen: a key is
        missing. The row stays as it is, to be settled later.
    """
    line = row.line or Line.objects.filter(lease_id=row.operation_id).first()
    tokens = known_tokens(row, line.account, proved_token) if line else []
    restoration = Restoration.DONE
    if line and row.state in ROUTED:
        held = Line.objects.filter(pk=line.pk, lease_id=row.operation_id).exists()
        if not held and not leases.take(line, row.operation_id):
            raise LineBusy
        try:
            restoration = give_line_back(line, tokens, deadline)
        except NumberNotOwned:
            if just_proved:
                raise
            restoration = Restoration.NUMBER_GONE
    PhoneNumber.objects.filter(pk=row.pk, operation_id=row.operation_id).delete()
    if line:
        let_line_go(line, row.operation_id, tokens, deadline)
    return restoration


def settle_or_leave(
    row: PhoneNumber, deadline: Deadline, *, proved_token: str = "", just_proved: bool = False
) -> Restoration:
    """Settle as `settle` does; if that fails, leave the row free for the next who tries, and raise why."""
    try:
        return settle(row, deadline, proved_token=proved_token, just_proved=just_proved)
    except BaseException:
        PhoneNumber.objects.filter(pk=row.pk, operation_id=row.operation_id).update(lease_until=clock.now())
        Line.objects.filter(lease_id=row.operation_id).update(lease_until=clock.now())
        raise


def settle_line(line: Line, deadline: Deadline, *, proved_token: str) -> None:
    """Settle what the dead holder of a line, whose lease is ours now, left on it. Raises as `settle` does."""
    for row in line.phone_numbers.filter(lease_is_over(), state__in=ROUTED):
        if take_over(row):
            with suppress(NumberNotOwned):
                give_line_back(line, known_tokens(row, line.account, proved_token), deadline)
            PhoneNumber.objects.filter(pk=row.pk, operation_id=row.operation_id).delete()


def known_tokens(row: PhoneNumber, account: Account, proved_token: str = "") -> list[str]:
    """The credentials of the account that may be good, the likeliest first: one of them may have been rotated.

    Raises CannotOpen when the keys of all are missing.
    """
    tokens = [proved_token]
    for read in (lambda: operation_token(row), account.auth_token.open):
        with suppress(CannotOpen):
            tokens.append(read())
    return list(dict.fromkeys(token for token in tokens if token)) or [account.auth_token.open()]


def operation_token(row: PhoneNumber) -> str:
    """The credentials that an unfinished operation began with; empty before it changed anything."""
    return json.loads(row.operation.open())["auth_token"] if row.operation else ""


def with_any_token(account: Account, tokens: list[str], deadline: Deadline, act: Callable[[Provider], None]) -> None:
    """Do something at the carrier with the first credentials that it does not refuse."""
    for token in tokens:
        try:
            act(connect(account.integration, account.account_id, token, deadline))
            return
        except InvalidCredentials:
            if token == tokens[-1]:
                raise


def is_needed(line: Line, *, without: Iterable[str] = ()) -> bool:
    """Whether an active number, but for those with these ids, has the line: then its calls must go on coming here."""
    return line.phone_numbers.filter(state=State.ACTIVE).exclude(pk__in=without).exists()


def give_line_back(line: Line, tokens: list[str], deadline: Deadline) -> Restoration:
    """Restore the number's settings at the carrier, unless an active number needs the line.

    Raises IntegrationError; NumberNotOwned when the number is gone; CannotOpen when the settings cannot be read until a
    missing key is back. With a key that is lost for good they stay as they are.
    """
    if is_needed(line):
        return Restoration.STILL_NEEDED
    account = line.account
    try:
        snapshot = json.loads(line.snapshot.open())
    except CannotOpen:
        if keys.missing():
            raise
        log.error("%s of %s: what it was like before us is lost. Set it right in the carrier's console.", line, account)
        return Restoration.SETTINGS_LOST

    def restore(provider: Provider) -> None:
        provider.restore(line.carrier_id, snapshot, urls_for(account), account.application_id)

    with_any_token(account, tokens, deadline, restore)
    return Restoration.DONE


def let_line_go(line: Line, operation_id: str, tokens: list[str], deadline: Deadline) -> None:
    """Give up the lease of a line; when no number is on it any more, delete it, and then its account likewise.

    Without `tokens` the account's own is opened if it is needed.

    Raises IntegrationError when the carrier cannot be asked about the account's application.
    """
    account = line.account
    if not delete_line(line, operation_id):
        leases.give_back(line, operation_id)
        return
    tokens = tokens or [account.auth_token.open()]
    with_any_token(account, tokens, deadline, lambda provider: release_account(account, operation_id, provider))


def delete_line(line: Line, operation_id: str) -> bool:
    """Delete a line of which this operation has the lease, unless a number is on it. Says whether it did.

    No number comes onto a line without its lease; when that is somebody else's by now, the line stays.
    """
    if line.phone_numbers.exists():
        return False
    mine = Line.objects.filter(pk=line.pk, lease_id=operation_id)
    return leases.delete_as_described(mine, then=lambda: line.calls.update(line=None))


def release_line(line: Line, operation_id: str) -> None:
    """End what a dead holder left of a line, whose lease is ours now. Raises as `settle` does.

    With a number on it, the lease is given up. Without one the carrier's settings are put back and the line is deleted:
    whatever deleted its number may have passed by the road of removal, and the carrier may still bring us the calls.
    """
    if line.phone_numbers.exists():
        leases.give_back(line, operation_id)
        return
    deadline = Deadline(SETTLE_BUDGET_S)
    try:
        tokens = [line.account.auth_token.open()]
        with suppress(NumberNotOwned):
            give_line_back(line, tokens, deadline)
        let_line_go(line, operation_id, tokens, deadline)
    except BaseException:
        Line.objects.filter(pk=line.pk, lease_id=operation_id).update(lease_until=clock.now())
        raise
