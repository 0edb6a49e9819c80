from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError, CommandParser

from core.management.base import DatabaseCommand
from phones.services.purging import Retention, configured, purge_targets


class Command(DatabaseCommand):
    help = (
        "Delete events, imports, audit entries and calls past their retention, and whatever has expired. Safe to run "
        "while the server is running, to interrupt and to run again. The worker does so once a day."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        for what, days in asdict(configured()).items():
            text = f"days to keep {what} (KEEP_{what.upper()}_DAYS: {days or 'forever'})"
            parser.add_argument(f"--{what}-days", dest=what, type=int, default=days, metavar="N", help=text)
        parser.add_argument("--dry-run", action="store_true", help="only count what would be deleted")

    def handle(self, *args: Any, **options: Any) -> None:
        days = {what: options[what] for what in asdict(configured())}
        for what, count in days.items():
            if count is not None and not 1 <= count <= 36500:
                raise CommandError(f"--{what}-days must be between 1 and 36500.", returncode=2)
        for target in purge_targets(Retention(**days)):
            if options["dry_run"]:
                self.stdout.write(f"would delete {target.rows.count()} {target.name}")
            else:
                self.stdout.write(f"deleted {target.delete()} {target.name}")
