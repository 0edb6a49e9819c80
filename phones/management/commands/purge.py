from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from phones.services.purging import Retention, purge_targets


class Command(BaseCommand):
    help = (
        "Delete events, imports, audit entries and calls past their retention, and whatever has expired. Safe to run "
        "while the server is running, to interrupt and to run again. Run it daily, for example from cron."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        kept = Retention()
        for what, days in (
            ("events", kept.events_days),
            ("imports", kept.imports_days),
            ("audit", kept.audit_days),
            ("calls", kept.calls_days),
        ):
            text = f"days to keep {what} (default: {days or 'forever'})"
            parser.add_argument(f"--{what}-days", type=int, default=days, metavar="N", help=text)
        parser.add_argument("--dry-run", action="store_true", help="only count what would be deleted")

    def handle(self, *args: Any, **options: Any) -> None:
        days = {name: options[name] for name in ("events_days", "imports_days", "audit_days", "calls_days")}
        for name, count in days.items():
            if count is not None and not 1 <= count <= 36500:
                raise CommandError(f"--{name.replace('_', '-')} must be between 1 and 36500.", returncode=2)
        for target in purge_targets(Retention(**days)):
            if options["dry_run"]:
                self.stdout.write(f"would delete {target.rows.count()} {target.name}")
            else:
                self.stdout.write(f"deleted {target.delete()} {target.name}")
