from typing import Any

from django.core.management.base import CommandError, CommandParser

from core import keys
from core.management.base import DatabaseCommand
from core.resealing import Outcome, reseal_all

MAX_SHOWN = 50
SOME_UNREADABLE = 3


class Command(DatabaseCommand):
    help = (
        "Re-encrypt every stored secret under the newest key, the first of CREDENTIAL_KEYS. Before you run it, put the "
        "new key first and restart the server and its jobs, which keep running meanwhile. Safe to interrupt and to run "
        "again. Exit status 3: some secrets cannot be decrypted because their key is not in CREDENTIAL_KEYS."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        lost = "abandon keys that are not in CREDENTIAL_KEYS: secrets encrypted under them must be entered again"
        parser.add_argument("--key-lost", action="store_true", help=lost)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["key_lost"]:
            keys.keep_only_configured()
        outcome = reseal_all()
        self.stdout.write(f"{outcome.resealed} secrets re-encrypted under the newest key.")
        if outcome.unreadable:
            self.report(outcome, key_lost=options["key_lost"])
            raise CommandError(f"{len(outcome.unreadable)} secrets cannot be decrypted.", returncode=SOME_UNREADABLE)
        self.stdout.write("All secrets are encrypted under the newest key: remove the other keys from CREDENTIAL_KEYS.")

    def report(self, outcome: Outcome, *, key_lost: bool) -> None:
        for secret in outcome.unreadable[:MAX_SHOWN]:
            self.stdout.write(f"{secret.row}: {secret.name}. {secret.if_lost}")
        if len(outcome.unreadable) > MAX_SHOWN:
            self.stdout.write(f"… and {len(outcome.unreadable) - MAX_SHOWN} more")
        if not key_lost:
            self.stdout.write(
                "These secrets were not changed. Add their key back at the end of CREDENTIAL_KEYS and run this again. "
                "If it is lost for good: manage.py rotate_credential_keys --key-lost"
            )
