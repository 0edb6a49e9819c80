"""A number goes to another workspace, and a number that another workspace has taken."""

import json

from playwright.sync_api import Page, expect

from tests.e2e.conftest import Desk, choose, fill, says, shoot
from tests.support.carriers import CARRIERS


def tenant_at(desk: Desk, name: str) -> dict[str, str]:
    """Another workspace: its user and token."""
    made: dict[str, str] = json.loads(desk.live.manage("create_workspace", name, "--email", f"user@{name}.example.com"))
    return made


def shoot_in_both(page: Page, name: str) -> None:
    """On a desktop and on a phone, light and dark."""
    shoot(page, name)
    page.emulate_media(color_scheme="dark")
    shoot(page, f"{name}-dark")
    page.emulate_media(color_scheme="light")


def test_a_supervisor_moves_a_number_to_another_workspace(desk: Desk, page: Page) -> None:
    tenant_at(desk, "harbour")
    good = CARRIERS["telnyx"]
    path, number = desk.added("telnyx", label="Front desk")
    desk.sandbox.place_call("telnyx", number, talk_s=2)
    page.goto(desk.url(path))
    page.get_by_role("link", name="Move to another workspace").click()
    expect(page.get_by_text("Calls are answered all the time.")).to_be_visible()
    choose(page, "user@harbour", field="user")
    fill(page, auth_token="KEY_mistyped")
    page.get_by_role("button", name="Move number").click()
    expect(page.locator(".form-row.errors .errorlist")).to_contain_text("refused the credentials")
    expect(page.locator("#id_auth_token")).to_have_value("")
    assert "KEY_mistyped" not in page.content()
    shoot_in_both(page, "move")
    fill(page, auth_token=good.auth_token)
    page.get_by_role("button", name="Move number").click()
    says(page, "was moved: its calls are now handled for user@harbour.example.com.")
    expect(page.locator("[aria-labelledby=p-history]")).to_contain_text("from workspace Live")
    expect(page.locator("[aria-labelledby=p-calls]")).to_contain_text("No calls yet.")
    assert desk.listed(number) == []


def test_the_search_does_not_find_users_of_the_same_workspace(desk: Desk, page: Page) -> None:
    path, _ = desk.added()
    page.goto(desk.url(path.replace("change", "move")))
    page.locator("#id_user + .select2").click()
    page.locator(".select2-search__field").press_sequentially("user@live")
    expect(page.locator(".select2-results")).to_contain_text("No results found")


def test_a_number_that_another_workspace_took_can_only_be_removed(desk: Desk, page: Page) -> None:
    other = tenant_at(desk, "quarry")
    number, owner, secret = "12125556700", "AC" + "7" * 32, "token-of-the-account"
    account = desk.sandbox.add_account("twilio", owner, secret)
    desk.sandbox.add_number("twilio", owner, number)
    body = {"phoneNumber": number, "integration": "twilio", "accSId": owner}
    mine = desk.api("POST", "add-phone", body | {"userId": desk.live.user, "authToken": secret}).json()["data"]["_id"]
    desk.sandbox.place_call("twilio", number, talk_s=2)
    with desk.sandbox.lock:
        account.secret = "renewed-token"
    taken = desk.api(
        "POST", "add-phone", body | {"userId": other["userId"], "authToken": "renewed-token"}, other["token"]
    )
    assert taken.status_code == 201, taken.text
    page.goto(desk.url(f"phones/phonenumber/?q={number}"))
    expect(page.locator("#result_list .badge.drift")).to_have_count(1)
    shoot_in_both(page, "numbers-taken")
    page.goto(desk.url(f"phones/phonenumber/{mine}/change/"))
    expect(page.locator(".note")).to_contain_text("The number can only be removed.")
    expect(page.locator(".number-tools").locator("a, button")).to_have_text(["Remove"])
    expect(page.locator("[aria-labelledby=p-calls]")).to_contain_text("cannot be played any more")
    shoot_in_both(page, "taken")
    page.get_by_role("link", name="Remove").click()
    expect(page.locator(".comes-back")).to_contain_text("Nothing changes at the carrier")
    shoot_in_both(page, "remove-taken")
    page.get_by_role("button", name="Remove number").click()
    says(page, "It no longer belonged to this workspace")


def test_who_shares_a_number_is_told_who_decides(desk: Desk, page: Page) -> None:
    tenant, good, number = tenant_at(desk, "shared"), CARRIERS["plivo"], desk.number("plivo")
    colleague = desk.live.manage(
        "create_user", "--workspace", tenant["workspaceId"], "--email", "bo@shared.example.com"
    )
    first, second = (
        desk.api("POST", "add-phone", {
            "userId": user, "phoneNumber": number, "integration": "plivo", "authToken": good.auth_token,
            "accSId": good.acc_sid,
        }, tenant["token"]).json()["data"]["_id"]
        for user in (tenant["userId"], json.loads(colleague)["userId"])
    )  # fmt: skip
    page.goto(desk.url(f"phones/phonenumber/{second}/change/"))
    expect(page.locator("[aria-labelledby=p-who]")).to_contain_text("with 1 other user of the workspace")
    shoot_in_both(page, "number-shared")
    page.locator("[aria-labelledby=p-answer]").get_by_role("link").click()
    expect(page.locator("[aria-labelledby=p-answer]")).to_contain_text("This user added the number first")
    assert page.url == desk.url(f"phones/phonenumber/{first}/change/")
