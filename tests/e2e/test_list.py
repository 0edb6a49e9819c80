"""The list of numbers, and pages that are not there."""

import pytest
from playwright.sync_api import Page, expect

from integrations.sandbox import state as seeds
from tests.e2e.conftest import Desk, choose, shoot

LIST = "phones/phonenumber/"
ROWS = "#result_list tbody tr"


def search(page: Page, typed: str) -> None:
    page.locator("#searchbar").fill(typed)
    page.get_by_role("button", name="Search").click()


def test_a_number_is_found_by_what_one_knows_of_it(desk: Desk, page: Page) -> None:
    _, number = desk.added(label="Harbour office")
    desk.added("plivo")
    page.goto(desk.url(LIST))
    shoot(page, "numbers")
    for typed in (number[-6:], f"({number[1:4]}) {number[4:7]}-{number[7:]}", "harbour", "office user@live"):
        search(page, typed)
        expect(page.locator(ROWS)).to_have_count(1)
        expect(page.locator(ROWS)).to_contain_text("Harbour office")
    search(page, "nobody@nowhere.example.com")
    expect(page.locator(ROWS)).to_have_count(0)


def test_the_list_is_narrowed_by_carrier_health_and_workspace(desk: Desk, page: Page) -> None:
    _, number = desk.added()
    desk.added("telnyx")
    page.goto(desk.url(LIST))
    page.get_by_role("link", name="Telnyx", exact=True).click()
    expect(page.locator(f"{ROWS} .badge.telnyx").first).to_be_visible()
    expect(page.locator(f"{ROWS} .badge.twilio")).to_have_count(0)

    desk.sandbox.console("twilio", seeds.TWILIO_SID, number=number, voice_url="https://elsewhere.example.com")
    page.goto(desk.url(f"{LIST}?q={number}"))
    page.locator(f"{ROWS} input[type=checkbox]").check()
    page.locator("[name=action]").select_option("check_selected")
    page.get_by_role("button", name="Go").click()
    expect(page.locator(".messagelist .warning")).to_contain_text("not ours")
    page.goto(desk.url(LIST))
    page.get_by_role("link", name="needs attention").click()
    expect(page.locator(ROWS)).to_have_count(page.locator(f"{ROWS} .badge.drift, {ROWS} .badge.unreachable").count())
    expect(page.locator(ROWS, has_text=f"{number[-4:]}")).to_have_count(1)

    desk.live.manage("create_workspace", "Quay", "--email", "quay@quay.example.com")
    page.goto(desk.url(LIST))
    choose(page, "Quay", field="workspace")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text("0 phone numbers")).to_be_visible()
    page.get_by_role("link", name="all workspaces").click()
    choose(page, "Live", field="workspace")
    page.get_by_role("button", name="Show").click()
    expect(page.locator(ROWS).first).to_be_visible()


@pytest.mark.expects("status of 404")
def test_a_page_that_is_not_there_says_so(desk: Desk, page: Page) -> None:
    page.goto(desk.url(f"{LIST}{'0' * 24}/change/"))
    expect(page.get_by_role("heading", name="There is no such page")).to_be_visible()
    shoot(page, "no-such-page")
    page.get_by_role("link", name="To the support desk").click()
    expect(page.get_by_role("heading", name="Support desk")).to_be_visible()


@pytest.mark.expects("status of 500")
def test_a_fault_of_ours_has_a_page_that_needs_no_database(desk: Desk, page: Page) -> None:
    with desk.live.database.table_away("phones_import"):
        page.goto(desk.url("phones/import/"))
    expect(page.get_by_role("heading", name="Something went wrong here")).to_be_visible()
    shoot(page, "went-wrong")
