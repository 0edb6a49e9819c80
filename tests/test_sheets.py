"""Files of numbers as people and their programs make them: more than one sheet, titles, and cells that were changed."""

import csv
import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from datetime import date
from io import StringIO
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client

from phones.bulk.columns import COLUMNS, UnreadableFile
from phones.bulk.files import FileRow, read_rows
from phones.bulk.imports import store_import
from phones.bulk.reports import template
from phones.bulk.rows import RowOutcome
from phones.models import Import, ImportRow, PhoneNumber
from sandbox.sandbox import Sandbox
from tests.support.bulk import csv_of, rows_of, some
from tests.support.carriers import TWILIO
from tests.support.people import Tenant
from tests.test_bulk_files import dangerous, sheet

USER = "64e5f12345abcdef12345678"
TOKEN = "canary-9f8e7d6c5b4a3210"
HEAD = ["userId", "phoneNumber", "integration", "authToken", "accSId"]
# title, state, rows
Sheet = tuple[str, str, list[list[Any]]]


def row(number: Any = "12125556001", **changes: Any) -> list[Any]:
    return list({**dict(zip(HEAD, [USER, number, "twilio", TOKEN, "AC1"], strict=True)), **changes}.values())


def book(*sheets: Sheet) -> bytes:
    made = openpyxl.Workbook()
    made.remove(made.worksheets[0])
    for title, state, rows in sheets:
        one = made.create_sheet(title)
        one.sheet_state = state
        for cells in rows:
            one.append(cells)
    file = io.BytesIO()
    made.save(file)
    return file.getvalue()


def cell(value: Any, column: int = 1) -> bytes:
    """A spreadsheet with this value in a row that is fine otherwise."""
    cells = row()
    cells[column] = value
    return book(("N", "visible", [HEAD, cells]))


def read(content: bytes | str, **options: Any) -> tuple[list[FileRow], str]:
    """The rows, and what is told of the file."""
    rows = read_rows(io.BytesIO(content.encode() if isinstance(content, str) else content), **options)
    return list(rows), " ".join(rows.told)


def text(*rows: list[str], head: list[str] = HEAD) -> str:
    out = StringIO()
    csv.writer(out).writerows([head, *rows])
    return out.getvalue()


def numbers(rows: list[FileRow]) -> list[Any]:
    return [one.fields.get("phoneNumber") for one in rows]


# -- which sheet, and where its header is -----------------------------------------------------------------------------

NUMBERS: Sheet = ("Numbers", "visible", [HEAD, row()])
OTHERS: dict[str, tuple[Sheet, str]] = {
    "old numbers, hidden": (("Archive", "hidden", [HEAD, row("12125556013")]), "Hidden sheets are never read: “Archive”."),
    "old numbers, hidden from the menu too": (
        ("Archive", "veryHidden", [HEAD, row("12125556013")]), "Hidden sheets are never read: “Archive”."
    ),
    "a look-up, hidden": (("Lookup", "hidden", [["code", "carrier"], ["T", "twilio"]]), "never read: “Lookup”."),
    "an explanation": (("Read me", "visible", [["Fill in the second sheet"]]), "not read: “Read me”."),
    "an explanation of each column": (
        ("Columns", "visible", [["phoneNumber", "with the country code"], ["integration", "twilio"]]), "not read: “Columns”."
    ),
    "an empty sheet": (("Sheet1", "visible", []), "not read: “Sheet1”."),
}  # fmt: skip


@pytest.mark.parametrize("kind", OTHERS)
def test_the_sheet_with_the_columns_is_read_and_told_and_never_a_hidden_one(kind: str) -> None:
    other, told_of_it = OTHERS[kind]
    for sheets in ((other, NUMBERS), (NUMBERS, other)):
        rows, told = read(book(*sheets))
        assert numbers(rows) == ["12125556001"]
        assert told.startswith("Sheet “Numbers” was read; its line 1 names the columns.") and told_of_it in told


def test_of_two_sheets_with_numbers_the_first_is_read_and_the_other_is_told() -> None:
    rows, told = read(book(NUMBERS, ("UK", "visible", [HEAD, row("442071838750")])))
    assert numbers(rows) == ["12125556001"]
    assert "Sheets that were not read: “UK”." in told


ABOVE: dict[str, list[list[Any]]] = {
    "a title": [["Numbers to add, November"], []],
    "a comment": [["# exported 2026-11-28"]],
    "a title that looks like a column": [["Phone number"], ["Acme", "Twilio"]],
    "an address": [["Acme Ltd"], ["1 High Street"], [], ["Contact", "ann@example.com"], ["Date", date(2026, 11, 28)]],
}


