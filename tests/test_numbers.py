"""How a phone number may be written."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from phones.numbers import readable, to_e164

typed = st.text("+0123456789 ()-", max_size=25)


@given(st.text() | typed | st.integers(0, 10**18).map(str))
@example("15551234")
@example("49" + "1" * 15)
@example("494012")
@example("200000000000")
@example("+" * 40)
def test_a_number_is_seven_to_fifteen_ascii_digits_or_refused(text: str) -> None:
    try:
        number = to_e164(text)
    except ValueError as error:
        assert str(error).endswith(".")
        return
    assert number.isascii() and number.isdigit() and 7 <= len(number) <= 15 and number[0] != "0"
    assert to_e164(number) == number, "a number has one spelling"
    assert to_e164(f"+{number}") == number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12125551234", "12125551234"),
        ("+12125551234", "12125551234"),
        ("+1 (212) 555-1234", "12125551234"),
        ("  1-212-555-1234  ", "12125551234"),
        ("+44 (0)20 7946 0958", "442079460958"),
        ("+44 20 7946 0958", "442079460958"),
        ("+39 06 698 12345", "390669812345"),
        ("+49 30 901820", "4930901820"),
        ("+5511987654321", "5511987654321"),
        ("+6834000", "6834000"),
        ("+80012345678", "80012345678"),
        ("+1 900 555 1234", "19005551234"),
    ],
)
def test_what_people_type_is_understood(text: str, number: str) -> None:
    assert to_e164(text) == number


@pytest.mark.parametrize(
    "text",
    ["", " ", "+", "()", "5551234", "15551234", "2125551234", "02125551234", "0012125551234", "911", "1" * 16, "49" + "1" * 15,
     "1.212.555.1234", "12125551234\n", "\t12125551234", "١٢١٢٥٥٥١٢٣٤", "1212555123²", "１２１２５５５１２３４", "1_2125551234",
     "-12125551234", "+-12125551234", "++12125551234", "12125551234x1", "1" + " " * 40 + "2125551234"],
)  # fmt: skip
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="country code"):
        to_e164(text)


@pytest.mark.parametrize(
    ("number", "written"),
    [("12125551234", "+1 212-555-1234"), ("442079460018", "+44 20 7946 0018"), ("sip:ann@example.com", "sip:ann@example.com"),
     ("", ""), ("123", "123"), ("anonymous", "anonymous"), ("9" * 15, "9" * 15), ("000000000", "000000000")],
)  # fmt: skip
def test_a_number_is_shown_as_people_write_it_and_anything_else_as_it_is(number: str, written: str) -> None:
    assert readable(number).removeprefix("+") == written.removeprefix("+")
