"""Workspaces, their users and the support staff."""

import base64
import re
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import Group
from django.test import Client
from django_otp.oath import totp

from users.models import ApiToken, User, Workspace


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
