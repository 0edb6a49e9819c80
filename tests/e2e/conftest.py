"""A real browser at a real server with simulated carriers."""

import contextlib
import itertools
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, ViewportSize, expect, sync_playwright

from sandbox.sandbox import Sandbox
from tests.support import PROJECT
from tests.support.carriers import CARRIERS, Good
from tests.support.live import Live, serve
from tests.support.people import code_of

SCREENSHOTS = PROJECT / "build" / "screenshots"
DESKTOP, PHONE = ViewportSize(width=1280, height=800), ViewportSize(width=390, height=844)
# Nothing but the page: no look-ups of Google's hosts, no updates.
QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required",
]  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "expects(text): the browser may complain about this, for it is refused on purpose"
    )


@dataclass
class Staff:
    """Somebody at the desk: with `storage`, what their browser keeps once they have signed in."""

    email: str
    password: str
    key: str = ""
    storage: Any = None


@dataclass
class Desk:
    """A running server and the carriers behind it."""

    live: Live
    sandbox: Sandbox
    last_digits: Iterator[int] = field(default_factory=lambda: itertools.count(7000))

    def url(self, path: str = "") -> str:
        return f"{self.live.url}/admin/{path}"

    def api(self, method: str, path: str, body: Any = None, token: str = "") -> requests.Response:
        headers = {"Authorization": f"Bearer {token or self.live.token}"}
        return requests.request(method, f"{self.live.url}/api/call/{path}", json=body, headers=headers, timeout=60)

    def staff(self, email: str, group: str) -> Staff:
        made = json.loads(self.live.manage("create_staff", "--email", email, "--group", group))
        return Staff(email, made["password"])

    def number(self, integration: str = "twilio", **fields: Any) -> str:
        """A number that the carrier's account has and nobody here, so that no test meets another's."""
        number = f"{CARRIERS[integration].number[:7]}{next(self.last_digits)}"
        good = CARRIERS[integration]
        self.sandbox.add_number(integration, good.acc_sid or good.auth_token, number, **fields)
        return number

    def added(self, integration: str = "twilio", *, label: str = "", **fields: Any) -> tuple[str, str]:
        """A number that was added through the API: the path of its page, and the number."""
        number, good = self.number(integration, **fields), CARRIERS[integration]
        body = {
            "userId": self.live.user, "phoneNumber": number, "integration": integration, "authToken": good.auth_token,
        } | ({"accSId": good.acc_sid} if good.acc_sid else {})  # fmt: skip
        reply = self.api("POST", "add-phone", body)
        assert reply.status_code == 201, reply.text
        id = reply.json()["data"]["_id"]
        if label:
            self.api("PATCH", f"phones/{id}", {"label": label})
        return f"phones/phonenumber/{id}/change/", number

    def listed(self, number: str) -> list[dict[str, Any]]:
        """The numbers of the workspace that are this one, as the API lists them."""
        return self.api("GET", f"phones?phoneNumber={number}").json()["data"]["items"]

    def at_carrier(self, integration: str, number: str) -> dict[str, Any]:
        """What the carrier has for a number of our account."""
        with self.sandbox.lock:
            return dict(self.sandbox.state.owner(integration, number).numbers[number])


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert chromium, "No Chromium. On Debian: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """One server for all tests; each adds numbers of its own."""
    folder = tmp_path_factory.mktemp("desk")
    with Sandbox() as sandbox, serve(folder, sandbox, is_public=False, STAFF_TOTP="on") as live:
        yield Desk(live, sandbox)


@pytest.fixture(autouse=True)
def no_faults(desk: Desk) -> Iterator[None]:
    yield
    desk.sandbox.clear_faults()
    desk.sandbox.delay_s = 0.0


@contextlib.contextmanager
def watched(browser: Browser, desk: Desk, staff: Staff | None = None, *allowed: str, **options: Any) -> Iterator[Page]:
    """A page that must not complain, nor ask anybody but our server.

    Args:
        staff: who has signed in there.
        allowed: parts of what the browser may complain about.
        options: of the browser's context.
    """
    problems: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(part in message.text for part in allowed):
            problems.append(f"console: {message.text} {message.location.get('url', '')}")

    def on_request(request: Request) -> None:
        if not request.url.startswith((desk.live.url + "/", "data:", "blob:", "about:")):
            problems.append(f"asked elsewhere: {request.url}")

    context = browser.new_context(viewport=DESKTOP, storage_state=staff.storage if staff else None, **options)
    context.set_default_timeout(15_000)
    page = context.new_page()
    page.on("console", on_console)
    page.on("pageerror", lambda error: problems.append(f"script: {error}"))
    page.on("request", on_request)
    yield page
    context.close()
    assert problems == []


def give_password(page: Page, desk: Desk, staff: Staff) -> None:
    page.goto(desk.url())
    page.get_by_label("E-mail").fill(staff.email)
    page.get_by_label("Password").fill(staff.password)
    page.get_by_role("button", name="Log in").click()


def give_code(page: Page, code: str) -> None:
    page.get_by_label("Code").fill(code)
    page.locator("#login-form input[type=submit]").click()


def signed_in(browser: Browser, desk: Desk, staff: Staff) -> Staff:
    """Sign in for the first time, with a new second factor."""
    with watched(browser, desk) as page:
        give_password(page, desk, staff)
        staff.key = page.locator("code").inner_text()
        give_code(page, code_of(staff.key))
        expect(page.get_by_role("heading", name="Support desk")).to_be_visible()
        staff.storage = page.context.storage_state()
    return staff


@pytest.fixture(scope="session")
def supervisor(browser: Browser, desk: Desk) -> Staff:
    return signed_in(browser, desk, desk.staff("sue@desk.example.com", "supervisor"))


@pytest.fixture(scope="session")
def supporter(browser: Browser, desk: Desk) -> Staff:
    return signed_in(browser, desk, desk.staff("sam@desk.example.com", "support"))


def expected(request: pytest.FixtureRequest) -> list[str]:
    return [text for marker in request.node.iter_markers("expects") for text in marker.args]


@pytest.fixture
def anybody(browser: Browser, desk: Desk, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Nobody has signed in here."""
    with watched(browser, desk, None, *expected(request)) as page:
        yield page


