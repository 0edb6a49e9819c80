"""Adding thousands of numbers: many at a time, not too many of one account, with a result for each row.

Nothing but the road of one number (adding.py) changes anything, so all that it promises holds for each row, and a run
that was killed is finished by another one of the same file. How the rows are spread: docs/decisions/0009.
"""

import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from contextvars import copy_context
from dataclasses import asdict
from itertools import islice
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import Any

from django.db import connections

from core.errors import Refusal
from core.wire import understood
from integrations import CARRIERS, PROVIDERS, provider_class
from integrations.errors import CarrierUnavailable, IntegrationError
from integrations.gate import through
from phones.api.serializers import AddRowSerializer
from phones.bulk.account_queue import PER_ACCOUNT, AccountQueue
from phones.bulk.files import FileRow
from phones.bulk.gates import AccountGate, Breaker
from phones.bulk.inventory import Inventory
from phones.bulk.rows import (
    ADDED,
    EXISTS,
    FAILED,
    IN_FILE,
    IN_WORKSPACE,
    NOT_TRIED,
    WOULD_ADD,
    BulkRow,
    RowOutcome,
)
from phones.errors import LineBusy, NoSuchUser, PhoneExists
from phones.models import LEASE, PhoneNumber
from phones.services.accounts import Credentials, known_account, proved_before
from phones.services.adding import Knowledge, add_phone, rehearse_add
from users.limits import LimitHeld
from users.models import MAY_OWN_NUMBERS, User

log = logging.getLogger(__name__)

WORKERS = 32
# Rows that are read and not done yet, among which there is work for every worker though one account waits.
WINDOW = 1000
# Rows that are read before the workers are looked after again.
GULP = 40
# Accounts that are remembered though no row of theirs waits.
MAX_ACCOUNTS = 1000
# One row may wait for other rows of its account at the gate; with the 5 s to undo it stays below a lease.
ROW_BUDGET_S = 40.0
# How long a row waits in all for what a dead process holds, and how often it looks.
PATIENCE_S, LOOK_AGAIN_S = 2.5 * LEASE.total_seconds(), 1.0
POLL_S = 0.1
# The carrier said no, so it is there, and the credentials are good.
ABOUT_THE_NUMBER = {"number_not_owned", "number_not_usable", "number_routed_elsewhere"}
CRASHED = "Something went wrong on our side; nothing was added or changed. The log tells more."

# A row to add, or the numbers that are wanted of an account's list.
Task = BulkRow | list[str]


def add_rows(
    rows: Iterable[FileRow],
    *,
    workspace_id: str | None = None,
    dry_run: bool = False,
    workers: int = WORKERS,
    per_account: int = PER_ACCOUNT,
    fail_fast: bool = False,
    stop: Event | None = None,
) -> Iterator[RowOutcome]:
    """Add the number of each row.

    Args:
        rows: as `bulk_files.read_rows` reads them; they are read as they are wanted.
        workspace_id: users of other workspaces count as unknown; None: any workspace.
        dry_run: ask the carriers and write nothing.
        workers: how many rows are under way at a time.
        per_account: how many requests of one carrier account are, and four more rows.
        fail_fast: begin no other row once one has failed.
        stop: when set, no other row is begun; those under way are finished.

    Yields:
        What became of each row, as it comes, not in the order of the file.

    Effects:
        Those of `add_phone` for each row. Uses threads, which have ended when the iterator has.
    """
    run = Run(workspace_id, dry_run, per_account, fail_fast, stop or Event())
    # Each with the caller's context: who acts, and in which request.
    threads = [
        Thread(target=copy_context().run, args=(run.work,), name=f"bulk-{index}", daemon=True)
        for index in range(workers)
    ]
    for thread in threads:
        thread.start()
    try:
        yield from run.outcomes(iter(rows), workers)
    finally:
        for _ in threads:
            run.jobs.put(None)
        for thread in threads:
            thread.join()


