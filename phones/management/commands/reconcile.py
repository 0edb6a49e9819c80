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
        "Finish or undo what a crash or a carrier outage interrupted, and fetch calls whose webhooks were missed. "
        "Run it every minute: as a service with --every 60, or from cron without it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--every",
            type=int,
            metavar="SECONDS",
            help="repeat at this interval; on SIGTERM or SIGINT, finish the current run and exit with 0",
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
        self.stdout.write(f"finished {outcome.finished}, still pending {outcome.failed + outcome.refused}")
        self.stdout.write(
            f"merged {outcome.merged_events} events, asked {outcome.pulled_accounts} accounts for missed calls, "
            f"no answer from {outcome.unanswered_accounts}"
        )
        if refused := outcome.refused + outcome.refused_accounts:
            self.stdout.write(f"credentials refused {refused}: retried less often until there is a new auth token")
        self.stdout.flush()
        return outcome

    def serve(self, every_s: int) -> None:
        """Run every `every_s` seconds, or at once after a run that took longer, until a signal arrives."""
        # SimpleQueue.put is reentrant, so a handler may call it whatever it interrupts; an Event could deadlock.
        signals: SimpleQueue[int] = SimpleQueue()
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signal_number, lambda number, frame: signals.put(number))
        while True:
            began = time.monotonic()
            try:
                close_old_connections()  # a connection may have broken in the last run
                self.run()
            except Exception as error:  # such as a database that is down and will be back
                log.error("This run failed; the next one starts in %s s", every_s, exc_info=error)
            try:
                signals.get(timeout=max(0.0, began + every_s - time.monotonic()))
                return
            except Empty:
                continue
