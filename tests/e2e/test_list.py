"""The list of numbers, and pages that are not there."""

import pytest
from playwright.sync_api import Page, expect

from sandbox import state as seeds
from tests.e2e.conftest import Desk, choose, says, shoot

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
    expect(page.locator(f"{ROWS} .badge", has_text="Telnyx").first).to_be_visible()
    expect(page.locator(f"{ROWS} .badge", has_text="Twilio")).to_have_count(0)

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
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_text("0 phone numbers")).to_be_visible()
    page.get_by_role("link", name="all workspaces").click()
    choose(page, "Live", field="workspace")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator(ROWS).first).to_be_visible()


def choose_all(page: Page, desk: Desk, label: str) -> None:
    page.goto(desk.url(f"{LIST}?q={label}"))
    page.locator("#action-toggle").check()
    page.locator("[name=action]").select_option(label="Remove selected numbers…")
    page.get_by_role("button", name="Go").click()


def test_several_numbers_are_removed_part_by_part_with_one_click(desk: Desk, page: Page) -> None:
    elsewhere = {"voice_url": f"{seeds.FOREIGN_URL}/answer", "voice_method": "GET"}
    added = [desk.added(label="Moving out", **elsewhere) for _ in range(12)]
    added.append(desk.added("plivo", label="Moving out"))
    choose_all(page, desk, "Moving")
    expect(page.get_by_role("heading", name="Remove 13 numbers?")).to_be_visible()
    expect(page.locator("tbody tr")).to_have_count(13)
    expect(page.get_by_text(f"Voice URL: {seeds.FOREIGN_URL}/answer").first).to_be_visible()
    shoot(page, "remove-several")
    page.emulate_media(color_scheme="dark")
    shoot(page, "remove-several-dark")
    page.emulate_media(color_scheme="light")
    page.get_by_role("button", name="Remove 13 numbers").click()
    expect(page.locator(".messagelist li")).to_have_count(13, timeout=30_000)  # it went on by itself
    says(page, "the carrier's previous settings were restored")
    shoot(page, "removed-several")
    for _, number in added[:-1]:
        assert elsewhere.items() <= desk.at_carrier("twilio", number).items()
    assert desk.listed(added[0][1]) == []


def test_the_page_tells_how_far_a_removal_is_and_who_stops_keeps_the_rest(desk: Desk, page: Page) -> None:
    added = [desk.added(label="Staying on") for _ in range(20)]
    # As without scripts, or there would be no time to look.
    page.add_init_script("HTMLFormElement.prototype.requestSubmit = () => {}")
    choose_all(page, desk, "Staying")
    page.get_by_role("link", name="Cancel").click()
    choose_all(page, desk, "Staying")
    page.get_by_role("button", name="Remove 20 numbers").click()
    expect(page.get_by_text("Processed 8 of 20.")).to_be_visible()
    shoot(page, "removing")
    page.emulate_media(color_scheme="dark")
    shoot(page, "removing-dark")
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_text("Processed 16 of 20.")).to_be_visible()
    page.get_by_role("link", name="Stop").click()
    expect(page.locator(".messagelist li")).to_have_count(16)
    assert sum(len(desk.listed(number)) for _, number in added) == 4


@pytest.mark.expects("status of 404")
def test_a_page_that_is_not_there_says_so(desk: Desk, page: Page) -> None:
    page.goto(desk.url(f"{LIST}{'0' * 24}/change/"))
    expect(page.get_by_role("heading", name="Page not found")).to_be_visible()
    shoot(page, "no-such-page")
    page.get_by_role("link", name="Back to the support desk").click()
    expect(page.get_by_role("heading", name="Support desk")).to_be_visible()


@pytest.mark.expects("status of 500")
def test_a_fault_of_ours_has_a_page_that_needs_no_database(desk: Desk, page: Page) -> None:
    with desk.live.database.table_away("phones_import"):
        page.goto(desk.url("phones/import/"))
    expect(page.get_by_role("heading", name="Something went wrong")).to_be_visible()
    shoot(page, "went-wrong")
