"""How a phone number is written."""

import re

# The plus and separators that people type. Everything else, other scripts' digits included, is a mistake or an attack.
TYPED = re.compile(r"\+?[0-9 ()-]+")


def to_e164(text: str) -> str:
    """E.164 digits without the plus, `12125551234`, from a number typed with its country code.

    The number must be possible in its country's numbering plan; whether it is assigned only its carrier knows.
    Raises ValueError with a sentence.
    """
    import phonenumbers  # 45 ms that only those who read a number need wait for

    digits = re.sub(r"[^0-9]", "", text) if TYPED.fullmatch(text) and len(text) <= 40 else ""
    try:
        possible = phonenumbers.is_possible_number(phonenumbers.parse(f"+{digits}"))
    except phonenumbers.NumberParseException:
        possible = False
    if not possible:
        raise ValueError("not a phone number. Send it with the country code, for example 12125551234.")
    return digits
