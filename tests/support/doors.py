"""The three ways to add a number, each from a fresh start, and what each leaves behind."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from django.core.management import call_command
from django.db import transaction
from django.db.models import QuerySet
from django.test import Client

from core.secrets import Secret
from phones.desk.forms import FIELDS
from phones.models import Account, Line, MadeApplication, PhoneNumber
from phones.services import add_phone
from sandbox.sandbox import Sandbox
from tests.support.api import post
from tests.support.carriers import Good
from tests.support.people import Tenant
from users.models import AuditEntry, LimitCounter, User


@dataclass
class Case:
    """What is sent, what it meets, and the code and the field of the verdict. Without a code the number is added.

    Args:
        good: the credentials and the number of a good add.
        changes: fields of the body that differ from it; None leaves one out.
        settings: label and inbound, as a PATCH takes them.
        fault: what is wrong at the carrier, as the sandbox takes it.
        owner: makes the user whose id is sent, if that is not the tenant's.
        holder: makes the user who has the number already.
        bought: another number of the account.
    """

    good: Good
    code: str = ""
    wire_name: str | None = None
    changes: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    fault: dict[str, Any] = field(default_factory=dict)
    owner: Callable[[Tenant], str] | None = None
    holder: Callable[[Tenant], str] | None = None
    bought: str = ""


class Verdict(NamedTuple):
    """The machine code, empty if the number was added. Field and sentence are None where the door does not tell them
    in the API's words."""

    code: str
    wire_name: str | None = None
    sentence: str | None = None


ADDED = Verdict("")


@dataclass
class Outcome:
    """What a door said and what it left behind.

    Args:
        carriers: all settings at the carriers, with one name for all ids that are made anew in each add.
        rows: our numbers, lines and accounts, in the same way.
        asked: the requests that the carriers got: carrier, method, path, status.
        guesses: how many refused credentials are counted, and how many are held, for each subject.
        trail: what the audit trail says of adds, whoever made them.
        is_untouched: whether the carriers and our rows are as they were before the door was used.
    """

    verdict: Verdict
    carriers: dict[str, Any]
    rows: list[dict[str, Any]]
    asked: list[str]
    guesses: dict[str, tuple[int, int]]
    trail: list[tuple[str | None, ...]]
    is_untouched: bool

    @property
    def active(self) -> list[tuple[str, str]]:
        """Owner and number of the numbers that are active."""
        return [(row["user"], row["number"]) for row in self.rows if row.get("state") == PhoneNumber.State.ACTIVE]


# -- the doors --------------------------------------------------------------------------------------------------------

# What a form calls these before a service is asked.
OF_FORMS = {
    ("user", "required"): "invalid_field", ("user", "invalid"): "invalid_user_id",
    ("user", "invalid_choice"): "user_not_found", ("integration", "required"): "invalid_field",
    ("integration", "invalid_choice"): "invalid_field", ("on_conflict", "invalid_choice"): "invalid_field",
    ("action", "invalid_choice"): "invalid_field", ("label", "max_length"): "invalid_field",
    ("greeting", "max_length"): "invalid_field",
}  # fmt: skip
INBOUND = {"action": "action", "greeting": "greeting", "forwardTo": "forward_to", "record": "record"}
WIRE_NAMES = {ours: wire for wire, ours in FIELDS.items()} | dict.fromkeys(INBOUND.values(), "inbound")


def by_api(doors: "Doors", body: dict[str, Any], settings: dict[str, Any]) -> Verdict:
    """Adds the number and then changes what an add does not take."""
    reply = post("/api/call/add-phone", body, doors.tenant.token).json()
    if settings and reply["status"]:
        path, headers = f"/api/call/phones/{reply['data']['_id']}", {"Authorization": f"Bearer {doors.tenant.token}"}
        reply = Client().patch(path, settings, content_type="application/json", headers=headers).json()
    return ADDED if reply["status"] else Verdict(reply["data"]["error"], reply["data"]["field"], reply["errorMessage"])


def by_admin(doors: "Doors", body: dict[str, Any], settings: dict[str, Any]) -> Verdict:
    typed = {"on_conflict": "replace", "action": "voicemail", "label": settings.get("label", "")}
    typed |= {FIELDS[name]: value for name, value in body.items()}
    # A box that is not ticked is not sent.
    typed |= {INBOUND[name]: value for name, value in settings.get("inbound", {}).items() if value is not False}
    response = doors.desk.post("/admin/phones/phonenumber/add/", typed)
    if response.status_code == 302:
        return ADDED
    errors = response.context["form"].errors.as_data()
    name = next((name for name in WIRE_NAMES if name in errors), "__all__")
    code = errors[name][0].code
    return Verdict(OF_FORMS.get((name, code), code), WIRE_NAMES.get(name))


