"""Files of numbers that staff bring: kept row by row, tried, and then added, by a thread of the server.

All that matters is in the rows, so whoever opens the page sees how far it is, and when the process that was at work has
died, the next who opens it goes on.
"""

import json
import logging
from collections.abc import Iterator
from contextvars import copy_context
from datetime import timedelta
from threading import Event, Thread
from typing import BinaryIO

from django.db import connections
from django.db.models import Count
from django.utils import timezone

from phones.models import LEASE, Import, ImportRow
from phones.services import leases
from phones.services.bulk import FAILED, NOT_TRIED, WOULD_ADD, RowOutcome, add_rows
from phones.services.bulk_files import FileRow, UnreadableFile, read_rows
from workspace.fields import new_object_id
from workspace.secrets import Secret

MOST_ROWS = 20_000
CHUNK = 500
# A server has other things to do as well.
WORKERS = 16
KEPT_FOR = timedelta(days=1)
RENEW_EVERY = LEASE / 4

log = logging.getLogger(__name__)

State = Import.State
# Which rows are yet to be done, and what comes after.
PENDING = {State.PREVIEWING: "", State.ADDING: WOULD_ADD}
NEXT = {State.PREVIEWING: State.READY, State.ADDING: State.DONE}


def bring(
    stream: BinaryIO, *, name: str, staff: str, workspace_id: str | None, defaults: dict[str, str]
) -> tuple[Import, list[str]]:
    """Keep the rows of a file and begin to try them.

    Args:
        stream: seekable, at its start.
        name: of the file.
        staff: the e-mail address of who brings it.
        workspace_id: whose users may own the numbers; None: any workspace's.
        defaults: fields of rows that leave them out.

    Returns the import and the columns that were not understood. Raises UnreadableFile; then nothing is kept.
    """
    file = Import(name=name[-200:], staff=staff, workspace_id=workspace_id, state=State.READY)
    rows = read_rows(stream, name=name, defaults=defaults)
    file.save(force_insert=True)
    try:
        keep_rows(file, rows)
    except BaseException:
        file.delete()
        raise
    Import.objects.filter(pk=file.pk).update(state=State.PREVIEWING)
    return file, rows.unknown_columns


def keep_rows(file: Import, rows: Iterator[FileRow]) -> None:
    waiting: list[ImportRow] = []
    for count, row in enumerate(rows, 1):
        if count > MOST_ROWS:
            raise UnreadableFile(f"The file has more than {MOST_ROWS} rows. Split it, or use manage.py add_phones.")
        waiting.append(as_import_row(file, row))
        if len(waiting) == CHUNK:
            ImportRow.objects.bulk_create(waiting)
            waiting = []
    ImportRow.objects.bulk_create(waiting)


def as_import_row(file: Import, row: FileRow) -> ImportRow:
    user_id, number = row.shown()
    kept = ImportRow(file=file, line=row.line, user_id=user_id, number=number)
    if row.problem:
        kept.outcome, kept.error, kept.message = FAILED, row.problem.code, str(row.problem)
    else:
        kept.fields = Secret.seal(json.dumps(row.fields))
    return kept


def begin_adding(file: Import) -> bool:
    """Go on from the preview to adding what can be added. Says no if that was done already."""
    return bool(Import.objects.filter(pk=file.pk, state=State.READY).update(state=State.ADDING))


def go_on(file: Import) -> None:
    """See to it that somebody is at work on this import: if nobody is, a thread of this process."""
    operation_id = new_object_id()
    if file.is_running and leases.take(file, operation_id):
        # With who acts, for the audit trail.
        context = copy_context()
        Thread(target=context.run, args=(work, file.pk, operation_id), name="import", daemon=True).start()


def work(file_id: str, operation_id: str) -> None:
    """Do all rows that are to be done, as long as the lease is ours."""
    mine = Import.objects.filter(pk=file_id, lease_id=operation_id)
    try:
        file, stop = mine.get(), Event()
        renewed = timezone.now()
        outcomes = add_rows(
            pending_rows(file), workspace_id=file.workspace_id, dry_run=file.state == State.PREVIEWING,
            workers=WORKERS, stop=stop,
        )  # fmt: skip
        for outcome in outcomes:
            if outcome.outcome != NOT_TRIED:
                keep_outcome(file, outcome)
            if timezone.now() > renewed + RENEW_EVERY:
                renewed = timezone.now()
                if not mine.update(lease_until=renewed + LEASE):
                    stop.set()
        mine.update(state=NEXT[State(file.state)])
        if file.state == State.ADDING:
            forget(file)
    except Exception as error:
        log.error("Import %s stopped; whoever opens its page lets it go on", file_id, exc_info=error)
    finally:
        mine.update(lease_id="", lease_until=None)
        connections.close_all()


def pending_rows(file: Import) -> Iterator[FileRow]:
    line = 0
    while True:
        rows = file.rows.filter(outcome=PENDING[State(file.state)], fields__isnull=False, line__gt=line)
        chunk = list(rows.order_by("line")[:CHUNK])
        for row in chunk:
            if row.fields:
                yield FileRow(row.line, json.loads(row.fields.open()))
        if not chunk:
            return
        line = chunk[-1].line


def keep_outcome(file: Import, outcome: RowOutcome) -> None:
    told = {"outcome": outcome.outcome, "error": outcome.error or "", "message": outcome.message[:500]}
    if outcome.phone_number:
        told["number"] = outcome.phone_number
    file.rows.filter(line=outcome.line).update(**told)


def counts_of(file: Import) -> dict[str, int]:
    """How many rows there are of each outcome."""
    return dict(file.rows.order_by().values_list("outcome").annotate(count=Count("pk")))


def forget(file: Import) -> None:
    """Nothing of a row's secrets is needed any more."""
    file.rows.filter(fields__isnull=False).update(fields=None)


def forget_old_imports() -> None:
    """What nobody went on with within a day is forgotten (`reconcile`)."""
    old = Import.objects.filter(created_at__lt=timezone.now() - KEPT_FOR, created_at__gt=timezone.now() - 30 * KEPT_FOR)
    for file in old.exclude(state=State.DONE):
        forget(file)
        Import.objects.filter(pk=file.pk).update(state=State.DONE)
