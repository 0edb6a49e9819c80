from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from users.models import ApiToken


class Command(BaseCommand):
    help = "Revoke an API token, at once and for good."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("prefix", help="The token's first characters, as create_token printed them.")

    def handle(self, *args: Any, **options: Any) -> None:
        tokens = list(ApiToken.objects.filter(prefix=options["prefix"]))
        if not tokens:
            raise CommandError("No token has this prefix. The admin lists them under API tokens.")
        if len(tokens) > 1:
            raise CommandError("Several tokens have this prefix. Revoke yours in the admin, under API tokens.")
        ApiToken.objects.filter(pk=tokens[0].pk, revoked_at=None).update(revoked_at=timezone.now())
        self.stdout.write(f"Revoked {tokens[0].prefix}.")
