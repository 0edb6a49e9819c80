"""Files of numbers that staff import, stored row by row until they are added (importing.py)."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import BinaryIO

from django.db.models import Count
from django.utils import timezone

from core.secrets import Secret
from phones.bulk.columns import UnreadableFile
from phones.bulk.files import FileRow, read_rows
from phones.bulk.reports import report_cells
from phones.models import Import, ImportRow

MAX_ROWS = 20_000
CHUNK = 500
KEPT_FOR = timedelta(days=1)

State = Import.State
# The outcome of the rows still to be processed.
PENDING = {State.PREVIEWING: "", State.ADDING: "would_add"}


def store_import(
    stream: BinaryIO, *, name: str, staff: str, workspace_id: str | None, defaults: dict[str, str]
) -> tuple[Import, list[str]]:
    """Store the rows of a file; `importing.resume` then previews them.

    Args:
        stream: seekable, at its start.
        name: the name of the file.
        staff: the e-mail address of the importing staff member.
        workspace_id: only users of this workspace may own the numbers; None: of any workspace.
        defaults: values of fields that a row leaves out.

    Returns the import and sentences about what was not read. Raises UnreadableFile and then stores nothing.
    """
    file = Import(name=name[-200:], staff=staff, workspace_id=workspace_id, state=State.READY)
    rows = read_rows(stream, name=name, defaults=defaults)
    file.save(force_insert=True)
    try:
        store_rows(file, rows)
    except BaseException:
        file.delete()
        raise
    file.state = State.PREVIEWING
    file.save(update_fields=["state"])
    return file, rows.told


def store_rows(file: Import, rows: Iterator[FileRow]) -> None:
    waiting: list[ImportRow] = []
    for count, row in enumerate(rows, 1):
        if count > MAX_ROWS:
            raise UnreadableFile(f"The file has more than {MAX_ROWS} rows. Split it, or use manage.py add_phones.")
        waiting.append(as_import_row(file, row))
        if len(waiting) == CHUNK:
            ImportRow.objects.bulk_create(waiting)
            waiting = []
    ImportRow.objects.bulk_create(waiting)


def as_import_row(file: Import, row: FileRow) -> ImportRow:
    stored = ImportRow(file=file, line=row.line, columns=json.dumps(row.shown()))
    if row.problem:
        stored.outcome, stored.error, stored.message = "failed", row.problem.code, str(row.problem)
    else:
        stored.fields = Secret.seal(json.dumps(row.fields))
    return stored


def begin_adding(file: Import) -> bool:
    """Move on from the preview to adding what can be added. Returns False if that has happened already."""
    if not Import.objects.filter(pk=file.pk, state=State.READY).update(state=State.ADDING):
        return False
    file.state = State.ADDING
    return True


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


def counts_of(file: Import) -> dict[str, int]:
    """How many rows there are of each outcome."""
    return dict(file.rows.order_by().values_list("outcome").annotate(count=Count("pk")))


def failed_rows(file: Import) -> Iterator[list[str]]:
    """The rows that failed, as lines of a report."""
    rows = file.rows.filter(outcome="failed").defer("fields").order_by("line")
    for row in rows.iterator(CHUNK):
        yield report_cells(row.line, columns_of(row), row.outcome, row.error, row.message)


def columns_of(row: ImportRow) -> dict[str, str]:
    """The row's columns as they look in the file, without secrets."""
    columns: dict[str, str] = json.loads(row.columns)
    return columns


def erase_secrets(file: Import) -> None:
    """Delete the fields of the rows, which include auth tokens; the outcomes stay."""
    file.rows.filter(fields__isnull=False).update(fields=None)


def expire_imports() -> None:
    """Close the imports that nobody finished within a day, and erase their secrets."""
    old = Import.objects.filter(created_at__lt=timezone.now() - KEPT_FOR, created_at__gt=timezone.now() - 30 * KEPT_FOR)
    for file in old.exclude(state=State.DONE):
        erase_secrets(file)
        Import.objects.filter(pk=file.pk).update(state=State.DONE)
