"""Bearer token authentication for the API."""

import re
from contextlib import suppress
from datetime import timedelta
from typing import Any, cast

from django.db import DatabaseError
from django.db.models import Q
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from users import limits
from users.actor import set_actor
from users.addresses import counted_address
from users.models import ApiToken, Workspace

# The characters of a token: RFC 6750, section 2.1; the scheme is case-insensitive: RFC 9110, section 11.1.
BEARER = re.compile(r"(?i:bearer) ([A-Za-z0-9._~+/=-]{1,512})")
LAST_USE_PRECISION = timedelta(minutes=1)


class BearerAuthentication(BaseAuthentication):
    """`Authorization: Bearer <token>`: request.user is the workspace, request.auth is the token."""

    def authenticate(self, request: Request) -> tuple[Workspace, ApiToken]:
        match = BEARER.fullmatch(request.META.get("HTTP_AUTHORIZATION", ""))
        token = find_token(match[1]) if match else None
        if token is None:
            limits.spend_if_possible(("failed_tokens", counted_address(request._request)))
            raise AuthenticationFailed
        set_actor("token", token.prefix)
        note_use(token)
        return token.workspace, token

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def find_token(text: str) -> ApiToken | None:
    token = ApiToken.objects.select_related("workspace").filter(digest=ApiToken.digest_of(text)).first()
    return token if token and token.is_usable() else None


def note_use(token: ApiToken) -> None:
    """Store the time of the last use, to the minute: a write per request would cost more than it is worth.

    Nothing is stored if the database cannot be written: a request that only reads must not fail for it.
    """
    now = timezone.now()
    stale = now - LAST_USE_PRECISION
    if token.last_used_at is None or token.last_used_at < stale:
        unused = Q(last_used_at=None) | Q(last_used_at__lt=stale)
        with suppress(DatabaseError):
            ApiToken.objects.filter(unused, pk=token.pk).update(last_used_at=now)


def token_of(request: Request) -> ApiToken:
    """The token of an authenticated request."""
    return cast(ApiToken, request.auth)


class HasToken(BasePermission):
    def has_permission(self, request: Request, view: Any) -> bool:
        return isinstance(request.auth, ApiToken)
