"""What a cell of a file stands for: programs that wrote the file have added, changed or lost parts of its text.

No message repeats a cell, which may hold a secret even in the wrong column.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, time, timedelta
from typing import Any

from core.pasted import pasted_number, pasted_target
from core.text import visible
from phones.api.fields import PUBLIC_KEY
from phones.bulk.columns import COLUMNS, SECRET
from phones.bulk.tokens import has_token

FREE_TEXT = {"label", "greeting"}
NUMBERS = {"phoneNumber", "forwardTo"}
CHOICES = {"integration", "onConflict", "action", "ifUnanswered"}
COUNTS = {"ringSeconds"}
TRUE, FALSE = {"true", "yes", "1", "1.0"}, {"false", "no", "0", "0.0"}
# Spreadsheets store 15 significant digits of a number.
EXACT_DIGITS = 15
# 1.21256E+10, as a spreadsheet shows a long number; 1,21256E+10 in many countries.
EXPONENT = re.compile(r"[+-]?([0-9])(?:[.,]([0-9]+))?E\+?([0-9]{1,3})", re.IGNORECASE)
# 12125556001.0, as libraries write a column of numbers with gaps. A dot further left is a separator.
FLOAT = re.compile(r"(\+?[0-9]{7,9})[.,]([0-9]{1,2})|(\+?[0-9]{10,})[.,]([0-9]+)")
# ="12125556001" and '12125556001 keep a spreadsheet from reading a text as a number.
QUOTED = re.compile(r'="([^"]*)"')
APOSTROPHES = ("'", "\u2018", "\u2019")
# First characters that make a spreadsheet treat a cell as a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")
ERROR = re.compile(
    r"#(?:REF!|N/A|VALUE!|NAME\?|DIV/0!|NULL!|NUM!|SPILL!|CALC!|FIELD!|BUSY!|GETTING_DATA|ERROR!)", re.IGNORECASE
)
# Ann <ann@example.com> and mailto:ann@example.com, as mail programs copy an address.
ADDRESS = re.compile(r"[^<>]*< *([^<>@ ]+@[^<>@ ]+) *>|mailto:([^@ ]+@[^@ ]+)", re.IGNORECASE)
WHOLE = re.compile("[0-9]{1,9}")
MAX_SHOWN, MAX_FREE_TEXT = 100, 2000

ENTER_AS_TEXT = "Format the column as text and enter it again."
LOST_DIGITS = f"digits of this number were lost when a spreadsheet shortened it. {ENTER_AS_TEXT}"
TOO_LONG = f"digits of this number were lost, because a spreadsheet stores only 15. {ENTER_AS_TEXT}"
HAS_DECIMALS = f"this is a number with decimals. {ENTER_AS_TEXT}"
NO_RESULT = "this is a formula, and the file lacks its result. Paste the column as values."
IS_FORMULA = "this is a formula, not its result. Paste the column as values."
IS_ERROR = "the cell shows an error of the spreadsheet, such as #REF!. Correct its formula, or enter the value."
IS_DATE = f"this is a date or a time. {ENTER_AS_TEXT}"


@dataclass(frozen=True)
class Formula:
    """A formula whose result is not in the file, as libraries write it that cannot calculate."""

    text: str


def value_of(name: str, cell: Any) -> Any:
    """Return the value of a cell or a JSON value as in an API request; an empty text if the field is left out.

    Args:
        name: the field.
        cell: a text, a float (of which a spreadsheet keeps 15 digits), an int (which is exact), a bool, a date or a
            Formula. Other JSON values are returned as they are.

    Raises ValueError, with a sentence, for a cell that does not hold what was entered once.
    """
    match cell:
        case None:
            return ""
        case Formula(text) if QUOTED.fullmatch(text):
            return text_value(name, text)
        case Formula():
            raise ValueError(NO_RESULT)
        case bool() if name == "record":
            return cell
        case bool() | int() | float() if name in FREE_TEXT:
            return shown(name, cell)
        case float():
            return text_value(name, text_of_float(cell))
        case int() | str():
            return text_value(name, str(cell))
        case date() | time() | timedelta():
            if name in FREE_TEXT:
                return shown(name, cell)
            raise ValueError(IS_DATE)
        case _:
            return cell


def text_of_float(number: float) -> str:
    if not number.is_integer():
        raise ValueError(HAS_DECIMALS)
    if abs(number) >= 10**EXACT_DIGITS:
        raise ValueError(TOO_LONG)
    return str(int(number))


def text_value(name: str, text: str) -> str | bool | int:
    if name in FREE_TEXT:
        return without_guard(text, before=FORMULA)
    text = without_guard(visible(text))
    if ERROR.fullmatch(text):
        raise ValueError(IS_ERROR)
    if text.startswith("="):
        raise ValueError(IS_FORMULA)
    text = whole_number(name, text)
    if name in NUMBERS:
        return pasted_number(text)
    if name == "connectTo":
        return pasted_target(text)
    if name in COUNTS and WHOLE.fullmatch(text):
        return int(text)
    if name in CHOICES:
        return text.lower()
    if name == "userId" and (address := ADDRESS.fullmatch(text)):
        return address[1] or address[2]
    if name == "record" and text.lower() in TRUE | FALSE:
        return text.lower() in TRUE
    return text


def without_guard(text: str, *, before: tuple[str, ...] = ("",)) -> str:
    """Remove what keeps a spreadsheet from reading the text as a number or, as in our own reports, as a formula."""
    if quoted := QUOTED.fullmatch(text):
        return quoted[1].strip()
    if text.startswith(APOSTROPHES) and text[1:].startswith(before):
        return text[1:].strip()
    return text


def whole_number(name: str, text: str) -> str:
    """Undo how a program wrote a whole number: 12125556001.0, or 1.2125556001E10 if all digits are there."""
    if name == SECRET and "." not in text and "," not in text:
        return text  # 32 hexadecimal digits may look like a number with an exponent
    if power := EXPONENT.fullmatch(text):
        first, decimals, exponent = power[1], power[2] or "", int(power[3])
        if len(decimals) != exponent or exponent >= EXACT_DIGITS:
            raise ValueError(LOST_DIGITS)
        return first + decimals
    if number := FLOAT.fullmatch(text):
        whole, decimals = number[1] or number[3], number[2] or number[4]
        if decimals.strip("0"):
            raise ValueError(HAS_DECIMALS)
        if len(whole.lstrip("+")) > EXACT_DIGITS:
            raise ValueError(TOO_LONG)
        return whole
    return text


def is_blank(cell: Any) -> bool:
    """Whether a cell counts as empty. A check box that is not ticked does, as rows of a template have one."""
    return cell is None or cell is False or (isinstance(cell, str) and visible(cell).lower() in ("", "false"))


# -- what results repeat of a row -------------------------------------------------------------------------------------


def shown_columns(cells: Mapping[str, Any], tokens: Iterable[str]) -> dict[str, str]:
    """Return what the row's columns look like in the file, for results.

    The secret column is left out, and so is any text that holds one of the tokens or looks like one: cells get into the
    wrong column. The tokens have no invisible characters.
    """
    secrets = set(tokens) - {""}
    texts = {name: shown(name, cells[name]) for name in COLUMNS if name != SECRET and name in cells}
    return {
        name: text[: MAX_FREE_TEXT if name in FREE_TEXT else MAX_SHOWN]
        for name, text in texts.items()
        if text and not is_secret(name, text, secrets)
    }


def is_secret(name: str, text: str, tokens: set[str]) -> bool:
    if name == "publicKey":  # looks like a token, and the API key is often put in its place
        return text in tokens or not PUBLIC_KEY.fullmatch(text)
    return has_token(text, tokens, is_free_text=name in FREE_TEXT)


def shown(name: str, cell: Any) -> str:
    """Return what a cell looks like."""
    match cell:
        case str():
            text = cell
        case Formula():
            text = cell.text
        case bool():
            text = str(cell).upper()
        case float():
            text = str(int(cell)) if cell.is_integer() and abs(cell) < 10**EXACT_DIGITS else str(cell)
        case int() | date() | time() | timedelta():
            text = str(cell)
        case _:
            return ""
    if name in FREE_TEXT:
        return "\n".join(visible(line) for line in text.splitlines()).strip()
    return visible(text)
