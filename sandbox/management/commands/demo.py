import subprocess
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser


class Command(BaseCommand):
    help = "Show the product against simulated carriers, with a database and settings of its own, as make demo does."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--exit", action="store_true", help="End after the tour instead of serving on.")

    def handle(self, *args: Any, **options: Any) -> None:
        # A process of its own: this one has read the real settings already.
        command = [sys.executable, "-m", "sandbox.demo", *(["--exit"] if options["exit"] else [])]
        sys.exit(subprocess.call(command))
