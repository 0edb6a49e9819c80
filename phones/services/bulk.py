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
from dataclasses import asdict, dataclass, field
from itertools import islice
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import Any

from django.db import connections

from integrations import PROVIDERS, provider_class
from integrations.errors import CarrierUnavailable, IntegrationError
from integrations.gate import through
from phones.errors import LineBusy, PhoneExists
from phones.models import LEASE, PhoneNumber
from phones.serializers import AddRowSerializer
from phones.services.accounts import Credentials, known_account, proved_before
from phones.services.adding import Knowledge, add_phone, rehearse_add
from phones.services.bulk_files import FileRow
from phones.services.gates import AccountGate, Breaker
from phones.services.inventory import Inventory
from users.limits import LimitHeld
from users.models import User
from workspace.api import understood
from workspace.errors import Refusal

log = logging.getLogger(__name__)

WORKERS, PER_ACCOUNT = 32, 8
# Rows that are read and not done yet, among which there is work for every worker though one account waits.
WINDOW = 1000
# Rows that are read before the workers are looked after again.
GULP = 40
# Accounts that are remembered though no row of theirs waits.
MAX_ACCOUNTS = 1000
# One row may wait for other rows of its account at the gate; with the 5 s to undo it stays below a lease.
ROW_BUDGET_S = 40.0
# An account's list is read for the rows that wait; for fewer than this each is asked for itself.
MIN_LISTED = 12
# Rows of an account beyond those that its gate lets through: it is not idle while a row is written down here.
AT_THE_GATE = 4
# A user who was looked up longer ago is looked up again.
USER_KNOWN_S = 60.0
# How long a row waits in all for what a dead process holds, and how often it looks.
PATIENCE_S, LOOK_AGAIN_S = 2.5 * LEASE.total_seconds(), 1.0

ADDED, EXISTS, FAILED, WOULD_ADD, NOT_TRIED = "added", "exists", "failed", "would_add", "not_tried"
IN_WORKSPACE, IN_FILE = "This user has this number already.", "An earlier row of the file has this number."
POLL_S = 0.1
# The carrier said no, so it is there, and the credentials are good.
ABOUT_THE_NUMBER = {"number_not_owned", "number_not_usable", "number_routed_elsewhere"}
CRASHED = "Something went wrong on our side; nothing was added or changed. The log tells more."


@dataclass
class BulkRow:
    """A row that makes sense; `line` is its place in the file, `user` as it was looked up at `looked_up_at`."""

    line: int
    user_id: str
    number: str
    credentials: Credentials
    on_conflict: str
    settings: dict[str, Any] = field(repr=False)
    user: User | None = field(default=None, repr=False)
    looked_up_at: float = 0.0
    tried_at: float = 0.0

    @property
    def key(self) -> tuple[str, str]:
        return self.user_id, self.number


@dataclass(frozen=True)
class RowOutcome:
    """What became of a row: added, exists, failed, would_add or not_tried; `error` is the API's machine code."""

    line: int
    user_id: str
    phone_number: str
    outcome: str
    error: str | None = None
    field: str | None = None
    message: str = ""


# A row to add, or the numbers that are wanted of an account's list.
Task = BulkRow | list[str]


