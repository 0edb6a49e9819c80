"""`manage.py sandbox`: runs the simulated carriers until Ctrl-C or SIGTERM, or places a call at running ones."""

import signal
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from sandbox.caller import NoCall, describe, has_worked, place_call, sandbox_url
from sandbox.sandbox import CALLS, Sandbox
from sandbox.state import State
from sandbox.voice_system import VOICE_HOST, VoiceSystem


class Command(BaseCommand):
    help = (
        "Run the simulated carriers on 127.0.0.1 and print their API URLs, accounts and numbers. "
        "`sandbox call NUMBER` places a test call at running ones, those of the demo included."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=8100)
        parser.add_argument(
            "--delay", type=float, default=0.0, metavar="SECONDS", help="latency added to every request"
        )
        parser.add_argument(
            "--host",
            action="append",
            default=[],
            metavar="NAME=ADDRESS",
            help="where streams to a host go, as voice.acme.example=127.0.0.1:9001; "
            f"{VOICE_HOST} is a voice system of the sandbox's own, which says the same back",
        )
        call = parser.add_subparsers(dest="action").add_parser(
            "call",
            help="call a number of a running sandbox and say what was heard",
            description="Call a number. Exit status: 0 the server answered every request, 1 it did not.",
        )
        call.add_argument("number", metavar="NUMBER")
        call.add_argument("--carrier", choices=sorted(CALLS), default="", help="needed if several have the number")
        call.add_argument("--from", dest="caller", default="", metavar="NUMBER", help="who calls")
        call.add_argument("--url", default="", help="the sandbox (default: the one of the settings, or of the demo)")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["action"] == "call":
            self.call(**{name: options[name] for name in ("number", "carrier", "caller", "url")})
        else:
            self.serve(options["port"], options["delay"], options["host"])

    def call(self, number: str, carrier: str, caller: str, url: str) -> None:
        try:
            found = url.rstrip("/") or sandbox_url(settings.CARRIER_API_URLS["twilio"])
            placed = place_call(found, number, carrier=carrier, caller=caller)
        except NoCall as error:
            raise CommandError(str(error)) from None
        for line in describe(placed):
            self.stdout.write(line)
        if not has_worked(placed):
            sys.exit(1)

    def serve(self, port: int, delay_s: float, hosts: list[str]) -> None:
        try:
            sandbox = Sandbox(port=port, delay_s=delay_s)
        except OSError as error:
            raise CommandError(
                f"Cannot listen on port {port} ({error.strerror}). Choose another with --port."
            ) from None
        self.stdout.write(f"TWILIO_API_URL={sandbox.twilio_url}")
        self.stdout.write(f"PLIVO_API_URL={sandbox.plivo_url}")
        self.stdout.write(f"TELNYX_API_URL={sandbox.telnyx_url}")
        self._write_accounts(sandbox.state)
        self.stdout.flush()
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with VoiceSystem() as voice_system:
            sandbox.hosts |= {VOICE_HOST: voice_system.address} | dict(host.split("=", 1) for host in hosts)
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
