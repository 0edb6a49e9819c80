"""How phone numbers are parsed and formatted."""

import re

# The plus and the separators that people type. Anything else, even digits of other scripts, is a mistake or an attack.
TYPED = re.compile(r"\+?[0-9 (][0-9 ()-]*")
# ITU-T E.164 allows 15 digits; the shortest numbers that carriers sell have a country code and 4 digits.
MIN_DIGITS, MAX_DIGITS = 7, 15
NO_NUMBER = "not a phone number. Send it with the country code, for example 12125551234."


def to_e164(text: str) -> str:
    """Convert a number typed with its country code to E.164 digits without the plus, such as `12125551234`.

    The number must be possible in its country's numbering plan; only its carrier knows whether it is assigned. A trunk
    prefix, as in +44 (0)20, is removed once, so that each number has one spelling. Raises ValueError with a sentence.
    """
    import phonenumbers  # takes 45 ms, so only when a number is parsed

    digits = re.sub(r"[^0-9]", "", text) if TYPED.fullmatch(text) and len(text) <= 40 else ""
    try:
        parsed = phonenumbers.parse(f"+{digits}")
    except phonenumbers.NumberParseException:
        raise ValueError(NO_NUMBER) from None
    # is_possible_number() would also accept a number without its area code.
    possible = phonenumbers.is_possible_number_with_reason(parsed) == phonenumbers.ValidationResult.IS_POSSIBLE
    number = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164).removeprefix("+")
    if not possible or not MIN_DIGITS <= len(number) <= MAX_DIGITS:
        raise ValueError(NO_NUMBER)
    # If the trunk prefix was typed twice, the result would parse as a different number.
    if phonenumbers.parse(f"+{number}") != parsed:
        raise ValueError(NO_NUMBER)
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
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
