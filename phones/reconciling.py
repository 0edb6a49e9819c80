"""`reconcile`: finish what crashes and carrier outages left half done. Safe to run at any time, any number of times."""

import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial

from django.db.models import F

from core import keys
from core.fields import new_object_id
from core.secrets import CannotOpen
from integrations.errors import IntegrationError, InvalidCredentials
from integrations.transport import Deadline
from phones.bulk.imports import expire_imports
from phones.errors import LineBusy
from phones.models import Account, CallEvent, Line, PhoneNumber, token_digest
from phones.services import leases
from phones.services.accounts import Credentials, adopt_credentials, end_rotation, is_released, release_account
from phones.services.calls import merge_or_leave
from phones.services.carriers import ROLL_BACK_BUDGET_S
from phones.services.figures import count_figures
from phones.services.keyring import Keyring, operation_token
from phones.services.pulling import pull
from phones.services.restoring import claim_abandoned, clean_up_line, roll_back_or_release
from users import idempotency, limits
from users.limits import LimitReached

# Short enough that a run started by cron ends before the next one begins.
PULL_BUDGET_S = 40.0
MAX_EVENTS = 1000
LINES_A_LOOK = 1000

log = logging.getLogger(__name__)

State = PhoneNumber.State


@dataclass
class Outcome:
    """How many unfinished operations were finished, failed (and will be retried) or had their credentials refused; how
    many events were merged; how many accounts were asked for calls, did not respond or refused the credentials."""

    finished: int = 0
    failed: int = 0
    refused: int = 0
    merged_events: int = 0
    pulled_accounts: int = 0
    unanswered_accounts: int = 0
    refused_accounts: int = 0


class Done(Enum):
    """The result of an attempt."""

    YES = auto()
    BY_OTHERS = auto()
    NOT_YET = auto()
    REFUSED = auto()


def reconcile() -> Outcome:
    """Finish every operation whose lease has expired, delete what nothing uses, complete the call log.

    Effects:
        Restores settings at carriers, deletes rows, asks carriers for missed calls. A failure is logged and retried in
        the next run.
    """
    outcome = Outcome()
    finish_operations(outcome)
    limits.delete_past_windows()
    idempotency.delete_expired()
    unmerged = CallEvent.objects.filter(merged_at=None).select_related("account").order_by("received_at")
    outcome.merged_events = sum(merge_or_leave(event) for event in unmerged[:MAX_EVENTS])
    pull_accounts(outcome)
    attempt("expiring imports", expire_imports)
    attempt("counting the figures of the dashboard", count_figures)
    return outcome


def finish_operations(outcome: Outcome) -> None:
    abandoned = PhoneNumber.objects.filter(leases.free()).exclude(state=State.ACTIVE)
    # The digest is read here, because another process may delete the row and its account in the meantime.
    for row in abandoned.annotate(token_digest=F("line__account__token_digest")):
        what = f"the {'removal' if row.state == State.REMOVING else 'add'} of {row}"
        finish(outcome, what, partial(finish_row, row), credentials_of(row, row.token_digest))
    for phone in PhoneNumber.objects.filter(leases.expired(), state=State.ACTIVE):
        finish(outcome, f"the rotation by {phone}", partial(finish_rotation, phone))
    for line in lines_without_number():
        finish(outcome, f"line {line}", partial(finish_line, line), credentials_of(line, line.account.token_digest))
    for line in Line.objects.filter(leases.expired()):
        if line.phone_numbers.exists():  # only its lease is released; no carrier is asked
            finish(outcome, f"line {line}", partial(finish_line, line))
    for account in Account.objects.filter(leases.free(), lines=None):
        if not is_released(account):
            finish(
                outcome, f"account {account}", partial(release, account), credentials_of(account, account.token_digest)
            )


def lines_without_number() -> Iterator[Line]:
    """Lines without a number, whoever deleted it. Compares ids in batches, because a join would read every column."""
    last = "0" * 24
    while chunk := list(Line.objects.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:LINES_A_LOOK]):
        used = set(PhoneNumber.objects.filter(line__in=chunk).values_list("line_id", flat=True))
        yield from Line.objects.filter(pk__in=[pk for pk in chunk if pk not in used]).select_related("account")
        last = chunk[-1]


def pull_accounts(outcome: Outcome) -> None:
    """Ask carriers for missed calls, in random order, for as many accounts as time allows."""
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


def finish(outcome: Outcome, what: str, act: Callable[[], object], credentials: str = "") -> None:
    match attempt(what, act, credentials):
        case Done.YES:
            outcome.finished += 1
        case Done.REFUSED:
            outcome.refused += 1
        case Done.NOT_YET:
            outcome.failed += 1


def attempt(what: str, act: Callable[[], object], credentials: str = "") -> Done:
    """Perform an action and return the result. Never raises, so that a failure does not stop the rest of the run.

    Args:
        what: the action, for the log.
        act: returns False if another process is doing it.
        credentials: the key under which refusals are counted (`credentials_of`). If empty, they are not counted.
    """
    try:
        with backing_off(credentials):
            return Done.BY_OTHERS if act() is False else Done.YES
    except LimitReached:
        return Done.REFUSED  # logged when the carrier refused them
    except Exception as error:
        expected = isinstance(error, IntegrationError | LineBusy | CannotOpen)
        log.warning("Not done yet: %s: %s", what, error, exc_info=None if expected else error)
        return Done.REFUSED if isinstance(error, InvalidCredentials) else Done.NOT_YET


def credentials_of(row: PhoneNumber | Line | Account, token_digest: str | None) -> str:
    """The key under which refusals are counted: the row, which may hold other credentials, and the account's token."""
    return f"{row.pk}:{token_digest}" if token_digest else ""


@contextmanager
def backing_off(credentials: str) -> Iterator[None]:
    """Ask a carrier in this block, with a back-off: credentials that it refused are sent a few times an hour instead of
    every minute, and new ones at once. Raises LimitReached during the back-off."""
    refusals = [("reconciling", credentials)] if credentials else []
    if limits.is_used_up(*refusals):
        raise LimitReached(0)
    try:
        yield
    except InvalidCredentials:
        with suppress(LimitReached):
            limits.spend(*refusals)
        raise


def finish_row(row: PhoneNumber) -> bool:
    if not claim_abandoned(row):
        return False
    roll_back_or_release(row, Deadline(ROLL_BACK_BUDGET_S))
    return True


def finish_line(line: Line) -> bool:
    lease_id = new_object_id()
    if not leases.acquire(line, lease_id):
        return False
    clean_up_line(line, lease_id)
    return True


def release(account: Account) -> None:
    """Delete an account without lines, and what we created for it at the carrier."""
    keyring = Keyring(account)
    keyring.try_each(lambda provider: release_account(account, new_object_id(), provider), Deadline(ROLL_BACK_BUDGET_S))


def finish_rotation(row: PhoneNumber) -> None:
    """Store the new token of an add whose process died after activating the number but before updating the account."""
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