class Run:
    """One bulk add. All but `work` and what it calls is done in the caller's thread."""

    def __init__(self, workspace_id: str | None, dry_run: bool, per_account: int, fail_fast: bool, stop: Event) -> None:
        self.workspace_id, self.dry_run, self.per_account = workspace_id, dry_run, per_account
        self.fail_fast, self.stop = fail_fast, stop
        self.has_failed = False
        self.serializer = AddRowSerializer()
        self.jobs: SimpleQueue[tuple[AccountQueue, Task] | None] = SimpleQueue()
        # With what became of a row, or when it is to be tried again.
        self.results: SimpleQueue[tuple[AccountQueue, Task, RowOutcome | float]] = SimpleQueue()
        self.queues: dict[tuple[str, str, str], AccountQueue] = {}
        self.gates: dict[tuple[str, str], AccountGate] = {}
        self.breakers = {integration: Breaker() for integration in PROVIDERS}
        # Rows of one user and number, one after the other: the second finds what the first has left.
        self.followers: dict[tuple[str, str], deque[BulkRow]] = {}
        self.later: list[tuple[float, BulkRow]] = []
        self.rehearsed: set[int] = set()
        self.waiting = self.in_flight = 0

    # -- the caller's thread ------------------------------------------------------------------------------------------

    def outcomes(self, rows: Iterator[FileRow], workers: int) -> Iterator[RowOutcome]:
        more = True
        while more or self.waiting:
            if more and not self.is_stopped and (room := min(GULP, WINDOW - self.waiting)):
                some = list(islice(rows, room))
                more = len(some) == room
                yield from self.take_up(some)
            if self.is_stopped and not self.in_flight:
                yield from self.left_over(rows)
                return
            self.wake()
            yield from self.spared()
            yield from self.start(workers)
            yield from self.take_in(0 if more and self.waiting < WINDOW else POLL_S)

    def left_over(self, rows: Iterator[FileRow]) -> Iterator[RowOutcome]:
        """The rows that were not begun, and the rest of the file."""
        queued = [row for queue in self.queues.values() for row in queue.rows] + [row for _, row in self.later]
        for row in queued + [row for behind in self.followers.values() for row in behind]:
            yield row.ended(NOT_TRIED)
        for unread in rows:
            yield RowOutcome(unread.line, *unread.shown(), NOT_TRIED)

    def take_up(self, some: list[FileRow]) -> Iterator[RowOutcome]:
        """Queue up those rows that are to be added, and yield what became of the others."""
        wanted = []
        for row in some:
            if isinstance(one := self.understand(row), BulkRow):
                wanted.append(one)
            else:
                yield self.final(one)
        there = set()
        try:
            self.find_users(wanted)
            there = already_there(wanted)
        except Exception as error:  # each row looks for itself
            log.error("Rows could not be looked up together", exc_info=error)
        for one in wanted:
            if one.is_user_known and one.user is None:
                yield self.final(one.ended(FAILED, NoSuchUser()))
            elif one.key in there:
                yield self.final(one.ended(EXISTS, message=IN_WORKSPACE))
            else:
                self.waiting += 1
                self.queue_up(one)

    def find_users(self, rows: list[BulkRow]) -> None:
        """Give the rows those of their users who may get a number."""
        users = User.objects.filter(MAY_OWN_NUMBERS)
        if self.workspace_id:
            users = users.filter(workspace=self.workspace_id)
        found = users.in_bulk({row.user_id for row in rows})
        for row in rows:
            row.user, row.looked_up_at = found.get(row.user_id), time.monotonic()

    def understand(self, row: FileRow) -> BulkRow | RowOutcome:
        """The same verdict as the API's on the same fields."""
        try:
            if row.problem:
                raise row.problem
            fields = dict(understood(self.serializer, row.fields))
        except Refusal as error:
            return RowOutcome(row.line, *row.shown(), FAILED, error.code, error.field, str(error))
        taken = {name: fields.pop(name) for name in ("integration", "account_id", "auth_token", "public_key")}
        user_id, number, on_conflict = (fields.pop(name) for name in ("user_id", "number", "on_conflict"))
        return BulkRow(row.line, user_id, number, Credentials(**taken), on_conflict, settings=fields)

    def queue_up(self, row: BulkRow) -> None:
        if row.key in self.followers:
            self.followers[row.key].append(row)
        else:
            self.followers[row.key] = deque()
            self.queue(row.credentials).rows.append(row)

    def queue(self, credentials: Credentials) -> AccountQueue:
        """The queue of these credentials; the gate is shared by all that reach the same account."""
        digest = credentials.digest
        key = (credentials.integration, credentials.account_id, digest)
        if key not in self.queues:
            if len(self.queues) >= MAX_ACCOUNTS:
                self.queues = {key: queue for key, queue in self.queues.items() if queue.rows or queue.in_flight}
                used = {id(queue.gate) for queue in self.queues.values()}
                self.gates = {key: gate for key, gate in self.gates.items() if id(gate) in used}
            names_account = not CARRIERS[credentials.integration].account_id_is_application
            account = credentials.account_id if names_account else digest
            gate = self.gates.setdefault((credentials.integration, account), AccountGate(self.per_account))
            is_proved = were_good(credentials)
            self.queues[key] = AccountQueue(gate, Inventory(credentials), credentials.integration, is_proved=is_proved)
        return self.queues[key]

    def wake(self) -> None:
        """Put rows back whose time to wait is over."""
        now = time.monotonic()
        for at, row in self.later:
            if at <= now:
                self.queue(row.credentials).rows.append(row)
        self.later = [(at, row) for at, row in self.later if at > now]

    def spared(self) -> Iterator[RowOutcome]:
        """The rows of accounts whose credentials were refused: the carrier is not asked again for each of them."""
        for queue in list(self.queues.values()):
            while queue.refusal and queue.rows:
                row = queue.rows.popleft()
                yield from self.done(row, row.ended(FAILED, queue.refusal))

    def start(self, workers: int) -> Iterator[RowOutcome]:
        """Give work to those workers that have none, and yield the rows that need none."""
        while self.in_flight < workers and not self.is_stopped:
            queue = max(
                (one for one in self.queues.values() if one.may_start), key=lambda one: one.urgency, default=None
            )
            if queue is None:
                return
            if queue.wants_page:
                queue.is_reading, queue.has_begun_row = True, False
                self.hand_out(queue, [row.number for row in queue.rows])
                continue
            row = queue.rows.popleft()
            if hash(row.key) in self.rehearsed:
                yield from self.done(row, row.ended(EXISTS, message=IN_FILE))
            elif not self.breakers[queue.integration].allows():
                yield from self.done(row, row.ended(FAILED, spared_carrier(queue.integration)))
            else:
                queue.has_begun_row = True
                self.hand_out(queue, row)

    def hand_out(self, queue: AccountQueue, task: Task) -> None:
        self.in_flight += 1
        queue.in_flight += 1
        self.jobs.put((queue, task))

    def take_in(self, wait_s: float) -> Iterator[RowOutcome]:
        """Take what the workers bring, and wait so long for the first of it."""
        with suppress(Empty):
            queue, task, result = self.results.get(timeout=wait_s)
            while True:
                self.in_flight -= 1
                queue.in_flight -= 1
                if isinstance(task, list):
                    queue.is_reading = False
                    queue.put_listed_first()
                elif isinstance(result, RowOutcome):
                    self.learn(queue, result)
                    yield from self.done(task, result)
                else:
                    self.later.append((result, task))
                queue, task, result = self.results.get_nowait()

    def learn(self, queue: AccountQueue, result: RowOutcome) -> None:
        """What the outcome of a row says of its account and its carrier."""
        answered = result.outcome in (ADDED, WOULD_ADD) or result.error in ABOUT_THE_NUMBER
        if answered or result.error in ("carrier_unavailable", "invalid_credentials"):
            self.breakers[queue.integration].note(answered=result.error != "carrier_unavailable")
        if answered:
            queue.is_proved = True
        elif result.error in ("invalid_credentials", "webhook_setup_failed"):
            # Of an account that was good before one more row makes sure, and it alone.
            if result.error == "invalid_credentials" and not queue.is_proved:
                queue.refusal = Refusal(result.message, code=result.error, field=result.field)
            queue.is_proved = False
            queue.inventory.forget()

    def done(self, row: BulkRow, outcome: RowOutcome) -> Iterator[RowOutcome]:
        """The outcome of a row, and of those behind it that need not be tried any more."""
        self.waiting -= 1
        if outcome.outcome == WOULD_ADD:
            self.rehearsed.add(hash(row.key))
        behind = self.followers[row.key]
        yield self.final(outcome)
        while behind and outcome.outcome in (ADDED, EXISTS):
            self.waiting -= 1
            yield self.final(behind.popleft().ended(EXISTS, message=IN_WORKSPACE))
        if behind:
            follower = behind.popleft()
            self.queue(follower.credentials).rows.append(follower)
        else:
            del self.followers[row.key]

    def final(self, outcome: RowOutcome) -> RowOutcome:
        self.has_failed = self.has_failed or outcome.outcome == FAILED
        return outcome

    @property
    def is_stopped(self) -> bool:
        return self.stop.is_set() or (self.fail_fast and self.has_failed)

    # -- the workers' threads -----------------------------------------------------------------------------------------

    def work(self) -> None:
        try:
            while job := self.jobs.get():
                queue, task = job
                with through(queue.gate):
                    act = self.read_list if isinstance(task, list) else self.perform
                    self.results.put((queue, task, act(queue, task)))  # type: ignore[arg-type]
        finally:
            connections.close_all()

    def read_list(self, queue: AccountQueue, numbers: list[str]) -> float:
        try:
            queue.inventory.read_on(numbers)
        except IntegrationError as error:
            queue.is_proved = False  # the next row finds out what is wrong
            log.info("The numbers of an account could not be listed: %s (%s)", error, error.detail)
        except Exception as error:
            queue.inventory.give_up()
            log.error("The numbers of an account could not be listed", exc_info=error)
        return 0.0

    def perform(self, queue: AccountQueue, row: BulkRow) -> RowOutcome | float:
        """Do one row. Returns what became of it, or when to try again, on the monotonic clock."""
        row.tried_at = row.tried_at or time.monotonic()
        try:
            return self.attempt(queue, row)
        except Exception as error:
            log.error("Row %s could not be added", row.line, exc_info=error)
            return row.ended(FAILED, Refusal(CRASHED))

    def attempt(self, queue: AccountQueue, row: BulkRow) -> RowOutcome | float:
        try:
            if not row.is_user_known:
                self.find_users([row])
            if row.user is None:
                raise NoSuchUser
            self.add(queue, row)
            return row.ended(WOULD_ADD if self.dry_run else ADDED)
        except PhoneExists as error:
            if row.key in already_there([row]):
                return row.ended(EXISTS, message=IN_WORKSPACE)
            return self.later_or_failed(row, error)
        except (LineBusy, LimitHeld) as error:
            return self.later_or_failed(row, error)
        except (Refusal, IntegrationError) as error:
            if error.code == CarrierUnavailable.code and queue.gate.is_closed:
                return self.later_or_failed(row, error)
            return row.ended(FAILED, error)

    def add(self, queue: AccountQueue, row: BulkRow) -> None:
        one: dict[str, Any] = {
            **asdict(row.credentials),
            "user": row.user,
            "number": row.number,
            "on_conflict": row.on_conflict,
            "knowledge": Knowledge(queue.is_proved, queue.inventory.take(row.number) if queue.is_proved else None),
            "settings": row.settings,
            "budget_s": ROW_BUDGET_S,
        }
        if self.dry_run:
            rehearse_add(**one)
        else:
            add_phone(**one)

    def later_or_failed(self, row: BulkRow, error: Refusal | IntegrationError) -> RowOutcome | float:
        """What somebody else holds comes free: its holder ends, or its lease does."""
        now = time.monotonic()
        return row.ended(FAILED, error) if now - row.tried_at > PATIENCE_S else now + LOOK_AGAIN_S


def already_there(rows: list[BulkRow]) -> set[tuple[str, str]]:
    """The keys of the rows whose user has the number, among others: in a file that is run again most have."""
    active = PhoneNumber.objects.filter(state=PhoneNumber.State.ACTIVE, number__in={row.number for row in rows})
    return set(active.values_list("user_id", "number"))


def were_good(credentials: Credentials) -> bool:
    """Whether we know the account by these credentials, and all of it: its rows need not wait for one of them."""
    try:
        account = known_account(credentials)
        has_key = account and account.public_key
        is_whole = has_key or not provider_class(credentials.integration).signs_with_public_key
        return bool(is_whole) and proved_before(account, credentials)
    except Exception as error:  # its first row finds out
        log.info("An account could not be looked up", exc_info=error)
        return False


def spared_carrier(integration: str) -> IntegrationError:
    return CarrierUnavailable(
        f"{PROVIDERS[integration]} did not answer several times in a row, so it was not asked about this row. "
        "Run the file again later."
    )
