import sys
from typing import Any

from django.core.management.base import BaseCommand

from phones.services import reconcile


class Command(BaseCommand):
    help = "Finish adds that a crash or a carrier's outage left half-done. Run it every minute, from cron for example."

    def handle(self, *args: Any, **options: Any) -> None:
        outcome = reconcile()
        self.stdout.write(f"settled {outcome.settled}, not yet {outcome.failed}")
        if outcome.failed:
            sys.exit(1)
