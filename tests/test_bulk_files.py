"""How files of numbers are read: each kind, each way to spoil it, and nothing of a cell repeated."""

import io
import json
import re
import tracemalloc
import zipfile
from collections.abc import Callable
from typing import Any

import openpyxl
import pytest

from phones.bulk.files import FileRow, UnreadableFile, read_rows

USER = "64e5f12345abcdef12345678"
CANARY = "secret-canary-0123456789"
HEADER = "userId,phoneNumber,integration,authToken,accSId,label"
WANTED = {
    "userId": USER, "phoneNumber": "12125551234", "integration": "twilio", "authToken": CANARY, "accSId": "AC1",
    "label": "Front, desk",
}  # fmt: skip
ROW = f'{USER},12125551234,twilio,{CANARY},AC1,"Front, desk"'
CSV = f"{HEADER}\n{ROW}\n"


def read(content: bytes | str, **options: Any) -> list[FileRow]:
    data = content if isinstance(content, bytes) else content.encode()
    return list(read_rows(io.BytesIO(data), **options))


def xlsx(*rows: list[Any]) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)  # type: ignore[union-attr]
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


FILES: dict[str, bytes] = {
    "csv": CSV.encode(),
    "with a BOM": b"\xef\xbb\xbf" + CSV.encode(),
    "UTF-16 as Excel writes it": CSV.encode("utf-16"),
    "CRLF": CSV.replace("\n", "\r\n").encode(),
    "old Mac lines": CSV.replace("\n", "\r").encode(),
    "no line end at the end": CSV.strip().encode(),
    "semicolons": f'{HEADER.replace(",", ";")}\n{USER};12125551234;twilio;{CANARY};AC1;Front, desk\n'.encode(),
    "tabs": f"{HEADER}\n{USER},12125551234,twilio,{CANARY},AC1,Front| desk\n".replace(",", "\t").replace("|", ",").encode(),
    "bars": f"{HEADER}\n{USER},12125551234,twilio,{CANARY},AC1,Front; desk\n".replace(",", "|").replace(";", ",").encode(),
    "Excel's sep line": f"sep=,\r\n{CSV}".encode(),
    "blank lines and blanks": f"\n{HEADER}\n\n , ,\n{ROW.replace('twilio', ' twilio ')}\n\n".encode(),
    "other spellings of names": CSV.replace("userId", "User ID").replace("phoneNumber", "phone_number").encode(),
    "quoted names": CSV.replace(HEADER, ",".join(f'"{name}"' for name in HEADER.split(","))).encode(),
    "json": json.dumps([WANTED]).encode(),
    "indented json with a BOM": b"\xef\xbb\xbf" + json.dumps([WANTED], indent=4).encode(),
    "json lines": f"{json.dumps(WANTED)}\n\n".encode(),
    "xlsx": xlsx(HEADER.split(","), [], list(WANTED.values())),
    "xlsx with a number for a number": xlsx(list(WANTED), [USER, 12125551234, "twilio", CANARY, "AC1", "Front, desk"]),
}  # fmt: skip


@pytest.mark.parametrize("kind", FILES)
def test_every_kind_of_file_gives_the_same_row(kind: str) -> None:
    (row,) = read(FILES[kind])
    assert (row.fields, row.problem) == (WANTED, None)


def test_a_row_knows_its_line_though_rows_before_it_have_several() -> None:
    rows = read(f'{HEADER}\n{USER},12125551234,twilio,x,AC1,"two\nlines"\n\n{ROW}\n')
    assert [row.line for row in rows] == [2, 5]
    assert rows[0].fields["label"] == "two\nlines"


def test_rows_of_a_spreadsheet_and_of_a_list_are_counted_as_people_see_them() -> None:
    assert [row.line for row in read(xlsx(list(WANTED), [], list(WANTED.values())))] == [3]
    assert [row.line for row in read(json.dumps([WANTED, WANTED]))] == [1, 2]


def test_a_long_list_is_read_in_pieces() -> None:
    many = [{**WANTED, "label": f"{index} " + "x" * (index % 150)} for index in range(3000)]
    for indent in (None, 2):
        assert [row.fields for row in read(json.dumps(many, indent=indent))] == many


