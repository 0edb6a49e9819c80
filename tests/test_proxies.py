"""The admin behind proxies that say little, or the wrong thing, of how the client came."""

from typing import Any

import pytest
from django.test import Client

from users.models import User
from workspace.wsgi import Request

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"
PUBLIC = "https://phones.example.com"

# What a proxy hands on from a browser at PUBLIC_URL, besides the browser's Origin.
PROXIES = {
    "all is said": {"Host": "phones.example.com", "X-Forwarded-Proto": "https"},
    # healthchecks/healthchecks#825, mathesar-foundation/mathesar#3499
    "no scheme": {"Host": "phones.example.com"},
    "the scheme of the inner hop": {"Host": "phones.example.com", "X-Forwarded-Proto": "http"},
    "the schemes of two hops": {"Host": "phones.example.com", "X-Forwarded-Proto": "http, https"},
    "an empty scheme": {"Host": "phones.example.com", "X-Forwarded-Proto": ""},
    "a port": {"Host": "phones.example.com:443", "X-Forwarded-Proto": "https"},
    "a port and no scheme": {"Host": "PHONES.example.com:443"},
    "its own port": {"Host": "phones.example.com:8000", "X-Forwarded-Proto": "http"},
}
# nginx without `proxy_set_header Host`.
OWN_HOST = {"Host": "127.0.0.1:8000"}


@pytest.fixture
def browser(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Client:
    settings.TRUSTED_PROXY_COUNT = 1
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.ALLOWED_HOSTS = ["phones.example.com", "127.0.0.1", "desk.example.net"]
    settings.SECURE_HSTS_SECONDS = 31_536_000
    monkeypatch.setattr("django.test.client.WSGIRequest", Request)  # as the server's
    return Client(enforce_csrf_checks=True)


def sign_in(browser: Client, user: User, origin: str, headers: dict[str, str]) -> Any:
    page = browser.get("/admin/login/", headers=headers)
    assert page.status_code == 200, "no redirect, whatever the scheme"
    user.set_password(PASSWORD)
    user.save()
    form = {"username": user.email, "password": PASSWORD, "csrfmiddlewaretoken": browser.cookies["csrftoken"].value}
    return browser.post("/admin/login/?next=/admin/", form, headers=headers | {"Origin": origin})


@pytest.mark.parametrize("headers", [*PROXIES.values(), OWN_HOST], ids=[*PROXIES, "its own host"])
def test_staff_sign_in_at_the_public_address_whatever_the_proxy_says(
    browser: Client, staff: User, headers: dict[str, str]
) -> None:
    reply = sign_in(browser, staff, PUBLIC, headers)
    assert (reply.status_code, reply["Location"]) == (302, "/admin/"), "relative, so it keeps the scheme and the host"
    assert all(cookie["secure"] for cookie in browser.cookies.values())


@pytest.mark.parametrize("headers", PROXIES.values(), ids=PROXIES)
def test_browsers_are_told_to_stay_with_tls_whatever_the_proxy_says(browser: Client, headers: dict[str, str]) -> None:
    assert browser.get("/admin/login/", headers=headers)["Strict-Transport-Security"] == "max-age=31536000"


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "http://phones.example.com", "null", "https://phones.example.com.evil.example", "https://phones.example.com:8443"],
)  # fmt: skip
@pytest.mark.parametrize("headers", PROXIES.values(), ids=PROXIES)
def test_forms_of_other_origins_are_refused_as_before(
    browser: Client, staff: User, origin: str, headers: dict[str, str]
) -> None:
    reply = sign_in(browser, staff, origin, headers)
    assert reply.status_code == 403
    assert b"the proxy in front of this server" in reply.content and b"docs/start.md" in reply.content


def test_under_another_name_the_proxy_is_believed(browser: Client, staff: User) -> None:
    origin, headers = "https://desk.example.net", {"Host": "desk.example.net"}
    assert sign_in(browser, staff, origin, headers).status_code == 403
    assert sign_in(browser, staff, origin, headers | {"X-Forwarded-Proto": "https"}).status_code == 302
