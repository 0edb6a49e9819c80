"""The users: their ids, which the API needs."""

from playwright.sync_api import Page, expect

from tests.e2e.conftest import Desk, shoot


def clipboard(page: Page) -> str:
    return page.evaluate("navigator.clipboard.readText()")


def test_a_users_id_is_copied_from_each_page_that_shows_the_user(desk: Desk, support: Page) -> None:
    support.context.grant_permissions(["clipboard-read", "clipboard-write"])
    number_page, _ = desk.added()
    for path in ("users/user/?q=user@live", f"users/user/{desk.live.user}/change/", number_page):
        support.goto(desk.url(path))
        support.evaluate("navigator.clipboard.writeText('')")
        shown = support.locator(".copyable", has_text=desk.live.user)
        button = shown.get_by_role("button", name="Copy user ID")
        button.focus()
        support.keyboard.press("Enter")
        expect(shown.get_by_role("button", name="Copied user ID")).to_be_visible()
        assert clipboard(support) == desk.live.user
        shoot(support, f"user-id-{path.split('/')[1]}{'-list' if '?' in path else ''}")


def test_an_id_is_selected_where_there_is_no_clipboard(desk: Desk, support: Page) -> None:
    support.add_init_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    support.goto(desk.url(f"users/user/{desk.live.user}/change/"))
    support.get_by_role("button", name="Copy user ID").click()
    expect(support.get_by_role("button", name="copy it with the keyboard")).to_be_visible()
    assert support.evaluate("getSelection().toString()") == desk.live.user
