"""API tokens in the admin: shown once, revoked for good, for supervisors only."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from tests.support.api import add
from tests.support.database import whole_database
from tests.support.people import Tenant, sign_in
from users.models import ApiToken, AuditEntry, User

pytestmark = pytest.mark.django_db
ISSUE = "/admin/users/apitoken/add/"


def issue(desk: Client, tenant: Tenant, **fields: str) -> Any:
    return desk.post(ISSUE, {"workspace": tenant.workspace.pk, **fields})


def shown_token(page: Any) -> str:
    match = re.search(r'<code class="api-token">(wp_[A-Za-z0-9_-]{43})</code>', page.content.decode())
    assert match
    return match[1]


def works(tenant: Tenant, token: str) -> bool:
    return add(Tenant(tenant.workspace, tenant.user, token), {}).status_code != 401


@pytest.mark.engine
def test_a_new_token_is_shown_on_one_page_and_nowhere_else(
    desk: Client, tenant: Tenant, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    page = issue(desk, tenant)
    token = shown_token(page)
    assert page.status_code == 200 and "no-store" in page["Cache-Control"]
    assert page.content.decode().count(token) == 1
    assert works(tenant, token)
    row = ApiToken.objects.get(prefix=token[:11])
    for address in ("", f"{row.pk}/change/", f"{row.pk}/revoke/", f"{row.pk}/history/"):
        reply = desk.get(f"/admin/users/apitoken/{address}")
        assert reply.status_code == 200 and token not in reply.content.decode(), address
    rows = whole_database()
    kept = [*rows, *(str(session.get_decoded()) for session in Session.objects.all()), caplog.text, str(desk.cookies)]
    assert token not in " ".join(kept)
    assert not LogEntry.objects.exists()


def test_it_is_in_the_trail_by_its_beginning(desk: Client, tenant: Tenant, supervisor: User) -> None:
    token = shown_token(issue(desk, tenant))
    row = AuditEntry.objects.get(action="token.issue")
    assert (row.actor, row.detail, row.workspace_id) == (supervisor.email, token[:11], tenant.workspace.pk)


@pytest.mark.engine
def test_it_expires_when_asked_to(desk: Client, tenant: Tenant) -> None:
    day = timezone.now() + timedelta(days=2)
    shown_token(issue(desk, tenant, expires_at_0=f"{day:%Y-%m-%d}", expires_at_1="12:00"))
    expires_at = ApiToken.objects.latest("created_at").expires_at
    assert expires_at and f"{expires_at:%Y-%m-%d %H:%M}" == f"{day:%Y-%m-%d} 12:00"


@pytest.mark.engine
def test_what_cannot_be_is_said_beside_its_field(desk: Client, tenant: Tenant) -> None:
    tenant.workspace.is_active = False
    tenant.workspace.save()
    cases = {"workspace": {}, "expires_at": {"expires_at_0": "2020-01-01", "expires_at_1": "12:00"}}
    for field, values in cases.items():
        page = issue(desk, tenant, **values)
        assert page.status_code == 200 and page.context["form"].errors[field]
    assert desk.post(ISSUE, {"workspace": "x"}).context["form"].errors["workspace"]
    assert desk.get(ISSUE).status_code == 200
    assert ApiToken.objects.count() == 1


def test_a_token_is_revoked_after_a_confirmation_at_once_and_for_good(desk: Client, tenant: Tenant) -> None:
    row = ApiToken.objects.get()
    address = f"/admin/users/apitoken/{row.pk}/revoke/"
    assert address in desk.get(f"/admin/users/apitoken/{row.pk}/change/").content.decode()
    assert desk.get(address).status_code == 200 and works(tenant, tenant.token)
    assert desk.post(address).status_code == 302
    assert not works(tenant, tenant.token)
    revoked_at = ApiToken.objects.get().revoked_at
    desk.post(address)
    assert ApiToken.objects.get().revoked_at == revoked_at
    assert [row.detail for row in AuditEntry.objects.filter(action="token.revoke")] == [row.prefix]
    assert address not in desk.get(f"/admin/users/apitoken/{row.pk}/change/").content.decode()


def test_a_token_is_neither_changed_nor_deleted(desk: Client, tenant: Tenant) -> None:
    row = ApiToken.objects.get()
    for address in (f"{row.pk}/change/", f"{row.pk}/delete/"):
        assert desk.post(f"/admin/users/apitoken/{address}", {"post": "yes", "expires_at": ""}).status_code == 403
    assert desk.post("/admin/users/apitoken/nothing/revoke/").status_code in (302, 404)
    assert works(tenant, tenant.token)


def test_support_sees_no_tokens(staff: User, tenant: Tenant) -> None:
    client, row = sign_in(staff), ApiToken.objects.get()
    for address in ("", "add/", f"{row.pk}/change/", f"{row.pk}/revoke/"):
        assert client.get(f"/admin/users/apitoken/{address}").status_code == 403
        assert client.post(f"/admin/users/apitoken/{address}", {"workspace": tenant.workspace.pk}).status_code == 403
    assert ApiToken.objects.filter(revoked_at=None).count() == 1
    assert "apitoken" not in client.get("/admin/").content.decode()


@pytest.mark.engine
def test_a_form_of_another_site_does_nothing(supervisor: User, tenant: Tenant) -> None:
    client = Client(enforce_csrf_checks=True)
    client.cookies = sign_in(supervisor).cookies
    assert client.post(ISSUE, {"workspace": tenant.workspace.pk}).status_code == 403
    assert client.post(f"/admin/users/apitoken/{ApiToken.objects.get().pk}/revoke/").status_code == 403
    assert client.post("/admin/totp/", {"code": "000000"}).status_code in (302, 403)
    assert ApiToken.objects.filter(revoked_at=None).count() == 1
