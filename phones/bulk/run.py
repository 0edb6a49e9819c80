"""Add the numbers of a file: many at a time, but not too many of one account, with an outcome for each row.

Only `add_phone` (services/adding.py) changes anything, so all that it promises holds for each row, and running the same
file again finishes a run that was killed. docs/decisions/0009 explains how the rows are distributed.
"""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from threading import Event

from integrations import CARRIERS
from integrations.errors import CarrierUnavailable
from phones.bulk.account_queues import PER_ACCOUNT, AccountQueues, PageRead, ReadPage
from phones.bulk.files import FileRow
from phones.bulk.rows import (
    ADDED,
    EXISTS,
    FAILED,
    IN_FILE,
    IN_WORKSPACE,
    NOT_TRIED,
    WOULD_ADD,
    BulkRow,
    Key,
    Retry,
    RowOutcome,
)
from phones.bulk.screening import screen
from phones.bulk.tasks import perform
from phones.bulk.workers import Workers

WORKERS = 32
# Rows that have been read and have no outcome yet. Among so many there is work for every worker even if one account has
# to wait.
WINDOW = 1000
# Rows to read before the workers are looked after again.
BATCH = 40
POLL_S = 0.1
NOT_ASKED = (
    "{carrier} did not answer several times in a row, so it was not asked about this row. Run the file again later."
)


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
        rows: from `files.read_rows`; they are read as they are needed.
        workspace_id: users of other workspaces count as unknown; None: any workspace.
        dry_run: ask the carriers and write nothing.
        workers: how many rows may be in progress at a time.
        per_account: how many requests of one carrier account may be in progress at a time.
        fail_fast: once a row has failed, start no others.
        stop: once it is set, no row is started; those in progress are finished.

    Yields:
        An outcome for each row as soon as it is known, not in the order of the file.

    Effects:
        Those of `add_phone` for each row. Uses threads, all of which have ended when the iterator has.
    """
    with Workers(workers, partial(perform, workspace_id=workspace_id, dry_run=dry_run)) as threads:
        run = Run(threads, workspace_id, per_account, stop or Event())
        for outcome in run.outcomes(iter(rows)):
            run.is_cut_short = run.is_cut_short or (fail_fast and outcome.outcome == FAILED)
            yield outcome


class Run:
    """One bulk add: decides which row is tried when. Used by the caller's thread alone."""

    def __init__(self, workers: Workers, workspace_id: str | None, per_account: int, stop: Event) -> None:
        self.workers = workers
        self.workspace_id = workspace_id
        self.stop = stop
        self.is_cut_short = False
        self.queues = AccountQueues(per_account)
        # Behind each row that is queued or in progress, the rows with the same key: each sees what the last one left.
        self.followers: dict[Key, deque[BulkRow]] = {}
        self.retries: list[Retry] = []
        # A dry run leaves nothing in the database by which a later row could tell that it is the second of its number.
        self.rehearsed: set[Key] = set()
        self.unfinished = 0

    @property
    def is_stopped(self) -> bool:
        return self.is_cut_short or self.stop.is_set()

    def outcomes(self, rows: Iterator[FileRow]) -> Iterator[RowOutcome]:
        more = True
        while more or self.unfinished:
            if more and not self.is_stopped and (room := min(BATCH, WINDOW - self.unfinished)):
                batch = list(islice(rows, room))
                more = len(batch) == room
                yield from self.admit(batch)
            if self.is_stopped and not self.workers.in_flight:
                yield from self.report_not_tried(rows)
                return
            self.requeue_due_retries()
            yield from self.fail_refused_accounts()
            yield from self.start_tasks()
            yield from self.collect_results(0 if more and self.unfinished < WINDOW else POLL_S)

    def admit(self, batch: list[FileRow]) -> Iterator[RowOutcome]:
        """Queue the rows that a carrier must be asked about, and yield the outcomes of the others."""
        to_try, outcomes = screen(batch, workspace_id=self.workspace_id)
        yield from outcomes
        for row in to_try:
            if row.key in self.rehearsed:
                yield row.outcome(EXISTS, message=IN_FILE)
                continue
            self.unfinished += 1
            if row.key in self.followers:
                self.followers[row.key].append(row)
            else:
                self.followers[row.key] = deque()
                self.queues.put(row)

    def report_not_tried(self, rows: Iterator[FileRow]) -> Iterator[RowOutcome]:
        """Report the rows that were not started and the rest of the file as not tried."""
        for queue in self.queues:
            yield from (row.outcome(NOT_TRIED) for row in queue.rows)
        yield from (retry.row.outcome(NOT_TRIED) for retry in self.retries)
        for followers in self.followers.values():
            yield from (row.outcome(NOT_TRIED) for row in followers)
        for unread in rows:
            yield RowOutcome(unread.line, unread.shown(), NOT_TRIED)

    def requeue_due_retries(self) -> None:
        now = time.monotonic()
        for retry in self.retries:
            if retry.due_at <= now:
                self.queues.put(retry.row)
        self.retries = [retry for retry in self.retries if retry.due_at > now]

    def fail_refused_accounts(self) -> Iterator[RowOutcome]:
        """Fail the rows of accounts whose credentials were refused, without asking the carrier about each."""
        for queue in self.queues:
            while queue.refusal and queue.rows:
                yield from self.finish(as_refused(queue.rows.popleft(), queue.refusal))

    def start_tasks(self) -> Iterator[RowOutcome]:
        """Give tasks to idle workers, and yield the outcomes of rows that need no worker."""
        while not self.workers.are_busy and not self.is_stopped and (queue := self.queues.most_urgent()):
            if queue.should_read_page:
                self.workers.submit(queue, ReadPage([row.number for row in queue.rows]))
                continue
            row = queue.rows.popleft()
            if queue.breaker.allows():
                self.workers.submit(queue, row)
            else:
                yield from self.finish(not_asked(row))

    def collect_results(self, wait_s: float) -> Iterator[RowOutcome]:
        """Process the results that are ready; if none is, wait up to `wait_s` seconds for the first."""
        for result in self.workers.results(wait_s):
            if isinstance(result, Retry):
                self.retries.append(result)
            elif not isinstance(result, PageRead):
                yield from self.finish(result)

    def finish(self, outcome: RowOutcome) -> Iterator[RowOutcome]:
        """Yield a row's outcome and those of its followers that need not be tried any more; queue the next follower."""
        self.unfinished -= 1
        message = IN_WORKSPACE
        if outcome.outcome == WOULD_ADD:
            self.rehearsed.add(outcome.key)
            message = IN_FILE
        followers = self.followers[outcome.key]
        yield outcome
        while followers and outcome.outcome in (ADDED, EXISTS, WOULD_ADD):
            self.unfinished -= 1
            yield followers.popleft().outcome(EXISTS, message=message)
        if followers:
            self.queues.put(followers.popleft())
        else:
            del self.followers[outcome.key]


def as_refused(row: BulkRow, refusal: RowOutcome) -> RowOutcome:
    """The outcome of a row whose account was refused in another row."""
    return replace(refusal, line=row.line, columns=row.columns, key=row.key)


def not_asked(row: BulkRow) -> RowOutcome:
    """The outcome of a row about which its carrier was not asked."""
    error = CarrierUnavailable(CARRIERS[row.credentials.integration])
    return row.outcome(FAILED, error, message=NOT_ASKED.format_map(error.values))
