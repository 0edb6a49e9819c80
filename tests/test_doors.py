"""The API, the admin and the command give the same verdict on the same input."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from integrations.sandbox import Sandbox
from integrations.sandbox import state as seeds
from phones.forms import FIELDS
from phones.models import PhoneNumber
from tests.support.api import post
from tests.support.carriers import PLIVO, TELNYX, TWILIO, Good
from tests.support.people import Tenant, sign_in
from users.models import ApiToken, User

pytestmark = pytest.mark.django_db(transaction=True)


@dataclass
class Case:
    """What is sent, what the carrier is like, and the code and the field of the verdict; no code: added."""

    good: Good
    code: str = ""
    wire_name: str | None = None
    changes: dict[str, Any] = field(default_factory=dict)
    fault: dict[str, Any] = field(default_factory=dict)
    is_there: bool = False


def fault_of(good: Good, kind: str, **how: Any) -> dict[str, Any]:
    return {"kind": kind, "carrier": good.integration, "times": None, **how}


WRONG = {"authToken": "wrong-token"}
CASES = {
    "twilio": Case(TWILIO),
    "plivo": Case(PLIVO),
    "telnyx": Case(TELNYX),
    "telnyx, on an application of the customer's": Case(TELNYX, changes={"accSId": seeds.TELNYX_CUSTOMER_APP}),
    "a number with plus and blanks": Case(TWILIO, changes={"phoneNumber": "+1 (212) 555-1234"}),
    "routed elsewhere, taken over": Case(TWILIO, changes={"phoneNumber": TWILIO.routed_elsewhere}),
    "routed elsewhere, left alone": Case(
        TWILIO, "number_routed_elsewhere", "phoneNumber",
        {"phoneNumber": TWILIO.routed_elsewhere, "onConflict": "refuse"},
    ),
    "plivo, routed elsewhere, left alone": Case(
        PLIVO, "number_routed_elsewhere", "phoneNumber", {"phoneNumber": PLIVO.routed_elsewhere, "onConflict": "refuse"}
    ),
    "telnyx, routed elsewhere, left alone": Case(
        TELNYX, "number_routed_elsewhere", "phoneNumber",
        {"phoneNumber": TELNYX.routed_elsewhere, "onConflict": "refuse"},
    ),
    "behind a trunk, left alone": Case(
        TWILIO, "number_routed_elsewhere", "phoneNumber", {"phoneNumber": "12125550002", "onConflict": "refuse"}
    ),
    "the carrier's demo, which is no route": Case(TWILIO, changes={"phoneNumber": "12125550005", "onConflict": "refuse"}),
    "there already": Case(TWILIO, "phone_exists", "phoneNumber", is_there=True),
    "no number": Case(TWILIO, "invalid_field", "phoneNumber", {"phoneNumber": None}),
    "a blank number": Case(TWILIO, "invalid_field", "phoneNumber", {"phoneNumber": "  "}),
    "a number too short": Case(TWILIO, "invalid_phone_number", "phoneNumber", {"phoneNumber": "123"}),
    "a number without country code": Case(TWILIO, "invalid_phone_number", "phoneNumber", {"phoneNumber": "0205550001"}),
    "letters for a number": Case(TWILIO, "invalid_phone_number", "phoneNumber", {"phoneNumber": "1800FLOWERS"}),
    "digits of another script": Case(TWILIO, "invalid_phone_number", "phoneNumber", {"phoneNumber": "١٢١٢٥٥٥١٢٣٤"}),
    "no carrier": Case(TWILIO, "invalid_field", "integration", {"integration": None}),
    "an unknown carrier": Case(TWILIO, "invalid_field", "integration", {"integration": "sinch"}),
    "no token": Case(TWILIO, "invalid_field", "authToken", {"authToken": None}),
    "a token with a blank in it": Case(TWILIO, "invalid_field", "authToken", {"authToken": "a b"}),
    "a token that is too long": Case(TWILIO, "invalid_field", "authToken", {"authToken": "x" * 513}),
    "no account id": Case(TWILIO, "invalid_field", "accSId", {"accSId": None}),
    "plivo, no account id": Case(PLIVO, "invalid_field", "accSId", {"accSId": None}),
    "a bad account id": Case(TWILIO, "invalid_field", "accSId", {"accSId": "AC/../x"}),
    "telnyx, an unknown application": Case(TELNYX, "invalid_field", "accSId", {"accSId": "1400000000000000999"}),
    "telnyx, a bad public key": Case(TELNYX, "invalid_field", "publicKey", {"publicKey": "short"}),
    "no owner": Case(TWILIO, "invalid_field", "userId", {"userId": None}),
    "an owner that is no id": Case(TWILIO, "invalid_user_id", "userId", {"userId": "ann"}),
    "an unknown owner": Case(TWILIO, "user_not_found", "userId", {"userId": "64e5f12345abcdef12345678"}),
    "twilio, wrong token": Case(TWILIO, "invalid_credentials", "authToken", WRONG),
    "plivo, wrong token": Case(PLIVO, "invalid_credentials", "authToken", WRONG),
    "telnyx, wrong token": Case(TELNYX, "invalid_credentials", "authToken", WRONG),
    "a suspended account": Case(
        TWILIO, "invalid_credentials", "authToken",
        {"accSId": seeds.TWILIO_SUSPENDED_SID, "authToken": seeds.TWILIO_SUSPENDED_TOKEN, "phoneNumber": "12125558888"},
    ),
    "twilio, somebody else's number": Case(TWILIO, "number_not_owned", "phoneNumber", {"phoneNumber": TWILIO.not_owned}),
    "plivo, somebody else's number": Case(PLIVO, "number_not_owned", "phoneNumber", {"phoneNumber": PLIVO.not_owned}),
    "telnyx, somebody else's number": Case(TELNYX, "number_not_owned", "phoneNumber", {"phoneNumber": TELNYX.not_owned}),
    "no voice": Case(TWILIO, "number_not_usable", "phoneNumber", {"phoneNumber": "12125550004"}),
    "twilio is down": Case(TWILIO, "carrier_unavailable", fault=fault_of(TWILIO, "reset")),
    "plivo answers 503": Case(PLIVO, "carrier_unavailable", fault=fault_of(PLIVO, "status", method="GET", status=503)),
    "telnyx talks nonsense": Case(TELNYX, "carrier_unavailable", fault=fault_of(TELNYX, "html", method="GET")),
    "twilio refuses the write": Case(
        TWILIO, "webhook_setup_failed", fault=fault_of(TWILIO, "status", method="POST", status=400)
    ),
    "plivo refuses the write": Case(PLIVO, "webhook_setup_failed", fault=fault_of(PLIVO, "status", method="POST", status=400)),
    "telnyx refuses the write": Case(
        TELNYX, "webhook_setup_failed", fault=fault_of(TELNYX, "status", method="PATCH", status=422)
    ),
}  # fmt: skip
# What a form calls these before a service is asked.
OF_FORMS = {
    ("user", "required"): "invalid_field", ("user", "invalid"): "invalid_user_id",
    ("user", "invalid_choice"): "user_not_found", ("integration", "required"): "invalid_field",
    ("integration", "invalid_choice"): "invalid_field",
}  # fmt: skip
WIRE_NAMES = {ours: wire for wire, ours in FIELDS.items()}

Verdict = tuple[str, str | None]


def by_api(body: dict[str, Any], tenant: Tenant, tmp_path: Path) -> Verdict:
    reply = post("/api/call/add-phone", body, ApiToken.issue(tenant.workspace)[1]).json()
    return (reply["data"]["error"], reply["data"]["field"]) if reply["code"] != 201 else ("", None)


def by_admin(body: dict[str, Any], tenant: Tenant, tmp_path: Path) -> Verdict:
    supervisor = User.objects.filter(is_superuser=True).first()
    desk = sign_in(supervisor or User.objects.create_superuser("root@example.com"))
    typed = {FIELDS[name]: value for name, value in body.items()}
    response = desk.post("/admin/phones/phonenumber/add/", {"on_conflict": "replace", "action": "voicemail", **typed})
    if response.status_code == 302:
        return "", None
    errors = response.context["form"].errors.as_data()
    name = next((name for name in FIELDS.values() if name in errors), "__all__")
    code = errors[name][0].code
    return OF_FORMS.get((name, code), code), WIRE_NAMES.get(name)


def by_command(body: dict[str, Any], tenant: Tenant, tmp_path: Path) -> Verdict:
    file, out = tmp_path / "rows.jsonl", StringIO()
    file.write_text(json.dumps(body))
    with suppress(SystemExit):
        call_command("add_phones", str(file), "--output", "json", stdout=out, stderr=StringIO())
    (row,) = json.loads(out.getvalue())["rows"]
    if row["outcome"] == "added":
        return "", None
    return "phone_exists" if row["outcome"] == "exists" else row["error"], "not told"


@pytest.mark.parametrize("door", [by_api, by_admin, by_command])
@pytest.mark.parametrize("name", CASES)
def test_every_door_gives_the_same_verdict(
    name: str, door: Callable[..., Verdict], sandbox: Sandbox, tenant: Tenant, tmp_path: Path
):
    case = CASES[name]
    if case.is_there:
        assert by_api(case.good.body(tenant.user), tenant, tmp_path) == ("", None)
    before = sandbox.snapshot()
    if case.fault:
        sandbox.fault(**case.fault)
    code, wire_name = door(case.good.body(tenant.user, **case.changes), tenant, tmp_path)
    sandbox.clear_faults()
    assert code == case.code
    assert wire_name in (case.wire_name, "not told")
    assert PhoneNumber.objects.filter(state="active").exists() == (not code or case.is_there)
    if code:
        assert sandbox.snapshot() == before
