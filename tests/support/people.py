"""Workspaces, their users and the support staff."""

import base64
import re
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import Group
from django.test import Client
from django_otp.oath import totp

from users.models import ApiToken, AuditEntry, User, Workspace

# Names that people would not see or that would break a line, and what is said of them; names as given and as kept.
UNSEEN = "with at least one visible character"
ONE_LINE = "on one line, without control characters"
BAD_NAMES = [
    ("", UNSEEN), ("   ", UNSEEN), ("\u00a0", UNSEEN), ("\u200b", UNSEEN), ("\ufeff", UNSEEN), ("\u3164", UNSEEN),
    ("\u2800\u2800", UNSEEN), ("\u00ad", UNSEEN), ("\u200e \u202e", UNSEEN), ("\ufe0f", UNSEEN), ("\U000e0041", UNSEEN),
    ("\t\n", UNSEEN), ("\u115f\uffa0", UNSEEN), ("a\nb", ONE_LINE), ("a\r\nb", ONE_LINE), ("a\u2028b", ONE_LINE),
    ("\x00", ONE_LINE), ("a\x1b[2J", ONE_LINE), ("a\x7f", ONE_LINE), ("a\x85b", ONE_LINE), ("a\u202eb", ONE_LINE), ("\ud800", ONE_LINE),
]  # fmt: skip
GOOD_NAMES = [
    (" Acme ", "Acme"), ("\u200bAcme\ufeff", "Acme"), ("Acme\n", "Acme"), ("\u3000Ac me\u00a0", "Ac me"), ("❤\ufe0f", "❤\ufe0f"),
    ("👩\u200d🚀", "👩\u200d🚀"), ("می\u200cخواهم", "می\u200cخواهم"), ("\u200e\u2068Acme\u2069", "Acme"),
    ("\u202aAcme\u202c\u200f", "Acme"), ("\u180eAcme\u061c", "Acme"), ("Café", "Café"), ("株式会社", "株式会社"), ("...", "..."),
]  # fmt: skip


@dataclass
class Tenant:
    """A workspace with a user and a token."""

    workspace: Workspace
    user: User
    token: str


def new_tenant(name: str = "one") -> Tenant:
    workspace = Workspace.objects.create(name=name)
    user = User.objects.create_user(f"user@{name}.example.com", workspace=workspace)
    return Tenant(workspace, user, ApiToken.issue(workspace)[1])


def colleague_of(tenant: Tenant, name: str = "colleague") -> Tenant:
    """Another user of the same workspace, who has a token of its own."""
    user = User.objects.create_user(f"{name}@{tenant.workspace.name}.example.com", workspace=tenant.workspace)
    return Tenant(tenant.workspace, user, ApiToken.issue(tenant.workspace)[1])


def new_staff(email: str, *groups: str, **fields: Any) -> User:
    user = User.objects.create_user(email, None, is_staff=True, **fields)
    user.groups.set(Group.objects.filter(name__in=groups))
    return user


def code_of(key: str, *, steps: int = 0) -> str:
    """What an authenticator app shows for a key now, or some half minutes later."""
    return f"{totp(base64.b32decode(key.replace(' ', '')), drift=steps):06}"


def shown_key(page: Any) -> str:
    """The key on the page that sets up a second factor."""
    match = re.search(r"<code>([A-Z2-7 ]+)</code>", page.content.decode())
    assert match, page.content.decode()
    return match[1]


def sign_in(user: User) -> Client:
    """A browser in which this user has signed in; the second factor is set up with a real code."""
    client = Client()
    client.force_login(user)
    done = client.post("/admin/totp/", {"code": code_of(shown_key(client.get("/admin/totp/")))})
    assert (done.status_code, done["Location"]) == (302, "/admin/")
    return client


def trail(tenant: Tenant, action: str = "phone.move") -> list[tuple[str, str, str]]:
    """Who, what came of it, and what is said, in a workspace's entries."""
    entries = AuditEntry.objects.filter(workspace_id=tenant.workspace.pk, action=action).order_by("at", "id")
    return list(entries.values_list("actor", "outcome", "detail"))
