"""Door 3: add many numbers from a file."""

import io
import json
import os
import signal
import stat
import sys
import threading
from argparse import ArgumentParser, ArgumentTypeError
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, BinaryIO, TypeVar

from django.core.management.base import CommandError
from django.db import DatabaseError

from core.databases.readiness import explain
from core.management.base import DatabaseCommand
from integrations import PROVIDERS, load
from phones.bulk.account_queues import PER_ACCOUNT
from phones.bulk.columns import SECRET, NoHeader, UnreadableFile
from phones.bulk.files import FileRow, FileRows, read_rows
from phones.bulk.reports import REPORT_COLUMNS, csv_line, report_cells, spreadsheet
from phones.bulk.rows import NOT_TRIED, RowOutcome
from phones.bulk.run import WORKERS, add_rows
from phones.management.progress import Progress
from users.management.lookups import workspace_by_id
from users.models import User

AnyFile = TypeVar("AnyFile", bound=IO[Any])
USAGE, SOME_FAILED, INTERRUPTED = 2, 3, 130
TOKEN_HINT = " For an authToken that all rows share, name a variable that holds it: --auth-token-env VARNAME."


def between(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
            raise ArgumentTypeError(f"a whole number from {low} to {high}")
        return int(text)

    return read


class Command(DatabaseCommand):
    help = (
        "Add the numbers in a CSV, JSON, JSON lines or XLSX file. Columns: userId (or the user's e-mail address), "
        "phoneNumber, integration, authToken, and accSId where the carrier needs it; optional: onConflict, publicKey, "
        "label, action, greeting, language, forwardTo, connectTo, ringSeconds, ifUnanswered, "
        "record. Safe to run again. Exit status: 0 all numbers were added or "
        "existed already, 3 some rows failed or the report is incomplete, 2 invalid file or arguments, 1 the command "
        "could not run, 130 interrupted."
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
        parser.add_argument(
            "--report", metavar="FILE", help="write the outcome of every row to this CSV or XLSX file, with its columns"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        self.require_database()
        workspace = workspace_by_id(options["workspace"]) if options["workspace"] is not None else None
        stop = threading.Event()
        counts: Counter[str] = Counter()
        with ExitStack() as stack:
            file = stack.enter_context(opened(options["file"]))
            refuse_to_overwrite(options["file"], options["report"])
            read = InputFile(file, options["file"], self.defaults(options), options["limit"])
            total, carriers = self.look_through(read)
            output = OUTPUTS[options["output"]](self.stdout)
            report = stack.enter_context(Report.at(options["report"], self.stderr.write))
            progress = stack.enter_context(Progress(total, sys.stderr))
            stack.enter_context(interrupts(stop))
            load(carriers)
            in_order = InOrder(read.rows())
            outcomes = add_rows(
                in_order.rows(),
                workspace_id=workspace.pk if workspace else None,
                dry_run=options["dry_run"],
                workers=options["workers"],
                per_account=options["per_account"],
                fail_fast=options["fail_fast"],
                stop=stop,
            )
            try:
                for outcome in outcomes:
                    counts[outcome.outcome] += 1
                    progress.count(outcome.outcome)
                    report.row(outcome)
                    for following in in_order.put(outcome):
                        output.row(wire_row(following))
            finally:
                for waiting in in_order.rest():
                    output.row(wire_row(waiting))
        output.end(summary_of(counts, dry_run=options["dry_run"]))
        if stop.is_set():
            sys.exit(INTERRUPTED)
        if counts["failed"] or report.failed:
            sys.exit(SOME_FAILED)

    def require_database(self) -> None:
        try:
            User.objects.exists()
        except DatabaseError as error:
            raise CommandError(explain(error) or "The database cannot be used.") from None

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
            hint = TOKEN_HINT if isinstance(error, NoHeader) and SECRET in error.missing else ""
            raise CommandError(f"{error}{hint}", returncode=USAGE) from None
        for sentence in read.told:
            self.stderr.write(sentence)
        return total, carriers & PROVIDERS.keys()


@dataclass
class InputFile:
    """A file that is read twice: to check it, and to add its numbers."""

    file: BinaryIO
    name: str
    defaults: dict[str, str]
    limit: int | None
    last_read: FileRows | None = None

    def rows(self) -> Iterator[FileRow]:
        self.last_read = read_rows(self.file, name=self.name if self.name != "-" else "", defaults=self.defaults)
        return islice(self.last_read, self.limit)

    @property
    def told(self) -> list[str]:
        return self.last_read.told if self.last_read else []


@contextmanager
def opened(name: str) -> Iterator[BinaryIO]:
    """Open the file. Standard input and pipes are kept in memory, as secrets must stay off the disk."""
    if name == "-":
        yield io.BytesIO(sys.stdin.buffer.read())
        return
    with open_or_refuse("The file cannot be read", lambda: Path(name).open("rb")) as file:
        yield file if file.seekable() else io.BytesIO(file.read())


def refuse_to_overwrite(file: str, report: str | None) -> None:
    """Raise CommandError if the report is the file itself, also by another path, a link or as standard input."""
    with suppress(OSError, ValueError):  # one of them is no file on a disk
        written = Path(report or "").stat() if report else None
        read = os.fstat(sys.stdin.fileno()) if file == "-" else Path(file).stat()
        if written and stat.S_ISREG(written.st_mode) and os.path.samestat(written, read):
            raise CommandError(
                "--report: this is the file of numbers, and a report would replace it. Name another file.",
                returncode=USAGE,
            )


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


class InOrder:
    """Puts outcomes, which come as they are known, back into the order of the file. Leaves out rows not tried."""

    def __init__(self, rows: Iterator[FileRow]) -> None:
        self.unread = rows
        self.lines: deque[int] = deque()
        self.known: dict[int, RowOutcome] = {}

    def rows(self) -> Iterator[FileRow]:
        for row in self.unread:
            self.lines.append(row.line)
            yield row

    def put(self, outcome: RowOutcome) -> Iterator[RowOutcome]:
        """Take an outcome, and yield those that are next in the file."""
        self.known[outcome.line] = outcome
        while self.lines and self.lines[0] in self.known:
            following = self.known.pop(self.lines.popleft())
            if following.outcome != NOT_TRIED:
                yield following

    def rest(self) -> Iterator[RowOutcome]:
        """Those that still wait for an earlier row, if the run broke off."""
        return (self.known[line] for line in self.lines if line in self.known)


def wire_row(outcome: RowOutcome) -> dict[str, Any]:
    columns = outcome.columns
    return {
        "line": outcome.line,
        "userId": columns.get("userId", ""),
        "phoneNumber": columns.get("phoneNumber", ""),
        "outcome": outcome.outcome,
        "error": outcome.error,
        "message": outcome.message,
    }


def summary_of(counts: Counter[str], *, dry_run: bool) -> dict[str, int]:
    summary = {"total": counts.total(), **{name: counts[name] for name in ("added", "exists", "failed")}}
    if dry_run:
        summary["would_add"] = counts["would_add"]
    if counts["not_tried"]:
        summary["not_tried"] = counts["not_tried"]
    return summary


class Table:
    """Lines for people to read; at the end, how many rows failed for which reason."""

    def __init__(self, out: Any) -> None:
        self.out = out
        self.reasons: Counter[tuple[str, str]] = Counter()

    def row(self, row: dict[str, Any]) -> None:
        message = f"{row['error']}: {row['message']}" if row["error"] else row["message"]
        self.out.write(f"{row['line']:>7}  {row['phoneNumber']:<16} {row['outcome']:<9}  {message}".rstrip())
        if row["error"]:
            self.reasons[row["error"], row["message"]] += 1

    def end(self, summary: dict[str, int]) -> None:
        self.out.write(", ".join(f"{name} {count}" for name, count in summary.items()))
        for (error, message), count in self.reasons.most_common():
            self.out.write(f"{count:>7}  {error}: {message}")


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
    """The outcomes as a CSV file: written as they come, so that a kill loses none, and put in order at the end.

    If writing fails, the rows are still added, without a report.
    """

    def __init__(self, file: IO[Any] | None, say: Callable[[str], object]) -> None:
        self.file, self.say = file, say
        self.failed = False
        self.lines: list[tuple[int, str]] = []
        self.put(0, REPORT_COLUMNS)

    @classmethod
    @contextmanager
    def at(cls, name: str | None, say: Callable[[str], object]) -> Iterator["Report"]:
        if name is None:
            yield cls(None, say)
            return
        path, kind = Path(name), XlsxReport if name.lower().endswith(".xlsx") else cls
        report = kind(open_or_refuse("The report cannot be written", lambda: kind.opened(path)), say)
        try:
            yield report
        finally:
            with report.failures():
                report.close()

    @staticmethod
    def opened(path: Path) -> IO[Any]:
        return path.open("w", encoding="utf-8", newline="", buffering=1)

    def row(self, outcome: RowOutcome) -> None:
        cells = report_cells(outcome.line, outcome.columns, outcome.outcome, outcome.error, outcome.message)
        self.put(outcome.line, cells)

    def put(self, line: int, cells: Sequence[str]) -> None:
        if self.file and not self.failed:
            self.lines.append((line, csv_line(cells)))
            with self.failures():
                self.file.write(self.lines[-1][1])

    def close(self) -> None:
        if self.file:
            with self.file:
                if self.file.seekable() and not self.failed:
                    self.file.seek(0)
                    self.file.writelines(text for _, text in sorted(self.lines))

    @contextmanager
    def failures(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if not self.failed:
                self.failed = True
                self.say(f"The report is incomplete: {error.strerror}. The numbers themselves are not affected.")


class XlsxReport(Report):
    """The outcomes as a spreadsheet, which is written when the run has ended or broken off."""

    def __init__(self, file: IO[Any], say: Callable[[str], object]) -> None:
        self.out = file
        self.rows: list[tuple[int, Sequence[str]]] = []
        super().__init__(file, say)

    @staticmethod
    def opened(path: Path) -> IO[Any]:
        return path.open("wb")

    def put(self, line: int, cells: Sequence[str]) -> None:
        self.rows.append((line, cells))

    def close(self) -> None:
        (_, head), *rows = sorted(self.rows)
        with self.out:
            self.out.write(spreadsheet(head, [cells for _, cells in rows]))
