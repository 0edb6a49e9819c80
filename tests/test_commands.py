"""The commands of users/."""

import json
import re
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from tests.support import PROJECT
from tests.support.api import add
from tests.support.people import BAD_NAMES, GOOD_NAMES, Tenant
from users.models import ApiToken, User, Workspace


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


# -- commands ---------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_create_workspace_makes_all_that_a_first_request_needs() -> None:
    made = json.loads(run("create_workspace", "Acme", "--email", "Ann@Example.com"))
    assert list(made) == ["workspaceId", "userId", "token"]
    user = User.objects.get(pk=made["userId"])
    assert user.workspace is not None
    assert (user.email, user.workspace.pk, user.workspace.name) == ("ann@example.com", made["workspaceId"], "Acme")
    assert not user.has_usable_password() and not user.is_staff
    tenant = Tenant(user.workspace, user, made["token"])
    assert add(tenant, {}).status_code == 400


@pytest.mark.django_db
def test_create_workspace_says_what_comes_next_beside_what_programs_read(settings: Any) -> None:
    settings.PUBLIC_URL = "https://calls.example.com"
    out, err = StringIO(), StringIO()
    call_command("create_workspace", "Acme", "--email", "ann@example.com", stdout=out, stderr=err)
    made = json.loads(out.getvalue())
    for what in (
        "manage.py create_staff",
        "https://calls.example.com/admin/",
        made["userId"],
        "manage.py worker",
    ):
        assert what in err.getvalue()
    assert made["token"] not in err.getvalue()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("totp", "hint"), [(True, "authenticator app"), (False, "this e-mail address and password.\n")]
)
def test_create_staff_says_where_to_sign_in(settings: Any, totp: bool, hint: str) -> None:
    settings.STAFF_TOTP = totp
    out, err = StringIO(), StringIO()
    call_command("create_staff", "--email", "eve@example.com", "--group", "support", stdout=out, stderr=err)
    assert "https://phones.example.com/admin/" in err.getvalue() and hint in err.getvalue()
    assert json.loads(out.getvalue())["password"] not in err.getvalue()


@pytest.mark.django_db
@pytest.mark.parametrize(
    "email",
    [
        "",
        " ",
        "\u200b",
        "ann",
        "ann@",
        "@example.com",
        "a b@example.com",
        "ann@example.com\n\nx",
        "a" * 250 + "@example.com",
        "ann@exam\u200bple.com",
        "ann@example.c\u3164om",
        "a\u00adnn@example.com",
        "ann@\ufeffexample.com",
        "ann\x00@example.com",
    ],
)
def test_a_bad_address_makes_nothing(email: str) -> None:
    with pytest.raises(CommandError):
        run("create_workspace", "Acme", "--email", email)
    assert (Workspace.objects.count(), User.objects.count(), ApiToken.objects.count()) == (0, 0, 0)


@pytest.mark.engine
@pytest.mark.django_db
@pytest.mark.parametrize(("name", "why"), [("a" * 201, "at most 200"), *BAD_NAMES])
def test_a_bad_name_makes_nothing(name: str, why: str) -> None:
    with pytest.raises(CommandError, match=why):
        run("create_workspace", name, "--email", "ann@example.com")
    assert (Workspace.objects.count(), User.objects.count()) == (0, 0)


@pytest.mark.django_db
@pytest.mark.parametrize(("given", "kept"), GOOD_NAMES)
def test_a_name_is_kept_without_the_blanks_around_it(given: str, kept: str) -> None:
    run("create_workspace", given, "--email", "\ufeff Ann@Example.com\u200b\n")
    assert (Workspace.objects.get().name, User.objects.get().email) == (kept, "ann@example.com")