def by_command(doors: "Doors", body: dict[str, Any], settings: dict[str, Any]) -> Verdict:
    file, out = doors.folder / "rows.jsonl", StringIO()
    label = {name: value for name, value in settings.items() if name == "label"}
    file.write_text(json.dumps({**body, **label, **settings.get("inbound", {})}))
    with suppress(SystemExit):
        call_command("add_phones", str(file), "--output", "json", stdout=out, stderr=StringIO())
    (row,) = json.loads(out.getvalue())["rows"]
    if row["outcome"] == "exists":  # no failure, where a file may be run again
        return Verdict("phone_exists")
    return ADDED if row["outcome"] == "added" else Verdict(row["error"], sentence=row["message"])


Door = Callable[["Doors", dict[str, Any], dict[str, Any]], Verdict]
DOORS: list[Door] = [by_api, by_admin, by_command]


@dataclass
class Doors:
    """The ways in of one tenant, and of one member of staff who has signed in."""

    sandbox: Sandbox
    tenant: Tenant
    desk: Client
    folder: Path

    def try_each(self, case: Case) -> tuple[Outcome, Outcome, Outcome]:
        """Send the same through the API, the admin and the command, each from a fresh start."""
        owner = case.owner(self.tenant) if case.owner else self.tenant.user.pk
        holder = case.holder(self.tenant) if case.holder else None
        by_api, by_admin, by_command = (self.try_one(door, case, owner, holder) for door in DOORS)
        return by_api, by_admin, by_command

    def try_one(self, door: Door, case: Case, owner: str, holder: str | None = None) -> Outcome:
        self.begin_anew()
        if case.bought:
            self.sandbox.add_number(case.good.integration, case.good.owner, case.bought)
        seeded = self.sandbox.snapshot()
        if holder:
            add_phone(
                user=User.objects.get(pk=holder), number=case.good.number, integration=case.good.integration,
                account_id=case.good.acc_sid, auth_token=case.good.auth_token,
            )  # fmt: skip
        before = self.sandbox.snapshot(), our_rows()
        self.sandbox.clear_ledger()
        if case.fault:
            self.sandbox.fault(carrier=case.good.integration, **case.fault)
        verdict = door(self, case.good.body(self.tenant.user, **{"userId": owner, **case.changes}), case.settings)
        self.sandbox.clear_faults()
        after = self.sandbox.snapshot(), our_rows()
        names = names_of_new_ids(seeded, after[0])
        carriers, rows = json.loads(renamed(json.dumps(after), names))
        asked = [f"{one.carrier} {one.method} {one.path} {one.status}" for one in self.sandbox.ledger]
        return Outcome(
            verdict,
            carriers,
            rows,
            asked=sorted(renamed(one, names) for one in asked),
            guesses=guesses(),
            trail=trail(),
            is_untouched=after == before,
        )

    def begin_anew(self) -> None:
        """The carriers as seeded, and nothing that a door has left."""
        self.sandbox.reset()
        with transaction.atomic():
            for model in (PhoneNumber, Line, Account, MadeApplication, LimitCounter):
                model.objects.all().delete()
            QuerySet(AuditEntry).delete()  # its own manager deletes nothing


# -- what is left -----------------------------------------------------------------------------------------------------

# Which row it is, and when it was.
DIFFERS = {"id", "line", "account", "used_by", "unwell_since", "held_since"}


def our_rows() -> list[dict[str, Any]]:
    """The accounts, lines and numbers with their secrets opened."""
    rows: list[dict[str, Any]] = []
    for model in (Account, Line, PhoneNumber):
        columns = [
            one for one in model._meta.concrete_fields if one.name not in DIFFERS and not one.name.endswith("_at")
        ]
        for row in model.objects.order_by("pk"):
            values = {column.name: getattr(row, column.attname) for column in columns}
            if model is Line:
                values["unsettled_until"] = bool(values["unsettled_until"])
            rows.append({name: one.open() if isinstance(one, Secret) else one for name, one in values.items()})
    return rows


def names_of_new_ids(seeded: dict[str, Any], now: dict[str, Any]) -> dict[str, str]:
    """Names for our tokens in addresses, and for what was made at the carriers, though it may be gone again."""
    names = dict.fromkeys(Account.objects.values_list("webhook_token", flat=True), "our-token")
    names |= dict.fromkeys(MadeApplication.objects.values_list("application_id", flat=True), "our-application")
    for carrier, accounts in now.items():
        for account, settings in accounts.items():
            made = settings["profiles"].keys() - seeded[carrier][account]["profiles"].keys()
            names |= dict.fromkeys(made, "our-profile")
    return names


def renamed(text: str, names: dict[str, str]) -> str:
    for id, name in names.items():
        text = text.replace(id, name)
    return text


def guesses() -> dict[str, tuple[int, int]]:
    counters = LimitCounter.objects.filter(key__startswith="refused_credentials")
    # Without the window of the clock.
    return {row.key.rpartition(":")[0]: (row.used, row.held) for row in counters}


def trail() -> list[tuple[str | None, ...]]:
    entries = AuditEntry.objects.filter(action="phone.add").order_by("at", "pk")
    return [(one.outcome, one.number, one.workspace_id, one.detail) for one in entries]
