"""The rows of a bulk add that wait, in a queue for each carrier account, and how many of each may be in progress."""

import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from core.errors import Refusal
from integrations import CARRIERS, PROVIDERS, provider_class
from integrations.errors import CarrierUnavailable, InvalidCredentials, WebhookSetupFailed
from phones.bulk.gates import AccountGate, Breaker
from phones.bulk.listed_numbers import ListedNumbers
from phones.bulk.rows import BulkRow, Retry, RowOutcome
from phones.services.accounts import Credentials, known_account, proved_before

# Requests of one account at a time, until its carrier says that they are too many.
PER_ACCOUNT = 8
# An account's list is read for the rows that wait; for fewer than this each is asked for itself.
MIN_LISTED = 12
# Rows of an account beyond those that its gate lets through: it is not idle while a row is written down here.
AT_THE_GATE = 4
# Accounts that are remembered though no row of theirs waits.
MAX_ACCOUNTS = 1000

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReadPage:
    """A task: read the next page of the account's list, to find these numbers in it."""

    numbers: list[str]


@dataclass(frozen=True)
class PageRead:
    """The result of `ReadPage`; what the page showed is in the queue's `listed`."""

    has_failed: bool = False


Task = BulkRow | ReadPage
Result = RowOutcome | Retry | PageRead


@dataclass
class AccountQueue:
    """The waiting rows of one account, and what is known of the account."""

    integration: str
    gate: AccountGate
    breaker: Breaker
    listed: ListedNumbers
    is_verified: bool
    rows: deque[BulkRow] = field(default_factory=deque)
    in_flight: int = 0
    is_reading: bool = False
    # A row was begun since the last page: a list that is old before it is used does not keep the rows from their turn.
    has_begun_row: bool = True
    refusal: Refusal | None = None

    @property
    def max_in_flight(self) -> int:
        """How much may be under way. Unless its credentials are proved one row goes ahead, so that no others are spent
        on a wrong token. A row that the list has not shown takes two requests at a time: half as many of them leave
        room at the gate for the page that spares the others theirs."""
        if not self.is_verified:
            return 1
        if self.is_reading and not self.listed.fresh():
            return 1 + min(self.gate.limit, PER_ACCOUNT) // 2
        return self.gate.limit + AT_THE_GATE

    @property
    def may_start(self) -> bool:
        return bool(self.rows) and self.in_flight < self.max_in_flight and not self.gate.is_closed

    @property
    def should_read_page(self) -> bool:
        """Whether to read on in the account's list, as what it has shown is soon used up."""
        return (
            self.is_verified
            and not self.is_reading
            and self.has_begun_row
            and len(self.rows) >= MIN_LISTED
            and self.listed.may_read_page(len(self.rows))
            and len(self.listed.fresh()) < 2 * self.gate.limit
        )

    @property
    def urgency(self) -> tuple[bool, float]:
        """Unproved accounts first, as they have one row under way at most; then who has most to do for each worker."""
        return not self.is_verified, len(self.rows) / (self.in_flight + 1)

    def begin(self, task: Task) -> None:
        """Note that a worker was given a task."""
        self.in_flight += 1
        self.is_reading = self.is_reading or isinstance(task, ReadPage)
        self.has_begun_row = isinstance(task, BulkRow)

    def end(self, result: Result) -> None:
        """Note how a task ended, and what that says about the account and its carrier."""
        self.in_flight -= 1
        if isinstance(result, PageRead):
            self.is_reading = False
            self.is_verified = self.is_verified and not result.has_failed
            self.put_listed_first()
        elif isinstance(result, RowOutcome):
            self.learn_from(result)

    def put_listed_first(self) -> None:
        """So that what the list has shown is used while it is fresh, though the file has another order."""
        fresh = self.listed.fresh()
        self.rows = deque(sorted(self.rows, key=lambda row: row.number not in fresh))

    def learn_from(self, outcome: RowOutcome) -> None:
        if outcome.error == CarrierUnavailable.code:
            self.breaker.note(answered=False)
        elif outcome.shows_valid_credentials:
            self.breaker.note(answered=True)
            self.is_verified = True
        elif outcome.error == InvalidCredentials.code:
            self.breaker.note(answered=True)
            # Of an account that was good before one more row makes sure, and it alone.
            if not self.is_verified:
                self.refusal = Refusal(outcome.message, code=outcome.error, field=outcome.field)
            self.doubt_credentials()
        elif outcome.error == WebhookSetupFailed.code:
            self.doubt_credentials()

    def doubt_credentials(self) -> None:
        self.is_verified = False
        self.listed.clear()


class AccountQueues:
    """The queues of all accounts. They are made as rows come for them."""

    def __init__(self, per_account: int) -> None:
        self.per_account = per_account
        self._queues: dict[tuple[str, str, str], AccountQueue] = {}
        self._gates: dict[tuple[str, str], AccountGate] = {}
        self._breakers = {integration: Breaker() for integration in PROVIDERS}

    def __iter__(self) -> Iterator[AccountQueue]:
        return iter(list(self._queues.values()))

    def put(self, row: BulkRow) -> None:
        self._of(row.credentials).rows.append(row)

    def most_urgent(self) -> AccountQueue | None:
        """The queue that should get the next worker, if any may start something."""
        startable = (queue for queue in self._queues.values() if queue.may_start)
        return max(startable, key=lambda queue: queue.urgency, default=None)

    def _of(self, credentials: Credentials) -> AccountQueue:
        """The queue of these credentials. All credentials of one account share its gate."""
        integration, account_id, digest = credentials.integration, credentials.account_id, credentials.digest
        key = (integration, account_id, digest)
        if key not in self._queues:
            if len(self._queues) >= MAX_ACCOUNTS:
                self._drop_idle()
            account = digest if CARRIERS[integration].account_id_is_application else account_id
            self._queues[key] = AccountQueue(
                integration,
                self._gates.setdefault((integration, account), AccountGate(self.per_account)),
                self._breakers[integration],
                ListedNumbers(credentials),
                is_verified=are_verified(credentials),
            )
        return self._queues[key]

    def _drop_idle(self) -> None:
        self._queues = {key: queue for key, queue in self._queues.items() if queue.rows or queue.in_flight}
        used = {id(queue.gate) for queue in self._queues.values()}
        self._gates = {key: gate for key, gate in self._gates.items() if id(gate) in used}


def are_verified(credentials: Credentials) -> bool:
    """Whether we know the account by these credentials, and all of it: its rows need not wait for one of them."""
    try:
        account = known_account(credentials)
        has_key = account and account.public_key
        is_whole = has_key or not provider_class(credentials.integration).signs_with_public_key
        return bool(is_whole) and proved_before(account, credentials)
    except Exception as error:  # its first row finds out
        log.info("An account could not be looked up", exc_info=error)
        return False
