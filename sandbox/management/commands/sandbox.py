"""`manage.py sandbox`: runs the simulated carriers until Ctrl-C or SIGTERM."""

import signal
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from sandbox.sandbox import Sandbox
from sandbox.state import State


class Command(BaseCommand):
    help = "Runs the simulated carriers on 127.0.0.1 and prints their API URLs, accounts and numbers."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=8100)
        parser.add_argument(
            "--delay", type=float, default=0.0, metavar="SECONDS", help="latency added to every request"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        sandbox = Sandbox(port=options["port"], delay_s=options["delay"])
        self.stdout.write(f"TWILIO_API_URL={sandbox.twilio_url}")
        self.stdout.write(f"PLIVO_API_URL={sandbox.plivo_url}")
        self.stdout.write(f"TELNYX_API_URL={sandbox.telnyx_url}")
        self._write_accounts(sandbox.state)
        self.stdout.flush()
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            sandbox.serve_forever()
        except KeyboardInterrupt:
            sandbox.stop()

    def _write_accounts(self, state: State) -> None:
        """Print the made-up credentials and the numbers of each account."""
        for carrier, accounts in state.accounts.items():
            for account in accounts.values():
                self.stdout.write(f"\n{carrier} {account.id} {account.secret} ({account.status})")
                self.stdout.write("  " + " ".join(account.numbers))
