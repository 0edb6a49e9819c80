import json
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.db import transaction

from core.management.base import DatabaseCommand
from users import audit
from users.models import User, Workspace
from users.tokens import issue_token

# Written to stderr, because programs read stdout.
NEXT = """
Next:
  Keep the token. It is not shown again; manage.py create_token issues another one.
  Create an account for the support desk:
    manage.py create_staff --email EMAIL --group supervisor
  Add a number there, at {url}/admin/, or through the API, described at {url}/api/docs:
    curl {url}/api/call/add-phone -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" \\
      -d '{{"userId": "{user_id}", "phoneNumber": "…", "integration": "…", "accSId": "…", "authToken": "…"}}'
  Run the server and the worker:
    manage.py serve
    manage.py worker
"""


class Command(DatabaseCommand):
    help = "Create a workspace with its first user and an API token; print JSON. The token is shown only once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="The workspace's name.")
        parser.add_argument("--email", required=True, help="E-mail address of the first user.")

    def handle(self, *args: Any, **options: Any) -> None:
        workspace = Workspace(name=options["name"])
        try:
            workspace.full_clean()
            with transaction.atomic():
                workspace.save()
                user = User.objects.create_user(options["email"], workspace=workspace)
        except ValidationError as error:
            Workspace.objects.filter(pk=workspace.pk).delete()  # MongoDB does not roll it back
            raise CommandError("; ".join(error.messages)) from None
        audit.record("workspace.add", workspace_id=workspace.pk, detail=workspace.name)
        audit.record("user.add", workspace_id=workspace.pk, detail=user.email)
        _, text = issue_token(workspace)
        self.stdout.write(json.dumps({"workspaceId": workspace.pk, "userId": user.pk, "token": text}))
        self.stderr.write(NEXT.format(url=settings.PUBLIC_URL, user_id=user.pk), str)
