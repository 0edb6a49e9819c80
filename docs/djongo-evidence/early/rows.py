"""Writes what an early build would have kept, for the fixture. Run by reproduce.py after `migrate`."""

import datetime
import warnings

import django

warnings.simplefilter("ignore")
django.setup()

from django.contrib.admin.models import CHANGE, LogEntry  # noqa: E402
from django.contrib.auth.hashers import make_password  # noqa: E402
from django.contrib.auth.models import Group, Permission  # noqa: E402
from django.contrib.contenttypes.models import ContentType  # noqa: E402
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402

from early.phones.models import Account, CallEvent, Line, PhoneNumber  # noqa: E402
from early.samples.models import Key, Note, Slot  # noqa: E402
from early.users.models import User, Workspace  # noqa: E402

workspace = Workspace.objects.create(name="Acme")
ann = User.objects.create(
    email="ann@acme.example",
    password=make_password("kept since djongo"),
    workspace=workspace,
    is_staff=True,
    is_superuser=True,
)
operators = Group.objects.create(name="operators")
Group.objects.create(name="auditors")
operators.permissions.set(Permission.objects.filter(codename__in=["view_logentry", "change_logentry"]))
ann.groups.add(operators)
LogEntry.objects.log_action(
    ann.pk, ContentType.objects.get_for_model(Group).pk, operators.pk, "operators", CHANGE, "made"
)
session = SessionStore()
session["kept"] = "yes"
session.save()


def account(account_id: str, place: int) -> Account:
    return Account.objects.create(
        integration="twilio",
        account_id=account_id,
        auth_token="sealed",
        token_digest=f"{place:064}",
        webhook_token=f"webhook-secret-{place}",
    )


one = account("AC00000000000000000000000000000001", 1)
for place in (2, 3):  # the add that was tried again
    account("AC00000000000000000000000000000001", place)
line = Line.objects.create(account=one, number="12125551234", carrier_id="PN1", snapshot="sealed")
PhoneNumber.objects.create(user=ann, line=line, integration="twilio", number="12125551234", state="active")
CallEvent.objects.create(account=one, dedupe_key="1", kind="call", payload={"CallSid": "CA1"})

for text in ("a", "b", "b", "c"):
    Key.objects.create(owner=1, text=text)
Slot.objects.create(owner=1)
notes = {"object": {"a": {"b": [1, 2.5, None, "ü"]}}, "list": [1], "text": "123", "number": 5, "null": None}
for slug, data in notes.items():
    Note.objects.create(slug=slug, data=data)
# A key that was given, which djongo's sequence does not know of.
Note.objects.create(id=500, slug="given", data={"at": datetime.date(2021, 5, 1).isoformat()})