def test_an_empty_cell_is_a_field_left_out_and_a_yes_is_true() -> None:
    (row,) = read(f"{HEADER},record,greeting\n{USER},12125551234,twilio,x,,,Yes,\n")
    assert row.fields == {
        "userId": USER, "phoneNumber": "12125551234", "integration": "twilio", "authToken": "x", "record": True,
    }  # fmt: skip


def test_what_a_file_leaves_out_is_filled_in() -> None:
    text = f"userId,phoneNumber,integration,accSId\n{USER},12125551234,twilio,\n{USER},12125551235,twilio,AC2\n"
    rows = read(text, defaults={"authToken": CANARY, "accSId": "AC1"})
    assert [(row.fields["authToken"], row.fields["accSId"]) for row in rows] == [(CANARY, "AC1"), (CANARY, "AC2")]


def test_unknown_columns_are_told_and_no_more() -> None:
    rows = read_rows(io.BytesIO(f"{HEADER},price,{'x' * 99}\n{ROW},5,6\n".encode()))
    assert next(rows).fields == WANTED
    assert rows.told == [f"Unknown columns were ignored: price, {'x' * 40}."]


SHARED_STRINGS = b"application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"


def dangerous(name: str, content: bytes, *, of: bytes = FILES["xlsx"]) -> bytes:
    """An xlsx with one of its parts replaced, or with one for the texts that cells share."""
    declared = b'<Override PartName="/%b" ContentType="%b"/></Types>' % (name.encode(), SHARED_STRINGS)
    file = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(of)) as before,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as after,
    ):
        for part in before.namelist():
            kept = before.read(part)
            if b"<sst" in content[:99] and part == "[Content_Types].xml":
                kept = kept.replace(b"</Types>", declared)
            if part != name:
                after.writestr(part, kept)
        after.writestr(name, content)
    return file.getvalue()


LAUGHS = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><worksheet>&b;</worksheet>'
DOCTYPE = b'<?xml version="1.0"?><!DOCTYPE x [<!ATTLIST x a CDATA "a">]><x/>'
MAIN = b'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'


def sheet(rows: bytes, before: bytes = b"", after: bytes = b"") -> bytes:
    """An xlsx with these rows, and with more before and after them."""
    data = b"<worksheet %b>%b<sheetData>%b</sheetData>%b</worksheet>" % (MAIN, before, rows, after)
    return dangerous("xl/worksheets/sheet1.xml", data)


def sheets_of_one_part(count: int, rows: bytes) -> bytes:
    """An xlsx whose workbook names one part as many sheets."""
    name = "xl/_rels/workbook.xml.rels"
    of = sheet(rows)
    workbook, links = (zipfile.ZipFile(io.BytesIO(of)).read(part) for part in ("xl/workbook.xml", name))
    one, link = re.search(rb"<sheet [^>]*>", workbook), re.search(rb'<Relationship [^>]*/sheet1.xml"[^>]*>', links)
    assert one and link
    ids = [b"rId%d" % (index + 1000) for index in range(count)]
    named = [re.sub(rb'r?:?id="[^"]*"', b'r:id="%b"' % id, one[0]).replace(b'name="', b'name="%b' % id) for id in ids]
    linked = [re.sub(rb'Id="[^"]*"', b'Id="%b"' % id, link[0]) for id in ids]
    of = dangerous("xl/workbook.xml", workbook.replace(one[0], b"".join(named)), of=of)
    return dangerous(name, links.replace(link[0], link[0] + b"".join(linked)), of=of)


def sst(text: bytes, times: int) -> bytes:
    return b"<sst %b>%b</sst>" % (MAIN, text * times)


