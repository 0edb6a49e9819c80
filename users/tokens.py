"""Issuing and revoking the API tokens of a workspace, by command or in the admin."""

from datetime import datetime

from django.utils import timezone

from users import audit
from users.models import ApiToken, Workspace


def issue_token(workspace: Workspace, expires_at: datetime | None = None) -> tuple[ApiToken, str]:
    """Make a token. Returns its row and its text, which nobody can ever show again."""
    token, text = ApiToken.issue(workspace, expires_at)
    audit.record("token.issue", workspace_id=workspace.pk, detail=token.prefix)
    return token, text


def revoke_token(token: ApiToken) -> bool:
    """Refuse a token from now on and for good. Says whether it was this call that did it."""
    is_first = ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now()) == 1
    if is_first:
        audit.record("token.revoke", workspace_id=token.workspace_id, detail=token.prefix)
    return is_first
