"""The users of a workspace who can own numbers, newest first, page by page."""

from phones.services.paging import Position, cut, newest_first
from users.models import User


def newest_users(
    workspace_id: str, *, limit: int, position: Position | None = None
) -> tuple[list[User], Position | None]:
    """Return a page of active users, newest first, and the position where it ended; None if it is the last page."""
    users = User.objects.filter(workspace=workspace_id, is_active=True)
    return cut(list(newest_first(users, "created_at", position)[: limit + 1]), "created_at", limit)
