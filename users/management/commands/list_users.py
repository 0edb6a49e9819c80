import json
from typing import Any

from django.core.management.base import CommandParser

from core.management.base import DatabaseCommand
from core.wire import wire_time
from users.management.lookups import workspace_by_id
from users.models import User


class Command(DatabaseCommand):
    help = "List the users with their ids, newest first; print JSON."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--workspace", metavar="ID", help="Only users of this workspace.")

    def handle(self, *args: Any, **options: Any) -> None:
        users = User.objects.order_by("-created_at", "-pk")
        if options["workspace"] is not None:
            users = users.filter(workspace=workspace_by_id(options["workspace"]))
        shown = [
            {
                "userId": user.pk,
                "email": user.email,
                "workspaceId": user.workspace_id,
                "isActive": user.is_active,
                "createdAt": wire_time(user.created_at),
            }
            for user in users
        ]
        self.stdout.write(json.dumps(shown, indent=2))
