import logging
import signal
import sys
import time
from queue import Empty, SimpleQueue
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import close_old_connections

from phones.reconciling import Outcome, reconcile

log = logging.getLogger(__name__)


class Command(BaseCommand):
    help = (
        "Finish adds that a crash or a carrier's outage left half-done, and bring in calls whose webhooks were missed. "
        "Run it every minute: as a service with --every 60, or from cron without."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--every",
            type=int,
            metavar="SECONDS",
            help="run again and again, until SIGTERM or SIGINT; then finish what is begun and exit with 0",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        every_s = options["every"]
        if every_s is None:
            if self.run().failed:
                sys.exit(1)
        elif every_s < 1:
            raise CommandError("--every must be 1 or more.", returncode=2)
        else:
            self.serve(every_s)

    def run(self) -> Outcome:
        outcome = reconcile()
        self.stdout.write(f"settled {outcome.settled}, not yet {outcome.failed + outcome.refused}")
        self.stdout.write(
            f"merged {outcome.merged_events} events, asked {outcome.pulled_accounts} accounts for calls, "
            f"no answer for {outcome.unanswered_accounts}"
        )
        if refused := outcome.refused + outcome.refused_accounts:
            self.stdout.write(f"credentials refused {refused}: asked less often until there is a new auth token")
        self.stdout.flush()
        return outcome

    def serve(self, every_s: int) -> None:
        """A round every so many seconds, or right after one that took longer, until a signal comes."""
        # A handler may put into this queue whatever it interrupts; an Event could lock itself out.
        signals: SimpleQueue[int] = SimpleQueue()
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, lambda number, frame: signals.put(number))
        while True:
            began = time.monotonic()
            try:
                close_old_connections()  # one that broke in the last round
                self.run()
            except Exception as error:  # the database is away: it comes back
                log.error("This round failed; the next one is in %s s", every_s, exc_info=error)
            try:
                signals.get(timeout=max(0.0, began + every_s - time.monotonic()))
                return
            except Empty:
                continue
