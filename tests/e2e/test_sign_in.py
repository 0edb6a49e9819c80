"""The password, the code, and what happens to those who guess."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import Desk, Staff, give_code, give_password, shoot, watched
from tests.support.people import code_of


def test_the_first_sign_in_sets_up_a_second_factor_and_the_next_asks_for_its_code(
    browser: Browser, desk: Desk, anybody: Page
) -> None:
    staff = desk.staff("new@desk.example.com", "support")
    give_password(anybody, desk, staff)
    expect(anybody.locator(".totp-qr svg")).to_be_visible()
    staff.key = anybody.locator("code").inner_text()
    shoot(anybody, "second-factor")
    give_code(anybody, "000000")
    expect(anybody.locator(".form-row .errorlist")).to_contain_text("This code is incorrect")
    assert anybody.locator("code").inner_text() == staff.key
    give_code(anybody, code_of(staff.key))
    expect(anybody.get_by_role("heading", name="Support desk")).to_be_visible()
    anybody.get_by_role("button", name="Log out").click()
    anybody.goto(desk.url())
    expect(anybody.get_by_label("Password")).to_be_visible()

    with watched(browser, desk) as another:
        give_password(another, desk, staff)
        expect(another.get_by_text("Enter the code")).to_be_visible()
        expect(another.locator(".totp-qr")).to_have_count(0)
        shoot(another, "code")
        another.goto(desk.url("phones/phonenumber/"))  # the password alone opens nothing
        expect(another.get_by_label("Code")).to_be_visible()
        give_code(another, code_of(staff.key, steps=1))  # this half minute's was used above
        expect(another.get_by_role("heading", name="Phone numbers")).to_be_visible()


@pytest.mark.expects("status of 429")
def test_who_guesses_a_password_too_often_waits(desk: Desk, anybody: Page) -> None:
    guesser = Staff("guessed@desk.example.com", "not the password")
    give_password(anybody, desk, guesser)
    expect(anybody.locator(".errornote")).to_contain_text("is incorrect")
    shoot(anybody, "sign-in")
    for _ in range(5):
        give_password(anybody, desk, guesser)
    expect(anybody.get_by_text(re.compile("Try again in [0-9]+ minutes?"))).to_be_visible()
    shoot(anybody, "locked-out")
