"""Door 3: add many numbers from a file."""

import csv
import io
import json
import os
import signal
import sys
import threading
from argparse import ArgumentParser, ArgumentTypeError
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, BinaryIO, TextIO, TypeVar

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from integrations import PROVIDERS, load
from phones.bulk.account_queues import PER_ACCOUNT
from phones.bulk.files import FileRow, UnreadableFile, read_rows
from phones.bulk.rows import RowOutcome
from phones.bulk.run import WORKERS, add_rows
from phones.management.progress import Progress
from users.management.lookups import workspace_by_id
from users.models import User

AnyFile = TypeVar("AnyFile", bound=IO[Any])
USAGE, SOME_FAILED, INTERRUPTED = 2, 3, 130
COLUMNS = ("line", "userId", "phoneNumber", "outcome", "error", "message")
# First characters that make a spreadsheet treat a cell as a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def between(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
            raise ArgumentTypeError(f"a whole number from {low} to {high}")
        return int(text)

    return read


class Command(BaseCommand):
    help = (
        "Add the numbers in a CSV, JSON, JSON lines or XLSX file. Columns: userId, phoneNumber, integration, "
        "authToken, and accSId where the carrier needs it; optional: onConflict, publicKey, label, action, greeting, "
        "forwardTo, record. Safe to run again. Exit status: 0 all numbers were added or existed already, 3 some rows "
        "failed or the report is incomplete, 2 invalid file or arguments, 1 the command could not run, 130 interrupted."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE|-", help="the file, or - for standard input")
        parser.add_argument("--workspace", metavar="ID", help="accept only users of this workspace")
        parser.add_argument(
            "--auth-token-env", metavar="VARNAME", help="variable with the authToken for rows without one"
        )
        parser.add_argument("--account-id", metavar="ID", help="accSId for rows without one")
        parser.add_argument("--dry-run", action="store_true", help="ask the carriers but change nothing")
        parser.add_argument(
            "--workers", type=between(1, 64), default=WORKERS, metavar="N", help="rows in progress at a time"
        )
        parser.add_argument(
            "--per-account",
            type=between(1, 64),
            default=PER_ACCOUNT,
            metavar="N",
            help="concurrent requests for one carrier account",
        )
        parser.add_argument("--fail-fast", action="store_true", help="start no more rows once one has failed")
        parser.add_argument("--limit", type=between(1, 10**9), metavar="N", help="read only the first N rows")
        parser.add_argument("--output", choices=["table", "json", "jsonl"], default="table")
        parser.add_argument("--report", metavar="FILE", help="write the outcome of every row to this CSV file")

    def handle(self, *args: Any, **options: Any) -> None:
        self.require_database()
        workspace = workspace_by_id(options["workspace"]) if options["workspace"] is not None else None
        stop = threading.Event()
        counts: Counter[str] = Counter()
        with ExitStack() as stack:
            file = stack.enter_context(opened(options["file"]))
            read = InputFile(file, options["file"], self.defaults(options), options["limit"])
            total, carriers = self.look_through(read)
            output = OUTPUTS[options["output"]](self.stdout)
            report = stack.enter_context(Report.at(options["report"], self.stderr.write))
            progress = stack.enter_context(Progress(total, sys.stderr))
            stack.enter_context(interrupts(stop))
            load(carriers)
            outcomes = add_rows(
                read.rows(),
                workspace_id=workspace.pk if workspace else None,
                dry_run=options["dry_run"],
                workers=options["workers"],
                per_account=options["per_account"],
                fail_fast=options["fail_fast"],
                stop=stop,
            )
            for outcome in outcomes:
                counts[outcome.outcome] += 1
                progress.count(outcome.outcome)
                # Rows that were not tried are only counted here; the report lists them.
                if outcome.outcome != "not_tried":
                    output.row(wire_row(outcome))
                report.row(wire_row(outcome))
        output.end(summary_of(counts, dry_run=options["dry_run"]))
        if stop.is_set():
            sys.exit(INTERRUPTED)
        if counts["failed"] or report.failed:
            sys.exit(SOME_FAILED)

    def require_database(self) -> None:
        try:
            User.objects.exists()
        except DatabaseError:
            raise CommandError("The database is not ready. Run: manage.py migrate") from None

    def defaults(self, options: dict[str, Any]) -> dict[str, str]:
        """Credentials for rows without them. The token comes from the environment: arguments are visible to others."""
        given = {}
        if variable := options["auth_token_env"]:
            if not os.environ.get(variable):
                raise CommandError("--auth-token-env: this environment variable is not set or empty.", returncode=USAGE)
            given["authToken"] = os.environ[variable]
        if options["account_id"]:
            given["accSId"] = options["account_id"]
        return given

    def look_through(self, read: "InputFile") -> tuple[int, set[str]]:
        """Read the whole file once, before any carrier is asked. Returns the number of rows and their carriers."""
        total, carriers = 0, set()
        try:
            for row in read.rows():
                total += 1
                carriers.add(str(row.fields.get("integration")))
        except UnreadableFile as error:
            raise CommandError(str(error), returncode=USAGE) from None
        if read.unknown_columns:
            self.stderr.write(f"Ignored unknown columns: {', '.join(read.unknown_columns)}.")
        return total, carriers & PROVIDERS.keys()


@dataclass
class InputFile:
    """A file that is read twice: to check it, and to add its numbers."""

    file: BinaryIO
    name: str
    defaults: dict[str, str]
    limit: int | None
    unknown_columns: tuple[str, ...] | list[str] = ()

    def rows(self) -> Iterator[FileRow]:
        rows = read_rows(self.file, name=self.name if self.name != "-" else "", defaults=self.defaults)
        self.unknown_columns = rows.unknown_columns
        return islice(rows, self.limit)


@contextmanager
def opened(name: str) -> Iterator[BinaryIO]:
    """Open the file. Standard input is kept in memory: it may hold secrets, which must not be left on a disk."""
    if name == "-":
        yield io.BytesIO(sys.stdin.buffer.read())
        return
    with open_or_refuse("The file cannot be read", lambda: Path(name).open("rb")) as file:
        yield file


def open_or_refuse(what: str, open_it: Callable[[], AnyFile]) -> AnyFile:
    try:
        return open_it()
    except OSError as error:
        raise CommandError(f"{what}: {error.strerror}.", returncode=USAGE) from None


@contextmanager
def interrupts(stop: threading.Event) -> Iterator[None]:
    """On Ctrl-C or SIGTERM, start no more rows; on a second signal, exit at once, as a kill would."""

    def interrupt(number: int, frame: object) -> None:
        if stop.is_set():
            os._exit(INTERRUPTED)
        stop.set()
        # Not through sys.stderr: the signal may have interrupted a write to it.
        os.write(2, b"Interrupted. Finishing the rows in progress; press Ctrl-C again to stop now.\n")

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# -- results ----------------------------------------------------------------------------------------------------------


def wire_row(outcome: RowOutcome) -> dict[str, Any]:
    values = (
        outcome.line, outcome.user_id, outcome.phone_number, outcome.outcome, outcome.error, outcome.message,
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def summary_of(counts: Counter[str], *, dry_run: bool) -> dict[str, int]:
    summary = {"total": counts.total(), **{name: counts[name] for name in ("added", "exists", "failed")}}
    if dry_run:
        summary["would_add"] = counts["would_add"]
    if counts["not_tried"]:
        summary["not_tried"] = counts["not_tried"]
    return summary


class Table:
    """Lines for people to read."""

    def __init__(self, out: Any) -> None:
        self.out = out

    def row(self, row: dict[str, Any]) -> None:
        message = f"{row['error']}: {row['message']}" if row["error"] else row["message"]
        self.out.write(f"{row['line']:>7}  {row['phoneNumber']:<16} {row['outcome']:<9}  {message}".rstrip())

    def end(self, summary: dict[str, int]) -> None:
        self.out.write(", ".join(f"{name} {count}" for name, count in summary.items()))


class Json(Table):
    """One object, written row by row."""

    before = '{"rows": ['

    def row(self, row: dict[str, Any]) -> None:
        self.out.write(self.before + json.dumps(row), ending="")
        self.before = ",\n"

    def end(self, summary: dict[str, int]) -> None:
        opening = self.before if self.before.startswith("{") else ""
        self.out.write(f'{opening}],\n"summary": {json.dumps(summary)}}}')


class JsonLines(Table):
    """One object per line, the summary last."""

    def row(self, row: dict[str, Any]) -> None:
        self.out.write(json.dumps(row))

    def end(self, summary: dict[str, int]) -> None:
        self.out.write(json.dumps({"summary": summary}))


OUTPUTS: dict[str, type[Table]] = {"table": Table, "json": Json, "jsonl": JsonLines}


class Report:
    """The outcomes as CSV. If writing fails, the rows are still added, without a report."""

    def __init__(self, file: TextIO | None, say: Callable[[str], object]) -> None:
        self.file, self.say = file, say
        self.failed = False
        self.write(COLUMNS)

    @classmethod
    @contextmanager
    def at(cls, name: str | None, say: Callable[[str], object]) -> Iterator["Report"]:
        if name is None:
            yield cls(None, say)
            return
        path = Path(name)
        file = open_or_refuse(
            "The report cannot be written", lambda: path.open("w", encoding="utf-8", newline="", buffering=1)
        )
        report = cls(file, say)
        yield report
        report.close()

    def row(self, row: dict[str, Any]) -> None:
        self.write([row[name] for name in COLUMNS])

    def write(self, cells: Any) -> None:
        if self.file is None or self.failed:
            return
        try:
            csv.writer(self.file).writerow([escape_formula("" if cell is None else str(cell)) for cell in cells])
        except OSError as error:
            self.fail(error)

    def close(self) -> None:
        try:
            if self.file:
                self.file.close()
        except OSError as error:
            self.fail(error)

    def fail(self, error: OSError) -> None:
        if not self.failed:
            self.failed = True
            self.say(f"The report is incomplete: {error.strerror}. The numbers themselves are not affected.")


def escape_formula(cell: str) -> str:
    """The cell, quoted if a spreadsheet would treat it as a formula."""
    return f"'{cell}" if cell.startswith(FORMULA) else cell
