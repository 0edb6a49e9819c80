"""How a phone number is written."""

import re

# The plus and separators that people type. Everything else, other scripts' digits included, is a mistake or an attack.
TYPED = re.compile(r"\+?[0-9 (][0-9 ()-]*")
# ITU-T E.164 knows no more than 15; the shortest numbers that carriers sell have a country code and 4 digits.
MIN_DIGITS, MAX_DIGITS = 7, 15
NO_NUMBER = "not a phone number. Send it with the country code, for example 12125551234."


def to_e164(text: str) -> str:
    """E.164 digits without the plus, `12125551234`, from a number typed with its country code.

    The number must be possible in its country's numbering plan; whether it is assigned only its carrier knows. A trunk
    prefix as in +44 (0)20 is left out, once, so that a number has one spelling. Raises ValueError with a sentence.
    """
    import phonenumbers  # 45 ms that only those who read a number need wait for

    digits = re.sub(r"[^0-9]", "", text) if TYPED.fullmatch(text) and len(text) <= 40 else ""
    try:
        parsed = phonenumbers.parse(f"+{digits}")
    except phonenumbers.NumberParseException:
        raise ValueError(NO_NUMBER) from None
    # Other than is_possible_number(), which also takes a number without its area code.
    possible = phonenumbers.is_possible_number_with_reason(parsed) == phonenumbers.ValidationResult.IS_POSSIBLE
    number = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164).removeprefix("+")
    if not possible or not MIN_DIGITS <= len(number) <= MAX_DIGITS:
        raise ValueError(NO_NUMBER)
    # After a trunk prefix typed twice, what is left would be read as yet another number.
    if phonenumbers.parse(f"+{number}") != parsed:
        raise ValueError(NO_NUMBER)
    return number


def readable(number: str) -> str:
    """E.164 digits as people write them, `+1 212-555-1234`. What are none, such as a SIP address, stay as they are."""
    import phonenumbers

    if not number.isdecimal() or len(number) < MIN_DIGITS:
        return number
    try:
        parsed = phonenumbers.parse(f"+{number}")
    except phonenumbers.NumberParseException:
        return number
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
