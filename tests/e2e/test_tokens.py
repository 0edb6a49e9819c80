"""API tokens, and the trail of what was done."""

from playwright.sync_api import Page, expect

from tests.e2e.conftest import Desk, choose, shoot


def test_a_token_is_shown_once_works_and_is_revoked(desk: Desk, page: Page) -> None:
    page.goto(desk.url("users/apitoken/add/"))
    choose(page, "Live", field="workspace")
    page.get_by_role("button", name="Issue token").click()
    token = page.locator(".api-token").inner_text()
    shoot(page, "token-issued")
    assert desk.api("GET", "phones", token=token).status_code == 200

    page.get_by_role("link", name="Back to API tokens").click()
    assert token not in page.content()
    shoot(page, "tokens")
    page.get_by_role("link", name=token[:11]).click()
    page.get_by_role("link", name="Revoke").click()
    page.get_by_role("button", name="Revoke token").click()
    expect(page.locator(".messagelist")).to_contain_text("was revoked")
    assert desk.api("GET", "phones", token=token).status_code == 401

    page.goto(desk.url("users/auditentry/"))
    for action in ("token.revoke", "token.issue"):
        row = page.locator("#result_list tbody tr", has_text=action).first
        expect(row).to_contain_text("sue@desk.example.com")
        expect(row).to_contain_text("127.0.0.1")
    shoot(page, "audit-trail")
    page.get_by_role("link", name="token.issue", exact=True).click()
    expect(page.locator("#result_list tbody")).to_contain_text("token.issue")
    expect(page.locator("#result_list tbody")).not_to_contain_text("token.revoke")
