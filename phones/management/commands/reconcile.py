import sys
from typing import Any

from django.core.management.base import BaseCommand

from phones.services import reconcile


class Command(BaseCommand):
    help = (
        "Finish adds that a crash or a carrier's outage left half-done, and bring in calls whose webhooks were missed. "
        "Run it every minute, from cron for example."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        outcome = reconcile()
        self.stdout.write(f"settled {outcome.settled}, not yet {outcome.failed}")
        self.stdout.write(
            f"merged {outcome.merged_events} events, asked {outcome.pulled_accounts} accounts for calls, "
            f"no answer for {outcome.unanswered_accounts}"
        )
        if outcome.failed:
            sys.exit(1)
