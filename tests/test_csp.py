"""What browsers are told about our pages."""

import re

import pytest
from django.test import Client

from tests.support.api import add
from tests.support.people import Tenant, sign_in
from users.models import ApiToken, User

pytestmark = pytest.mark.django_db
STRICT = {
    "default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "img-src": "'self' data:", "font-src": "'self'",
    "connect-src": "'self'", "media-src": "'self'", "form-action": "'self'", "base-uri": "'none'", "frame-ancestors": "'none'",
}  # fmt: skip
# Everything that the policy forbids within a page.
INLINE = re.compile(
    r"<style|<script(?![^>]*\ssrc=)(?![^>]*type=\"application/json\")|\sstyle=|\son[a-z]+=|javascript:", re.IGNORECASE
)


def policy(reply: object) -> dict[str, str]:
    return dict(part.split(" ", 1) for part in reply["Content-Security-Policy"].split("; "))  # type: ignore[index]


def test_each_page_has_the_strict_policy_and_needs_no_other(supervisor: User, tenant: Tenant) -> None:
    desk = sign_in(supervisor)
    token = ApiToken.objects.get()
    pages = [(desk, address) for address in (
        "", "users/user/", f"users/user/{supervisor.pk}/change/", "users/auditentry/?q=x", "users/apitoken/add/", "users/apitoken/",
        f"users/apitoken/{token.pk}/change/", f"users/apitoken/{token.pk}/revoke/", "password_change/",
    )]  # fmt: skip
    half = Client()
    half.force_login(User.objects.create_user("new@example.com", is_staff=True))
    for client, address in [*pages, (Client(), "login/"), (half, "totp/")]:
        reply = client.get(f"/admin/{address}")
        assert reply.status_code == 200, address
        assert policy(reply) == STRICT, address
        found = INLINE.search(reply.content.decode())
        assert not found, (address, reply.content.decode()[max(0, found.start() - 100) : found.end() + 100])
        assert reply["Referrer-Policy"] == reply["Cross-Origin-Opener-Policy"] == "same-origin"
        assert reply["X-Frame-Options"] == "DENY" and reply["X-Content-Type-Options"] == "nosniff"
        assert "microphone=()" in reply["Permissions-Policy"]
        assert address == "password_change/" or "no-store" in reply["Cache-Control"]


def test_the_page_of_the_api_keeps_to_it_too() -> None:
    page = Client().get("/api/docs")
    assert page.status_code == 200 and policy(page) == STRICT
    assert not INLINE.search(page.content.decode())
    script = re.search(r'<script src="([^"]*script[^"]*)"></script>\s*</body>', page.content.decode())
    assert script
    code = Client().get(script[1])
    assert code["Content-Type"].startswith("application/javascript") and b"SwaggerUIBundle(" in code.content
    assert b"csrf" not in code.content.lower() and not code.cookies


def test_replies_of_the_api_are_as_they_were(tenant: Tenant) -> None:
    reply = add(tenant, {})
    assert "Content-Security-Policy" not in reply and "Permissions-Policy" not in reply
    assert "sessionid" not in reply.cookies
