"""The page of a number: what is wrong with it, its calls, a new auth token, its end."""

import pytest
from playwright.sync_api import Page, expect

from sandbox import state as seeds
from tests.e2e.conftest import Desk, fill, says, shoot
from tests.support.carriers import CARRIERS

# What an audio element comes to: whether it is heard.
PLAYED = """audio => new Promise(done => {
  audio.addEventListener("timeupdate", () => audio.currentTime > 0.3 && done("played"));
  audio.addEventListener("error", () => done(audio.error.message));
  setTimeout(() => done(`silent at ${audio.currentTime}`), 10000);
})"""


def test_what_differs_at_the_carrier_is_told_in_words_and_repaired(desk: Desk, page: Page) -> None:
    path, number = desk.added(label="Front desk Berlin")
    desk.sandbox.place_call("twilio", number, talk_s=4)
    elsewhere = f"{seeds.FOREIGN_URL}/answer?secret=1"
    desk.sandbox.console("twilio", seeds.TWILIO_SID, number=number, voice_url=elsewhere, trunk_sid=seeds.TWILIO_TRUNK)
    page.goto(desk.url(path))
    expect(page.locator("h1 .badge.ok")).to_be_visible()
    page.get_by_role("button", name="Check now").click()
    says(page, "A webhook URL at the carrier is not ours.")
    expect(page.locator("h1 .badge.drift")).to_be_visible()
    answer = page.locator(".settings tr.differs", has_text="Voice URL")
    should_be, found = answer.locator("td").all()
    expect(should_be).to_contain_text(f"{desk.live.url}/api/webhooks/twilio/")
    expect(found).to_contain_text(f"{seeds.FOREIGN_URL}/answer?…")  # a query may hold a secret
    expect(page.locator(".settings tr.differs", has_text=seeds.TWILIO_TRUNK)).to_contain_text("A SIP trunk")
    shoot(page, "number")
    page.emulate_media(color_scheme="dark")
    shoot(page, "number-dark", phone=False)
    page.emulate_media(color_scheme="light")
    page.get_by_role("button", name="Check and repair").click()
    says(page, "Repaired")
    expect(page.locator("h1 .badge.ok")).to_be_visible()
    expect(page.locator(".settings tr.differs")).to_have_count(0)
    there = desk.at_carrier("twilio", number)
    assert there["voice_url"].startswith(desk.live.url) and not there["trunk_sid"]


def test_support_hears_a_recording_on_the_page(desk: Desk, support: Page) -> None:
    path, number = desk.added("plivo")
    desk.sandbox.place_call("plivo", number, talk_s=4)
    support.goto(desk.url(path))
    audio = support.locator("audio")
    audio.click(position={"x": 18, "y": 17})  # on the button that plays
    assert audio.evaluate(PLAYED) == "played"
    assert audio.evaluate("audio => audio.duration") == pytest.approx(4, abs=0.5)
    support.reload()
    expect(support.locator("[aria-labelledby=p-history]")).to_contain_text("recording.hear")


def test_how_calls_are_answered_is_changed_there(desk: Desk, page: Page) -> None:
    path, number = desk.added()
    page.goto(desk.url(path))
    expect(page.locator("#id_forward_to")).to_be_hidden()
    fill(page, action="forward", label="Sales", forward_to="12")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".field.errors")).to_contain_text("Forward to")
    expect(page.locator("#id_label")).to_have_value("Sales")
    fill(page, forward_to="+44 20 7946 0000")
    page.get_by_role("button", name="Save").click()
    says(page, "Saved.")
    (row,) = desk.listed(number)
    assert (row["label"], row["inbound"]["forwardTo"]) == ("Sales", "442079460000")


@pytest.mark.parametrize("integration", CARRIERS)
def test_removing_gives_back_what_the_page_says(desk: Desk, page: Page, integration: str) -> None:
    good = CARRIERS[integration]
    before = good.console_route
    path, number = desk.added(integration, **before)
    assert not before.items() <= desk.at_carrier(integration, number).items()
    page.goto(desk.url(path))
    page.get_by_role("link", name="Remove").click()
    expect(page.locator(".comes-back")).to_contain_text(good.shown_route)
    if integration == "twilio":
        shoot(page, "remove")
    page.get_by_role("button", name="Remove number").click()
    says(page, "the carrier's previous settings were restored")
    assert before.items() <= desk.at_carrier(integration, number).items()
    page.goto(desk.url(f"phones/phonenumber/?q={number}"))
    expect(page.get_by_text("0 phone numbers")).to_be_visible()


def test_a_new_auth_token_is_taken_once_the_carrier_accepts_it(desk: Desk, page: Page) -> None:
    key, new = "KEY_of_its_own", "KEY_of_its_own_next"
    account = desk.sandbox.add_account("telnyx", "telnyx-account-9", key)
    desk.sandbox.add_number("telnyx", key, "13125556001")
    body = {"userId": desk.live.user, "phoneNumber": "13125556001", "integration": "telnyx", "authToken": key}
    id = desk.api("POST", "add-phone", body).json()["data"]["_id"]
    with desk.sandbox.lock:  # the customer makes a new key in the portal
        account.secret = new
        desk.sandbox.state.ids_by_key = {**desk.sandbox.state.ids_by_key, new: account.id}
        del desk.sandbox.state.ids_by_key[key]
    page.goto(desk.url(f"phones/phonenumber/{id}/change/"))
    page.get_by_role("button", name="Check now").click()
    says(page, "The carrier rejects our credentials")
    page.get_by_role("link", name="Change auth token").click()
    fill(page, auth_token="KEY_mistyped")
    page.get_by_role("button", name="Verify and save").click()
    expect(page.locator(".form-row.errors .errorlist")).to_contain_text("refused the credentials")
    expect(page.locator("#id_auth_token")).to_have_value("")
    assert "KEY_mistyped" not in page.content()
    shoot(page, "new-auth-token")
    fill(page, auth_token=new)
    page.get_by_role("button", name="Verify and save").click()
    says(page, "The new auth token was verified.")
    page.get_by_role("button", name="Check now").click()
    says(page, "the carrier has the expected settings")


@pytest.mark.expects("status of 403")
def test_support_checks_and_repairs_but_neither_removes_nor_changes_tokens(desk: Desk, support: Page) -> None:
    path, _ = desk.added()
    support.goto(desk.url(path))
    expect(support.get_by_role("button", name="Check and repair")).to_be_visible()
    for name in ("Remove", "Change auth token", "Tokens"):
        expect(support.get_by_role("link", name=name, exact=True)).to_have_count(0)
    expect(support.get_by_role("button", name="Save")).to_have_count(0)
    shoot(support, "number-for-support", phone=False)
    for address in (path.replace("change", "delete"), path.replace("change", "token"), "users/apitoken/"):
        reply = support.goto(desk.url(address))
        assert reply and reply.status == 403
        expect(support.get_by_role("heading", name="You don't have permission")).to_be_visible()
    shoot(support, "not-allowed")
