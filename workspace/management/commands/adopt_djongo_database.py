import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.db.migrations.exceptions import InconsistentMigrationHistory
from pymongo.errors import OperationFailure, PyMongoError

from workspace.mongodb import adopting


class Command(BaseCommand):
    help = (
        "Take over the database of DATABASE_URL that djongo wrote. Without --apply it only tells what is to be done. "
        "Stop what writes to it and make a backup first; run migrate afterwards. "
        "Exit status: 0 nothing is left to do, 3 something is."
    )
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--apply", action="store_true", help="do it")

    def handle(self, *args: Any, **options: Any) -> None:
        if connection.vendor != "mongodb":
            raise CommandError("DATABASE_URL names no MongoDB database. djongo wrote to no other.")
        done = left = 0
        try:
            for finding in adopting.findings(connection):
                if isinstance(finding, adopting.Step) and options["apply"]:
                    problem = self.carry_out(finding)
                    done, left = done + (problem is None), left + (problem is not None)
                    self.stdout.write(f"failed  {problem}" if problem else f"done    {finding.text}")
                else:
                    left += 1
                    self.stdout.write(f"{'to do' if isinstance(finding, adopting.Step) else 'LOOK':<7} {finding.text}")
        except adopting.NotDjongo:
            raise CommandError(
                f"There is no collection {adopting.SCHEMA}: djongo has not made this database."
            ) from None
        except (InconsistentMigrationHistory, PyMongoError) as error:
            raise CommandError(f"Not adopted: {adopting.why_not(error)}") from None
        self.stderr.write(f"done {done}, left {left}" if done or left else "nothing to do")
        if left:
            sys.exit(3)

    def carry_out(self, step: adopting.Step) -> str | None:
        """Do it. Returns why it could not be done."""
        try:
            step.act()
        except OperationFailure as error:
            return f"{step.text} But {adopting.why_not(error)}"
        return None
