from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from users.models import Workspace


def workspace_by_id(text: str) -> Workspace:
    """The workspace with this id. Raises CommandError."""
    try:
        return Workspace.objects.get(pk=text)
    except (Workspace.DoesNotExist, ValidationError):
        raise CommandError(
            f"There is no workspace {text!r}. Create one: manage.py create_workspace NAME --email E"
        ) from None
