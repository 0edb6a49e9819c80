import json
import secrets
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser

from core.management.base import DatabaseCommand
from users import audit
from users.models import User
from users.staff.groups import GROUPS

# Written to stderr, because programs read stdout.
NEXT = """
Next: sign in at {url}/admin/ with this e-mail address and password{device}.
The password is not shown again; it can be changed there.
"""


class Command(DatabaseCommand):
    help = "Create a staff member, who may sign in at /admin/; print JSON. The password is shown only once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--email", required=True, help="The staff member's e-mail address.")
        parser.add_argument("--group", required=True, choices=GROUPS, help="What they may do.")

    def handle(self, *args: Any, **options: Any) -> None:
        group = Group.objects.filter(name=options["group"]).first()
        if group is None:
            raise CommandError("The groups do not exist yet. Run: manage.py migrate")
        password = secrets.token_urlsafe(15)
        try:
            user = User.objects.create_user(options["email"], password, is_staff=True)
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from None
        user.groups.add(group)
        audit.record("user.add", detail=f"{user.email}: {group.name}")
        self.stdout.write(json.dumps({"userId": user.pk, "email": user.email, "password": password}))
        device = " and scan a code with an authenticator app" if settings.STAFF_TOTP else ""
        self.stderr.write(NEXT.format(url=settings.PUBLIC_URL, device=device), str)
