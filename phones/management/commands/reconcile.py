import sys
from typing import Any

from core.management.base import DatabaseCommand
from phones.reconciling import reconcile


class Command(DatabaseCommand):
    help = (
        "Finish or undo what a crash or a carrier outage interrupted, and fetch calls whose webhooks were missed; the "
        "worker does so every minute. Exit status 1: something is still to be done because a carrier or the database "
        "did not answer."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        outcome = reconcile()
        self.stdout.write(str(outcome))
        if outcome.has_failed:
            sys.exit(1)
