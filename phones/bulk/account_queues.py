"""The waiting rows of a bulk add: a queue for each carrier account, which knows how many of them may be in progress."""

import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from integrations import CARRIERS, PROVIDERS, provider_class
from integrations.errors import CarrierUnavailable, InvalidCredentials, WebhookSetupFailed
from phones.bulk.gates import AccountGate, Breaker
from phones.bulk.listed_numbers import ListedNumbers
from phones.bulk.rows import BulkRow, Retry, RowOutcome
from phones.services.accounts import Credentials, known_account, was_verified

# Concurrent requests for one account, until its carrier answers 429.
PER_ACCOUNT = 8
# With fewer waiting rows than this, each number is asked for by itself instead of reading the account's list.
MIN_LISTED = 12
# Rows of an account in progress beyond the gate's limit, so the gate is not idle while we write a row to the database.
AT_THE_GATE = 4
# Beyond this many queues, those without rows are dropped.
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
    """The waiting rows of one account, and what we know about the account."""

    gate: AccountGate
    breaker: Breaker
    listed: ListedNumbers
    is_verified: bool
    rows: deque[BulkRow] = field(default_factory=deque)
    in_flight: int = 0
    is_reading: bool = False
    # Whether a row was started since the last page. Without one no page is read: if pages went stale before they were
    # used, we would read nothing but pages.
    has_begun_row: bool = True
    refusal: RowOutcome | None = None

    @property
    def max_in_flight(self) -> int:
        """How many tasks may be in progress.

        Until one row has verified the credentials, run only that row, so a wrong token costs a single attempt. While
        the first page is being read, run only half as many rows: a number that is not listed takes two requests at a
        time, and the page, which saves the other rows these requests, must get through the gate too.
        """
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
        """Whether to read another page of the account's list, because few listed numbers are left."""
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
        """Accounts to verify come first, as each runs one row only; then those with the most rows for each worker."""
        return not self.is_verified, len(self.rows) / (self.in_flight + 1)

    def begin(self, task: Task) -> None:
        """Record that a worker has started a task."""
        self.in_flight += 1
        self.is_reading = self.is_reading or isinstance(task, ReadPage)
        self.has_begun_row = isinstance(task, BulkRow)

    def end(self, result: Result) -> None:
        """Record how a task ended, and what that says about the account and its carrier."""
        self.in_flight -= 1
        if isinstance(result, PageRead):
            self.is_reading = False
            self.is_verified = self.is_verified and not result.has_failed
            self.put_listed_first()
        elif isinstance(result, RowOutcome):
            self.learn_from(result)

    def put_listed_first(self) -> None:
        """Use listed numbers while they are fresh, although the file has them in another order."""
        fresh = self.listed.fresh()
        self.rows = deque(sorted(self.rows, key=lambda row: row.number not in fresh))

    def learn_from(self, outcome: RowOutcome) -> None:
        if outcome.error == CarrierUnavailable.code or outcome.is_final:
            self.breaker.note(answered=outcome.is_final)
        if outcome.shows_valid_credentials:
            self.breaker.note(answered=True)
            self.is_verified = True
        elif outcome.error == InvalidCredentials.code:
            self.breaker.note(answered=True)
            # If the credentials were valid before, one more row must confirm the refusal.
            if not self.is_verified:
                self.refusal = outcome
            self.doubt_credentials()
        elif outcome.error == WebhookSetupFailed.code:
            self.doubt_credentials()

    def doubt_credentials(self) -> None:
        self.is_verified = False
        self.listed.clear()


class AccountQueues:
    """The queues of all accounts. A queue is made when the first row for it comes."""

    def __init__(self, per_account: int) -> None:
        self.per_account = per_account
        self._queues: dict[tuple[str | None, str, str, str], AccountQueue] = {}
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
        """The queue of a workspace's credentials. All credentials of one account share its gate."""
        integration, account_id, digest = credentials.integration, credentials.account_id, credentials.digest
        key = (credentials.workspace_id, integration, account_id, digest)
        if key not in self._queues:
            if len(self._queues) >= MAX_ACCOUNTS:
                self._drop_idle()
            account = digest if CARRIERS[integration].account_id_is_application else account_id
            self._queues[key] = AccountQueue(
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
    """Whether we hold the account with these credentials and any key it needs, so no row has to verify them first."""
    try:
        account = known_account(credentials)
        has_key = account and account.public_key
        is_whole = has_key or not provider_class(credentials.integration).signs_with_public_key
        return bool(is_whole) and was_verified(account, credentials)
    except Exception as error:  # the first row verifies them
        log.info("An account could not be looked up", exc_info=error)
        return False
