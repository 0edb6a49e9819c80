import json
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from core.management.base import DatabaseCommand
from users.management.lookups import workspace_by_id
from users.tokens import issue_token


class Command(DatabaseCommand):
    help = "Issue an API token for a workspace; print JSON. The token is shown only once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--workspace", required=True, metavar="ID", help="The workspace's id.")
        parser.add_argument("--expires-days", type=int, metavar="N", help="Expire after N days (default: never).")

    def handle(self, *args: Any, **options: Any) -> None:
        days = options["expires_days"]
        if days is not None and not 1 <= days <= 36500:
            raise CommandError("--expires-days must be between 1 and 36500.")
        expires_at = timezone.now() + timedelta(days=days) if days else None
        token, text = issue_token(workspace_by_id(options["workspace"]), expires_at)
        self.stdout.write(json.dumps({"token": text, "prefix": token.prefix}))
