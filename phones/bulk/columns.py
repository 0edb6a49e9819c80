"""The columns of a file of numbers, and the search for the line that names them."""

import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Any

from core.errors import Unreadable
from core.text import visible
from integrations import CARRIERS
from phones.bulk.tokens import safe_name

NEEDED = ("userId", "phoneNumber", "integration", "authToken")
COLUMNS = (
    *NEEDED, "accSId", "onConflict", "publicKey", "label", "action", "greeting", "language", "forwardTo", "connectTo",
    "ringSeconds", "ifUnanswered", "record",
)  # fmt: skip
SECRET = "authToken"
# May stand in for userId, as a column of its own.
EMAIL = "email"
# Columns of our own reports, which are ignored without a word when a report is sent again.
RESULTS = ("line", "outcome", "error", "message")
# `Phone number` and `phone_number` are phoneNumber.
BY_PLAIN_NAME = {**{name.lower(): name for name in (*COLUMNS, EMAIL)}, "emailaddress": EMAIL}
NEED_ACCOUNT_ID = " and ".join(carrier.label for carrier in CARRIERS.values() if carrier.account_id_is_required)
# The header is searched for in so many lines that are not blank.
HEADER_WITHIN = 20
MAX_UNKNOWN, MAX_NAME = 20, 300


class UnreadableFile(Unreadable):
    """The file as a whole cannot be used. `str(error)` says why and what to do."""

    code = "unreadable_file"


class NoHeader(UnreadableFile):
    """No line names all required columns; `missing` are those that the best line lacks."""

    def __init__(self, sentence: str, missing: list[str]) -> None:
        super().__init__(sentence)
        self.missing = missing


class Columns:
    """What the columns or keys of a file stand for. Notes the names that are not ours."""

    def __init__(self, defaults: Collection[str]) -> None:
        self.defaults = defaults
        self.unknown: list[str] = []

    def field(self, name: str) -> str:
        """The field that a column or key stands for; empty if it is not one of ours, which is then noted."""
        known = BY_PLAIN_NAME.get(plain(name), "")
        shown = safe_name(visible(name))[:40]
        is_told = known or not shown or shown in RESULTS or shown in self.unknown
        if not is_told and len(self.unknown) < MAX_UNKNOWN:
            self.unknown.append(shown)
        return known

    def known(self, names: Iterable[str]) -> set[str]:
        return {BY_PLAIN_NAME[name] for name in map(plain, names) if name in BY_PLAIN_NAME}

    def missing(self, known: Collection[str]) -> list[str]:
        found = {*known, *self.defaults, *(["userId"] if EMAIL in known else [])}
        return [name for name in NEEDED if name not in found]

    def names(self, cells: list[str]) -> list[str]:
        """The field that each column stands for, empty for unknown ones."""
        names = [self.field(cell) for cell in cells]
        if len([name for name in names if name]) > len(set(names) - {""}):
            raise UnreadableFile("Two columns have the same name.")
        return names


class HeaderSearch:
    """Finds the line that names the columns, below a title or a comment.

    Args:
        columns: of the file.
        sheet: the sheet's name for sentences, if there are sheets.
        hidden: the columns that a user cannot see, counted from 0. They name nothing.
    """

    def __init__(self, columns: Columns, sheet: str = "", hidden: Collection[int] = ()) -> None:
        self.columns, self.sheet, self.hidden = columns, sheet, hidden
        self.lines = 0
        self.header: list[str] | None = None
        self.found_at = 0
        self.best: set[str] = set()
        self.best_at = 0
        self.hidden_names: set[str] = set()

    @property
    def is_over(self) -> bool:
        return self.header is not None or self.lines >= HEADER_WITHIN

    def names(self) -> list[str]:
        """The field that each column stands for, empty for unknown and hidden ones."""
        return self.columns.names(self.header or [])

    def look_at(self, line: int, cells: Iterable[Any]) -> None:
        """Look at the next line that is not blank."""
        texts = [cell if isinstance(cell, str) else "" for cell in cells]
        hidden = self.columns.known(text for index, text in enumerate(texts) if index in self.hidden)
        texts = ["" if index in self.hidden else text for index, text in enumerate(texts)]
        known = self.columns.known(texts)
        self.lines += 1
        if len(known) > len(self.best):
            self.best, self.best_at = known, line
        self.hidden_names = hidden or self.hidden_names
        if not self.columns.missing(known):
            self.header, self.found_at, self.hidden_names = texts, line, hidden

    def told(self) -> str:
        """Which sheet was read, and from where on."""
        return f"Sheet “{self.sheet}” was read; its line {self.found_at} names the columns.{self.told_of_hidden()}"

    def told_of_hidden(self) -> str:
        names = [name for name in (*COLUMNS, EMAIL) if name in self.hidden_names]
        return f" Hidden columns are never read: {', '.join(names)}." if names else ""

    def failure(self) -> NoHeader:
        """Why there is no header. Cells are not repeated: without a header they are those of the rows."""
        missing = self.columns.missing(self.best)
        where = f" of sheet “{self.sheet}”" if self.sheet else ""
        if self.best:
            told = f"Line {self.best_at}{where} names columns, but not all that are required."
        else:
            lines = f"None of the first {self.lines} lines" if self.lines > 1 else "The first line"
            told = f"{lines}{where} {'names' if self.lines > 1 else 'does not name'} the columns."
        return NoHeader(
            f"{told} Missing: {', '.join(missing)}. Required: {', '.join(NEEDED)}; for {NEED_ACCOUNT_ID} also accSId."
            f"{self.told_of_hidden()}",
            missing,
        )


def plain(name: str) -> str:
    """The name without blanks and case, and without what forms add to it: `User ID*`, `Phone number (E.164)`."""
    return plain_start(name[:MAX_NAME])


@lru_cache(maxsize=256)  # the keys of JSON objects are the same in each
def plain_start(name: str) -> str:
    return re.sub(r"\([^()]*\)|[\s_*:-]", "", visible(name)).lower()
