"""Read the rows of XLSX files.

openpyxl finds the parts of the file and the formats of dates. Cells are read here, because openpyxl takes three times
as long, does not tell a formula without a result from an empty cell, and passes over rows that the file's writer did
not count (pandas-dev/pandas#39001, langgenius/dify#1039: WPS states the dimension A1).
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO
from xml.etree.ElementTree import Element, iterparse

from openpyxl.reader.excel import ExcelReader
from openpyxl.styles.stylesheet import apply_stylesheet
from openpyxl.utils import column_index_from_string
from openpyxl.utils.datetime import from_excel
from openpyxl.xml.constants import SHARED_STRINGS

from core.text import visible
from phones.bulk.cells import Formula
from phones.bulk.sheet_bounds import MAIN
from phones.bulk.tokens import safe_name

# Of what openpyxl warns does not concern cells, and would end up among the command's messages.
warnings.filterwarnings("ignore", module="openpyxl")

# Columns of a spreadsheet that are read.
MAX_COLUMNS = 64
TAG = f"{{{MAIN}}}"
ROW, CELL, VALUE, FORMULA, INLINE = f"{TAG}row", f"{TAG}c", f"{TAG}v", f"{TAG}f", f"{TAG}is"
ITEM, TEXT, RUN, COLUMN = f"{TAG}si", f"{TAG}t", f"{TAG}r", f"{TAG}col"


@dataclass
class Sheet:
    """A worksheet: its title, the path of its part, and which of its columns are hidden, counted from 0.

    The hidden columns are known once its first row has been read.
    """

    title: str
    path: str
    is_hidden: bool
    hidden_columns: set[int] = field(default_factory=set)

    @property
    def name(self) -> str:
        """The title, for sentences."""
        return safe_name(visible(self.title))[:31]


@dataclass
class SheetRow:
    """A row of a sheet: its number in the file, and its cells."""

    line: int
    cells: list[Any]
    is_hidden: bool = False


class Workbook(ExcelReader):
    """An XLSX file. Raises what zipfile, the XML parser and openpyxl raise, which is of many kinds."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(stream, read_only=True, data_only=True, keep_links=False)
        self.columns: dict[str, int] = {}
        # Not read(), which looks through each sheet as well, as often as the workbook names it.
        self.read_manifest()
        self.read_strings()
        self.read_workbook()
        self.book: Any = self.wb
        apply_stylesheet(self.archive, self.book)
        self.all_sheets = [
            Sheet(sheet.name, part.target, sheet.state != "visible")
            for sheet, part in self.parser.find_sheets()
            if part.target in self.valid_files and "chartsheet" not in part.Type
        ]
        if len({sheet.path for sheet in self.all_sheets}) < len(self.all_sheets):
            raise ValueError("two sheets are the same part")
        if not self.all_sheets:
            raise ValueError("no sheet")

    def read_strings(self) -> None:
        part = self.package.find(SHARED_STRINGS)
        if part is not None:
            with self.archive.open(part.PartName[1:]) as source:
                self.shared_strings = [text_of(item) for item in elements(source, ITEM)]

    def close(self) -> None:
        self.archive.close()

    @property
    def sheets(self) -> list[Sheet]:
        """The sheets that a user can see."""
        return [sheet for sheet in self.all_sheets if not sheet.is_hidden]

    @property
    def hidden(self) -> list[Sheet]:
        return [sheet for sheet in self.all_sheets if sheet.is_hidden]

    def told_of_others(self, read: Sheet) -> str:
        """Which sheets were not read."""
        others = [sheet for sheet in self.sheets if sheet is not read]
        return (f" Sheets that were not read: {listed(others)}." if others else "") + self.told_of_hidden()

    def told_of_hidden(self) -> str:
        return f" Hidden sheets are never read: {listed(self.hidden)}." if self.hidden else ""

    def rows(self, sheet: Sheet) -> Iterator[SheetRow]:
        """The rows of a sheet, from the file's first to its last; empty ones may be left out."""
        line = 0
        with self.archive.open(sheet.path) as source:
            for element in elements(source, ROW, COLUMN):
                if element.tag == COLUMN:
                    if is_hidden(element):
                        first, last = int(element.get("min") or 1), int(element.get("max") or 1)
                        sheet.hidden_columns.update(range(max(first, 1) - 1, min(last, MAX_COLUMNS)))
                    continue
                before, line = line, int(float(element.get("r") or line + 1))
                if line <= before:
                    raise ValueError("rows are not in order")
                yield SheetRow(line, self.cells(element), is_hidden(element))

    def cells(self, row: Element) -> list[Any]:
        cells: list[Any] = []
        column = 0
        for cell in row.iterfind(CELL):
            column = self.column(cell.get("r")) or column + 1
            if column > MAX_COLUMNS:
                continue
            value = self.value(cell)
            if value is not None:
                cells.extend([None] * (column - len(cells)))
                cells[column - 1] = value
        return cells

    def column(self, reference: str | None) -> int:
        letters = (reference or "").rstrip("0123456789")
        if letters and letters not in self.columns:
            self.columns[letters] = column_index_from_string(letters)
        return self.columns.get(letters, 0)

    def value(self, cell: Element) -> Any:
        kind = cell.get("t", "n")
        if kind == "inlineStr":
            inline = cell.find(INLINE)
            return None if inline is None else text_of(inline)
        text = cell.findtext(VALUE)
        if not text:
            # Excel stores the empty result of a formula as a text.
            formula = cell.find(FORMULA) if kind != "str" else None
            return None if formula is None else Formula(f"={formula.text or ''}")
        match kind:
            case "s":
                return self.shared_strings[int(text)]
            case "b":
                return text.strip() == "1"
            case "n":
                return self.number(float(text), int(cell.get("s") or 0))
            case _:
                return text

    def number(self, number: float, style: int) -> Any:
        if style not in self.book._date_formats:
            return number
        try:
            return from_excel(number, self.book.epoch, timedelta=style in self.book._timedelta_formats)
        except (OverflowError, ValueError):
            return "#VALUE!"


def listed(sheets: list[Sheet]) -> str:
    more = [f"and {len(sheets) - 5} more"] if len(sheets) > 5 else []
    return ", ".join([*(f"“{sheet.name}”" for sheet in sheets[:5]), *more])


def is_hidden(element: Element) -> bool:
    """Whether a row or column is hidden, by hand, by a filter or in a closed group."""
    return element.get("hidden", "0").strip().lower() in ("1", "true", "on")


def elements(source: Any, *tags: str) -> Iterator[Element]:
    """The elements of an XML part with these tags. Each is empty again when the next one is read."""
    for _, element in iterparse(source):  # noqa: S314 - check_bounds refuses declarations, and this is in C
        if element.tag in tags:
            yield element
            element.clear()


def text_of(element: Element) -> str:
    """The text of a cell without its phonetic guide; its parts may differ in their format."""
    if len(element) == 1 and element[0].tag == TEXT:
        return element[0].text or ""
    parts = (text for run in (element, *element.iterfind(RUN)) for text in run.iterfind(TEXT))
    return "".join(part.text or "" for part in parts)
