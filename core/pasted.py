"""Text as people paste it, and what it means: the rule for all doors for people. Programs send ASCII.

Phones, spreadsheets and word processors add to a number what nobody sees or what only typography needs.
"""

import re
import unicodedata

from core.text import HIDDEN, visible

SLASHES = "/\u2044\u2215"
# Separators beyond those that the API accepts: slashes, brackets, tildes, minus signs, middle dots, bullets, and what
# Japanese keyboards put for a dash (google/libphonenumber, VALID_PUNCTUATION). All other dashes have category Pd.
SEPARATORS = SLASHES + "[]~\u2053\u223c\u2212\u30fc\u00b7\u2022\u2027\u2043\u2219\u22c5"
# Dialled only within the country.
TRUNK_PREFIX = re.compile(r"\( *0 *\)")
# A number, or a part of one, as people group it.
WRITTEN = re.compile(r"[+0-9 ().-]+")
# With a slash, shorter texts may be words: 24/7.
SHORTEST_WITH_SLASH = 7


def pasted_number(text: str) -> str:
    """Return a number that a person typed or pasted as the API takes it, if it is a phone number.

    Invisible characters are left out, full-width characters become ASCII, and typographic blanks, dashes and dots are
    separators, as are slashes. `tel:` in front is left out. Digits of other scripts stay, and are refused.
    """
    text = "".join(map(plain, visible(text)))
    if text[:4].lower() == "tel:":
        text = text[4:]
    return text.strip()


def plain(character: str) -> str:
    """Return what a character of a number means in ASCII."""
    if character != " " and HIDDEN.match(character):
        return ""
    form, _, code = unicodedata.decomposition(character).partition(" ")
    if form in ("<wide>", "<small>"):  # as keyboards for Chinese and Japanese write all of ASCII
        character = chr(int(code, 16))
    return " " if is_separator(character) else character


def is_separator(character: str) -> bool:
    return character in SEPARATORS or (character != "-" and unicodedata.category(character) == "Pd")


def searched_digits(text: str) -> list[str]:
    """Return the digits of what somebody searches for, if it is written like a number or a part of one; else nothing.

    With a (0), which some write behind the country code, the number is searched for without that 0 and with it: in
    Italy it is a part of the number.
    """
    written = pasted_number(text)
    spellings = [re.sub(r"[^0-9]", "", one) for one in dict.fromkeys([TRUNK_PREFIX.sub("", written), written])]
    is_short = len(spellings[0]) < SHORTEST_WITH_SLASH and any(slash in text for slash in SLASHES)
    return spellings if spellings[0] and WRITTEN.fullmatch(written) and not is_short else []


def pasted_target(text: str) -> str:
    """Like pasted_number(), for a text that may also be an address with a scheme, which stays as it is."""
    return text if ":" in text else pasted_number(text)
