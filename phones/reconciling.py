"""`reconcile`: finish what crashes and carriers that were down left half-done. Safe to run at any time, and twice."""

import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial

from django.db.models import F

from core import clock, keys
from core.fields import new_object_id
from core.secrets import CannotOpen
from integrations.errors import IntegrationError, InvalidCredentials
from integrations.transport import Deadline
from phones.bulk.imports import expire_imports
from phones.errors import LineBusy
from phones.models import Account, CallEvent, Line, PhoneNumber, lease_is_over, token_digest
from phones.services import leases
from phones.services.accounts import Credentials, adopt_credentials, end_rotation, is_released, release_account
from phones.services.calls import merge_or_leave
from phones.services.carriers import SETTLE_BUDGET_S, connect
from phones.services.figures import count_figures
from phones.services.pulling import pull
from phones.services.restoring import operation_token, release_line, settle_or_leave, take_over
from users import idempotency, limits
from users.limits import LimitReached

# A run from cron ends before the next one begins.
PULL_BUDGET_S = 40.0
MAX_EVENTS = 1000
LINES_A_LOOK = 1000

log = logging.getLogger(__name__)

State = PhoneNumber.State


@dataclass
class Outcome:
    """How many unfinished operations were settled, could not be yet, and wait for credentials that the carrier takes;
    how many events were merged; how many accounts were asked for their calls, could not be, and wait likewise."""

    settled: int = 0
    failed: int = 0
    refused: int = 0
    merged_events: int = 0
    pulled_accounts: int = 0
    unanswered_accounts: int = 0
    refused_accounts: int = 0


class Done(Enum):
    """What came of an attempt."""

    YES = auto()
    BY_OTHERS = auto()
    NOT_YET = auto()
    REFUSED = auto()


def reconcile() -> Outcome:
    """Settle every operation whose lease has run out, delete what nothing uses, complete the log of calls.

    Effects:
        Restores settings at carriers, deletes rows, asks carriers for calls that we missed. What cannot be done now is
        logged and left for the next run.
    """
    outcome = Outcome()
    settle_operations(outcome)
    limits.forget_past_windows()
    idempotency.forget_expired()
    unmerged = CallEvent.objects.filter(merged_at=None).select_related("account").order_by("received_at")
    outcome.merged_events = sum(merge_or_leave(event) for event in unmerged[:MAX_EVENTS])
    pull_accounts(outcome)
    attempt("expiring imports", expire_imports)
    attempt("counting the figures of the dashboard", count_figures)
    return outcome


def settle_operations(outcome: Outcome) -> None:
    left = PhoneNumber.objects.filter(lease_is_over()).exclude(state=State.ACTIVE)
    # With each its account's digest, as another process may settle the row, and delete what it belongs to, meanwhile.
    for row in left.annotate(token_digest=F("line__account__token_digest")):
        what = f"the {'removal' if row.state == State.REMOVING else 'add'} of {row}"
        settle(outcome, what, partial(settle_row, row), credentials_of(row, row.token_digest))
    for phone in PhoneNumber.objects.filter(state=State.ACTIVE, lease_until__lt=clock.now()):
        settle(outcome, f"the rotation by {phone}", partial(finish_rotation, phone))
    for line in lines_without_number():
        settle(outcome, f"line {line}", partial(end_line, line), credentials_of(line, line.account.token_digest))
    for line in Line.objects.filter(lease_until__lt=clock.now()):
        if line.phone_numbers.exists():  # so that no carrier is asked
            settle(outcome, f"line {line}", partial(end_line, line))
    for account in Account.objects.filter(lease_is_over(), lines=None):
        if not is_released(account):
            settle(
                outcome, f"account {account}", partial(release, account), credentials_of(account, account.token_digest)
            )


def lines_without_number() -> Iterator[Line]:
    """Lines that no number is on, whoever deleted it. Read by their ids: a join would read all that is kept of each."""
    last = "0" * 24
    while chunk := list(Line.objects.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:LINES_A_LOOK]):
        used = set(PhoneNumber.objects.filter(line__in=chunk).values_list("line_id", flat=True))
        yield from Line.objects.filter(pk__in=[pk for pk in chunk if pk not in used]).select_related("account")
        last = chunk[-1]


