"""A real browser at a real server with simulated carriers."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from integrations.sandbox import Sandbox
from tests.conftest import CARRIERS
from tests.live import PROJECT, Live, serve

SCREENSHOTS = PROJECT / "build" / "screenshots"
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
PASSWORD = "a long password for the desk"
# Nothing but the page: no look-ups of Google's hosts, no updates.
QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required",
]  # fmt: skip


@dataclass
class Desk:
    """A running server, the carriers behind it, and numbers that were added through the API."""

    live: Live
    sandbox: Sandbox
    phones: dict[str, str] = field(default_factory=dict)

    def url(self, path: str = "") -> str:
        return f"{self.live.url}/admin/{path}"

    def api(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.live.token}"}
        reply = requests.request(method, f"{self.live.url}/api/call/{path}", json=body, headers=headers, timeout=60)
        assert reply.ok, reply.text
        return reply.json()["data"]

    def add(self, integration: str, number: str) -> str:
        """Add a number through the API. Returns its id."""
        good = CARRIERS[integration]
        body = {
            "userId": self.live.user, "phoneNumber": number, "integration": integration, "authToken": good.auth_token,
        } | ({"accSId": good.acc_sid} if good.acc_sid else {})  # fmt: skip
        return self.api("POST", "add-phone", body)["_id"]


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
    with Sandbox() as sandbox, serve(folder, sandbox, is_public=False) as live:
        live.manage(
            "createsuperuser", "--noinput", "--email", "root@desk.example.com", DJANGO_SUPERUSER_PASSWORD=PASSWORD
        )
        yield Desk(live, sandbox)


@dataclass
class Watched:
    """A page that must not complain, nor ask anybody but our server."""

    page: Page
    problems: list[str] = field(default_factory=list)
    # Some pages are refused on purpose.
    allowed: list[str] = field(default_factory=list)

    def watch(self, desk: Desk) -> None:
        self.page.on("console", self.on_console)
        self.page.on("pageerror", lambda error: self.problems.append(f"script: {error}"))
        self.page.on("request", lambda request: self.on_request(request, desk))

    def on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(part in message.text for part in self.allowed):
            self.problems.append(f"console: {message.text} {message.location.get('url', '')}")

    def on_request(self, request: Request, desk: Desk) -> None:
        if not request.url.startswith((desk.live.url + "/", "data:", "blob:", "about:")):
            self.problems.append(f"asked elsewhere: {request.url}")


@pytest.fixture
def watched(browser: Browser, desk: Desk) -> Iterator[Watched]:
    context = browser.new_context(viewport=DESKTOP)
    context.set_default_timeout(15_000)
    one = Watched(context.new_page())
    one.watch(desk)
    yield one
    context.close()
    assert one.problems == []


@pytest.fixture
def page(watched: Watched, desk: Desk) -> Page:
    """Signed in as somebody who may do everything."""
    page = watched.page
    page.goto(desk.url())
    page.get_by_label("E-mail").fill("root@desk.example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("link", name="Workspace Phones")).to_be_visible()
    return page


def shoot(page: Page, name: str) -> None:
    """Write what the page looks like on a desktop and on a phone."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for device, size in (("desktop", DESKTOP), ("phone", PHONE)):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (
            f"{name} is too wide: {device}"
        )
        page.screenshot(path=SCREENSHOTS / f"{name}-{device}.png", full_page=True)
    page.set_viewport_size(DESKTOP)  # type: ignore[arg-type]
