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
from phones.services.carriers import SETTLE_BUDGET_S
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
            attempt(outcome, f"add {row.pk}", partial(settle_or_leave, row, Deadline(SETTLE_BUDGET_S)))
    for row in PhoneNumber.objects.filter(state=State.ACTIVE, lease_until__lt=timezone.now()):
        attempt(outcome, f"rotation by {row.pk}", partial(finish_rotation, row))
    for line in Line.objects.filter(lease_until__lt=timezone.now()):
        operation_id = new_object_id()
        if leases.take(line, operation_id):
            attempt(outcome, f"line {line.pk}", partial(let_line_go, line, operation_id, Deadline(SETTLE_BUDGET_S)))
    for account in Account.objects.filter(lease_is_over(), lines=None):
        release = partial(release_account, account, new_object_id(), Deadline(SETTLE_BUDGET_S))
        attempt(outcome, f"account {account.pk}", release)
    limits.forget_past_windows()
    idempotency.forget_expired()
    return outcome


def attempt(outcome: Outcome, what: str, act: Callable[[], None]) -> None:
    try:
        act()
        outcome.settled += 1
    except (IntegrationError, LineBusy, CannotOpen) as error:
        outcome.failed += 1
        log.warning("%s is not settled yet: %s (%s)", what, error, getattr(error, "detail", ""))


def finish_rotation(row: PhoneNumber) -> None:
    """The number became active with a new token, and then the process died before its account took it over."""
    account, token = row.line and row.line.account, operation_token(row)
    rotated_since = account and account.rotated_at and account.rotated_at > row.created_at
    if account and token and not rotated_since and account.token_digest != token_digest(token):
        adopt_credentials(account, Credentials(account.integration, account.account_id, token), "")
    end_rotation(row)
