from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from core import keys
from core.resealing import Outcome, reseal_all

MOST_SHOWN = 50
SOME_UNREADABLE = 3


class Command(BaseCommand):
    help = (
        "Bring every stored secret under the newest key, the first of CREDENTIAL_KEYS. First put the new key in front "
        "and restart the server and its jobs; they run on meanwhile. Safe to interrupt and to run again. Exit status "
        "3: some secrets cannot be opened, as their key is not in CREDENTIAL_KEYS."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        lost = "give up keys that are not in CREDENTIAL_KEYS: what is sealed under them must be entered again"
        parser.add_argument("--key-lost", action="store_true", help=lost)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["key_lost"]:
            keys.keep_only_configured()
        outcome = reseal_all()
        self.stdout.write(f"{outcome.resealed} secrets brought under the newest key.")
        if outcome.unreadable:
            self.tell(outcome, key_lost=options["key_lost"])
            raise CommandError(f"{len(outcome.unreadable)} secrets cannot be opened.", returncode=SOME_UNREADABLE)
        self.stdout.write("Everything is under the newest key: remove the others from CREDENTIAL_KEYS.")

    def tell(self, outcome: Outcome, *, key_lost: bool) -> None:
        for one in outcome.unreadable[:MOST_SHOWN]:
            self.stdout.write(f"{one.row}: {one.name}. {one.if_lost}")
        if len(outcome.unreadable) > MOST_SHOWN:
            self.stdout.write(f"… and {len(outcome.unreadable) - MOST_SHOWN} more")
        if not key_lost:
            self.stdout.write(
                "Nothing of these was changed. Put their key back at the end of CREDENTIAL_KEYS and run this again. "
                "If it is lost for good: manage.py rotate_credential_keys --key-lost"
            )
