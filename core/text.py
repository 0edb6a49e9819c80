"""What people cannot see in a text."""

import re
import unicodedata

# Blanks, and characters that show nothing: those with the property Default_Ignorable_Code_Point (Unicode 14,
# DerivedCoreProperties.txt), marks of annotations, and the empty Braille pattern.
INVISIBLE = (
    r"\s\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164"
    r"\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
HIDDEN = re.compile(f"[{INVISIBLE}]")
# Pasted with a text, or typed around it. What belongs to the character before it, such as the variation selector of an
# emoji, is not among them.
AROUND = "".join(map(chr, [*range(9, 14), *range(28, 33), 0x85, 0xA0, 0x1680, *range(0x2000, 0x200C), 0x2028, 0x2029]))
AROUND += "\u00ad\u202f\u205f\u2060\u2800\u3000\u3164\ufeff"
# Marks of writing direction, which phones and word processors put around what is copied.
AROUND += "".join(map(chr, [0x061C, 0x180E, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]))
# Control characters and line ends, half characters, and marks that make the rest of a line run the other way.
UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def trimmed(text: str) -> str:
    """The text without the blanks and invisible characters around it; empty if nothing of it can be seen."""
    return text.strip(AROUND) if HIDDEN.sub("", text) else ""


def visible(text: str) -> str:
    """Return the text without what nobody sees: marks of writing direction, zero-width characters, control characters.

    Phones and spreadsheets add them when a number is copied (U+202A and U+202C from contacts of Windows, U+2066 and
    U+2069 from those of iOS, U+FEFF from files that were joined). Blanks of any kind become spaces; none is left at the
    ends.
    """
    if text.isascii() and text.isprintable():
        return text.strip()
    return "".join(map(seen, text)).strip()


def seen(character: str) -> str:
    """Return what a character looks like: itself, a space, or nothing."""
    if character.isspace():
        return " "
    # Control and format characters, halves of surrogate pairs, private and unassigned ones.
    return "" if unicodedata.category(character)[0] == "C" else character


def is_invisible(character: str) -> bool:
    """Whether a reader sees nothing, or just a gap, where the character stands. An ordinary space counts as visible."""
    return character != " " and (seen(character) in ("", " ") or bool(HIDDEN.match(character)))
