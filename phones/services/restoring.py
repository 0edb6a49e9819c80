"""Taking back what an operation did at a carrier: after a failure at once, after a crash by whoever finds it."""

import json
from contextlib import suppress

from django.db import transaction
from django.utils import timezone

from integrations.errors import NumberNotOwned
from integrations.transport import Deadline
from phones.models import LEASE, Line, PhoneNumber, lease_is_over
from phones.services import leases
from phones.services.accounts import release_account
from phones.services.carriers import connect, urls_for
from workspace.fields import new_object_id

State = PhoneNumber.State


def take_over(row: PhoneNumber) -> bool:
    """Make the unfinished operation of a dead process ours. Says whether it is; the row object is updated."""
    operation_id = new_object_id()
    dead = PhoneNumber.objects.filter(lease_is_over(), pk=row.pk, operation_id=row.operation_id)
    if not dead.update(operation_id=operation_id, lease_until=timezone.now() + LEASE):
        return False
    Line.objects.filter(lease_is_over(), lease_id=row.operation_id).exclude(lease_id="").update(
        lease_id=operation_id, lease_until=timezone.now() + LEASE
    )
    row.operation_id = operation_id
    return True


def settle(row: PhoneNumber, deadline: Deadline, *, auth_token: str | None = None, just_proved: bool = False) -> None:
    """End an unfinished add whose operation is ours: the carrier as before, the row gone.

    Args:
        row: reserved or applying, with our operation id.
        deadline: when it must be done.
        auth_token: credentials to use instead of those that the add began with.
        just_proved: the number was there a moment ago, so a carrier that says it is gone is not believed yet.

    Raises:
        IntegrationError: the carrier cannot be asked. The row stays as it is, to be settled later.
    """
    line = row.line or Line.objects.filter(lease_id=row.operation_id).first()
    if line and row.state == State.APPLYING:
        try:
            give_line_back(line, row, auth_token or operation_token(row), deadline)
        except NumberNotOwned:
            if just_proved:
                raise
    PhoneNumber.objects.filter(pk=row.pk, operation_id=row.operation_id).delete()
    if line:
        let_line_go(line, row.operation_id, deadline, auth_token or operation_token(row))


def settle_or_leave(
    row: PhoneNumber, deadline: Deadline, *, auth_token: str | None = None, just_proved: bool = False
) -> None:
    """Settle; if that cannot be done now, leave the row free for the next who tries, and raise why."""
    try:
        settle(row, deadline, auth_token=auth_token, just_proved=just_proved)
    except BaseException:
        PhoneNumber.objects.filter(pk=row.pk, operation_id=row.operation_id).update(lease_until=timezone.now())
        Line.objects.filter(lease_id=row.operation_id).update(lease_until=timezone.now())
        raise


def operation_token(row: PhoneNumber) -> str | None:
    return json.loads(row.operation.open())["auth_token"] if row.operation else None


def give_line_back(line: Line, row: PhoneNumber, auth_token: str | None, deadline: Deadline) -> None:
    """Restore the number's settings at the carrier, unless another active number needs the line."""
    if line.phone_numbers.filter(state=State.ACTIVE).exclude(pk=row.pk).exists():
        return
    account = line.account
    token = auth_token or account.auth_token.open()
    provider = connect(account.integration, account.account_id, token, deadline)
    provider.restore(line.carrier_id, json.loads(line.snapshot.open()), urls_for(account), account.application_id)


def let_line_go(line: Line, operation_id: str, deadline: Deadline, auth_token: str | None = None) -> None:
    """Give up the lease of a line; when no number is on it any more, delete it, and then its account likewise."""
    account = line.account
    with transaction.atomic():
        if line.phone_numbers.exists():
            leases.give_back(line, operation_id)
            return
        for unused in Line.objects.filter(pk=line.pk, lease_id=operation_id):
            unused.delete()
    release_account(account, operation_id, deadline, auth_token)


def settle_line(line: Line, deadline: Deadline, *, auth_token: str | None = None) -> None:
    """Settle what the dead holder of a line, whose lease is ours now, left on it."""
    for row in line.phone_numbers.filter(lease_is_over(), state=State.APPLYING):
        if take_over(row):
            with suppress(NumberNotOwned):
                give_line_back(line, row, auth_token or operation_token(row), deadline)
            PhoneNumber.objects.filter(pk=row.pk, operation_id=row.operation_id).delete()
