"""How a phone number may be written: for programs, and for people."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.pasted import pasted_number, searched_digits
from phones.numbers import digits_of, is_possible, readable, to_e164

typed = st.text("+0123456789 ().-", max_size=25)


@given(st.text() | typed | st.integers(0, 10**18).map(str))
@example("15551234")
@example("49" + "1" * 15)
@example("494012")
@example("200000000000")
@example("+" * 40)
def test_a_number_is_seven_to_fifteen_ascii_digits_or_refused(text: str) -> None:
    try:
        number = digits_of(text)
    except ValueError as error:
        assert str(error).endswith(".")
        assert str(error).isascii() and str(error).isprintable()
        return
    assert number.isascii() and number.isdigit() and 7 <= len(number) <= 15 and number[0] != "0"
    if "(" not in text:
        assert number == "".join(one for one in text if one.isdigit()), "nothing is guessed"
    assert digits_of(f"+{number}") == number
    assert is_possible(number) in (True, False)
    assert "".join(one for one in readable(number) if one.isdigit()) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12125551234", "12125551234"),
        ("+12125551234", "12125551234"),
        ("+1 (212) 555-1234", "12125551234"),
        ("  1-212-555-1234  ", "12125551234"),
        ("1.212.555.1234", "12125551234"),
        ("+1.212.555.1234", "12125551234"),
        ("(+1) 212 555-1234", "12125551234"),
        (" +12125551234", "12125551234"),
        ("+44 20 7946 0958", "442079460958"),
        ("+44 (0)20 7946 0958", "442079460958"),
        ("+49 ( 0 ) 30 901820", "4930901820"),
        ("+39 (0)6 698 12345", "390669812345"),
        ("+39 06 698 12345", "390669812345"),
        ("+54 (0)11 2345 6789", "541123456789"),
        ("+55 (0)11 98765-4321", "5511987654321"),
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
    ["", " ", "+", "()", "911", "1" * 16, "49" + "1" * 15, "1_2125551234", "-12125551234", "+-12125551234",
     "++12125551234", ".12125551234", "1.2125551234e10", "tel:+12125551234", "1" + " " * 40 + "2125551234"],
)  # fmt: skip
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^not a phone number.*country code"):
        digits_of(text)


# Digits that no plan makes possible, so that only a carrier can know them.
@pytest.mark.parametrize(
    "number",
    ["5551234", "15551234", "2125551234", "2000000", "999123456789", "123456789012345",
     "5215512345678",  # Mexico's former mobile prefix (daviddrysdale/python-phonenumbers#306)
     "4402079460958",  # with the trunk prefix, which phonenumbers would take out
     "54111512345678"],  # phonenumbers would make 5491112345678 of it
)  # fmt: skip
def test_digits_that_no_plan_makes_possible_are_digits_and_nothing_is_made_of_them(number: str) -> None:
    assert digits_of(f"+{number}") == number
    assert not is_possible(number)
    with pytest.raises(ValueError, match="country code"):
        to_e164(number)


# Programs send ASCII. What they send otherwise is named, as nobody sees it; so is what would have to be guessed.
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("12125551234\u200b", r"an invisible character \(U\+200B\)"),
        ("\u202a+12125551234\u202c", r"an invisible character \(U\+202A\)"),
        ("1\u00a0212\u00a0555\u00a01234", r"an invisible character \(U\+00A0\)"),
        ("1\u00ad2125551234", r"an invisible character \(U\+00AD\)"),
        ("+1\ufe0d-212-555-1234", r"an invisible character \(U\+FE0D\)"),
        ("12125551234\n", r"an invisible character \(U\+000A\)"),
        ("\t12125551234", r"an invisible character \(U\+0009\)"),
        ("12125551234\x00", r"an invisible character \(U\+0000\)"),
        ("12125551234\ud83d", r"an invisible character \(U\+D83D\)"),
        ("12125551234\U000e0041", r"an invisible character \(U\+E0041\)"),
        ("1\u20112125551234", r"a character that is not ASCII \(U\+2011\)"),
        ("\uff0b12125551234", r"a character that is not ASCII \(U\+FF0B\)"),
        ("1212555123\u00b2", r"a character that is not ASCII \(U\+00B2\)"),
        (
            "\u0661\u0662\u0661\u0662\u0665\u0665\u0665\u0661\u0662\u0663\u0664",
            r"a digit that is not ASCII \(U\+0661\)",
        ),
        (
            "\uff11\uff12\uff11\uff12\uff15\uff15\uff15\uff11\uff12\uff13\uff14",
            r"a digit that is not ASCII \(U\+FF11\)",
        ),
        ("+44 (0)(0)20 7946 0958", r"leave out the \(0\)"),
        ("+1 (0)212 555 1234", r"leave out the \(0\)"),
        # More than the 0 would go: carrier codes and former mobile prefixes.
        ("+54 (0)11 15 2345 6789", r"leave out the \(0\)"),
        ("+55 (0)21 11 2345-6789", r"leave out the \(0\)"),
        ("+57 (0)9 301 1234567", r"leave out the \(0\)"),
        ("+52 (0)1 55 1234 5678", r"leave out the \(0\)"),
        ("+44 20 (0)7946 0958", r"leave out the \(0\)"),
        ("0012125551234", "starts with 0.* without 0 or 00"),
        ("+0012125551234", "starts with 0"),
        ("02079460958", "starts with 0"),
        ("(0)20 7946 0958", "starts with 0"),
        ("12125551234x1", "leave out the extension"),
        ("+1 212 555 1234 ext. 12", "leave out the extension"),
        ("+1-212-555-1234;ext=12", "leave out the extension"),
        ("+1 212 555 1234 #12", "leave out the extension"),
    ],
)
def test_a_refusal_names_what_is_wrong_and_never_repeats_the_text(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        digits_of(text)
    assert str(caught.value).isascii() and str(caught.value).isprintable()


# What people paste, in forms that mean +1 212 555 1234, and where they got it.
PASTED = {
    "contacts of Windows": "\u202a+12125551234\u202c",
    "contacts of Apple (verbb/hyper#86)": "\u202d+1 212 555 1234\u202c",
    "contacts of iOS": "\u2066+12125551234\u2069",
    "a messenger (signalapp/Signal-Android#11630)": "\u2068+1 212-555-1234\u2069",
    "a page from right to left (contao/core#8434)": "\u200e12125551234",
    "the other direction": "12125551234\u200f",
    "a zero-width space": "1212555\u200b1234",
    "a joiner and a non-joiner": "1212\u200d555\u200c1234",
    "a word joiner": "1212\u2060555\u20601234",
    "the start of a file": "\ufeff12125551234",
    "a soft hyphen (CareTogether/CareTogetherCMS#467)": "1\u00ad212\u00ad555\u00ad1234",
    "a PDF document (woocommerce/woocommerce#58000)": "+1\ufe0d-212-555-1234",
    "fillers of Hangul and Braille": "\u31641212\u2800555\uffa01234",
    "tags": "12125551234\U000e0031\U000e007f",
    "no-break spaces": "\u00a0+1 212\u00a0555\u00a01234",
    "narrow no-break spaces": "+1\u202f212\u202f555\u202f1234",
    "figure and ideographic spaces": "+1\u2007212\u3000555\u20091234",
    "a tab and a line break": "+1\t212 555\r\n1234\n",
    "no-break hyphens (alphagov/notifications-utils#1222)": "+1\u2011212\u2011555\u20111234",
    "an en dash": "+1 (212) 555\u20131234",
    "an em dash, a bar and a minus": "1\u2014212\u2015555\u22121234",
    "middle dots": "+1\u00b7212\u2022555\u22c51234",
    "slashes": "1/212/5551234",
    "other slashes": "1\u2044212\u2215555\uff0f1234",
    "brackets": "+1 [212] 555-1234",
    "tildes (google/libphonenumber, VALID_PUNCTUATION)": "+1~212\u2053555\u223c12\uff5e34",
    "a hyphenation point and a hyphen bullet": "1\u2027212\u20435551234",
    "full-width characters": "\uff0b\uff11\uff08\uff12\uff11\uff12\uff09\uff15\uff15\uff15\uff0d\uff11\uff12\uff13\uff14",
    "a Japanese keyboard": "1\u30fc212\u30fc555\u30fc1234",
    "a link (RFC 3966)": "tel:+1-212-555-1234",
    "a link in capitals": " TEL: +1(212)5551234",
    "a link behind what nobody sees": "\u200etel:\u200b+12125551234",
}


@pytest.mark.parametrize("origin", PASTED)
def test_what_people_paste_is_understood_and_found(origin: str) -> None:
    pasted = PASTED[origin]
    assert digits_of(pasted_number(pasted)) == "12125551234"
    assert searched_digits(pasted) == ["12125551234"]
    with pytest.raises(ValueError, match=r"U\+|not a phone number"):
        digits_of(pasted)


# What would have to be guessed is refused to people, too.
@pytest.mark.parametrize(
    ("pasted", "told"),
    [
        ("tel:+1-212-555-1234;ext=12", "leave out the extension"),
        ("tel:7042;phone-context=example.com", "not a phone number"),
        ("\u202a0012125551234\u202c", "starts with 0"),
        ("12125551234\n12125551235", "not a phone number"),
        ("fax12125551", "not a phone number"),
        ("Fax 12125551234", "not a phone number"),
        ("\u0661\u0662\u0661\u0662\u0665\u0665\u0665\u0661\u0662\u0663\u0664", r"U\+0661"),
        ("1\u20e32125551234", r"U\+20E3"),
        ("\u200b", "not a phone number"),
    ],
)
def test_what_is_ambiguous_is_refused_at_the_doors_for_people(pasted: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        digits_of(pasted_number(pasted))


@pytest.mark.parametrize(
    ("text", "digits"),
    [("(212) 555", "212555"), ("24\u20447", ""), ("(0)", ""), ("555\u20111234", "5551234"), ("+44 ( 0 )20 7946", "44207946 440207946"), ("+39 (0)6 1234 5678", "39612345678 390612345678"), ("0211/5551234", "02115551234"),
     ("24/7", ""), ("front desk", ""), ("ann@acme.example", ""), ("--", ""), ("", ""), ("\u0661\u0662\u0663", "")],
)  # fmt: skip
def test_a_search_for_a_part_of_a_number_is_told_from_words(text: str, digits: str) -> None:
    assert searched_digits(text) == digits.split()


def test_a_long_text_is_searched_for_in_one_pass() -> None:
    """With a pass for each digit, this test would not end."""
    assert not searched_digits("1" * 500_000 + "x")


@pytest.mark.parametrize(
    ("number", "written"),
    [("12125551234", "+1 212-555-1234"), ("442079460018", "+44 20 7946 0018"), ("sip:ann@example.com", "sip:ann@example.com"),
     ("", ""), ("123", "123"), ("anonymous", "anonymous"), ("9" * 15, "9" * 15), ("000000000", "000000000"),
     ("4402079460958", "4402079460958")],
)  # fmt: skip
def test_a_number_is_shown_as_people_write_it_and_anything_else_as_it_is(number: str, written: str) -> None:
    assert readable(number).removeprefix("+") == written.removeprefix("+")
