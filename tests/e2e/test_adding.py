"""The form that adds a number."""

import itertools
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Page, expect

from sandbox import state as seeds
from tests.e2e.conftest import Desk, fill, fill_in, says, shoot
from tests.support.carriers import CARRIERS, TELNYX, TWILIO

ADD = "Add number"
# As people paste them: from a page, from a spreadsheet, from a link.
PASTED = ("+1 ({}) {}-{}", "1.{}.{}.{}", "tel:+1\u2011{}\u2011{}\u2011{}")


def add(page: Page) -> None:
    page.get_by_role("button", name=ADD).click()


def parts(number: str) -> tuple[str, str, str]:
    return number[1:4], number[4:7], number[7:]


@pytest.mark.parametrize(("integration", "pasted"), list(zip(CARRIERS, itertools.cycle(PASTED))), ids=list(CARRIERS))
def test_a_number_of_each_carrier_is_added_however_it_is_written(
    desk: Desk, page: Page, integration: str, pasted: str
) -> None:
    number = desk.number(integration)
    fill_in(page, desk, CARRIERS[integration], number=pasted.format(*parts(number)), label="Front desk")
    account_id, auth_token = CARRIERS[integration].words
    expect(page.locator("label[for=id_account_id]")).to_have_text(f"{account_id}:")
    expect(page.locator("label[for=id_auth_token]")).to_have_text(f"{auth_token}:")
    expect(page.locator("#id_public_key")).to_be_visible(visible=integration == "telnyx")
    if integration == "twilio":
        shoot(page, "add")
    add(page)
    shown = "+1 {}-{}-{}".format(*parts(number))
    says(page, f"{shown} was added")
    expect(page.get_by_role("heading", level=1)).to_contain_text(shown)
    expect(page.locator("#id_label")).to_have_value("Front desk")
    there = desk.at_carrier(integration, number)
    linked = there.get("voice_url") or there.get("application") or there.get("connection_id")
    assert linked and (integration != "twilio" or linked.startswith(desk.live.url))
    assert desk.sandbox.place_call(integration, number).status == "completed"
    page.reload()
    expect(page.locator("[aria-labelledby=p-calls] audio")).to_have_count(1)


@dataclass(frozen=True)
class Refusal:
    """What is typed in place of what is good, where it is refused and how, and what mends it."""

    name: str
    typed: dict[str, str]
    beside: str
    words: str
    mend: dict[str, str] = field(default_factory=dict)


REFUSALS = [
    Refusal("invalid_credentials", {"auth_token": "wrong"}, "auth_token", "refused the credentials", {"auth_token": TWILIO.auth_token}),
    Refusal("number_not_owned", {"number": "+1 212 555 9998"}, "number", "does not own"),
    Refusal("number_not_usable", {"number": "+1 212 555 0004"}, "number", "cannot take voice calls"),
    Refusal("invalid_phone_number", {"number": "12"}, "number", "Not a phone number"),
    Refusal("no number", {"number": ""}, "number", "missing"),
    Refusal("no carrier", {"integration": ""}, "integration", "required", {"integration": "twilio"}),
    Refusal("no account id", {"account_id": ""}, "account_id", "missing", {"account_id": TWILIO.acc_sid}),
    Refusal("no forward_to", {"action": "forward"}, "forward_to", "Enter the number that calls", {"forward_to": "+44 20 7946 0000"}),
]  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case.name)
def test_a_refusal_stands_beside_its_field_and_nothing_is_typed_twice(desk: Desk, page: Page, case: Refusal) -> None:
    number = desk.number()
    typed = {"number": f"+{number}", "label": "Kept label"} | case.typed
    fill_in(page, desk, TWILIO, **typed)
    add(page)
    expect(page.locator(f".field-{case.beside} .errorlist")).to_contain_text(case.words)
    expect(page.locator(".errorlist")).to_have_count(1)
    expect(page.locator("#id_user + .select2")).to_contain_text("user@live.example.com")
    for name in ("number", "label", "account_id"):
        expect(page.locator(f"#id_{name}")).to_have_value(typed.get(name, TWILIO.acc_sid))
    expect(page.locator("#id_auth_token")).to_have_value("")
    assert TWILIO.auth_token not in page.content()
    if case.name == "invalid_credentials":
        shoot(page, "add-refused")
    assert desk.listed(number) == []
    fill(page, **case.mend or {"number": f"+{number}"})  # the token is kept
    add(page)
    says(page, "was added")
    assert len(desk.listed(number)) == 1


def test_a_number_that_rings_elsewhere_can_be_left_alone_and_then_taken_over(desk: Desk, page: Page) -> None:
    number = desk.number(voice_url=f"{seeds.FOREIGN_URL}/answer")
    fill_in(page, desk, TWILIO, number=number, on_conflict="refuse")
    add(page)
    expect(page.locator(".field-number .errorlist, .field-on_conflict .errorlist")).to_contain_text("elsewhere")
    assert desk.at_carrier("twilio", number)["voice_url"] == f"{seeds.FOREIGN_URL}/answer"
    fill(page, on_conflict="replace")
    add(page)
    says(page, "was added")


def test_a_carrier_that_is_down_is_said_on_top_and_trying_again_is_one_click(desk: Desk, page: Page) -> None:
    number = desk.number("telnyx")
    fill_in(page, desk, TELNYX, number=number)
    desk.sandbox.fault("status", "telnyx", times=None, status=503)
    add(page)
    expect(page.locator(".errornote + .errorlist")).to_contain_text("Telnyx")
    expect(page.locator("#id_number")).to_have_value(number)
    shoot(page, "add-carrier-down", phone=False)
    desk.sandbox.clear_faults()
    add(page)
    says(page, "was added")


def test_a_double_click_adds_once(desk: Desk, page: Page) -> None:
    number = desk.number()
    fill_in(page, desk, TWILIO, number=number)
    desk.sandbox.delay_s = 0.5
    button = page.get_by_role("button", name=ADD)
    button.scroll_into_view_if_needed()
    box = button.bounding_box()
    assert box
    for _ in range(2):
        page.mouse.click(box["x"] + 5, box["y"] + 5)
        page.wait_for_timeout(200)  # the first request is under way when the second click comes
    says(page, "was added")
    page.goto(desk.url(f"users/auditentry/?q={number}"))
    expect(page.locator("#result_list tbody tr")).to_have_count(1)


def test_going_back_and_sending_the_form_again_adds_nothing(desk: Desk, page: Page) -> None:
    number = desk.number()
    fill_in(page, desk, TWILIO, number=number)
    add(page)
    says(page, "was added")
    page.go_back()
    fill_in(page, desk, TWILIO, number=number)
    add(page)
    expect(page.locator(".field-number .errorlist")).to_contain_text("already")
    assert len(desk.listed(number)) == 1
