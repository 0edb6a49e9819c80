"""`reconcile`: finish what crashes and carrier outages left half done. Safe to run at any time, any number of times."""

import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial

from django.db.models import F

from core.fields import new_object_id
from core.secrets import CannotOpen
from core.stopping import raise_if_stopping
from integrations.errors import IntegrationError, InvalidCredentials
from integrations.transport import Deadline
from phones.bulk.imports import expire_imports
from phones.errors import LineBusy
from phones.models import Account, CallEvent, Line, PhoneNumber
from phones.services import leases
from phones.services.calls import merge_or_leave
from phones.services.carriers import ROLL_BACK_BUDGET_S
from phones.services.completing import complete_later
from phones.services.figures import count_figures
from phones.services.keyring import Keyring
from phones.services.ownership import retire_account
from phones.services.pulling import pull
from phones.services.releasing import end_unused, is_due, is_routed, release_account
from phones.services.restoring import claim_abandoned, clean_up_line, roll_back_or_release
from phones.services.settling import settle_line
from users import idempotency, limits
from users.limits import LimitReached

# Short enough that a run started by cron ends before the next one begins.
PULL_BUDGET_S = 40.0
MAX_EVENTS = 1000
LINES_A_LOOK = 1000

log = logging.getLogger(__name__)

State = PhoneNumber.State


class Done(Enum):
    """The result of an attempt."""

    YES = auto()
    BY_OTHERS = auto()
    REFUSED = auto()
    """The carrier refuses the credentials."""
    BUSY = auto()
    """Another process has the row."""
    UNREADABLE = auto()
    """The key is missing under which the credentials are encrypted."""
    NOT_YET = auto()
    """A carrier or the database did not answer, or an error was not foreseen."""


WAITING = {
    Done.NOT_YET: "no answer for {}",
    Done.REFUSED: "credentials refused for {}",
    Done.UNREADABLE: "credentials unreadable for {}, because CREDENTIAL_KEYS lacks their key",
    Done.BUSY: "in use by another process {}",
}


@dataclass
class Outcome:
    """The results of a run: of unfinished operations, of asking accounts for missed calls, and how many events were
    merged. What was not done is tried again in the next run."""

    operations: Counter[Done] = field(default_factory=Counter)
    pulls: Counter[Done] = field(default_factory=Counter)
    merged_events: int = 0

    @property
    def finished(self) -> int:
        return self.operations[Done.YES]

    @property
    def refused(self) -> int:
        return self.operations[Done.REFUSED]

    @property
    def failed(self) -> int:
        return sum(self.operations[done] for done in WAITING) - self.refused

    @property
    def has_failed(self) -> bool:
        """Whether something that is due was not done because a carrier or the database did not answer."""
        return bool(self.operations[Done.NOT_YET] or self.pulls[Done.NOT_YET])

    def __str__(self) -> str:
        pending = self.failed + self.refused
        parts = [
            f"finished {self.finished}, still pending {pending}{reasons(self.operations)}",
            f"merged {self.merged_events} events",
            f"asked {self.pulls[Done.YES]} accounts for missed calls{reasons(self.pulls)}",
        ]
        return "; ".join(parts)


def reasons(results: Counter[Done]) -> str:
    """Why some were not done, such as ": no answer for 2, credentials refused for 1"; empty if all were done."""
    said = [text.format(results[done]) for done, text in WAITING.items() if results[done]]
    return f": {', '.join(said)}" if said else ""


def reconcile() -> Outcome:
    """Finish every operation whose lease has expired, look again where a carrier may act late, delete what nothing
    uses, complete the call log.

    Effects:
        Restores settings at carriers, deletes rows, asks carriers for missed calls. A failure is logged and retried in
        the next run.

    Raises core.stopping.Stopped between two operations.
    """
    outcome = Outcome()
    finish_operations(outcome)
    limits.delete_past_windows()
    idempotency.delete_expired()
    unmerged = CallEvent.objects.filter(merged_at=None).select_related("account").order_by("merged_at", "received_at")
    for event in unmerged[:MAX_EVENTS]:
        raise_if_stopping()
        outcome.merged_events += merge_or_leave(event)
    pull_accounts(outcome)
    for what, act in (
        ("expiring imports", expire_imports), ("counting the figures of the dashboard", count_figures),
    ):  # fmt: skip
        if attempt(what, act) is Done.NOT_YET:
            outcome.operations[Done.NOT_YET] += 1
    return outcome