@pytest.fixture
def page(browser: Browser, desk: Desk, supervisor: Staff, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A supervisor has signed in here."""
    with watched(browser, desk, supervisor, *expected(request)) as page:
        yield page


@pytest.fixture
def support(browser: Browser, desk: Desk, supporter: Staff, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A member of the group support has signed in here."""
    with watched(browser, desk, supporter, *expected(request)) as page:
        yield page


def says(page: Page, text: str) -> None:
    """The message on top of the page has this text."""
    expect(page.locator(".messagelist")).to_contain_text(text)


def choose(page: Page, typed: str, *, field: str) -> None:
    """Pick what is found by typing in a box to search in."""
    page.locator(f"#id_{field} + .select2").click()
    page.locator(".select2-search__field").press_sequentially(typed)
    page.locator(".select2-results__option", has_text=typed).click()


def fill(page: Page, **fields: str) -> None:
    """Fields by their names in the form."""
    for name, value in fields.items():
        one = page.locator(f"#id_{name}")
        one.select_option(value) if one.evaluate("one => one.tagName") == "SELECT" else one.fill(value)


def fill_in(page: Page, desk: Desk, good: Good, **fields: str) -> None:
    """Open the form for adding and fill it in with good credentials, but for what is in `fields`."""
    page.goto(desk.url("phones/phonenumber/add/"))
    choose(page, "user@live", field="user")
    fill(page, integration=good.integration)
    fill(page, **{"account_id": good.acc_sid, "auth_token": good.auth_token} | fields)


def shoot(page: Page, name: str, *, phone: bool = True) -> None:
    """Write what the page looks like on a desktop and on a phone."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for device, size in (("desktop", DESKTOP), ("phone", PHONE))[: 1 + phone]:
        page.set_viewport_size(size)
        is_too_wide = page.evaluate("document.documentElement.scrollWidth > window.innerWidth")
        assert not is_too_wide, f"{name} is too wide for a {device}"
        page.screenshot(path=SCREENSHOTS / f"{name}-{device}.png", full_page=True)
    page.set_viewport_size(DESKTOP)
