"""Read the rows of a file of numbers: CSV, JSON, JSON lines or XLSX, recognized by the content.

A cell may hold a secret, even in the wrong column, so no message and no repr repeats what a cell contains.
"""

import codecs
import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, BinaryIO

from core.errors import Unreadable
from core.fields import OBJECT_ID
from core.parsers import object_without_duplicates, parse_object, refuse_constant
from integrations import CARRIERS
from phones.bulk.sheet_bounds import OutOfBounds, check_bounds
from phones.numbers import TYPED

NEEDED = ("userId", "phoneNumber", "integration", "authToken")
NEED_ACCOUNT_ID = " and ".join(carrier.label for carrier in CARRIERS.values() if carrier.account_id_is_required)
COLUMNS = (
    *NEEDED, "accSId", "onConflict", "publicKey", "label", "action", "greeting", "forwardTo", "record",
)  # fmt: skip
# `Phone number` and `phone_number` are phoneNumber.
BY_PLAIN_NAME = {name.lower(): name for name in COLUMNS}
ENDINGS = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".xlsx")
DELIMITERS = ",;\t|"
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
ZIP, OLD_EXCEL = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
TRUE, FALSE = {"true", "yes", "1"}, {"false", "no", "0"}

MAX_LINE = 64 * 1024
# Columns of a spreadsheet that are read.
MAX_COLUMNS = 64
# Empty rows beyond the number of filled ones. A spreadsheet of 2 KB may have billions.
MAX_BLANKS = 100_000
# The characters of a line without any value.
NOTHING = ' \t\r\n,;|"'
# Spreadsheets store 15 significant digits of a number.
EXACT = 10**15
MAX_UNKNOWN = 20

NOT_TEXT = "The file is not text in UTF-8. Save it as CSV UTF-8, or as .xlsx."
NOT_JSON = "This is not a JSON object in strict JSON."


class UnreadableFile(Unreadable):
    """The file as a whole cannot be used. `str(error)` says why and what to do."""

    code = "unreadable_file"


@dataclass
class FileRow:
    """One row: its place in the file, and its fields by their API names, or what is wrong with the row as a whole."""

    line: int
    fields: dict[str, Any] = field(repr=False)
    problem: Unreadable | None = None

    def shown(self) -> tuple[str, str]:
        """The user's id and the number as written; empty where they do not look like one."""
        user_id, number = (self.fields.get(name) for name in ("userId", "phoneNumber"))
        return (
            user_id if isinstance(user_id, str) and OBJECT_ID.fullmatch(user_id) else "",
            number if isinstance(number, str) and len(number) <= 40 and TYPED.fullmatch(number) else "",
        )


class FileRows(Iterator[FileRow]):
    """Iterates over the rows of a file as they are read. `unknown_columns` are the names that are not ours."""

    def __init__(self, rows: Iterator[FileRow], unknown_columns: list[str]) -> None:
        self.rows = rows
        self.unknown_columns = unknown_columns

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
    reader = Reader(stream, dict(defaults or {}))
    return FileRows(reader.rows(), reader.unknown)


