import subprocess
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser


class Command(BaseCommand):
    help = "Demonstrate the product with simulated carriers and its own database and settings, like make demo."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--exit", action="store_true", help="Exit after the tour instead of continuing to serve.")
        parser.add_argument("--database", default="sqlite", help="sqlite, mongodb or postgresql.")

    def handle(self, *args: Any, **options: Any) -> None:
        # In a separate process, because this process has already read the real settings.
        command = [sys.executable, "-m", "sandbox.demo", "--database", options["database"]]
        command += ["--exit"] if options["exit"] else []
        sys.exit(subprocess.call(command))
