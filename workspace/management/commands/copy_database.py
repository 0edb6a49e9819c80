import os
import re
import sys
from collections import Counter
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connections

from core import databases
from core.databases import copying
from core.databases.copying import SOURCE, TARGET
from core.databases.readiness import NOT_MIGRATED, explain, is_migrated
from users.models import Workspace

USAGE, DIFFERENT = 2, 3


class Command(BaseCommand):
    help = (
        "Copy everything from one database to another, whatever their engines. Run it while the server is "
        "running, stop the server, run it again for the rest, then set DATABASE_URL and start the server. Safe to "
        "interrupt and to run again. Exit status: 0 the databases are identical, 3 they differ, 2 a URL is wrong, 1 a "
        "database failed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        what = "a URL as in DATABASE_URL, or the name of a variable that contains it"
        parser.add_argument("--from", dest="source", default="DATABASE_URL", help=f"{what} (default: DATABASE_URL)")
        parser.add_argument("--to", dest="target", required=True, help=what)
        parser.add_argument("--check", action="store_true", help="only compare, and write nothing")
        parser.add_argument(
            "--replace", action="store_true", help="delete workspaces of the target that the source does not have"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        self.connect(SOURCE, "--from", options["source"])
        self.connect(TARGET, "--to", options["target"])
        if place(SOURCE) == place(TARGET):
            raise CommandError("--from and --to are the same database.", returncode=USAGE)
        try:
            self.require_migrated(SOURCE, "--from")
            if options["check"]:
                self.require_migrated(TARGET, "--to")
            else:
                self.copy(may_replace=options["replace"])
            self.compare()
        except DatabaseError as error:
            raise CommandError(
                f"{explain(error) or type(error).__name__} Nothing is lost: the source is only read. Run it again."
            ) from error

    def connect(self, alias: str, option: str, given: str) -> None:
        """Add the database to Django's connections under this alias."""
        if given == "DATABASE_URL":
            connections.settings[alias] = connections["default"].settings_dict.copy()
            return
        url = given if ":" in given else os.environ.get(given, "")
        if not url:
            raise CommandError(f"{option}: the variable {given} is not set, or it is empty.", returncode=USAGE)
        if url is given and re.search(r"//[^/@]*:[^/@]*@|password=", url):
            raise CommandError(
                f"{option}: others can read an argument. Put a URL with a password into a variable and pass its name: "
                f"{option} TARGET_URL",
                returncode=USAGE,
            )
        try:
            config = databases.from_url(option, url)
        except ImproperlyConfigured as error:
            raise CommandError(str(error), returncode=USAGE) from None
        connections.settings[alias] = connections.configure_settings({"default": config})["default"]

    def require_migrated(self, alias: str, option: str) -> None:
        if not is_migrated(connections[alias]):
            raise CommandError(f"{option}: {NOT_MIGRATED}", returncode=USAGE)

    def copy(self, *, may_replace: bool) -> None:
        call_command("migrate", database=TARGET, verbosity=0)
        ours, theirs = (set(Workspace.objects.using(alias).values_list("pk", flat=True)) for alias in (SOURCE, TARGET))
        if theirs - ours and not may_replace:
            raise CommandError(
                f"Nothing was written: the target has {len(theirs - ours)} workspaces that the source does not have. "
                "Check that --from and --to are not swapped. --replace deletes these workspaces.",
                returncode=USAGE,
            )
        done: Counter[str] = Counter()

        def count(what: str, rows: int) -> None:
            done[what] += rows
            if sys.stderr.isatty() and rows:
                self.stderr.write(f"\r{done['copied']} rows copied", ending="")

        copying.copy(count)
        self.stdout.write(f"{done['copied']} rows copied, {done['removed']} removed.")

    def compare(self) -> None:
        different = []
        for model in copying.models():
            source, target = (copying.contents(model, alias) for alias in (SOURCE, TARGET))
            verdict = "same" if source == target else f"DIFFERENT, {target.rows} in the target"
            if source.rows or target.rows:
                self.stdout.write(f"{model._meta.db_table:<32} {source.rows:>9} rows  {source.digest[:12]}  {verdict}")
            if source != target:
                different.append(model._meta.db_table)
        if different:
            raise CommandError(
                "The databases differ. If the server was running, stop it and run this again.", returncode=DIFFERENT
            )
        self.stdout.write("Both databases hold the same.")


def place(alias: str) -> tuple[Any, ...]:
    """Where it is. On PostgreSQL, an option may name a schema."""
    config = connections.settings[alias]
    return *(config[name] for name in ("ENGINE", "HOST", "PORT", "NAME")), config["OPTIONS"].get("options")