SHARED = b"<si><t>" + b"x" * 993 + b"</t></si>"
HEADED = b"<row>%b</row>" % b"".join(
    b'<c t="inlineStr"><is><t>%b</t></is></c>' % name.encode() for name in HEADER.split(",")
)
UNREADABLE: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "no rows"),
    "blank lines": (b"\n \n", "no rows"),
    "a header alone": (HEADER.encode(), "no rows"),
    "an empty list": (b"[ ]", "no rows"),
    "no header": (f"{ROW}\n{ROW}\n".encode(), "Missing: userId, phoneNumber, integration, authToken"),
    "a column missing": (CSV.replace("authToken", "token").encode(), "Missing: authToken"),
    "a column twice": (CSV.replace("label", "Account", 1).replace("Account", "userid").encode(), "same name"),
    "Latin-1": (CSV.replace("Front", "Empfang für").encode("latin-1"), "not text in UTF-8"),
    "Latin-1 on a late line": (CSV.encode() + f"{ROW}\n".encode() * 5000 + "ü".encode("latin-1"), "not text in UTF-8"),
    "UTF-16 without a mark": (CSV.encode("utf-16-le"), "UTF-8"),
    "an open quote": (f'{HEADER}\n{USER},"12125551234,twilio,{CANARY}\n'.encode(), "quotation marks"),
    "an endless line": (HEADER.encode() + b"\n" + CANARY.encode() * 9000, "too long"),
    "half a list": (json.dumps([WANTED, WANTED])[:-40].encode(), "item 2"),
    "a list and more": (json.dumps([WANTED]).encode() + b"x", "text after the end"),
    "a list with a key twice": (b'[{"userId": "a", "userId": "%b"}]' % CANARY.encode(), "item 1"),
    "a deep list": (b"[" * 50_000, "cannot be read"),
    "an old Excel file": (b"\xd0\xcf\x11\xe0" + b"x" * 99, "Save it as .xlsx"),
    "half an xlsx": (FILES["xlsx"][:-900], "Save it again"),
    "an xlsx of something else": (dangerous("xl/workbook.xml", b"<a/>"), "Save it again"),
    "an xlsx that unpacks to 300 MB": (dangerous("xl/worksheets/sheet1.xml", b" " * 300_000_000), "too large"),
    "an xlsx with entities": (dangerous("xl/worksheets/sheet1.xml", LAUGHS), "Save it again"),
    "an xlsx with a document type": (dangerous("xl/styles.xml", DOCTYPE), "Save it again"),
    "an xlsx with one in UTF-16": (dangerous("xl/workbook.xml", DOCTYPE.decode().encode("utf-16")), "Save it again"),
    "an empty xlsx": (xlsx(), "no rows"),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNREADABLE)
def test_an_unreadable_file_is_told_in_a_sentence_that_repeats_nothing_of_it(kind: str) -> None:
    content, told = UNREADABLE[kind]
    with pytest.raises(UnreadableFile) as caught:
        read(content)
    assert told in str(caught.value)
    assert CANARY not in repr(caught.value) + str(caught.value.__context__) and USER not in str(caught.value)