class Reader:
    """Reads one file."""

    def __init__(self, stream: BinaryIO, defaults: dict[str, str]) -> None:
        self.stream, self.defaults = stream, defaults
        self.unknown: list[str] = []
        self.line = self.blanks = self.filled = 0

    def rows(self) -> Iterator[FileRow]:
        """Every row that is not blank. Raises UnreadableFile if there is none."""
        self.stream.seek(0)
        start = self.stream.read(4)
        self.stream.seek(0)
        if start == OLD_EXCEL:
            raise UnreadableFile("This is an old or an encrypted Excel file. Save it as .xlsx, without a password.")
        for row in self.spreadsheet() if start == ZIP else self.text(start):
            self.filled += 1
            for name, value in self.defaults.items():
                row.fields.setdefault(name, value)
            yield row
        if not self.filled:
            raise UnreadableFile("The file has no rows.")

    def count_blank(self) -> None:
        """Count an empty row. Raises UnreadableFile if there are too many."""
        self.blanks += 1
        if self.blanks > MAX_BLANKS + self.filled:
            raise UnreadableFile(
                f"The file has more than {MAX_BLANKS} empty rows. Copy the filled rows into a new file."
            )

    def column(self, name: str) -> str:
        """The field that a column or key stands for; empty if it is not one of ours, which is then noted as unknown."""
        known = BY_PLAIN_NAME.get(plain(name), "")
        shown = "".join(letter for letter in name[:40] if letter.isprintable())
        if not known and shown and shown not in self.unknown and len(self.unknown) < MAX_UNKNOWN:
            self.unknown.append(shown)
        return known

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
                self.count_blank()
            yield line

    def csv(self, text: io.TextIOWrapper) -> Iterator[FileRow]:
        lines = self.lines(text)
        header = next((line for line in lines if line.strip()), "")
        if header.lower().startswith("sep="):  # Excel's own way to name the delimiter
            header = next(lines, "")
        if not header.strip():
            return
        delimiter = max(DELIMITERS, key=lambda one: len(self.known(next(csv.reader([header], delimiter=one), []))))
        names = self.header(next(csv.reader([header], delimiter=delimiter)))
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        while True:
            line = self.line + 1
            try:
                cells = next(reader, None)
            except csv.Error:
                raise UnreadableFile(f"Line {line} is not valid CSV. Check its quotation marks.") from None
            if cells is None:
                return
            if any(cell.strip() for cell in cells):
                yield self.row(line, names, cells)

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
                yield self.item(self.line, item)

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
                yield self.item(number, item)
            else:
                yield FileRow(number, {}, Unreadable(NOT_JSON, code="invalid_json"))

    def item(self, line: int, item: dict[str, Any]) -> FileRow:
        named = ((self.column(name), value) for name, value in item.items())
        return FileRow(line, {name: value for name, value in named if name})

    # -- a spreadsheet ------------------------------------------------------------------------------------------------

    def spreadsheet(self) -> Iterator[FileRow]:
        import openpyxl  # takes 150 ms, so only when it is needed

        try:
            check_bounds(self.stream)
            book = openpyxl.load_workbook(self.stream, read_only=True, data_only=True, keep_links=False)
            with closing(book):
                sheet: Any = book.worksheets[0]
                names: list[str] | None = None
                for line, cells in enumerate(sheet.iter_rows(values_only=True, max_col=MAX_COLUMNS), 1):
                    if all(cell is None or (isinstance(cell, str) and not cell.strip()) for cell in cells):
                        self.count_blank()
                    elif names is None:
                        names = self.header(["" if cell is None else str(cell) for cell in cells])
                    else:
                        yield self.row(line, names, cells)
        except (UnreadableFile, GeneratorExit):
            raise
        except OutOfBounds:
            raise UnreadableFile(
                "The spreadsheet is too large. Split it, save it as CSV, or copy the rows into a new one."
            ) from None
        except Exception:  # zipfile, the XML parser and openpyxl raise many kinds
            raise UnreadableFile("The file looks like .xlsx but cannot be read. Save it again, or as CSV.") from None

    # -- columns ------------------------------------------------------------------------------------------------------

    @staticmethod
    def known(names: list[str]) -> set[str]:
        return {plain(name) for name in names} & BY_PLAIN_NAME.keys()

    def header(self, cells: list[str]) -> list[str]:
        """The field that each column stands for, empty for unknown ones. Raises UnreadableFile if one is missing."""
        known = self.known(cells)
        missing = [name for name in NEEDED if name.lower() not in known and name not in self.defaults]
        if missing:
            # The names that are there are not repeated: if the header is missing, they are the cells of the first row.
            raise UnreadableFile(
                f"The first line must name the columns. Missing: {', '.join(missing)}. "
                f"Required: {', '.join(NEEDED)}; for {NEED_ACCOUNT_ID} also accSId."
            )
        names = [self.column(cell.strip()) for cell in cells]
        if len([name for name in names if name]) > len(known):
            raise UnreadableFile("Two columns have the same name.")
        return names

    def row(self, line: int, names: list[str], cells: Any) -> FileRow:
        """A row from its cells. An empty cell counts as a field left out."""
        fields: dict[str, Any] = {}
        problem = None
        for name, cell in zip(names, cells, strict=False):
            try:
                value = cell_value(name, cell)
            except ValueError as error:
                problem = problem or Unreadable(f"{name}: {error}", field=name)
                continue
            if name and value != "":
                fields[name] = value
        if any(cell not in (None, "") for cell in cells[len(names) :]):
            problem = Unreadable("The row has more cells than the header.")
        return FileRow(line, fields, problem)


def plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).lower()


def cell_value(name: str, cell: Any) -> str | bool:
    """The cell's value as in an API request. Raises ValueError for a number that the spreadsheet has rounded."""
    if cell is None:
        return ""
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        if abs(cell) >= EXACT or cell != int(cell):
            raise ValueError("a spreadsheet stores only 15 digits of a number. Format the column as text.")
        cell = int(cell)
    text = str(cell).strip()
    if name == "record" and text.lower() in TRUE | FALSE:
        return text.lower() in TRUE
    return text
