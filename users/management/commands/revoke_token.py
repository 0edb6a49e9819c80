from typing import Any

from django.core.management.base import CommandError, CommandParser

from core.management.base import DatabaseCommand
from users.models import ApiToken
from users.tokens import revoke_token


class Command(DatabaseCommand):
    help = "Revoke an API token immediately and permanently."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("prefix", help="The token's first characters, as create_token printed them.")

    def handle(self, *args: Any, **options: Any) -> None:
        tokens = list(ApiToken.objects.filter(prefix=options["prefix"]))
        if not tokens:
            raise CommandError("No token has this prefix. The admin lists them under API tokens.")
        if len(tokens) > 1:
            raise CommandError("Several tokens have this prefix. Revoke yours in the admin, under API tokens.")
        revoke_token(tokens[0])
        self.stdout.write(f"Revoked {tokens[0].prefix}.")
