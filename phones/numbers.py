"""How phone numbers are parsed and formatted. core/pasted.py prepares what people type and paste."""

import re
from contextlib import suppress

from core.pasted import TRUNK_PREFIX
from core.text import is_invisible

# What the API accepts: an optional plus, digits and the separators that people type.
TYPED = re.compile(r"[ (]*\+?[ (]*[0-9][0-9 ().-]*")
MOST_TYPED = 40
# ITU-T E.164 allows 15 digits; the shortest numbers that carriers sell have a country code and 4 digits.
MIN_DIGITS, MAX_DIGITS = 7, 15
EXTENSION = re.compile(r"(?<![a-z])(x|#|,|;|ext\.?|;ext=|extension) *[0-9]{1,8}\Z", re.IGNORECASE)

WITH_CODE = "Send it with the country code, for example 12125551234."
NO_NUMBER = f"not a phone number. {WITH_CODE}"
IMPOSSIBLE = f"not a possible phone number. {WITH_CODE[:-1]}, and without a prefix that is dialled only in the country."
HAS_TRUNK_PREFIX = "leave out the (0): it is not dialled after the country code."
HAS_EXTENSION = "leave out the extension: the number alone is added."
STARTS_WITH_ZERO = "it starts with 0. Send it with the country code and without 0 or 00 before it, such as 12125551234."
NOT_ASCII = "there is {what} (U+{code:04X}) in it. Send ASCII digits with the country code, for example 12125551234."


def digits_of(text: str) -> str:
    """Convert a number typed with its country code to its digits, such as `12125551234`.

    Nothing is guessed: a number is the digits that were typed, except a trunk prefix in parentheses as in +44 (0)20.
    They may be impossible in all numbering plans, which are behind reality at times; see is_possible(). Raises
    ValueError with a sentence, which never repeats the text.
    """
    if len(text) > MOST_TYPED or not TYPED.fullmatch(text):
        raise ValueError(why_refused(text))
    digits = re.sub(r"[^0-9]", "", text)
    if digits[0] == "0":
        raise ValueError(STARTS_WITH_ZERO)
    if not MIN_DIGITS <= len(digits) <= MAX_DIGITS:
        raise ValueError(NO_NUMBER)
    return without_trunk_prefix(text, digits) if TRUNK_PREFIX.search(text) else digits


def without_trunk_prefix(text: str, digits: str) -> str:
    """Return the digits of a text with a (0), without that 0 unless it is a part of the number, as in Italy.

    Raises ValueError if the number is not possible, or if phonenumbers would change more than this 0: it also takes out
    carrier codes and former mobile prefixes, as in Argentina, Brazil and Colombia.
    """
    import phonenumbers

    shorter = re.sub(r"[^0-9]", "", TRUNK_PREFIX.sub("", text, count=1))
    with suppress(phonenumbers.NumberParseException):
        parsed = phonenumbers.parse(f"+{digits}")
        number = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164).removeprefix("+")
        if number in (digits, shorter) and is_possible(number):
            return number
    raise ValueError(HAS_TRUNK_PREFIX)


def why_refused(text: str) -> str:
    """The sentence for a text that has the wrong characters. It names the first one that cannot be seen, or that looks
    right although it is not ASCII."""
    for character in text:
        if is_invisible(character):
            return NOT_ASCII.format(what="an invisible character", code=ord(character))
        if not character.isascii():
            what = "a digit that is not ASCII" if character.isdecimal() else "a character that is not ASCII"
            return NOT_ASCII.format(what=what, code=ord(character))
    return HAS_EXTENSION if EXTENSION.search(text[-MOST_TYPED:]) else NO_NUMBER


def is_possible(number: str) -> bool:
    """Whether E.164 digits are possible in their country's numbering plan; only the carrier knows whether they are
    assigned. A number with a trunk prefix, such as the 0 in 44 020 7946 0958, is not."""
    import phonenumbers  # takes 45 ms, so only when a number is parsed

    try:
        parsed = phonenumbers.parse(f"+{number}")
    except phonenumbers.NumberParseException:
        return False
    # is_possible_number() would also accept a number without its area code.
    possible = phonenumbers.is_possible_number_with_reason(parsed) == phonenumbers.ValidationResult.IS_POSSIBLE
    return possible and phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164) == f"+{number}"


def to_e164(text: str) -> str:
    """Like digits_of(), for a number that no carrier is asked about: it must be possible. Raises ValueError with a
    sentence."""
    number = digits_of(text)
    if not is_possible(number):
        raise ValueError(IMPOSSIBLE)
    return number


def readable(number: str) -> str:
    """Format E.164 digits as people write them: `+1 212-555-1234`. Other text, such as a SIP address, is unchanged."""
    import phonenumbers

    if not number.isdecimal() or len(number) < MIN_DIGITS:
        return number
    try:
        parsed = phonenumbers.parse(f"+{number}")
    except phonenumbers.NumberParseException:
        return number
    written = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
    # A number that is not possible may be read as another one, without what looks like a trunk prefix.
    return written if re.sub(r"[^0-9]", "", written) == number else f"+{number}"
