from typing import Any

from django.core.management.base import CommandError, CommandParser

from core.management.base import DatabaseCommand
from users.models import User
from users.staff.totp import reset_device


class Command(DatabaseCommand):
    help = "Remove the second factor of a staff member, who sets up a new one at the next sign-in."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email", help="The staff member's e-mail address.")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(email=options["email"].strip().lower()).first()
        if user is None:
            raise CommandError("There is no user with this e-mail address.")
        reset_device(user)
        self.stdout.write(f"{user.email} will set up a new device at the next sign-in.")
