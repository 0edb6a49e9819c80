"""Files of numbers as people, programs and attackers make them: each row gets its verdict, or the file is refused.

The owner in these files is nobody, so that a row without a fault ends as `user_not_found` and no carrier is asked. A row
with a fault must end otherwise. Tokens may also be in a wrong column, in the name of one and in the title of a sheet;
nothing that is told may hold one. SAMPLE_SEED=… repeats a run; each file is made from the seed and its number.
"""

import csv
import io
import json
import os
import random
import re
import string
import sys
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from tests.support import EVERY_CASE
from tests.support.tally import Tally
from tests.test_bulk_files import HOSTILE, UNREADABLE

pytestmark = pytest.mark.django_db

PARTS = 4
# On a machine that does other things at the same time, a process takes more CPU time for the same work. What is printed
# is the promise; a reader that is quadratic takes a hundred times as much.
LOADED = 3
FILES_OF_PART = 500 if EVERY_CASE else 100
# Of a spreadsheet, a megabyte of what it unpacks to; of one that was damaged, of the file.
CPU_S_OF_MEGABYTE = 2.0
# What the command needs for any file, and for one that must be refused, in which there may be as much as is allowed.
CPU_S, CPU_S_TO_REFUSE = 0.5, 2.0
SEED = os.environ.get("SAMPLE_SEED", "workspace phones")
HEAD = ["userId", "phoneNumber", "integration", "authToken", "accSId", "label", "publicKey"]
PUBLIC_KEY = "abCDef12+/ghIJkl34mnOPqr56stUVwx78yzABcd901="
NOBODY = ["f" * 24, "nobody@example.com", " Nobody@Example.com\u200b", "F" * 24]
GOOD_NUMBERS: list[Any] = [
    "12125556001", "+1 (212) 555-6001", "12125556001.0", "1.2125556001E10", "'12125556001", '="12125556001"', "1.212.555.6001",
    "\u202a+12125556001\u202c", "+1\u00a0212\u2011555\u20136001", "tel:+12125556001", "(+1) 212 555 6001", "1\u00b7212\u00b7555\u00b76001",
    "\u201812125556001", 12125556001, 12125556001.0,
]  # fmt: skip
BAD_NUMBERS: list[Any] = [
    "1.21256E+10", "1,21256E+10", "12125556001.5", "911", "number", "#N/A", "=A1", "=1+1", "-12", "@x", 12.5, 1e18, True,
    "1" * 40, "+1 212 555 60 01 x5", "\U0001f4de",
]  # fmt: skip


@dataclass
class Made:
    """A file: its bytes, and by its line the fault of each row (or that it has none); None if it must be refused."""

    name: str
    content: bytes
    faults: dict[int, bool] | None
    secrets: list[str] = field(default_factory=list)
    # Whether it was damaged, so that nobody knows what is in it.
    is_damaged: bool = False

    @property
    def allowed_s(self) -> float:
        """The CPU time that the command may take."""
        size = len(self.content)
        if not self.is_damaged and self.content.startswith(b"PK"):
            with zipfile.ZipFile(io.BytesIO(self.content)) as archive:
                size = sum(part.file_size for part in archive.infolist())
        return (CPU_S_TO_REFUSE if self.is_damaged else CPU_S) + CPU_S_OF_MEGABYTE * size / 1_000_000


