"""Issue and revoke the API tokens of a workspace, for the commands and the admin."""

from datetime import datetime

from django.utils import timezone

from users import audit
from users.models import ApiToken, Workspace


def issue_token(workspace: Workspace, expires_at: datetime | None = None) -> tuple[ApiToken, str]:
    """Issue a token. Returns its row and its text, which cannot be shown again. Writes to the audit trail."""
    token, text = ApiToken.issue(workspace, expires_at)
    audit.record("token.issue", workspace_id=workspace.pk, detail=token.prefix)
    return token, text


def revoke_token(token: ApiToken) -> bool:
    """Revoke a token permanently. Returns whether this call revoked it. Writes to the audit trail."""
    is_first = ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now()) == 1
    if is_first:
        audit.record("token.revoke", workspace_id=token.workspace_id, detail=token.prefix)
    return is_first
