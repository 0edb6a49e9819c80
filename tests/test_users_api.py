"""Who uses the API: the users of a workspace, the workspace, and the token."""

import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from tests.support.api import add, data_of, get, send
from tests.support.people import Tenant, colleague_of, new_staff, new_tenant
from users.models import ApiToken, User

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def users(tenant: Tenant, query: str = "") -> dict[str, Any]:
    return data_of(get(f"/api/call/users{query}", tenant))


def test_a_user_is_shown_as_the_add_needs_it(tenant: Tenant) -> None:
    User.objects.filter(pk=tenant.user.pk).update(created_at=NOON)
    assert users(tenant) == {
        "items": [{"_id": tenant.user.pk, "email": tenant.user.email, "createdAt": "2026-11-20T12:00:00.000Z"}],
        "nextCursor": None,
    }


@pytest.mark.engine
@pytest.mark.parametrize("limit", [1, 2, 5, 6, 100])
def test_pages_bring_every_active_user_of_the_workspace_once_newest_first(
    tenant: Tenant, other_tenant: Tenant, limit: int
) -> None:
    """Two of them were made in the same millisecond."""
    everybody = [tenant.user, *(colleague_of(tenant, f"user{number}").user for number in range(5))]
    for number, user in enumerate(everybody):
        User.objects.filter(pk=user.pk).update(created_at=NOON + timedelta(minutes=number // 2))
    User.objects.filter(pk=colleague_of(tenant, "gone").user.pk).update(is_active=False)
    colleague_of(other_tenant)
    new_staff("support@example.com", "support")
    expected = sorted(everybody, key=lambda one: (everybody.index(one) // 2, one.pk), reverse=True)

    seen, query = [], f"?limit={limit}"
    while query:
        page = users(tenant, query)
        assert len(page["items"]) <= limit
        seen += [one["_id"] for one in page["items"]]
        query = f"?limit={limit}&cursor={page['nextCursor']}" if page["nextCursor"] else ""

    assert seen == [user.pk for user in expected]


def test_a_cursor_of_another_workspace_shows_nothing_of_it(tenant: Tenant, other_tenant: Tenant) -> None:
    colleague_of(tenant)
    cursor = users(tenant, "?limit=1")["nextCursor"]
    ours = {one["_id"] for one in users(other_tenant, f"?cursor={cursor}")["items"]}
    assert ours <= {other_tenant.user.pk}


@pytest.mark.parametrize(
    ("query", "field"),
    [("limit=101", "limit"), ("cursor=x", "cursor"), ("email=a", "email"), ("limit=1&limit=1", "limit"), ("q", "q")],
)
def test_a_wrong_query_is_told(tenant: Tenant, query: str, field: str) -> None:
    reply = get(f"/api/call/users?{query}", tenant)
    assert (reply.status_code, reply.json()["data"]) == (400, {"error": "invalid_field", "field": field})


@pytest.mark.parametrize("expires_at", [None, datetime(2099, 1, 31, 23, 59, 59, 123000, tzinfo=UTC)])
def test_a_token_is_told_what_it_is(tenant: Tenant, other_tenant: Tenant, expires_at: datetime | None) -> None:
    row, text = ApiToken.issue(tenant.workspace, expires_at)
    reply = get("/api/call/me", Tenant(tenant.workspace, tenant.user, text))
    assert data_of(reply) == {
        "workspace": {"_id": tenant.workspace.pk, "name": "one"},
        "token": {
            "prefix": row.prefix,
            "name": "",
            "scopes": ["read", "numbers"],
            "expiresAt": "2099-01-31T23:59:59.123Z" if expires_at else None,
        },
    }
    assert text not in reply.content.decode() and tenant.user.email not in reply.content.decode()


@pytest.mark.parametrize("path", ["users", "me"])
def test_only_a_valid_token_reads_them(tenant: Tenant, path: str) -> None:
    assert send("POST", path, tenant, {}).status_code == 405
    expired = ApiToken.issue(tenant.workspace, timezone.now() - timedelta(seconds=1))[1]
    for text in (expired, "wp_unknown"):
        assert get(f"/api/call/{path}", Tenant(tenant.workspace, tenant.user, text)).status_code == 401
    tenant.workspace.is_active = False
    tenant.workspace.save()
    assert get(f"/api/call/{path}", tenant).status_code == 401


# -- list_users -------------------------------------------------------------------------------------------------------


def listed(*arguments: str) -> list[dict[str, Any]]:
    out = StringIO()
    call_command("list_users", *arguments, stdout=out)
    return json.loads(out.getvalue())


def test_the_command_lists_all_users(tenant: Tenant) -> None:
    other, staff = new_tenant("two"), new_staff("support@example.com", "support")
    User.objects.filter(pk=other.user.pk).update(is_active=False, created_at=NOON)
    seen = listed()
    assert [one["userId"] for one in seen] == [staff.pk, tenant.user.pk, other.user.pk]
    assert seen[0]["workspaceId"] is None
    assert seen[2] == {
        "userId": other.user.pk,
        "email": "user@two.example.com",
        "workspaceId": other.workspace.pk,
        "isActive": False,
        "createdAt": "2026-11-20T12:00:00.000Z",
    }


def test_the_command_lists_the_users_of_a_workspace(tenant: Tenant, other_tenant: Tenant) -> None:
    [one] = listed("--workspace", tenant.workspace.pk)
    assert one["userId"] == tenant.user.pk
    assert add(tenant, {"userId": one["userId"]}).json()["data"]["field"] == "phoneNumber"
    with pytest.raises(CommandError, match="no workspace"):
        listed("--workspace", "x")
