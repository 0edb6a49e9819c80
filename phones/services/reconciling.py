"""`reconcile`: finish what crashes and carriers that were down left half-done. Safe to run at any time, and twice."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from django.utils import timezone

from integrations.errors import IntegrationError
from integrations.transport import Deadline
from phones.errors import LineBusy
from phones.models import Account, Line, PhoneNumber, lease_is_over, token_digest
from phones.services import leases
from phones.services.accounts import Credentials, adopt_credentials, end_rotation, release_account
from phones.services.carriers import SETTLE_BUDGET_S, connect
from phones.services.restoring import let_line_go, operation_token, settle_or_leave, take_over
from users import idempotency, limits
from workspace.fields import new_object_id
from workspace.secrets import CannotOpen

log = logging.getLogger(__name__)

State = PhoneNumber.State


@dataclass
class Outcome:
    """How many unfinished operations were settled, and how many could not be yet."""

    settled: int = 0
    failed: int = 0


def reconcile() -> Outcome:
    """Settle every operation whose lease has run out, and delete what nothing uses.

    Effects:
        Restores settings at carriers, deletes rows. One that cannot be settled now is logged and left for the next run.
    """
    outcome = Outcome()
    for row in PhoneNumber.objects.filter(lease_is_over(), state__in=[State.RESERVED, State.APPLYING]):
        if take_over(row):
            attempt(outcome, f"the add of {row}", partial(settle_or_leave, row, Deadline(SETTLE_BUDGET_S)))
    for row in PhoneNumber.objects.filter(state=State.ACTIVE, lease_until__lt=timezone.now()):
        attempt(outcome, f"the rotation by {row}", partial(finish_rotation, row))
    for line in Line.objects.filter(lease_until__lt=timezone.now()):
        operation_id = new_object_id()
        if leases.take(line, operation_id):
            attempt(outcome, f"line {line}", partial(release_line, line, operation_id))
    for account in Account.objects.filter(lease_is_over(), lines=None):
        attempt(outcome, f"account {account}", partial(release, account))
    limits.forget_past_windows()
    idempotency.forget_expired()
    return outcome


def attempt(outcome: Outcome, what: str, act: Callable[[], None]) -> None:
    """Do one thing and count how it went: whatever is wrong with it must not keep the others from their turn."""
    try:
        act()
        outcome.settled += 1
    except Exception as error:
        outcome.failed += 1
        foreseen = isinstance(error, IntegrationError | LineBusy | CannotOpen)
        detail = getattr(error, "detail", "")
        log.warning("%s is not settled yet: %s (%s)", what, error, detail, exc_info=None if foreseen else error)


def release_line(line: Line, operation_id: str) -> None:
    """A line whose holder died is given free, or deleted if no number is on it."""
    let_line_go(line, operation_id, [line.account.auth_token.open()], Deadline(SETTLE_BUDGET_S))


def release(account: Account) -> None:
    """An account without lines is deleted, with what we made there."""
    token = account.auth_token.open()
    provider = connect(account.integration, account.account_id, token, Deadline(SETTLE_BUDGET_S))
    release_account(account, new_object_id(), provider)


def finish_rotation(row: PhoneNumber) -> None:
    """The number became active with a new token, and then the process died before its account took it over."""
    account, token = row.line and row.line.account, operation_token(row)
    rotated_since = account and account.rotated_at and account.rotated_at > row.created_at
    if account and token and not rotated_since and account.token_digest != token_digest(token):
        adopt_credentials(account, Credentials(account.integration, account.account_id, token), "")
    end_rotation(row)