def pull_accounts(outcome: Outcome) -> None:
    """Ask the carriers for missed calls, as many accounts as time allows; which come first is left to chance."""
    deadline = Deadline(PULL_BUDGET_S)
    accounts = list(Account.objects.filter(lines__isnull=False).distinct())
    random.shuffle(accounts)
    for account in accounts:
        if not deadline.remaining_s():
            break
        match attempt(
            f"asking account {account} for its calls",
            partial(pull, account, deadline),
            credentials_of(account, account.token_digest),
        ):
            case Done.YES:
                outcome.pulled_accounts += 1
            case Done.REFUSED:
                outcome.refused_accounts += 1
            case Done.NOT_YET:
                outcome.unanswered_accounts += 1


def settle(outcome: Outcome, what: str, act: Callable[[], object], credentials: str = "") -> None:
    match attempt(what, act, credentials):
        case Done.YES:
            outcome.settled += 1
        case Done.REFUSED:
            outcome.refused += 1
        case Done.NOT_YET:
            outcome.failed += 1


def attempt(what: str, act: Callable[[], object], credentials: str = "") -> Done:
    """Do one thing and say what came of it: whatever is wrong must not keep the others from their turn.

    Args:
        act: returns False if somebody else is doing it.
        credentials: by what their refusals are counted (`credentials_of`); empty: they are not.
    """
    try:
        with backing_off(credentials):
            return Done.BY_OTHERS if act() is False else Done.YES
    except LimitReached:
        return Done.REFUSED  # logged when the carrier was asked
    except Exception as error:
        foreseen = isinstance(error, IntegrationError | LineBusy | CannotOpen)
        detail = getattr(error, "detail", "")
        log.warning("Not done yet: %s: %s (%s)", what, error, detail, exc_info=None if foreseen else error)
        return Done.REFUSED if isinstance(error, InvalidCredentials) else Done.NOT_YET


def credentials_of(row: PhoneNumber | Line | Account, token_digest: str | None) -> str:
    """What refusals are counted by: the row, which may know other credentials, and the account's present ones."""
    return f"{row.pk}:{token_digest}" if token_digest else ""


@contextmanager
def backing_off(credentials: str) -> Iterator[None]:
    """Around what asks a carrier: credentials that it has refused are not sent each minute for ever, but a few times an
    hour. New ones are tried at once. Raises LimitReached while they wait."""
    refusals = [("reconciling", credentials)] if credentials else []
    if limits.is_used_up(*refusals):
        raise LimitReached(0)
    try:
        yield
    except InvalidCredentials:
        with suppress(LimitReached):
            limits.spend(*refusals)
        raise


def settle_row(row: PhoneNumber) -> bool:
    if not take_over(row):
        return False
    settle_or_leave(row, Deadline(SETTLE_BUDGET_S))
    return True


def end_line(line: Line) -> bool:
    operation_id = new_object_id()
    if not leases.take(line, operation_id):
        return False
    release_line(line, operation_id)
    return True


def release(account: Account) -> None:
    """An account without lines is deleted, with what we made there."""
    token = account.auth_token.open()
    provider = connect(account.integration, account.account_id, token, Deadline(SETTLE_BUDGET_S))
    release_account(account, new_object_id(), provider)


def finish_rotation(row: PhoneNumber) -> None:
    """The number became active with a new token, and then the process died before its account took it over."""
    account, token = row.line and row.line.account, ""
    try:
        token = operation_token(row)
    except CannotOpen:
        if keys.missing():
            raise
    rotated_since = account and account.rotated_at and account.rotated_at > row.created_at
    if account and token and not rotated_since and account.token_digest != token_digest(token):
        adopt_credentials(account, Credentials(account.integration, account.account_id, token), "")
    end_rotation(row)