# A little that would keep its reader busy for long, or take much memory.
HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "a row far below": (lambda: sheet(HEADED + b'<row r="2000000000"><c><v>1</v></c></row>'), "empty rows"),
    "a dimension and a row far below": (
        lambda: sheet(HEADED + b'<row r="2000000001"/>', b'<dimension ref="A1:B2000000000"/>'), "empty rows"
    ),
    "many empty rows": (lambda: sheet(HEADED + b"<row/>" * 110_000), "empty rows"),
    "many rows of blanks": (
        lambda: sheet(HEADED + b'<row><c t="inlineStr"><is><t> </t></is></c></row>' * 101_000), "too large"
    ),
    "a row of a million cells": (lambda: sheet(b"<row>" + b"<c/>" * 1_000_000 + b"</row>"), "too large"),
    "many things that are no rows": (lambda: sheet(HEADED, after=b"<x/>" * 300_000), "too large"),
    "rows of another kind of document": (
        lambda: sheet(HEADED, after=b'<x:row xmlns:x="x"><x:c/><x:c/></x:row>' * 100_000), "too large"
    ),
    "shared texts in a part that calls itself a sheet": (
        lambda: dangerous("xl/worksheets/sheet1.xml", b"<worksheet %b><sheetData><row>%b</row></sheetData></worksheet>" % (
            MAIN, b"<si/>" * 300_000)), "too large"
    ),
    "rows that never begin": (lambda: sheet(HEADED, b"<x/>" * 50_000), "too large"),
    "megabytes before the rows": (lambda: sheet(HEADED, (b"<x>" + b"x" * 99_000 + b"</x>") * 20), "too large"),
    "a text of 20 MB": (
        lambda: sheet(b'<row><c t="inlineStr"><is><t>' + b"x" * 20_000_000 + b"</t></is></c></row>"), "too large"
    ),
    "a deep sheet": (lambda: sheet(HEADED, b"<x>" * 1_000 + b"</x>" * 1_000), "too large"),
    "64 MB of shared texts": (lambda: dangerous("xl/sharedStrings.xml", sst(SHARED, 64_000)), "too large"),
    "a million shared texts": (lambda: dangerous("xl/sharedStrings.xml", sst(b"<si/>", 1_000_001)), "too large"),
    "shared texts by another name": (lambda: dangerous("xl/media/x.png", sst(SHARED, 20_000)), "too large"),
    "rows of cells that are packed to nearly nothing": (
        lambda: sheet(HEADED + (b"<row>" + b"<c><v>1</v></c>" * 6 + b"</row>") * 30_000), "too large"
    ),
    "many names": (
        lambda: dangerous("xl/workbook.xml", b"<workbook>" + b'<definedName name="a"/>' * 100_000 + b"</workbook>"), "too large"
    ),
    "many styles": (
        lambda: dangerous("xl/styles.xml", b"<styleSheet>" + b"<xf/>" * 300_000 + b"</styleSheet>"), "too large"
    ),
    "a thousand sheets that are one": (
        lambda: dangerous("xl/workbook.xml", b"<workbook>" + b'<sheet name="a"/>' * 1_000 + b"</workbook>"), "too large"
    ),
    "sheets that are one part": (lambda: sheets_of_one_part(256, b"<row/>" * 90_000), "Save it again"),
    "blank lines": (lambda: HEADER.encode() + b"\n" * 200_000, "empty rows"),
    "lines of commas": (lambda: HEADER.encode() + b"\n" + b" ,,,,,\n" * 200_000, "empty rows"),
    "blank lines before a header": (lambda: b" \n" * 200_000 + CSV.encode(), "empty rows"),
    "blank lines among JSON lines": (lambda: json.dumps(WANTED).encode() + b"\n" * 200_000, "empty rows"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_would_be_read_for_hours_is_refused(kind: str) -> None:
    content, told = HOSTILE[kind]
    with pytest.raises(UnreadableFile) as caught:
        read(content())
    assert told in str(caught.value)


def test_what_unpacks_to_much_is_refused_before_it_does() -> None:
    content = HOSTILE["a row of a million cells"][0]()
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableFile):
            read(content)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(content) < 20_000
    assert peak < 10_000_000


def test_a_row_of_blanks_in_a_spreadsheet_is_passed_over_as_in_a_csv() -> None:
    rows = read(xlsx(HEADER.split(","), [" ", "\t", None], list(WANTED.values()), ["  "] * 6))
    assert [row.line for row in rows] == [3]


def test_a_large_file_that_is_filled_in_is_read_with_its_gaps() -> None:
    """As many empty rows as others, and a hundred thousand besides."""
    rows = read(f"{HEADER}\n" + f"{ROW}\n\n" * 3_000 + "\n" * 90_000 + ROW)
    assert len(rows) == 3_001


def test_a_file_of_another_kind_is_refused_by_its_name() -> None:
    with pytest.raises(UnreadableFile, match="kind"):
        read(CSV, name="numbers.pdf")
    assert read(CSV, name="numbers.CSV")


