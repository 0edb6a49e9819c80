"""Read the rows of a file of numbers: CSV, JSON, JSON lines or XLSX, recognized by the content.

A cell may hold a secret, even in the wrong column, so no message and no repr repeats what a cell contains.
"""

import codecs
import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import tee
from pathlib import PurePath
from typing import Any, BinaryIO

from core.errors import Unreadable
from core.parsers import object_without_duplicates, parse_object, refuse_constant
from core.text import visible
from phones.bulk.cells import is_blank, shown, shown_columns, value_of
from phones.bulk.columns import EMAIL, NEEDED, SECRET, Columns, HeaderSearch, NoHeader, UnreadableFile
from phones.bulk.sheet_bounds import IsStrict, OutOfBounds, check_bounds
from phones.bulk.tokens import MIN_TOKEN, safe_name

ENDINGS = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".xlsx")
DELIMITERS = ",;\t|"
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
ZIP, OLD_EXCEL = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"

MAX_LINE = 64 * 1024
# Empty rows beyond the number of filled ones. A spreadsheet of 2 KB may have billions.
MAX_BLANKS = 100_000
# Rows that cannot be read before any that can.
MAX_BROKEN = 1000
# The characters of a line without any value.
NOTHING = ' \t\r\n,;|"'
# The tokens of the last rows, which are looked for in every column.
MAX_TOKENS = 20

NOT_TEXT = "The file is not text in UTF-8. Save it as CSV UTF-8, or as .xlsx."
NO_OBJECTS = "The file has no JSON object that can be read. Send a list of objects, or an object on each line."
NOT_JSON = "This is not a JSON object in strict JSON."
NO_KEYS = f"No key of the object is a column, such as {', '.join(NEEDED)}."
TWO_OF_ONE = "{name}: two keys of the object name it."
HIDDEN_ROW = "The row is hidden in the spreadsheet, by hand, by a filter or in a closed group. Show it, or delete it."
TOO_MANY_CELLS = "The row has more cells than the header."


@dataclass
class FileRow:
    """One row: its place in the file, and its fields by their API names, or what is wrong with the row.

    `cells` are the cells of the fields as they stand in the file, None if they could not be told apart; `tokens` are
    those of other rows, without invisible characters.
    """

    line: int
    fields: dict[str, Any] = field(repr=False)
    problem: Unreadable | None = None
    cells: dict[str, Any] | None = field(default=None, repr=False)
    tokens: tuple[str, ...] = field(default=(), repr=False)

    def shown(self) -> dict[str, str]:
        """The row's columns as they look in the file, without secrets."""
        cells = self.fields if self.cells is None else self.cells
        own = (cells.get(SECRET), str(self.fields.get(SECRET, "")))
        return shown_columns(cells, [*self.tokens, *(shown(SECRET, token) for token in own)])


class FileRows(Iterator[FileRow]):
    """Iterates over the rows of a file as they are read."""

    def __init__(self, reader: "Reader") -> None:
        self.reader, self.rows = reader, reader.rows()

    @property
    def told(self) -> list[str]:
        """Sentences about what of the file was read, if that is not all. Complete when all rows have been read."""
        unknown = [safe_name(name, self.reader.tokens) for name in self.reader.columns.unknown]
        return [*self.reader.told, *([f"Unknown columns were ignored: {', '.join(unknown)}."] if unknown else [])]

    def __next__(self) -> FileRow:
        return next(self.rows)


def read_rows(stream: BinaryIO, *, name: str = "", defaults: Mapping[str, str] | None = None) -> FileRows:
    """Read the rows of a file one by one; memory use does not grow with the file.

    Args:
        stream: seekable, at its start. It stays open.
        name: the file's name. A wrong extension is refused; the format itself is recognized by the content.
        defaults: values of fields that a row leaves out, such as `authToken`.

    Raises UnreadableFile, also during iteration. To be sure before using the first row, read the file twice.
    """
    ending = PurePath(name).suffix.lower()
    if ending and ending not in ENDINGS:
        raise UnreadableFile(f"Files of this kind are not supported. Save it as one of {', '.join(ENDINGS)}.")
    return FileRows(Reader(stream, dict(defaults or {})))