@pytest.mark.django_db
@pytest.mark.parametrize("email", ["user@one.example.com", "USER@One.example.com", " user@one.example.com "])
def test_an_address_that_is_taken_makes_nothing(tenant: Tenant, email: str) -> None:
    with pytest.raises(CommandError, match="already exists"):
        run("create_workspace", "Acme", "--email", email)
    with pytest.raises(CommandError, match="already exists"):
        run("create_user", "--workspace", tenant.workspace.pk, "--email", email)
    assert (Workspace.objects.count(), User.objects.count()) == (1, 1)


def test_create_user_adds_a_user_to_the_workspace(tenant: Tenant) -> None:
    made = json.loads(run("create_user", "--workspace", tenant.workspace.pk, "--email", "bob@example.com"))
    assert list(made) == ["userId"]
    assert User.objects.get(pk=made["userId"]).workspace == tenant.workspace


@pytest.mark.engine
@pytest.mark.django_db
@pytest.mark.parametrize("workspace", ["0" * 24, "x", "", "64e5f12345abcdef12345678\n", "' OR 1=1"])
def test_an_unknown_workspace_is_told(workspace: str) -> None:
    for arguments in (["create_user", "--email", "a@example.com"], ["create_token"]):
        with pytest.raises(CommandError, match="no workspace"):
            run(*arguments, "--workspace", workspace)
    assert (User.objects.count(), ApiToken.objects.count()) == (0, 0)


def test_create_token_shows_it_once_and_keeps_only_its_digest(tenant: Tenant) -> None:
    made = json.loads(run("create_token", "--workspace", tenant.workspace.pk, "--expires-days", "2"))
    assert list(made) == ["token", "prefix"]
    row = ApiToken.objects.get(prefix=made["prefix"])
    assert made["token"].startswith(made["prefix"])
    assert made["token"] not in [str(value) for value in vars(row).values()]
    assert row.expires_at is not None
    assert 1.9 < (row.expires_at - timezone.now()).total_seconds() / 86400 <= 2
    assert add(Tenant(tenant.workspace, tenant.user, made["token"]), {}).status_code == 400


@pytest.mark.parametrize("days", ["0", "-1", "40000", "x", "1.5"])
def test_a_token_that_expires_at_no_time_is_refused(tenant: Tenant, days: str) -> None:
    with pytest.raises(CommandError, match="expires-days"):
        run("create_token", "--workspace", tenant.workspace.pk, f"--expires-days={days}")
    assert ApiToken.objects.count() == 1


def test_a_revoked_token_is_refused_at_once_and_stays_so(tenant: Tenant) -> None:
    prefix = ApiToken.objects.get().prefix
    assert add(tenant, {}).status_code == 400
    assert prefix in run("revoke_token", prefix)
    revoked_at = ApiToken.objects.get().revoked_at
    assert add(tenant, {}).status_code == 401
    run("revoke_token", prefix)
    assert ApiToken.objects.get().revoked_at == revoked_at


@pytest.mark.engine
def test_a_prefix_that_names_no_token_or_several_revokes_none(tenant: Tenant) -> None:
    for prefix in ("wp_nothing", "", "wp_"):
        with pytest.raises(CommandError, match="No token"):
            run("revoke_token", prefix)
    token = ApiToken.objects.get()
    ApiToken.objects.create(workspace=tenant.workspace, digest="x", prefix=token.prefix)
    with pytest.raises(CommandError, match="Several"):
        run("revoke_token", token.prefix)
    assert not ApiToken.objects.exclude(revoked_at=None).exists()


def test_the_models_are_as_the_migrations_have_made_them(db: None) -> None:
    run("makemigrations", "--check", "--dry-run")


def test_the_security_page_names_tests_that_exist() -> None:
    named = re.findall(r"`((?:\w+/)?test_\w+\.py)::(\w+)`", (PROJECT / "SECURITY.md").read_text())
    assert len(named) > 20
    missing = [
        f"{file}::{test}" for file, test in named if f"def {test}(" not in (PROJECT / "tests" / file).read_text()
    ]
    assert missing == []