@pytest.mark.parametrize("kind", ABOVE)
def test_the_columns_are_found_below(kind: str) -> None:
    above = ABOVE[kind]
    line = len(above) + 1
    rows, told = read(book(("N", "visible", [*above, HEAD, row()])))
    assert (numbers(rows), [one.line for one in rows]) == (["12125556001"], [line + 1])
    assert f"line {line} names the columns" in told

    for delimiter in ",;\t":
        out = StringIO()
        csv.writer(out, delimiter=delimiter).writerows([*above, HEAD, row()])
        rows, told = read(out.getvalue())
        assert (numbers(rows), [one.line for one in rows]) == (["12125556001"], [line + 1])
        assert f"The columns are named in line {line}" in told


NAMED: dict[str, list[str]] = {
    "as a form marks what is required": ["User ID*", "Phone number *", "Integration*:", "Auth Token*", "Acc-SID"],
    "with what to enter": [
        "userId (24 digits)",
        "Phone Number (E.164)",
        "integration\n(required)",
        "authToken",
        "accSId",
    ],
    "by e-mail address": ["Email address", "phone_number", "INTEGRATION", "auth token", "acc_sid"],
}


@pytest.mark.parametrize("kind", NAMED)
def test_columns_are_recognized(kind: str) -> None:
    head = NAMED[kind]
    for content in (text(row(), head=head), book(("N", "visible", [head, row()]))):
        (one,), told = read(content)
        assert one.fields == dict(zip(HEAD, row(), strict=True)) and "ignored" not in told


def test_a_quoted_title_of_several_lines_is_a_title_whatever_it_says() -> None:
    (one,), told = read(text(HEAD, row(), head=[f"Columns:\n{','.join(HEAD)}", "x"]))
    assert (one.line, one.fields["userId"]) == (4, USER) and "named in line 3" in told
    (one,), _ = read(text(row(), head=[f"{name}\n(required)" for name in HEAD]))
    assert one.line == 7
    (one,), _ = read(f'"Acme" numbers, "new"\n5" screens\n{text(row())}')
    assert one.line == 4


def edited(content: bytes, change: Callable[[Any], object]) -> bytes:
    made = openpyxl.load_workbook(io.BytesIO(content))
    change(made.worksheets[0])
    file = io.BytesIO()
    made.save(file)
    return file.getvalue()


def hide_row(sheet: Any, line: int = 3) -> None:
    sheet.row_dimensions[line].hidden = True


def close_group(sheet: Any) -> None:
    sheet.row_dimensions.group(3, 3, hidden=True)


def filter_out(sheet: Any) -> None:
    sheet.auto_filter.ref = "A1:E4"
    sheet.auto_filter.add_filter_column(1, ["12125556001"])
    hide_row(sheet)


@pytest.mark.parametrize("hide", [hide_row, close_group, filter_out])
def test_a_row_that_the_user_cannot_see_is_not_taken(hide: Callable[[Any], None]) -> None:
    content = book(("N", "visible", [HEAD, row(), row("12125556002"), row("12125556003")]))
    assert [one.problem for one in read(content)[0]] == [None] * 3
    one, other, last = read(edited(content, hide))[0]
    assert (one.problem, last.problem) == (None, None)
    assert "hidden" in str(other.problem) and other.shown()["phoneNumber"] == "12125556002"


def test_a_hidden_line_names_no_columns_and_hidden_blanks_are_nothing() -> None:
    other = ["accSId", "phoneNumber", "integration", "authToken", "userId"]
    rows, told = read(
        edited(book(("N", "visible", [HEAD, other, ["AC1", *row()[1:4], USER]])), lambda one: hide_row(one, 1))
    )
    assert rows[0].fields["userId"] == USER and "its line 2 names the columns" in told
    rows, _ = read(edited(book(("N", "visible", [HEAD, row(), [" "], row()])), hide_row))
    assert [one.problem for one in rows] == [None, None]


def hide(sheet: Any, *letters: str) -> None:
    for letter in letters:
        sheet.column_dimensions[letter].hidden = True