def finish_operations(outcome: Outcome) -> None:
    abandoned = PhoneNumber.objects.filter(leases.free(), state__in=PhoneNumber.UNFINISHED)
    # The digest is read here, because another process may delete the row and its account in the meantime.
    for row in abandoned.annotate(token_digest=F("line__account__token_digest")):
        what = f"the {'removal' if row.state == State.REMOVING else 'add'} of {row}"
        finish(outcome, what, partial(finish_row, row), credentials_of(row, row.token_digest))
    for phone in PhoneNumber.objects.filter(leases.expired(), state=State.ACTIVE):
        finish(outcome, f"what follows the add of {phone}", partial(complete_later, phone))
    for line in unrouted_lines():
        finish(outcome, f"line {line}", partial(finish_line, line), credentials_of(line, line.account.token_digest))
    for line in Line.objects.filter(leases.expired()):
        if is_routed(line):  # only its lease is released; no carrier is asked
            finish(outcome, f"line {line}", partial(finish_line, line))
    for line in Line.objects.exclude(unsettled_until=None).select_related("account"):
        if line.account.is_retired:
            continue
        finish(
            outcome, f"looking again at line {line}", partial(settle_line, line),
            credentials_of(line, line.account.token_digest),
        )  # fmt: skip
    for account in Account.objects.filter(leases.free(), lines=None):
        if is_due(account):
            finish(
                outcome, f"account {account}", partial(release, account), credentials_of(account, account.token_digest)
            )


def unrouted_lines() -> Iterator[Line]:
    """Lines without a number that is routed to us, whoever deleted it, whose settings we can restore: not those with
    nothing to restore, and not those whose account's credentials are refused, which wait for whoever proves the number.

    Compares ids in batches, because a join would read every column.
    """
    last = "0" * 24
    while chunk := list(Line.objects.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:LINES_A_LOOK]):
        routed = PhoneNumber.objects.filter(line__in=chunk, state__in=PhoneNumber.ROUTED)
        used = set(routed.values_list("line_id", flat=True))
        unused = Line.objects.filter(pk__in=[pk for pk in chunk if pk not in used], unsettled_until=None)
        for line in unused.select_related("account"):
            if not line.phone_numbers.exists() if line.snapshot is None else not line.account.is_retired:
                yield line
        last = chunk[-1]


def pull_accounts(outcome: Outcome) -> None:
    """Ask carriers for missed calls, in random order, for as many accounts as time allows."""
    deadline = Deadline(PULL_BUDGET_S)
    accounts = list(Account.objects.filter(lines__isnull=False).exclude(retired_digest=F("token_digest")).distinct())
    random.shuffle(accounts)
    for account in accounts:
        if not deadline.remaining_s():
            break
        what, credentials = f"asking account {account} for its calls", credentials_of(account, account.token_digest)
        done = attempt(what, partial(pull, account, deadline), credentials)
        if done is not Done.NOT_YET or deadline.remaining_s():  # otherwise there was no time left for its turn
            outcome.pulls[done] += 1


def finish(outcome: Outcome, what: str, act: Callable[[], object], credentials: str = "") -> None:
    outcome.operations[attempt(what, act, credentials)] += 1


def attempt(what: str, act: Callable[[], object], credentials: str = "") -> Done:
    """Perform an action and return the result. Raises only Stopped: a failure does not end the run.

    Args:
        what: the action, for the log.
        act: returns False if another process is doing it.
        credentials: the key under which refusals are counted (`credentials_of`). If empty, they are not counted.
    """
    raise_if_stopping()
    try:
        with backing_off(credentials):
            return Done.BY_OTHERS if act() is False else Done.YES
    except LimitReached:
        return Done.REFUSED  # logged when the carrier refused them
    except Exception as error:
        expected = isinstance(error, IntegrationError | LineBusy | CannotOpen)
        log.warning("Not done yet: %s: %s", what, error, exc_info=None if expected else error)
        return result_of(error)


def result_of(error: Exception) -> Done:
    match error:
        case InvalidCredentials():
            return Done.REFUSED
        case LineBusy():
            return Done.BUSY
        case CannotOpen():
            return Done.UNREADABLE
        case _:
            return Done.NOT_YET


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
    in_doubt = row.lease_until is not None  # its process died
    if not claim_abandoned(row):
        return False
    roll_back_or_release(row, Deadline(ROLL_BACK_BUDGET_S), in_doubt=in_doubt)
    return True


def finish_line(line: Line) -> bool:
    lease_id = new_object_id()
    if not leases.acquire(line, lease_id):
        return False
    clean_up_line(line, lease_id)
    return True


def release(account: Account) -> bool:
    """Delete an account without lines, and what we created for it at the carrier, if nothing keeps them."""
    if account.is_retired or not account.has_something_at_carrier:
        return end_unused(account)
    keyring = Keyring(account)
    deadline = Deadline(ROLL_BACK_BUDGET_S)
    try:
        keyring.try_each(lambda provider: release_account(account, new_object_id(), provider), deadline)
    except InvalidCredentials:
        retire_account(account)
        raise
    return True
