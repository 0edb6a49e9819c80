"""Picking one of an account's numbers instead of typing it."""

from dataclasses import replace

from playwright.sync_api import Page, expect

from tests.e2e.conftest import Desk, fill_in, says, shoot
from tests.support.carriers import PLIVO, TWILIO

PICK = "Choose from the account's numbers"


def test_a_number_is_picked_from_those_of_the_account(desk: Desk, page: Page) -> None:
    _, added = desk.added("plivo")
    free = desk.number("plivo")
    fill_in(page, desk, PLIVO, label="Picked")
    page.get_by_role("button", name=PICK).click()

    def row(number: str) -> str:
        return f"tr:has(input[value='{number}'])"

    expect(page.locator(row(added))).to_contain_text("already added")
    expect(page.locator(row("14155550003"))).to_contain_text("no voice support")
    expect(page.locator(row("14155550004"))).to_contain_text("inactive")
    expect(page.locator(row("14155550001"))).to_contain_text("elsewhere")
    for number in (added, "14155550003", "14155550004"):
        expect(page.locator(f"{row(number)} input")).to_be_disabled()
    shoot(page, "pick")
    page.locator(f"{row(free)} input").check()
    page.get_by_role("button", name="Add number").click()
    says(page, "was added")
    expect(page.locator("#id_label")).to_have_value("Picked")
    assert len(desk.listed(free)) == 1


def test_a_large_account_is_looked_through_page_by_page(desk: Desk, page: Page) -> None:
    sid, token = "AC" + "0d" * 16, "twilio-token-of-a-large-account"
    desk.sandbox.add_account("twilio", sid, token)
    for last in range(255):
        desk.sandbox.add_number("twilio", sid, f"1646555{8000 + last}")
    fill_in(page, desk, replace(TWILIO, acc_sid=sid, auth_token=token))
    page.get_by_role("button", name=PICK).click()
    expect(page.get_by_role("radio")).to_have_count(250)
    page.get_by_role("button", name="More numbers").click()
    expect(page.get_by_role("radio")).to_have_count(5)
    page.get_by_role("radio").last.check()
    page.get_by_role("button", name="Add number").click()
    says(page, "was added")


def test_without_a_choice_the_form_comes_back_and_says_so(desk: Desk, page: Page) -> None:
    fill_in(page, desk, TWILIO)
    page.get_by_role("button", name=PICK).click()
    page.get_by_role("button", name="Add number").click()
    expect(page.locator(".field-number .errorlist")).to_contain_text("missing")