def test_a_column_that_the_user_cannot_see_is_not_taken() -> None:
    """Somebody hid the template's column and made their own beside it."""
    content = book(("N", "visible", [[*HEAD, "Phone", "label"], [*row("12125556013"), "12125556001", "Front"]]))
    with pytest.raises(UnreadableFile, match=r"Missing: phoneNumber.*Hidden columns are never read: phoneNumber"):
        read(edited(content, lambda one: hide(one, "B")))
    with pytest.raises(UnreadableFile, match="Hidden columns are never read: userId, phoneNumber, integration"):
        read(edited(content, lambda one: one.column_dimensions.group("A", "C", hidden=True)))
    (one,), told = read(edited(content, lambda one: hide(one, "E", "F", "G")))
    assert one.fields == dict(zip(HEAD[:4], row("12125556013")[:4], strict=True))
    assert "Hidden columns are never read: accSId, label." in told
    seen = book(("N", "visible", [[*HEAD, "phoneNumber"], [*row("12125556013"), "12125556001"]]))
    assert numbers(read(edited(seen, lambda one: hide(one, "B")))[0]) == ["12125556001"]


def test_a_sheet_is_not_told_by_a_token() -> None:
    token = "a1b2c3d4-e5f6-7890-abcd-ef01234"
    sheets: tuple[Sheet, ...]
    for sheets in (((token, "visible", [HEAD, row()]), ("A", "hidden", [])), (NUMBERS, (token, "visible", []), ("B", "visible", [])),
                   (NUMBERS, (token, "hidden", []))):  # fmt: skip
        rows, told = read(book(*sheets))
        assert numbers(rows) == ["12125556001"] and token not in told and "“(looks like an auth token)”" in told
    assert read(book((token, "visible", [HEAD, row()]), (f"{token[:-1]}f", "visible", [])))[1].count("looks like") == 2
    with pytest.raises(UnreadableFile) as caught:
        read(book((token, "visible", [["a"], ["b"]])))
    assert token not in str(caught.value)


def test_a_file_of_the_strict_variant_is_told_as_excel_names_it() -> None:
    strict = {b"http://schemas.openxmlformats.org/spreadsheetml/2006/main": b"http://purl.oclc.org/ooxml/spreadsheetml/main",
              b"http://schemas.openxmlformats.org/officeDocument/2006/relationships": b"http://purl.oclc.org/ooxml/officeDocument/relationships"}  # fmt: skip
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(book(NUMBERS))) as before, zipfile.ZipFile(file, "w") as after:
        for name in before.namelist():
            part = before.read(name)
            for usual, other in strict.items():
                part = part.replace(usual, other)
            after.writestr(name, part)
    with pytest.raises(UnreadableFile, match="Strict Open XML"):
        read(file.getvalue())


def test_a_merged_title_is_a_title() -> None:
    made = openpyxl.Workbook()
    one: Any = made.active
    for cells in (["Numbers to add"], HEAD, row()):
        one.append(cells)
    one.merge_cells("A1:E1")
    file = io.BytesIO()
    made.save(file)
    assert numbers(read(file.getvalue())[0]) == ["12125556001"]


NO_HEADER: dict[str, tuple[bytes | str, str]] = {
    "a column is missing": (text(head=["Title"]) + text(row()[:3], head=HEAD[:3]), "Line 2 names columns, but not all that are required. Missing: authToken."),
    "a column is missing in a sheet": (book(("N", "visible", [["Title"], HEAD[:3], row()[:3]])), "Line 2 of sheet “N” names columns"),
    "no line": (text(row(), row(), head=row()), "None of the first 3 lines names the columns."),
    "none of many": (text(*[row()] * 30, HEAD, head=row()), "None of the first 20 lines names the columns."),
    "all is hidden": (book(("Numbers", "hidden", [HEAD, row()]), ("Read me", "visible", [])), "The file has no rows. Hidden sheets are never read: “Numbers”."),
    "the columns are hidden": (book(("Numbers", "hidden", [HEAD, row()]), ("Read me", "visible", [["a"]])), "for Plivo and Twilio also accSId. Hidden sheets are never read: “Numbers”."),
    "a header alone": (book(("Numbers", "visible", [["Title"], HEAD])), "The file has no rows. Sheet “Numbers” was read; its line 2"),
    "an HTML table that calls itself CSV": ("<table><tr><td>userId</td></tr></table>", "The first line does not name the columns."),
}  # fmt: skip


@pytest.mark.parametrize("kind", NO_HEADER)
def test_without_a_header_the_sentence_says_what_was_looked_at_and_repeats_no_cell(kind: str) -> None:
    content, told = NO_HEADER[kind]
    with pytest.raises(UnreadableFile) as caught:
        read(content)
    assert told in str(caught.value)
    assert TOKEN not in str(caught.value) and USER not in str(caught.value)