class Maker:
    """Makes one file from its seed."""

    def __init__(self, seed: str) -> None:
        self.chance = random.Random(seed)
        self.secrets: list[str] = []
        self.faults: dict[int, bool] = {}
        self.most_rows, self.most_tokens = 12, 1000

    def maybe(self, probability: float) -> bool:
        return self.chance.random() < probability

    def token(self) -> str:
        """A token of any carrier's alphabet, with a small and a capital letter and a digit."""
        if len(self.secrets) >= self.most_tokens:
            return self.chance.choice(self.secrets)
        alphabet = string.ascii_letters + string.digits + self.chance.choice(["", "", "_", "-_", "+/"])
        letters = self.chance.choices(alphabet, k=self.chance.choice([8, 16, 32, 40, 60]))
        self.secrets.append(f"{''.join(letters[:-3])}7aZ")
        return self.secrets[-1]

    def long_token(self) -> str:
        """One that looks like a token wherever it stands."""
        self.secrets.append(self.chance.choice([
            f"{self.chance.getrandbits(124):031x}a", f"KEY{self.chance.getrandbits(128):032X}_a",
            str(uuid.UUID(int=self.chance.getrandbits(128))),
        ]))  # fmt: skip
        return self.secrets[-1]

    def rows(self) -> Iterator[tuple[dict[str, Any], bool]]:
        """The cells of each row, and whether it has a fault."""
        for _ in range(self.chance.randrange(max(1, self.most_rows // 2), self.most_rows)):
            yield self.row()

    def row(self) -> tuple[dict[str, Any], bool]:
        token, is_bad = self.token(), self.maybe(0.4)
        cells: dict[str, Any] = {
            "userId": self.chance.choice(NOBODY), "phoneNumber": self.chance.choice(GOOD_NUMBERS),
            "integration": self.chance.choice(["twilio", "Twilio", " TWILIO "]), "authToken": token, "accSId": "AC1",
            "label": self.chance.choice(["", "Front", "=cmd", "two\nlines", "a;b,c\t|\"d'", "\u202eabc", token, f"see {token}!"]),
            "publicKey": self.chance.choice(["", "", PUBLIC_KEY]),
        }  # fmt: skip
        if is_bad:
            name, values = self.chance.choice([
                ("phoneNumber", BAD_NUMBERS), ("phoneNumber", [token, f"({token})"]), ("userId", [token, "ann", "6.4E+23"]),
                ("integration", ["vonage", token, ""]), ("accSId", ["a b", "1.4E+18", 1.4e18, ""]), ("label", ["x" * 201]),
                ("publicKey", [token, "x", PUBLIC_KEY[:-1]]), ("shifted", []),
            ])  # fmt: skip
            if name == "shifted":  # a cell is missing, so the token stands in another column, and no token in its own
                wrong = self.chance.choice(["userId", "phoneNumber", "integration", "publicKey"])
                cells |= {wrong: self.long_token(), "label": "", "authToken": self.chance.choice(["AC1", "twilio", ""])}
            else:
                cells[name] = self.chance.choice(values)
        return cells, is_bad

    def blank(self) -> list[Any]:
        return self.chance.choice([[], [" "], ["", " ", "\u00a0"], ["\u200b"] * 3])

    def titles(self) -> list[list[Any]]:
        titles = [["Numbers, November"], ["# exported"], [], ["phoneNumber"], ["Date", "2026-11-28"], ["Ann", "2", "3"]]
        return self.chance.sample(titles, self.chance.choice([0, 0, 1, 2, 4]))

    # -- kinds --------------------------------------------------------------------------------------------------------

    def csv(self) -> Made:
        delimiter, line_end = self.chance.choice(",;\t|"), self.chance.choice(["\n", "\r\n"])
        names = self.chance.sample(HEAD, len(HEAD))
        is_missing = self.maybe(0.1)
        shown = [
            self.chance.choice([name, f"{name.upper()}*", f" {name} ", f"{name[:2]}_{name[2:]}", f"{name}\n(1)"])
            for name in names
        ]
        if is_missing:
            shown[names.index("userId")] = "x"
        unknown = [self.long_token()] if self.maybe(0.2) else []
        parts: list[str] = [f"sep={delimiter}{line_end}"] if self.maybe(0.2) else []
        line = len(parts)

        def write(cells: list[Any]) -> None:
            nonlocal line
            out = io.StringIO()
            csv.writer(out, delimiter=delimiter, lineterminator=line_end).writerow(cells)
            parts.append(out.getvalue())
            line += len(parts[-1].splitlines())

        for above in [*self.titles(), [*shown, *unknown]]:
            write(above)
        for cells, is_bad in self.rows():
            if self.maybe(0.2):
                write(self.blank())
            extra = [self.chance.choice(["x", self.secrets[-1]])] if self.maybe(0.05) else []
            self.faults[line + 1] = is_bad or bool(extra)
            write([*(cells[name] for name in names), *["" for _ in unknown], *extra])
        return self.encoded("".join(parts), "n.csv", is_refused=is_missing)

    def encoded(self, text: str, name: str, *, is_refused: bool = False) -> Made:
        encoding = self.chance.choice(["utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1"])
        if encoding == "latin-1":
            text += "\u00fc"
        is_unreadable = encoding in ("utf-16-le", "utf-32", "latin-1")
        content = text.encode(encoding, "replace")
        return Made(name, content, None if is_refused or is_unreadable else self.faults, self.secrets)

    def values(self, cells: dict[str, Any]) -> dict[str, Any]:
        empty = self.chance.choice(["", None])
        return {name: empty if cell == "" else cell for name, cell in cells.items()}

    def json_list(self) -> Made:
        items: list[Any] = []
        for cells, is_bad in self.rows():
            if self.maybe(0.1):
                items.append(dict.fromkeys(HEAD, self.chance.choice([None, "", " "])))
            twice = {"user_id": "e" * 24} if self.maybe(0.05) else {}
            items.append({**self.values(cells), **twice, **({self.long_token(): 1} if self.maybe(0.02) else {})})
            self.faults[len(items)] = is_bad or bool(twice)
            if self.maybe(0.1):
                items.append(self.chance.choice([1, None, "text", [], {}, {"userId": {"a": self.secrets[-1]}}]))
                self.faults[len(items)] = True
        return self.encoded(json.dumps(items, indent=self.chance.choice([None, 2])), "n.json")

    def json_lines(self) -> Made:
        lines: list[str] = []
        for cells, is_bad in self.rows():
            lines.append(json.dumps(self.values(cells), ensure_ascii=self.maybe(0.5)))
            self.faults[len(lines)] = is_bad
            if self.maybe(0.2):
                token = self.secrets[-1]
                lines.append(
                    self.chance.choice(
                        [f'{{"userId": "{token}"', f'{{"a": NaN, "b": "{token}"}}', "[1]", '{"a": 1, "a": 2}']
                    )
                )
                self.faults[len(lines)] = True
            if self.maybe(0.2):
                lines.append("  ")
        return self.encoded("\n".join(lines), "n.jsonl")

    def xlsx(self) -> Made:
        book = openpyxl.Workbook()
        sheet: Any = book.active
        sheet.title = self.title("Numbers")
        titles = self.titles()
        for cells in [*titles, HEAD]:
            sheet.append(cells)
        if titles and len(titles[0]) == 1 and self.maybe(0.5):
            sheet.merge_cells("A1:G1")
        for row, is_faulty in self.rows():
            if self.maybe(0.3):
                sheet.append(self.chance.choice([[None], [" ", " "], ["\u00a0"], ["\u200b"]]))
            is_replaced, is_hidden = self.maybe(0.1), self.maybe(0.03)
            if is_replaced:
                row["phoneNumber"] = self.chance.choice([date(2026, 11, 28), "=B1", "=IF(1,2,3)"])
            sheet.append(list(row.values()))
            line = sheet.max_row
            if is_hidden:
                sheet.row_dimensions[line].hidden = True
            # openpyxl stores it as a formula, and never a result.
            self.faults[line] = is_faulty or is_replaced or is_hidden or row["label"] == "=cmd"
        if self.maybe(0.5):
            other: Any = book.create_sheet(self.title("Old"), self.chance.choice([0, 1]))
            other.sheet_state = self.chance.choice(["hidden", "veryHidden"])
            other.append(HEAD)
            other.append([NOBODY[0], "12125556013", "twilio", self.token(), "AC1", "", ""])
        if self.maybe(0.3):
            book.create_sheet(self.title("Read me"), self.chance.choice([0, 1])).append(["Fill in the other sheet"])
        file = io.BytesIO()
        book.save(file)
        content = file.getvalue()
        if self.maybe(0.2):
            content = repacked(
                content, lambda name, part: re.sub(rb'<dimension ref="[^"]*"', b'<dimension ref="A1"', part)
            )
        return Made("n.xlsx", content, self.faults, self.secrets)

    def title(self, name: str) -> str:
        if self.maybe(0.9):
            return name
        self.secrets.append(self.long_token()[:31])  # Excel takes no longer one
        return self.secrets[-1]

    def large(self) -> Made:
        """An ordinary file of a few accounts with thousands of numbers."""
        self.most_rows, self.most_tokens = self.chance.choice([1_000, 4_000, 10_000]), 20
        return self.chance.choice([self.csv, self.json_list, self.json_lines, self.xlsx])()

    def damaged(self) -> Made:
        made = self.chance.choice([self.csv, self.json_list, self.json_lines, self.xlsx, self.xlsx])()
        content = bytearray(made.content)
        for _ in range(self.chance.choice([0, 1, 5, 50])):
            content[self.chance.randrange(len(content))] = self.chance.randrange(256)
        if self.maybe(0.5):
            del content[self.chance.randrange(len(content)) :]
        return Made(made.name, bytes(content), None, made.secrets, is_damaged=True)

    def damaged_inside(self) -> Made:
        """A spreadsheet with a part that was damaged before it was packed."""
        made = self.xlsx()

        def damage(name: str, part: bytes) -> bytes:
            if not self.maybe(0.3):
                return part
            at = self.chance.randrange(len(part))
            return part[:at] + self.chance.choice([b"", b"\xff", b"<", b'"', b"9" * 30, b"<row/>"]) + part[at + 1 :]

        return Made("n.xlsx", repacked(made.content, damage), None, made.secrets, is_damaged=True)

    def hostile(self) -> Made:
        return Made("n.xlsx", HOSTILES[self.chance.choice(list(HOSTILES))](), None, is_damaged=True)

    def something_else(self) -> Made:
        content = self.chance.choice([
            b"", b"\n\n", b"\x89PNG\r\n\x1a\n" + b"\0" * 99, b"%PDF-1.7", b"\x1f\x8b\x08", b"<html><table></table>", b"[[[[" * 9000,
            b'{"rows": [{}]}', b'{\n"userId":"a"\n}', b"PK\x05\x06" + b"\0" * 18, *(content for content, _ in UNREADABLE.values()),
        ])  # fmt: skip
        return Made(self.chance.choice(["n.csv", "n.xlsx", "n.json"]), content, None, is_damaged=True)


def repacked(content: bytes, change: Callable[[str, bytes], bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as before, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as after:
        for name in before.namelist():
            after.writestr(name, change(name, before.read(name)))
    return file.getvalue()


HOSTILES = {name: make for name, (make, _) in HOSTILE.items()}
KINDS = {
    Maker.csv: 8, Maker.json_list: 4, Maker.json_lines: 4, Maker.xlsx: 8, Maker.damaged: 4, Maker.damaged_inside: 2,
    Maker.something_else: 2, Maker.hostile: 1, Maker.large: 1,
}  # fmt: skip


def command(file: Path, report: Path) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    arguments = [str(file), "--dry-run", "--workers", "1", "--output", "jsonl", "--report", str(report)]
    try:
        call_command("add_phones", *arguments, stdout=out, stderr=err)
    except SystemExit as error:
        return int(error.code or 0), out.getvalue(), err.getvalue()
    except CommandError as error:
        return error.returncode, out.getvalue(), f"{err.getvalue()}{error}"
    return 0, out.getvalue(), err.getvalue()


def measured(file: Path, report: Path, allowed_s: float) -> tuple[int, str, str, float]:
    """Run the command. What seems slow is measured again: a busy machine can double the CPU time of the same work."""
    took_s: list[float] = []
    while not took_s or (min(took_s) > allowed_s and len(took_s) < 3):
        report.write_text("")
        began = time.process_time()
        status, out, err = command(file, report)
        took_s.append(time.process_time() - began)
    return status, out, err, min(took_s)


@pytest.mark.parametrize("part", range(PARTS))
def test_each_row_of_any_file_gets_its_verdict_soon_and_no_secret_is_told(
    part: int, tmp_path: Path, tally: Tally, caplog: pytest.LogCaptureFixture
) -> None:
    slowest = 0.0
    for index in range(part, FILES_OF_PART * PARTS, PARTS):
        seed = f"{SEED} {index}"
        make = random.Random(seed).choices(list(KINDS), list(KINDS.values()))[0]
        made = make(Maker(seed))
        file, report = tmp_path / f"{index}{Path(made.name).suffix}", tmp_path / "report.csv"
        file.write_bytes(made.content)
        caplog.clear()
        status, out, err, took_s = measured(file, report, made.allowed_s)
        where = f"SAMPLE_SEED={SEED!r}, file {index}, {make.__name__}: exit {status}, {took_s:.2f} s\n{err}"
        told = out + err + report.read_text() + caplog.text
        assert not [secret for secret in made.secrets if secret in told], where
        assert status in (0, 2, 3), where
        assert took_s < LOADED * made.allowed_s, where
        judge(made, status, out, report, where)
        slowest = max(slowest, took_s / made.allowed_s)
        tally("files of numbers read" if status != 2 else "files of numbers refused")
    sys.stdout.write(f"SAMPLE_SEED={SEED}, slowest file: {slowest:.0%} of the CPU time that it may take\n")


def judge(made: Made, status: int, out: str, report: Path, where: str) -> None:
    if status == 2:
        assert made.faults is None, where
        assert not out and not report.read_text(), where
        return
    assert made.is_damaged or made.faults is not None, where
    *rows, last = map(json.loads, out.splitlines())
    lines = [row["line"] for row in rows]
    assert last["summary"]["total"] == len(lines) > 0 and lines == sorted(set(lines)), where
    assert all(row["error"] and row["message"] for row in rows if row["outcome"] == "failed"), where
    with report.open(newline="") as file:
        assert [int(row["line"]) for row in csv.DictReader(file)] == lines, where
    if made.faults is not None:
        verdicts = {row["line"]: row["error"] != "user_not_found" for row in rows}
        assert verdicts == made.faults, (where, rows, made.content[:3000])