BAD_ROWS: dict[str, tuple[bytes, str, str | None]] = {
    "more cells than columns": (f"{HEADER}\n{ROW},x\n".encode(), "invalid_field", None),
    "a line that is no JSON": (f'{json.dumps(WANTED)}\n{{"userId": "{CANARY}\n'.encode(), "invalid_json", None),
    "a line with a key twice": (f'{json.dumps(WANTED)}\n{{"userId": "a", "userId": "b"}}'.encode(), "invalid_json", None),
    "a list of texts": (json.dumps([WANTED, CANARY]).encode(), "invalid_json", None),
    "a number that was rounded": (xlsx(list(WANTED), [USER, "12125551234", "telnyx", CANARY, 1400000000000000001]), "invalid_field", "accSId"),
    "a broken number": (xlsx(list(WANTED), [USER, 12.5, "telnyx", CANARY]), "invalid_field", "phoneNumber"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_a_bad_row_spoils_no_other(kind: str) -> None:
    content, code, field = BAD_ROWS[kind]
    row = read(content)[-1]
    assert row.problem and (row.problem.code, row.problem.field) == (code, field)
    assert CANARY not in f"{row!r} {row.problem} {row.shown()}"


TOKEN_SHAPES = {
    "of Twilio": "0123456789abcdef0123456789abcdef", "of Plivo": "MmRjNjY5OGEwMzBlZjE2ZDI4ZjcxZTI1YWIyMDI1",
    "of Telnyx": "KEY0123456789ABCDEF0123456789ABCDEF_abcdefghijklmnopqrstuv",
    "a UUID": "a1b2c3d4-e5f6-7890-abcd-ef0123456789", "31 characters of one": "0123456789abcdef0123456789abcde",
}  # fmt: skip
BASE64 = ["ODg3ZmQ5YTk0/YTk4+NjQ5ZTY2NmQ5YzY0ZmY=", "ODg3ZmQ5YTk0_YTk4-NjQ5ZTY2NmQ5YzY0ZmY"]
PUBLIC_KEY = "abCDef12+/ghIJkl34mnOPqr56stUVwx78yzABcd901="


@pytest.mark.parametrize("shape", TOKEN_SHAPES)
def test_results_repeat_what_was_typed_but_no_token(shape: str) -> None:
    """A cell gets into the wrong column, even in a row without authToken."""
    token = TOKEN_SHAPES[shape]
    typed = {"userId": "ann", "phoneNumber": "+1 (212) 555-12", "label": "Front desk", "accSId": "AC" + "a" * 32}
    assert FileRow(1, {**typed, "authToken": token}).shown() == typed
    for wrong in (CANARY, f"x{CANARY}", f"{CANARY[:9]}\u200b{CANARY[9:]}"):
        row = {"userId": wrong, "phoneNumber": "12", "label": f"see {wrong}", "authToken": CANARY}
        assert FileRow(1, row).shown() == {"phoneNumber": "12"}
    assert FileRow(1, {**typed, "userId": token, "phoneNumber": f"{token}, 12"}).shown() == {
        "label": "Front desk", "accSId": typed["accSId"],
    }  # fmt: skip
    assert FileRow(1, {"userId": ["a"], "phoneNumber": None, "label": "a\ud800b\u202e"}).shown() == {"label": "ab"}


@pytest.mark.parametrize("token", BASE64)
def test_base64_is_not_repeated_where_no_sentence_is_expected(token: str) -> None:
    """A label may have as many words, joined by dashes or slashes."""
    sid, label = "AC0123456789abcdef0123456789abcdef", "Front-desk-of-the-2nd-floor/Old-Building"
    row = {"userId": USER, "phoneNumber": token, "accSId": sid, "label": label, "authToken": "AC1"}
    assert FileRow(1, row).shown() == {"userId": USER, "accSId": sid, "label": label}


API_KEYS = ["KEY0193B1E2C3F4A5B6C7D8E9F0A1B2C3D4_XyZabcdefghij", CANARY, f"{PUBLIC_KEY}{PUBLIC_KEY}"]


@pytest.mark.parametrize("typed", API_KEYS)
@pytest.mark.parametrize("shape", ["csv", "xlsx", "json"])
def test_a_public_key_is_repeated_but_no_token_in_its_place(typed: str, shape: str) -> None:
    """The Telnyx console shows the API key and the public key side by side."""
    head = ["userId", "phoneNumber", "integration", "authToken", "publicKey"]
    for token, key, repeated in (
        (CANARY, PUBLIC_KEY, PUBLIC_KEY), (PUBLIC_KEY, typed, None), (CANARY, typed, None), (PUBLIC_KEY, PUBLIC_KEY, None)
    ):  # fmt: skip
        cells = [USER, "13125551234", "telnyx", token, key]
        texts = {
            "csv": "\n".join(map(",".join, [head, cells])),
            "json": json.dumps([dict(zip(head, cells, strict=True))]),
        }
        (row,) = read(texts[shape] if shape in texts else xlsx(head, cells))
        assert row.shown().get("publicKey") == repeated and row.fields["publicKey"] == key
    (row,) = read(json.dumps([{**WANTED, "authToken": None, "publicKey": API_KEYS[0]}]))
    assert "publicKey" not in row.shown()


def test_a_short_token_is_not_repeated_as_a_word_of_a_text() -> None:
    row = {"userId": USER, "phoneNumber": "+1 212", "label": "abc1234 is my token", "authToken": "abc1234"}
    assert FileRow(1, row).shown() == {"userId": USER, "phoneNumber": "+1 212"}
    rows = read(f"{HEADER}\n{USER},1,twilio,1,AC1,a\n{USER},+1 212,twilio,x1y,AC1,x1yz\n")
    assert rows[1].shown()["phoneNumber"] == "+1 212" and rows[1].shown()["label"] == "x1yz"


def test_a_token_is_not_told_as_the_name_of_a_column() -> None:
    for token in [*TOKEN_SHAPES.values(), *BASE64, CANARY]:
        for content in (f"{HEADER},price,{token}\n{ROW},5,6\n", json.dumps([{**WANTED, "price": 5, token: 6}])):
            rows = read_rows(io.BytesIO(content.encode()))
            assert len(list(rows)) == 1
            assert rows.told == ["Unknown columns were ignored: price, (looks like an auth token)."]


def test_two_keys_that_name_one_field_are_refused_as_two_columns_are() -> None:
    for other in ("user_id", "User ID", "user id"):
        (row,) = read(json.dumps([{**WANTED, other: "f" * 24}]))
        assert row.problem and row.problem.field == "userId" and "two keys" in str(row.problem)
    (row,) = read(json.dumps([{**WANTED, "authToken": CANARY[::-1], "auth token": CANARY, "label": CANARY}]))
    assert row.problem and "label" not in row.shown()
    assert read(json.dumps([{**WANTED, "user_id": None}]))[0].problem is None


def test_an_object_around_the_list_is_told() -> None:
    for content in (json.dumps({"numbers": [WANTED]}), json.dumps([{"rows": [WANTED]}])):
        with pytest.raises(UnreadableFile, match="Send a list of objects"):
            read(content)
    rows = read(json.dumps([WANTED, {"a": 1}, {"userId": None, "a": 1}]))
    assert [row.problem and str(row.problem)[:6] for row in rows] == [None, "No key", None]


def test_a_token_of_another_row_is_not_repeated_either() -> None:
    """A row that lacks a cell has its token one column too early."""
    rows = read(f"{HEADER}\n{ROW}\n{USER},12125551235,{CANARY},AC1,Front\n")
    assert rows[1].shown() == {"userId": USER, "phoneNumber": "12125551235", "accSId": "Front"}
    (row,) = read(f"userId,phoneNumber,integration\n{USER},{CANARY},x\n", defaults={"authToken": CANARY})
    assert row.shown() == {"userId": USER, "integration": "x"}


def test_a_formula_counts_as_what_it_showed_when_the_file_was_saved() -> None:
    sheet = zipfile.ZipFile(io.BytesIO(FILES["xlsx"])).read("xl/worksheets/sheet1.xml")
    formula = b'<c r="B3"><f>12125551233+1</f><v>12125551234</v></c>'
    saved, found = re.subn(rb'<c r="B3".*?</c>', formula, sheet)
    assert found == 1

    (row,) = read(dangerous("xl/worksheets/sheet1.xml", saved))

    assert row.fields == WANTED