# -- cells ------------------------------------------------------------------------------------------------------------

# As they were typed, and what they stand for.
UNDERSTOOD: dict[str, tuple[str, str]] = {
    # A library wrote the column as floats (nyaruka/rapidpro#241, wireservice/csvkit#1143).
    "a float": ("12125556001.0", "12125556001"),
    "a float with a comma": ("12125556001,00", "12125556001"),
    # All digits are there (dilshod/xlsx2csv#190).
    "an exponent with all digits": ("1.2125556001E10", "12125556001"),
    # Excel's guards against the above, and our own reports' against formulas.
    "an apostrophe": ("'12125556001", "12125556001"),
    "an apostrophe that a word processor turned": ("\u201812125556001", "12125556001"),
    "an apostrophe before a plus": ("'+12125556001", "+12125556001"),
    "a formula of a text": ('="12125556001"', "12125556001"),
    "dots": ("1.212.555.6001", "1.212.555.6001"),
    "one dot": ("1212555.6001", "1212555.6001"),
    "the address of a link": ("TEL:+12125556001", "+12125556001"),
    # Contacts of Windows and iOS, a word processor, a web page (mdezube/sms-analysis#9), a file's beginning.
    "an embedding": ("\u202a+12125556001\u202c", "+12125556001"),
    "an isolate": ("\u2066+12125556001\u2069", "+12125556001"),
    "a mark": ("\u200e12125556001", "12125556001"),
    "a zero-width space": ("12125556001\u200b", "12125556001"),
    "a zero-width space inside": ("1212\u200b5556001", "12125556001"),
    "a byte order mark": ("\ufeff12125556001", "12125556001"),
    "a soft hyphen": ("1212\u00ad5556001", "12125556001"),
    "no-break spaces": ("\u00a0+1 212\u00a0555\u00a06001", "+1 212 555 6001"),
    "narrow no-break spaces": ("+1\u202f212\u202f555\u202f6001", "+1 212 555 6001"),
    "no-break hyphens": ("+1\u2011212\u2011555\u20116001", "+1 212 555 6001"),
    "an en dash": ("+1 (212) 555\u20136001", "+1 (212) 555 6001"),
    "a minus": ("212\u2212555\u22126001", "212 555 6001"),
}


@pytest.mark.parametrize("kind", UNDERSTOOD)
def test_a_number_is_read_as_it_was_meant_in_every_kind_of_file(kind: str) -> None:
    typed, meant = UNDERSTOOD[kind]
    named = dict(zip(HEAD, row(typed), strict=True))
    for content in (text(row(typed)), cell(typed), json.dumps([named]), f"{json.dumps(named)}\n"):
        (one,), _ = read(content)
        assert (one.fields["phoneNumber"], one.problem) == (meant, None)


def test_a_number_that_a_spreadsheet_or_json_holds_as_a_number_is_its_digits() -> None:
    for content in (cell(12125556001), cell(12125556001.0)):
        (one,), _ = read(content)
        assert (one.fields["phoneNumber"], one.shown()["phoneNumber"]) == ("12125556001",) * 2
    for value in (12125556001, 12125556001.0):
        (one,), _ = read(json.dumps([dict(zip(HEAD, row(value), strict=True))]))
        assert one.fields["phoneNumber"] == "12125556001"


