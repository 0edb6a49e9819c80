"""What became of the rows of a file, as a file that can be mended and sent again; and a file to fill in."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from phones.bulk.cells import FORMULA
from phones.bulk.columns import COLUMNS, RESULTS, SECRET

# The columns of the results come first, as in the other outputs.
REPORTED = ("line", "userId", "phoneNumber", "outcome", "error", "message")
REPORT_COLUMNS = (*REPORTED, *(name for name in COLUMNS if name not in (*REPORTED, SECRET)))


def report_cells(line: int, columns: dict[str, str], outcome: str, error: str | None, message: str) -> list[str]:
    """A row's line of a report, in the order of REPORT_COLUMNS."""
    values = {**columns, **dict(zip(RESULTS, (str(line), outcome, error or "", message), strict=True))}
    return [values.get(name, "") for name in REPORT_COLUMNS]


def csv_line(cells: Iterable[str]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow(map(escape_formula, cells))
    return out.getvalue()


def escape_formula(cell: str) -> str:
    """The cell of a CSV file, quoted if a spreadsheet would take it for a formula. Reading removes the quote."""
    return f"'{cell}" if cell.startswith(FORMULA) else cell


def spreadsheet(head: Sequence[str], rows: Iterable[Sequence[str]] = ()) -> bytes:
    """An XLSX file. Its columns and cells are text, so that long numbers keep their digits and nothing is a formula."""
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.styles import Font
    from openpyxl.utils import get_column_letter

    book = Workbook(write_only=True)
    sheet: Any = book.create_sheet("Numbers")
    sheet.freeze_panes = "A2"
    for index in range(1, len(head) + 1):
        dimension = sheet.column_dimensions[get_column_letter(index)]
        dimension.width, dimension.number_format = 24, "@"
    titles = [WriteOnlyCell(sheet, title) for title in head]
    for title in titles:
        title.font = Font(bold=True)
    sheet.append(titles)
    cells = [WriteOnlyCell(sheet) for _ in head]
    for cell in cells:
        cell.number_format = "@"
    for row in rows:
        for cell, text in zip(cells, row, strict=True):
            cell.value = text or None
            cell.data_type = "s" if text else "n"
        sheet.append(cells)  # writes them, so they can be used again
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def template() -> bytes:
    """A file to fill in."""
    return spreadsheet(COLUMNS)
