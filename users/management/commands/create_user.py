import json
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser

from core.management.base import DatabaseCommand
from users import audit
from users.management.lookups import workspace_by_id
from users.models import User


class Command(DatabaseCommand):
    help = "Create a user of a workspace, who can own phone numbers; print JSON."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--workspace", required=True, metavar="ID", help="The workspace's id.")
        parser.add_argument("--email", required=True, help="The user's e-mail address.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            user = User.objects.create_user(options["email"], workspace=workspace_by_id(options["workspace"]))
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from None
        audit.record("user.add", workspace_id=user.workspace_id, detail=user.email)
        self.stdout.write(json.dumps({"userId": user.pk}))