@dataclass
class Desk:
    """The waiting rows of one account, and what is known of the account."""

    gate: AccountGate
    inventory: Inventory
    integration: str
    rows: deque[BulkRow] = field(default_factory=deque)
    in_flight: int = 0
    is_proved: bool = False
    is_reading: bool = False
    # A row was begun since the last page: a list that is old before it is used does not keep the rows from their turn.
    has_begun_row: bool = True
    refusal: Refusal | None = None

    @property
    def most(self) -> int:
        """How much may be under way. Unless its credentials are proved one row goes ahead, so that no others are spent
        on a wrong token. A row that the list has not shown takes two requests at a time: half as many of them leave
        room at the gate for the page that spares the others theirs."""
        if not self.is_proved:
            return 1
        if self.is_reading and not self.inventory.listed():
            return 1 + min(self.gate.limit, PER_ACCOUNT) // 2
        return self.gate.limit + AT_THE_GATE

    @property
    def may_start(self) -> bool:
        return bool(self.rows) and self.in_flight < self.most and not self.gate.is_closed

    @property
    def wants_page(self) -> bool:
        """Whether to read on in the account's list, as what it has shown is soon used up."""
        return (
            self.is_proved
            and not self.is_reading
            and self.has_begun_row
            and len(self.rows) >= MIN_LISTED
            and self.inventory.is_worth_it(len(self.rows))
            and len(self.inventory.listed()) < 2 * self.gate.limit
        )

    def put_listed_first(self) -> None:
        """So that what the list has shown is used while it is fresh, though the file has another order."""
        listed = self.inventory.listed()
        self.rows = deque(sorted(self.rows, key=lambda row: row.number not in listed))

    @property
    def urgency(self) -> tuple[bool, float]:
        """Unproved accounts first, as they have one row under way at most; then who has most to do for each worker."""
        return not self.is_proved, len(self.rows) / (self.in_flight + 1)


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
        self.jobs: SimpleQueue[tuple[Desk, Task] | None] = SimpleQueue()
        # With what became of a row, or when it is to be tried again.
        self.results: SimpleQueue[tuple[Desk, Task, RowOutcome | float]] = SimpleQueue()
        self.desks: dict[tuple[str, str, str], Desk] = {}
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
        queued = [row for desk in self.desks.values() for row in desk.rows] + [row for _, row in self.later]
        for row in queued + [row for behind in self.followers.values() for row in behind]:
            yield outcome_of(row, NOT_TRIED)[1]
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
        try:
            there = self.look_up(wanted)
        except Exception as error:
            log.error("Rows could not be looked up", exc_info=error)
            for one in wanted:
                yield self.final(outcome_of(one, FAILED, Refusal(CRASHED))[1])
            return
        for one in wanted:
            if one.user is None:
                yield self.final(outcome_of(one, FAILED, no_such_user())[1])
            elif one.key in there:
                yield self.final(outcome_of(one, EXISTS, message=IN_WORKSPACE)[1])
            else:
                self.waiting += 1
                self.queue_up(one)

    def look_up(self, rows: list[BulkRow]) -> set[tuple[str, str]]:
        """Find the users of these rows who may get a number. Returns the keys of those that have it already, among
        others: in a file that is run again most rows are there."""
        users = User.objects.filter(is_active=True).exclude(workspace=None)
        if self.workspace_id:
            users = users.filter(workspace=self.workspace_id)
        found = users.in_bulk({row.user_id for row in rows})
        for row in rows:
            row.user, row.looked_up_at = found.get(row.user_id), time.monotonic()
        active = PhoneNumber.objects.filter(state=PhoneNumber.State.ACTIVE, number__in={row.number for row in rows})
        return set(active.values_list("user_id", "number"))

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
            self.desk(row.credentials).rows.append(row)

    def desk(self, credentials: Credentials) -> Desk:
        """The desk of these credentials; the gate is shared by all that reach the same account."""
        digest = credentials.digest
        key = (credentials.integration, credentials.account_id, digest)
        if key not in self.desks:
            if len(self.desks) >= MAX_ACCOUNTS:
                self.desks = {key: desk for key, desk in self.desks.items() if desk.rows or desk.in_flight}
                used = {id(desk.gate) for desk in self.desks.values()}
                self.gates = {key: gate for key, gate in self.gates.items() if id(gate) in used}
            account = digest if credentials.integration == "telnyx" else credentials.account_id
            gate = self.gates.setdefault((credentials.integration, account), AccountGate(self.per_account))
            is_proved = were_good(credentials)
            self.desks[key] = Desk(gate, Inventory(credentials), credentials.integration, is_proved=is_proved)
        return self.desks[key]

    def wake(self) -> None:
        """Put rows back whose time to wait is over."""
        now = time.monotonic()
        for at, row in self.later:
            if at <= now:
                self.desk(row.credentials).rows.append(row)
        self.later = [(at, row) for at, row in self.later if at > now]

    def spared(self) -> Iterator[RowOutcome]:
        """The rows of accounts whose credentials were refused: the carrier is not asked again for each of them."""
        for desk in list(self.desks.values()):
            while desk.refusal and desk.rows:
                yield from self.done(outcome_of(desk.rows.popleft(), FAILED, desk.refusal))

    def start(self, workers: int) -> Iterator[RowOutcome]:
        """Give work to those workers that have none, and yield the rows that need none."""
        while self.in_flight < workers and not self.is_stopped:
            desk = max((one for one in self.desks.values() if one.may_start), key=lambda one: one.urgency, default=None)
            if desk is None:
                return
            if desk.wants_page:
                desk.is_reading, desk.has_begun_row = True, False
                self.hand_out(desk, [row.number for row in desk.rows])
                continue
            row = desk.rows.popleft()
            if hash(row.key) in self.rehearsed:
                yield from self.done(outcome_of(row, EXISTS, message=IN_FILE))
            elif not self.breakers[desk.integration].allows():
                yield from self.done(outcome_of(row, FAILED, spared_carrier(desk.integration)))
            else:
                desk.has_begun_row = True
                self.hand_out(desk, row)

    def hand_out(self, desk: Desk, task: Task) -> None:
        self.in_flight += 1
        desk.in_flight += 1
        self.jobs.put((desk, task))

    def take_in(self, wait_s: float) -> Iterator[RowOutcome]:
        """Take what the workers bring, and wait so long for the first of it."""
        with suppress(Empty):
            desk, task, result = self.results.get(timeout=wait_s)
            while True:
                self.in_flight -= 1
                desk.in_flight -= 1
                if isinstance(task, list):
                    desk.is_reading = False
                    desk.put_listed_first()
                elif isinstance(result, RowOutcome):
                    self.learn(desk, result)
                    yield from self.done((task, result))
                else:
                    self.later.append((result, task))
                desk, task, result = self.results.get_nowait()

    def learn(self, desk: Desk, result: RowOutcome) -> None:
        """What the outcome of a row says of its account and its carrier."""
        answered = result.outcome in (ADDED, WOULD_ADD) or result.error in ABOUT_THE_NUMBER
        if answered or result.error in ("carrier_unavailable", "invalid_credentials"):
            self.breakers[desk.integration].note(answered=result.error != "carrier_unavailable")
        if answered:
            desk.is_proved = True
        elif result.error in ("invalid_credentials", "webhook_setup_failed"):
            # Of an account that was good before one more row makes sure, and it alone.
            if result.error == "invalid_credentials" and not desk.is_proved:
                desk.refusal = Refusal(result.message, code=result.error, field=result.field)
            desk.is_proved = False
            desk.inventory.forget()

    def done(self, ended: tuple[BulkRow, RowOutcome]) -> Iterator[RowOutcome]:
        """The outcome of a row, and of those behind it that need not be tried any more."""
        row, outcome = ended
        self.waiting -= 1
        if outcome.outcome == WOULD_ADD:
            self.rehearsed.add(hash(row.key))
        behind = self.followers[row.key]
        yield self.final(outcome)
        while behind and outcome.outcome in (ADDED, EXISTS):
            self.waiting -= 1
            yield self.final(outcome_of(behind.popleft(), EXISTS, message=IN_WORKSPACE)[1])
        if behind:
            follower = behind.popleft()
            self.desk(follower.credentials).rows.append(follower)
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
                desk, task = job
                with through(desk.gate):
                    act = self.read_list if isinstance(task, list) else self.perform
                    self.results.put((desk, task, act(desk, task)))  # type: ignore[arg-type]
        finally:
            connections.close_all()

    def read_list(self, desk: Desk, numbers: list[str]) -> float:
        try:
            desk.inventory.read_on(numbers)
        except IntegrationError as error:
            desk.is_proved = False  # the next row finds out what is wrong
            log.info("The numbers of an account could not be listed: %s (%s)", error, error.detail)
        except Exception as error:
            desk.inventory.give_up()
            log.error("The numbers of an account could not be listed", exc_info=error)
        return 0.0

    def perform(self, desk: Desk, row: BulkRow) -> RowOutcome | float:
        """Do one row. Returns what became of it, or when to try again, on the monotonic clock."""
        row.tried_at = row.tried_at or time.monotonic()
        try:
            return self.attempt(desk, row)
        except Exception as error:
            log.error("Row %s could not be added", row.line, exc_info=error)
            return outcome_of(row, FAILED, Refusal(CRASHED))[1]

    def attempt(self, desk: Desk, row: BulkRow) -> RowOutcome | float:
        try:
            if time.monotonic() - row.looked_up_at > USER_KNOWN_S:
                self.look_up([row])
            if row.user is None:
                raise no_such_user()
            self.add(desk, row)
            return outcome_of(row, WOULD_ADD if self.dry_run else ADDED)[1]
        except PhoneExists as error:
            if row.key in self.look_up([row]):
                return outcome_of(row, EXISTS, message=IN_WORKSPACE)[1]
            return self.later_or_failed(row, error)
        except (LineBusy, LimitHeld) as error:
            return self.later_or_failed(row, error)
        except (Refusal, IntegrationError) as error:
            if error.code == CarrierUnavailable.code and desk.gate.is_closed:
                return self.later_or_failed(row, error)
            return outcome_of(row, FAILED, error)[1]

    def add(self, desk: Desk, row: BulkRow) -> None:
        one: dict[str, Any] = {
            **asdict(row.credentials),
            "user": row.user,
            "number": row.number,
            "on_conflict": row.on_conflict,
            "knowledge": Knowledge(desk.is_proved, desk.inventory.take(row.number) if desk.is_proved else None),
            "budget_s": ROW_BUDGET_S,
        }
        if self.dry_run:
            rehearse_add(**one)
        else:
            add_phone(**one, settings=row.settings)

    def later_or_failed(self, row: BulkRow, error: Refusal | IntegrationError) -> RowOutcome | float:
        """What somebody else holds comes free: its holder ends, or its lease does."""
        now = time.monotonic()
        return outcome_of(row, FAILED, error)[1] if now - row.tried_at > PATIENCE_S else now + LOOK_AGAIN_S


def outcome_of(
    row: BulkRow, outcome: str, error: Refusal | IntegrationError | None = None, *, message: str = ""
) -> tuple[BulkRow, RowOutcome]:
    told = (error.code, error.field, str(error)) if error else (None, None, message)
    return row, RowOutcome(row.line, row.user_id, row.number, outcome, *told)


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


def no_such_user() -> Refusal:
    return Refusal("userId: user not found in this workspace.", code="user_not_found", field="userId")


def spared_carrier(integration: str) -> IntegrationError:
    return CarrierUnavailable(
        f"{PROVIDERS[integration]} did not answer several times in a row, so it was not asked about this row. "
        "Run the file again later."
    )
