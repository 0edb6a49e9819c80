"""The first page of the desk."""

from playwright.sync_api import Page, expect

from sandbox import state as seeds
from tests.e2e.conftest import Desk, shoot
from tests.support.carriers import CARRIERS, TWILIO


def test_the_dashboard_counts_numbers_calls_and_refusals(desk: Desk, page: Page) -> None:
    for integration in CARRIERS:
        _, number = desk.added(integration)
        desk.sandbox.place_call(integration, number)
    path, number = desk.added()
    desk.sandbox.console("twilio", seeds.TWILIO_SID, number=number, trunk_sid=seeds.TWILIO_TRUNK)
    desk.api("POST", path.replace("phonenumber/", "").replace("change/", "check"))
    wrong = {"userId": desk.live.user, "phoneNumber": TWILIO.not_owned, "integration": "twilio"}
    desk.api("POST", "add-phone", wrong | {"accSId": TWILIO.acc_sid, "authToken": TWILIO.auth_token})
    desk.live.manage("reconcile")

    page.goto(desk.url())
    unwell = page.locator("[aria-labelledby=d-unwell]")
    expect(unwell).to_contain_text("A SIP trunk handles calls before our webhooks are called.")
    expect(page.locator("[aria-labelledby=d-refusals]")).to_contain_text("not own")
    for panel in ("d-adds", "d-calls"):
        chart = page.locator(f"[aria-labelledby={panel}]")
        expect(chart.locator("svg .bar")).to_have_count(3)
        expect(chart.locator("table")).to_be_hidden()
    shoot(page, "dashboard")
    page.emulate_media(color_scheme="dark")
    shoot(page, "dashboard-dark", phone=False)
    page.emulate_media(color_scheme="light")

    calls = page.locator("[aria-labelledby=d-calls]")
    calls.get_by_text("Show figures").click()
    today = calls.locator("tbody tr").last.locator("td")
    expect(today).to_have_count(4)
    assert all(int(text) >= 1 for text in today.all_inner_texts())
    page.locator("[aria-labelledby=d-health]").get_by_role("link", name="Plivo").click()
    expect(page.locator("#result_list .badge", has_text="Plivo").first).to_be_visible()
    expect(page.locator("#result_list .badge", has_text="Twilio")).to_have_count(0)