class Reader:
    """Reads one file."""

    def __init__(self, stream: BinaryIO, defaults: dict[str, str]) -> None:
        self.stream, self.defaults = stream, defaults
        self.columns = Columns(defaults)
        self.told: list[str] = []
        self.shared_token = visible(defaults.get(SECRET, ""))
        self.tokens: tuple[str, ...] = ()
        self.last: dict[str, tuple[str, Any]] = {}
        self.line = self.blanks = self.filled = 0

    def rows(self) -> Iterator[FileRow]:
        """Every row that is not blank. Raises UnreadableFile if there is none, or none that can be read."""
        self.stream.seek(0)
        start = self.stream.read(4)
        self.stream.seek(0)
        if start == OLD_EXCEL:
            raise UnreadableFile("This is an old or an encrypted Excel file. Save it as .xlsx, without a password.")
        is_readable = False
        for row in self.spreadsheet() if start == ZIP else self.text(start):
            self.filled += 1
            is_readable = is_readable or row.cells is not None
            for name, value in self.defaults.items():
                row.fields.setdefault(name, value)
            yield row
            if self.filled >= MAX_BROKEN and not is_readable:
                break
        if not self.filled:
            raise UnreadableFile(" ".join(["The file has no rows.", *self.told]))
        if not is_readable:
            raise UnreadableFile(NO_OBJECTS)

    def count_blanks(self, count: int = 1) -> None:
        """Count empty rows. Raises UnreadableFile if there are too many."""
        self.blanks += count
        if self.blanks > MAX_BLANKS + self.filled:
            raise UnreadableFile(
                f"The file has more than {MAX_BLANKS} empty rows. Copy the filled rows into a new file."
            )

    # -- text ---------------------------------------------------------------------------------------------------------

    def text(self, start: bytes) -> Iterator[FileRow]:
        encoding = next((name for mark, name in MARKS.items() if start.startswith(mark)), "utf-8")
        text = io.TextIOWrapper(self.stream, encoding, newline="")
        try:
            first = self.first_character(text)
            text.seek(0)
            if first == "[":
                yield from self.json_array(text)
            elif first == "{":
                yield from self.json_lines(text)
            else:
                yield from self.csv(text)
        except UnicodeError:
            raise UnreadableFile(NOT_TEXT) from None
        finally:
            text.detach()

    @staticmethod
    def first_character(text: io.TextIOWrapper) -> str:
        while part := text.read(1024):
            if part.strip():
                return part.strip()[0]
        return ""

    def lines(self, text: io.TextIOWrapper) -> Iterator[str]:
        while line := text.readline(MAX_LINE):
            self.line += 1
            if len(line) == MAX_LINE and line[-1] not in "\r\n":
                raise UnreadableFile(f"Line {self.line} is too long.")
            if "\0" in line:
                raise UnreadableFile(NOT_TEXT)
            if not line.strip(NOTHING):
                self.count_blanks()
            yield line

    def csv(self, text: io.TextIOWrapper) -> Iterator[FileRow]:
        lines, search, delimiter, before = self.csv_header(self.lines(text))
        names = search.names()
        if search.lines > 1:
            self.told.append(f"The columns are named in line {search.found_at}; the lines above it were not read.")
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        while True:
            line = before + reader.line_num + 1
            try:
                cells = next(reader, None)
            except csv.Error:
                raise UnreadableFile(f"Line {line} is not valid CSV. Check its quotation marks.") from None
            if cells is None:
                return
            if not all(map(is_blank, cells)):
                yield self.row(line, names, cells)

    def csv_header(self, lines: Iterator[str]) -> tuple[Iterator[str], HeaderSearch, str, int]:
        """Find the line that names the columns, which shows what the delimiter is.

        Returns the lines below it, the search, the delimiter, and how many lines there are up to the header's end.
        """
        failed = []
        for delimiter, copy in zip(DELIMITERS, tee(lines, len(DELIMITERS)), strict=True):
            search, reader = HeaderSearch(self.columns), csv.reader(copy, delimiter=delimiter)
            with suppress(csv.Error):  # with a wrong delimiter, a quoted text may go on for long
                while not search.is_over:
                    line, cells = reader.line_num + 1, next(reader, None)
                    if cells is None:
                        break
                    # Excel names the delimiter in a line of its own.
                    if "".join(cells).strip(NOTHING) and not cells[0].lower().startswith("sep="):
                        search.look_at(line, cells)
            if search.header is not None:
                return copy, search, delimiter, reader.line_num
            failed.append(search)
        best = max(failed, key=lambda search: len(search.best))
        raise best.failure() if best.lines else UnreadableFile("The file has no rows.")

    def json_lines(self, text: io.TextIOWrapper) -> Iterator[FileRow]:
        """One object per line. A line that is not an object becomes a row with a problem."""
        for line in self.lines(text):
            if not line.strip():
                continue
            try:
                item = parse_object(line.encode())
            except Unreadable as problem:
                yield FileRow(self.line, {}, Unreadable(NOT_JSON, code=problem.code))
            else:
                yield from self.item(self.line, item)

    def json_array(self, text: io.TextIOWrapper) -> Iterator[FileRow]:
        """A list of objects; `line` is the position in the list."""
        decoder = json.JSONDecoder(object_pairs_hook=object_without_duplicates, parse_constant=refuse_constant)
        buffer, at, number, is_first = text.read(MAX_LINE).lstrip()[1:], 0, 0, True
        while True:
            buffer = buffer[at:].lstrip()
            while len(buffer) < MAX_LINE and (part := text.read(MAX_LINE)):
                buffer = (buffer + part).lstrip()
            if buffer.startswith("]"):
                if buffer[1:].strip() or text.read(1024).strip():
                    raise UnreadableFile("There is text after the end of the JSON list.")
                return
            try:
                if not is_first:
                    if not buffer.startswith(","):
                        raise ValueError("no comma")
                    buffer = buffer[1:].lstrip()
                is_first, number = False, number + 1
                item, at = decoder.raw_decode(buffer)
            except (ValueError, RecursionError, Unreadable):
                raise UnreadableFile(f"The JSON list cannot be read from item {number or 1} on.") from None
            if isinstance(item, dict):
                yield from self.item(number, item)
            else:
                yield FileRow(number, {}, Unreadable(NOT_JSON, code="invalid_json"))

    def item(self, line: int, item: dict[str, Any]) -> Iterator[FileRow]:
        """The row of an object, unless all its values are blank."""
        if not item or not all(map(is_blank, item.values())):
            filled = [(self.columns.field(name), item[name]) for name in item if item[name] not in (None, "")]
            row = self.as_row(line, filled)
            if not row.cells and not self.columns.known(item):
                row.problem, row.cells = Unreadable(NO_KEYS), None
            yield row

    # -- a spreadsheet ------------------------------------------------------------------------------------------------

    def spreadsheet(self) -> Iterator[FileRow]:
        from phones.bulk.spreadsheets import Workbook  # openpyxl takes 150 ms, so only when it is needed

        try:
            check_bounds(self.stream)
            with closing(Workbook(self.stream)) as book:
                yield from self.sheet(book)
        except (UnreadableFile, GeneratorExit):
            raise
        except IsStrict:
            raise UnreadableFile(
                "This is a Strict Open XML file. Save it as “Excel Workbook (.xlsx)”, or as CSV."
            ) from None
        except OutOfBounds:
            raise UnreadableFile(
                "The spreadsheet is too large. Split it, save it as CSV, or copy the rows into a new one."
            ) from None
        except Exception:  # zipfile, the XML parser and openpyxl raise many kinds
            raise UnreadableFile("The file looks like .xlsx but cannot be read. Save it again, or as CSV.") from None

    def sheet(self, book: Any) -> Iterator[FileRow]:
        """The rows of the first sheet that users can see and that names the columns."""
        failures: list[NoHeader] = []
        for sheet in book.sheets:
            search = HeaderSearch(self.columns, sheet.name, sheet.hidden_columns)
            rows = self.filled_rows(book.rows(sheet))
            while not search.is_over and (first := next(rows, None)):
                if not first.is_hidden:
                    search.look_at(first.line, first.cells)
            if search.header is not None:
                self.told.append(f"{search.told()}{book.told_of_others(sheet)}")
                yield from self.rows_below(rows, search.names())
                return
            if search.lines:
                failures.append(search.failure())
        if not book.sheets:
            raise UnreadableFile("All sheets of the file are hidden. Unhide the one with the numbers.")
        if failures:
            best = min(failures, key=lambda failure: len(failure.missing))
            raise NoHeader(f"{best}{book.told_of_hidden()}", best.missing)
        self.told.extend([book.told_of_hidden().strip()] if book.hidden else [])

    def rows_below(self, rows: Iterator[Any], names: list[str]) -> Iterator[FileRow]:
        for below in rows:
            row = self.row(below.line, names, below.cells)
            if below.is_hidden:
                row.problem = Unreadable(HIDDEN_ROW)
            yield row

    def filled_rows(self, rows: Iterator[Any]) -> Iterator[Any]:
        last = 0
        for row in rows:
            self.count_blanks(row.line - last - 1)
            last = row.line
            if all(map(is_blank, row.cells)):
                self.count_blanks()
            else:
                yield row

    # -- rows ---------------------------------------------------------------------------------------------------------

    def row(self, line: int, names: list[str], cells: list[Any]) -> FileRow:
        """A row from its cells. An empty one counts as a field left out."""
        stripped = (cell.strip() if isinstance(cell, str) else cell for cell in cells)
        row = self.as_row(
            line, ((name, cell) for name, cell in zip(names, stripped, strict=False) if not is_empty(cell))
        )
        if not all(map(is_blank, cells[len(names) :])):
            row.problem = Unreadable(TOO_MANY_CELLS)
        return row

    def as_row(self, line: int, named: Iterable[tuple[str, Any]]) -> FileRow:
        fields: dict[str, Any] = {}
        cells: dict[str, Any] = {}
        problem = None
        for name, cell in named:
            if name == SECRET:
                self.note_token(shown(SECRET, cell))
            if name in cells:
                problem = Unreadable(TWO_OF_ONE.format(name=name), field=name)
            elif name:
                cells[name] = cell
        if email := cells.pop(EMAIL, None):
            cells.setdefault("userId", email)
        for name, cell in cells.items():
            try:
                fields[name] = self.value(name, cell)
            except ValueError as error:
                problem = problem or Unreadable(f"{name}: {error}", field=name)
        return FileRow(line, fields, problem, cells, (self.shared_token, *self.tokens))

    def note_token(self, token: str) -> None:
        if len(token) >= MIN_TOKEN and token not in self.tokens:
            self.tokens = (*self.tokens, token)[-MAX_TOKENS:]

    def value(self, name: str, cell: Any) -> Any:
        """The value of a cell. Most texts are those of the row before, whose value is known."""
        if not isinstance(cell, str):
            return value_of(name, cell)
        if self.last.get(name, ("",))[0] != cell:
            self.last[name] = cell, value_of(name, cell)
        return self.last[name][1]


def is_empty(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and not (cell.strip() if cell.isascii() else visible(cell)))
