"""The base of our commands."""

from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from core.databases.readiness import NOT_MIGRATED, is_migrated


class DatabaseCommand(BaseCommand):
    """A command that refuses a database that is not migrated. MongoDB would create what is missing without indexes."""

    requires_migrations_checks = True

    def check_migrations(self) -> None:
        """Raises CommandError where Django only warns, and DatabaseError if the database cannot be used."""
        if not is_migrated(connection):
            raise CommandError(NOT_MIGRATED)