ERROR_CELL = b'<c t="e"><v>#N/A</v></c>'
# What stands in the cell, what the row repeats of it, and what is told.
REFUSED: dict[str, tuple[Any, str, str]] = {
    # alphagov/notifications-admin#4124; with a comma react-csv/react-csv#136
    "an exponent": ("1.21256E+10", "1.21256E+10", "digits of this number were lost"),
    "an exponent with a comma": ("1,21256E+10", "1,21256E+10", "digits of this number were lost"),
    "an exponent without decimals": ("1E+10", "1E+10", "digits of this number were lost"),
    "an exponent with more decimals": ("1.21255560012E+10", "1.21255560012E+10", "digits of this number were lost"),
    "decimals": ("12125556001.5", "12125556001.5", "a number with decimals"),
    "a formula": ("=A1&B1", "=A1&B1", "a formula"),
    "an error": ("#N/A", "#N/A", "an error of the spreadsheet"),
    "an error of LibreOffice": ("#name?", "#name?", "an error of the spreadsheet"),
}
IN_SPREADSHEETS: dict[str, tuple[Any, str, str]] = {
    **{name: case for name, case in REFUSED.items() if name != "a formula"},
    # openpyxl writes a formula without its result (felipe-prenholato/openpyxl#69).
    "a formula without a result": ("=A1&B1", "=A1&B1", "lacks its result"),
    "a fraction": (12.5, "12.5", "a number with decimals"),
    "16 digits": (1400000000000000001, "1.4e+18", "stores only 15"),
    "a date": (date(2026, 11, 23), "2026-11-23 00:00:00", "a date or a time"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_cell_that_was_changed_is_told_and_shown(kind: str) -> None:
    typed, shown, told = REFUSED[kind]
    (one,), _ = read(text(row(typed)))
    assert one.problem and told in str(one.problem) and one.problem.field == "phoneNumber"
    assert one.shown()["phoneNumber"] == shown


@pytest.mark.parametrize("kind", IN_SPREADSHEETS)
def test_a_cell_of_a_spreadsheet_that_was_changed_is_told_and_shown(kind: str) -> None:
    typed, shown, told = IN_SPREADSHEETS[kind]
    (one,), _ = read(cell(typed))
    assert one.problem and told in str(one.problem) and one.problem.field == "phoneNumber"
    assert one.shown()["phoneNumber"] == shown


def test_a_token_that_was_changed_is_told_and_not_shown() -> None:
    (one,), _ = read(text(row(authToken="1.23457E+31")))
    assert one.problem and "digits" in str(one.problem) and "1.23" not in f"{one.problem} {one.shown()} {one!r}"
    token = "1234567890123456789012345678e123"
    (one,), _ = read(text(row(authToken=token)))
    assert one.fields["authToken"] == token


def test_an_error_and_an_empty_result_of_excel_differ_from_a_formula_that_was_never_calculated() -> None:
    names = b"".join(b'<c t="inlineStr"><is><t>%b</t></is></c>' % name.encode() for name in [*HEAD, "label"])
    filled = b"".join(b'<c t="inlineStr"><is><t>%b</t></is></c>' % str(one).encode() for one in row())
    formula = b"<f>IF(1,&quot;&quot;)</f>"
    rows, _ = read(
        sheet(
            b"<row>%b</row>" % names
            + b'<row>%b<c t="str">%b<v></v></c></row>' % (filled, formula)
            + b"<row>%b<c>%b<v></v></c></row>" % (filled, formula)
            + b"<row>%b%b</row>" % (filled, ERROR_CELL.replace(b"<c", b'<c r="B4"'))
        )
    )
    assert [one.problem and one.problem.field for one in rows] == [None, "label", "phoneNumber"]
    assert "label" not in rows[0].fields


def test_a_yes_is_true_however_a_program_wrote_it() -> None:
    for typed, meant in (("1.0", True), ("0.0", False), ("Yes", True), ("FALSE", False), ("1", True), ("x", "x")):
        (one,), _ = read(text([*row(), typed], head=[*HEAD, "record"]))
        assert one.fields["record"] == meant


def test_a_label_is_text_whatever_stands_in_it() -> None:
    texts = ["1.5", "#1", "12125556001.0", "‘x’", "a\u200db", "1E+10"]
    rows, _ = read(text(*([*row(), label] for label in texts), head=[*HEAD, "label"]))
    assert [one.fields["label"] for one in rows] == texts
    assert read(text([*row(), "'=sum"], head=[*HEAD, "label"]))[0][0].fields["label"] == "=sum"


def test_rows_are_read_whatever_dimension_the_file_states() -> None:
    """WPS states A1 (langgenius/dify#1039, pandas-dev/pandas#39001)."""
    content = book(("N", "visible", [HEAD, row(), row("12125556002")]))
    with io.BytesIO(content) as file:
        xml = openpyxl.load_workbook(file, read_only=True)._archive.read("xl/worksheets/sheet1.xml")  # type: ignore[attr-defined]
    wrong = dangerous("xl/worksheets/sheet1.xml", xml.replace(b'ref="A1:E3"', b'ref="A1"'), of=content)
    assert numbers(read(wrong)[0]) == ["12125556001", "12125556002"]


def test_rows_in_a_wrong_order_are_not_passed_over_in_silence() -> None:
    with pytest.raises(UnreadableFile):
        read(sheet(b'<row r="5"><c r="A5"><v>1</v></c></row><row r="2"><c r="A2"><v>1</v></c></row>'))


BLANK: dict[str, list[Any]] = {
    "blanks": [" "] * 5, "no-break spaces": ["\u00a0"] * 5, "what nobody sees": ["\u200b", "\ufeff"],
    "a check box that is not ticked": [None, None, None, None, None, False],
}  # fmt: skip


@pytest.mark.parametrize("kind", BLANK)
def test_a_row_of_blanks_is_nothing_in_every_kind_of_file(kind: str) -> None:
    blanks = BLANK[kind]
    head = [*HEAD, "record"]
    named = dict(zip(head, blanks, strict=False))
    for content in (
        text(row(), [str(one or "") for one in blanks], head=head),
        book(("N", "visible", [head, row(), blanks])),
        json.dumps([dict(zip(HEAD, row(), strict=True)), named]),
    ):
        assert numbers(read(content)[0]) == ["12125556001"]


def test_an_object_without_anything_is_a_row_that_lacks_everything() -> None:
    assert len(read(json.dumps([dict(zip(HEAD, row(), strict=True)), {}]))[0]) == 2


def test_a_file_of_which_nothing_can_be_read_is_refused_as_a_whole() -> None:
    for content in ('{\n "userId": "a"\n}\n', "[1, 2]", '{"userId": NaN}\n{"userId"\n'):
        with pytest.raises(UnreadableFile, match="no JSON object"):
            read(content)


# -- the command ------------------------------------------------------------------------------------------------------


def command(*arguments: str) -> tuple[int, str, str]:
    """Run it in this process: its exit status, stdout and stderr."""
    out, err = StringIO(), StringIO()
    try:
        call_command("add_phones", *arguments, stdout=out, stderr=err)
    except SystemExit as error:
        return int(error.code or 0), out.getvalue(), err.getvalue()
    except CommandError as error:
        return error.returncode, out.getvalue(), f"{err.getvalue()}{error}"
    return 0, out.getvalue(), err.getvalue()


def by_link(file: Path, make: Callable[[Path], None]) -> Path:
    link = file.with_name("link.csv")
    make(link)
    return link


SAME_FILE: dict[str, Callable[[Path], Path]] = {
    "the same path": lambda file: file,
    "another path": lambda file: file.parent / "x" / ".." / file.name,
    "a symbolic link": lambda file: by_link(file, lambda link: link.symlink_to(file)),
    "a hard link": lambda file: by_link(file, lambda link: os.link(file, link)),
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", SAME_FILE)
def test_a_report_never_replaces_the_file_of_numbers(
    sandbox: Sandbox, tenant: Tenant, tmp_path: Path, kind: str
) -> None:
    file = tmp_path / "numbers.csv"
    (tmp_path / "x").mkdir()
    content = csv_of(rows_of(tenant, TWILIO, [TWILIO.number])).encode()
    file.write_bytes(content)
    report = str(SAME_FILE[kind](file))
    for arguments in ((str(file), "--report", report, "--dry-run"), (report, "--report", str(file))):
        status, out, err = command(*arguments)
        assert (status, out) == (2, "") and "--report" in err
    assert file.read_bytes() == content and not sandbox.ledger


@pytest.mark.django_db(transaction=True)
def test_an_owner_may_be_named_by_their_e_mail_address(sandbox: Sandbox, tenant: Tenant, tmp_path: Path) -> None:
    one, two, three = some(sandbox, TWILIO, 3)
    email, account = tenant.user.email, ["twilio", TWILIO.auth_token, TWILIO.acc_sid]
    file = tmp_path / "numbers.csv"
    with file.open("w", newline="") as out:
        csv.writer(out).writerows([
            [*HEAD, "E-mail"], [email, one, *account, ""], ["", two, *account, f" {email.upper()} "],
            [tenant.user.pk, three, *account, "who@else.example"], ["no@body.example", one, *account, ""],
            ["a@b" + "c" * 300, one, *account, ""], [tenant.user.pk, one, *account, ""],
            [f"Ann <{email}>", one, *account, ""], ["", two, *account, f'"Müller, Ann" <{email}>'],
            [f"mailto:{email}", three, *account, ""],
        ])  # fmt: skip
    status, out_text, _ = command(str(file), "--output", "json")
    told = json.loads(out_text)["rows"]
    assert status == 3
    assert [row["error"] or row["outcome"] for row in told] == [
        "added", "added", "added", "user_not_found", "invalid_user_id", "exists", "exists", "exists", "exists",
    ]  # fmt: skip
    assert [row["userId"] for row in told[:4]] == [email, email.upper(), tenant.user.pk, "no@body.example"]
    owners = PhoneNumber.objects.values_list("user_id", flat=True)
    assert list(owners) == [tenant.user.pk] * 3
    assert json.loads(command(str(file), "--output", "json")[1])["summary"]["exists"] == 7


@pytest.mark.django_db(transaction=True)
def test_a_mended_report_is_read_again_without_a_word(sandbox: Sandbox, tenant: Tenant, tmp_path: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    file, report, again = tmp_path / "n.csv", tmp_path / "report.csv", tmp_path / "again.csv"
    monkeypatch.setenv("TOKEN", TWILIO.auth_token)
    changes = {"authToken": None, "label": "=Front\ndesk", "greeting": "-- Hello", "record": "yes", "action": "Forward",
               "forwardTo": "+1 212 555 0100"}  # fmt: skip
    file.write_text(csv_of(rows_of(tenant, TWILIO, ["+1 (212) 555-12x4"], **changes)))
    assert command(str(file), "--auth-token-env", "TOKEN", "--report", str(report))[0] == 3
    again.write_text(report.read_text().replace("12x4", "1234"))

    status, _, err = command(str(again))
    assert status == 2 and "Missing: authToken" in err and "--auth-token-env" in err
    status, out, err = command(str(again), "--auth-token-env", "TOKEN")
    assert (status, err) == (0, "") and "added 1" in out
    phone = PhoneNumber.objects.get()
    assert (phone.label, phone.greeting, phone.record, phone.forward_to) == (
        "=Front\ndesk", "-- Hello", True, "12125550100"
    )  # fmt: skip


@pytest.mark.django_db(transaction=True)
def test_the_table_keeps_the_order_of_the_file_and_ends_with_the_reasons(
    sandbox: Sandbox, tenant: Tenant, tmp_path: Path
) -> None:
    good = some(sandbox, TWILIO, 20)
    file = tmp_path / "n.csv"
    file.write_text(csv_of(rows_of(tenant, TWILIO, [*good[:10], "911", "12125559999", *good[10:], "912"])))
    sandbox.delay_s = 0.02
    status, out, _ = command(str(file))
    lines = out.splitlines()
    assert status == 3
    assert [int(line.split()[0]) for line in lines[:23]] == list(range(2, 25))
    assert lines[23] == "total 23, added 20, exists 0, failed 3"
    assert [line.split(":")[0].split() for line in lines[24:]] == [
        ["2", "invalid_phone_number"], ["1", "number_not_owned"],
    ]  # fmt: skip


@pytest.mark.django_db(transaction=True)
def test_a_report_may_be_a_spreadsheet_that_is_mended_and_read_again(
    sandbox: Sandbox, tenant: Tenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Excel shows a number of 12 digits in a CSV file as 4.42E+11, and saves that."""
    file, report = tmp_path / "n.csv", tmp_path / "report.XLSX"
    monkeypatch.setenv("TOKEN", TWILIO.auth_token)
    changes = {"authToken": None, "label": "=Müller\ndesk", "greeting": "-- Hello"}
    file.write_text(csv_of(rows_of(tenant, TWILIO, ["442071838750x", "+1 (212) 555-12x4"], **changes)))
    assert command(str(file), "--auth-token-env", "TOKEN", "--report", str(report))[0] == 3
    assert [one["phoneNumber"] for one in table_of(report.read_bytes())] == ["442071838750x", "+1 (212) 555-12x4"]
    made: Any = openpyxl.load_workbook(report)
    made.active.delete_rows(2)
    made.active["C2"] = "+1 (212) 555-1234"
    made.save(report)
    status, out, _ = command(str(report), "--auth-token-env", "TOKEN")
    assert status == 0 and "added 1" in out
    phone = PhoneNumber.objects.get()
    assert (phone.label, phone.greeting) == ("=Müller\ndesk", "-- Hello")
    (tmp_path / "full.xlsx").symlink_to("/dev/full")
    status, out, err = command(str(report), "--auth-token-env", "TOKEN", "--report", str(tmp_path / "full.xlsx"))
    assert (status, "No space left" in err, "exists 1" in out) == (3, True, True)


@pytest.mark.parametrize("ending", ["csv", "xlsx"])
@pytest.mark.parametrize("output", ["table", "jsonl"])
def test_what_was_done_is_reported_if_a_run_breaks_off_while_an_earlier_row_waits(
    db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, output: str
) -> None:
    file, report = tmp_path / "n.csv", tmp_path / f"report.{ending}"
    file.write_text(text(*(row(f"1212555600{index}") for index in range(4))))

    def breaking_off(rows: Iterator[FileRow], **options: Any) -> Iterator[RowOutcome]:
        _slow, *others, _unread = rows
        yield from (RowOutcome(one.line, one.shown(), "added") for one in reversed(others))
        if ending == "csv":  # as a kill would leave it
            assert [line["line"] for line in csv.DictReader(report.open())] == ["4", "3"]
        raise MemoryError

    monkeypatch.setattr("phones.management.commands.add_phones.add_rows", breaking_off)
    out = StringIO()
    with pytest.raises(MemoryError):
        call_command("add_phones", str(file), "--output", output, "--report", str(report), stdout=out)
    lines = out.getvalue().splitlines()
    assert len(lines) == 2 and "12125556001" in lines[0] and "12125556002" in lines[1]
    told = table_of(report.read_bytes()) if ending == "xlsx" else list(csv.DictReader(report.open()))
    assert [(one["line"], one["outcome"]) for one in told] == [("3", "added"), ("4", "added")]


@pytest.mark.django_db(transaction=True)
def test_the_command_says_which_sheet_it_read(sandbox: Sandbox, tenant: Tenant, tmp_path: Path) -> None:
    file = tmp_path / "n.xlsx"
    good = list(rows_of(tenant, TWILIO, [TWILIO.number])[0].fields.items())
    file.write_bytes(
        book(OTHERS["old numbers, hidden"][0], ("N", "visible", [[k for k, _ in good], [v for _, v in good]]))
    )
    status, out, err = command(str(file), "--output", "json", "--dry-run")
    assert status == 0 and json.loads(out)["summary"]["would_add"] == 1
    assert err.strip() == "Sheet “N” was read; its line 1 names the columns. Hidden sheets are never read: “Archive”."


# -- the desk ---------------------------------------------------------------------------------------------------------


def test_the_template_can_be_filled_in_and_keeps_long_numbers_as_text() -> None:
    made = openpyxl.load_workbook(io.BytesIO(template()))
    one: Any = made.active
    assert [cell.value for cell in one[1]] == list(COLUMNS)
    assert {one.column_dimensions[letter].number_format for letter in "ABCDEL"} == {"@"}
    one.append([USER, "12125556001", "twilio", TOKEN, "AC1"])
    file = io.BytesIO()
    made.save(file)
    assert numbers(read(file.getvalue())[0]) == ["12125556001"]


def table_of(content: bytes) -> list[dict[str, Any]]:
    """The rows of a spreadsheet. All cells are texts, so that no program shortens a number or runs a formula."""
    sheet: Any = openpyxl.load_workbook(io.BytesIO(content)).active
    head, *rows = sheet.iter_rows()
    assert all((one.data_type, one.number_format) == ("s", "@") for cells in rows for one in cells if one.value)
    return [dict(zip((one.value for one in head), (one.value for one in cells), strict=True)) for cells in rows]


@pytest.mark.django_db
def test_the_desk_gives_out_a_template_and_the_rows_that_failed(desk: Client) -> None:
    reply = desk.get("/admin/phones/import/template/")
    assert 'filename="numbers.xlsx"' in reply["Content-Disposition"]
    assert openpyxl.load_workbook(io.BytesIO(reply.content)).sheetnames == ["Numbers"]
    bad, long = row("1.21256E+10"), row("442071838750x")
    content = text([*bad, "=Front"], [*long, "Müller"], [*row(), "kept out"], head=[*HEAD, "label"])
    file, told = store_import(
        io.BytesIO(content.encode()), name="n.csv", staff="a@b.example", workspace_id=None, defaults={}
    )
    Import.objects.update(state="done")
    ImportRow.objects.filter(line=3).update(outcome="failed", error="invalid_phone_number", message="not a number")
    assert told == []
    reply = desk.get(f"/admin/phones/import/{file.pk}/failed/")
    assert 'filename="failed-rows.xlsx"' in reply["Content-Disposition"] and reply["Cache-Control"].count("no-store")
    failed = table_of(reply.content)
    assert [(one["line"], one["phoneNumber"], one["label"], one["userId"], one["accSId"]) for one in failed] == [
        ("2", "1.21256E+10", "=Front", USER, "AC1"), ("3", "442071838750x", "Müller", USER, "AC1")
    ]  # fmt: skip
    assert "digits" in failed[0]["message"] and TOKEN not in str(failed) and "authToken" not in failed[0]
    assert desk.get(f"/admin/phones/import/{'f' * 24}/failed/").status_code == 404
