"""Live with a number: list, change, check, repair, remove, pick."""

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from phones.models import Account, Call, Line, PhoneNumber, token_digest
from sandbox import state as seeds
from sandbox.sandbox import Sandbox
from tests.support.api import UNSAID, add, check, data_of, send
from tests.support.carriers import CARRIERS, SUBJECTS, Good
from tests.support.database import UPDATE, failing
from tests.support.killing import NEW_TOKEN, rotate_at_the_carrier
from tests.support.people import Tenant
from workspace.exceptions import STORE_AWAY

pytestmark = pytest.mark.django_db


# -- list and read ----------------------------------------------------------------------------------------------------


def test_a_number_is_shown_as_it_is(phone: PhoneNumber, tenant: Tenant, carrier: Good) -> None:
    shown = data_of(send("GET", f"phones/{phone.pk}", tenant))

    assert shown == {
        "_id": phone.pk,
        "userId": tenant.user.pk,
        "phoneNumber": carrier.number,
        "integration": carrier.integration,
        "accSId": carrier.acc_sid or Account.objects.get().application_id,
        "label": "",
        "inbound": {"action": "voicemail", "greeting": "", "forwardTo": None, "record": False, **UNSAID},
        "health": "ok",
        "reasons": [],
        "checkedAt": shown["checkedAt"],
        "lastCallAt": None,
        "createdAt": shown["createdAt"],
        "sharedWith": 0,
    }
    assert shown["checkedAt"] >= shown["createdAt"]
    assert data_of(send("GET", "phones", tenant)) == {"items": [shown], "nextCursor": None}


def test_removal_restores(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> None:
    before = sandbox.snapshot()
    assert add(tenant, carrier.body(tenant.user, phoneNumber=carrier.routed_elsewhere)).status_code == 201
    phone = PhoneNumber.objects.get()

    assert data_of(send("DELETE", f"phones/{phone.pk}", tenant)) == {"_id": phone.pk, "restored": True}

    assert sandbox.snapshot() == before
    assert not PhoneNumber.objects.exists()
    assert not Line.objects.exists()
    assert not Account.objects.exists()
    assert send("GET", f"phones/{phone.pk}", tenant).status_code == 404


def test_numbers_to_pick_from(sandbox: Sandbox, phone: PhoneNumber, tenant: Tenant, carrier: Good) -> None:
    body = {"integration": carrier.integration, "authToken": carrier.auth_token}
    if carrier.acc_sid:
        body["accSId"] = carrier.acc_sid
    data = data_of(send("POST", "available-phones", tenant, body))
    mine = next(one for one in data["items"] if one["phoneNumber"] == carrier.number)
    assert mine == {"phoneNumber": carrier.number, "voice": True, "active": True, "route": "ours", "added": True}


@pytest.mark.engine
def test_a_shared_list_shows_only_the_own_workspace_and_pages(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, settings: Any
) -> None:
    settings.LIMITS = settings.LIMITS | {"adds": None}
    twilio = CARRIERS["twilio"]
    for number in range(5):
        sandbox.add_number("twilio", twilio.acc_sid, f"1617555{4000 + number}")
        assert add(tenant, twilio.body(tenant.user, phoneNumber=f"1617555{4000 + number}")).status_code == 201
    assert add(other_tenant, twilio.body(other_tenant.user)).status_code == 201
    expected = [f"1617555{4000 + number}" for number in (4, 3, 2, 1, 0)]

    seen, cursor = [], ""
    while cursor is not None:
        data = data_of(send("GET", "phones?limit=2" + (f"&cursor={cursor}" if cursor else ""), tenant))
        seen += [one["phoneNumber"] for one in data["items"]]
        cursor = data["nextCursor"]
    assert seen == expected

    def numbers(query: str) -> list[str]:
        return [one["phoneNumber"] for one in data_of(send("GET", f"phones?{query}", tenant))["items"]]

    assert numbers("phoneNumber=%2B16175554003") == ["16175554003"]
    assert numbers(f"userId={tenant.user.pk}&integration=twilio&health=ok") == expected
    assert numbers("integration=plivo") == numbers("health=drift") == numbers(f"userId={other_tenant.user.pk}") == []


NO_NUMBER = {"error": "invalid_phone_number", "field": "phoneNumber"}


def test_a_filter_takes_a_number_that_no_plan_makes_possible_once_the_workspace_has_it(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, carrier: Good
) -> None:
    number = "5215512345678"
    sandbox.add_number(carrier.integration, carrier.owner, number)
    assert add(other_tenant, carrier.body(other_tenant.user, phoneNumber=number)).status_code == 201
    for path in ("phones", "calls"):
        reply = send("GET", f"{path}?phoneNumber={number}", tenant)
        assert (reply.status_code, reply.json()["data"]) == (400, NO_NUMBER)
        assert "country code" in reply.json()["errorMessage"]
    (listed,) = data_of(send("GET", "phones?phoneNumber=%2B52 1.55-1234(5678)", other_tenant))["items"]
    assert (listed["phoneNumber"], listed["integration"]) == (number, carrier.integration)
    assert add(other_tenant, carrier.body(other_tenant.user)).status_code == 201
    another = PhoneNumber.objects.get(number=carrier.number)
    for path in ("calls", f"phones/{another.pk}/calls"):
        assert data_of(send("GET", f"{path}?phoneNumber={number}", other_tenant))["items"] == []
    assert data_of(send("GET", f"phones?phoneNumber={number}&health=drift", other_tenant))["items"] == []


@pytest.mark.parametrize("path", ["phones", "calls"])
def test_a_filter_names_a_character_that_nobody_sees(tenant: Tenant, path: str) -> None:
    reply = send("GET", f"{path}?phoneNumber=12125551234%E2%80%8B", tenant)
    assert (reply.status_code, reply.json()["data"]) == (400, NO_NUMBER)
    assert reply.json()["errorMessage"].startswith("phoneNumber: there is an invisible character (U+200B) in it.")


def test_the_last_call_of_a_number_is_told(phone: PhoneNumber, tenant: Tenant) -> None:
    for hours in (5, 2, 9):
        Call.objects.create(
            account=phone.line.account,  # type: ignore[union-attr]
            line=phone.line,
            carrier_id=f"{hours}",
            started_at=timezone.now().replace(year=2025, hour=hours, microsecond=0),
        )
    assert data_of(send("GET", f"phones/{phone.pk}", tenant))["lastCallAt"][11:13] == "09"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"action": "reject"}, "action"),
        ({"Label": "x"}, "Label"),
        ({"": "x"}, ""),
        ({"\ud800\x00": "x"}, "\ud800\x00"),
        ({"n" * 5000: 1}, "n" * 11 + "…"),
        ({"_id": "64e5f12345abcdef12345678"}, "_id"),
        ({"auth_token": "x", "label": 7}, "auth_token"),
        ({"inbound": {"forward_to": "442079460000"}}, "inbound"),
        ({"inbound": {"record": True, "recording": True}}, "inbound"),
        ({"label": 7}, "label"),
        ({"label": None}, "label"),
        ({"label": "  "}, "label"),
        ({"label": "\u200b\ufeff"}, "label"),
        ({"label": "\u3164"}, "label"),
        ({"label": "a\x1bb"}, "label"),
        ({"label": "x" * 201}, "label"),
        ({"label": "a\u0000b"}, "label"),
        ({"label": "\ud800"}, "label"),
        ({"inbound": "voicemail"}, "inbound"),
        ({"inbound": None}, "inbound"),
        ({"inbound": []}, "inbound"),
        ({"inbound": {"action": "hangup"}}, "inbound"),
        ({"inbound": {"action": None}}, "inbound"),
        ({"inbound": {"action": "forward"}}, "inbound"),
        ({"inbound": {"action": "forward", "forwardTo": ""}}, "inbound"),
        ({"inbound": {"action": "forward", "forwardTo": "911"}}, "inbound"),
        ({"inbound": {"forwardTo": 442079460000}}, "inbound"),
        ({"inbound": {"record": "true"}}, "inbound"),
        ({"inbound": {"record": 1}}, "inbound"),
        ({"inbound": {"greeting": "x" * 1001}}, "inbound"),
        ({"inbound": {"greeting": "\x1b[2J"}}, "inbound"),
        ({"authToken": ""}, "authToken"),
        ({"authToken": "a b"}, "authToken"),
        ({"authToken": None}, "authToken"),
    ],
)
def test_a_wrong_change_is_told_and_changes_nothing(
    sandbox: Sandbox, phone: PhoneNumber, tenant: Tenant, body: dict[str, Any], field: str
) -> None:
    sandbox.clear_ledger()
    before = data_of(send("GET", f"phones/{phone.pk}", tenant))

    reply = send("PATCH", f"phones/{phone.pk}", tenant, {"label": "new", **body})

    assert reply.status_code == 400, reply.content
    assert reply.json()["data"] == {"error": "invalid_field", "field": field}
    assert data_of(send("GET", f"phones/{phone.pk}", tenant)) == before
    assert sandbox.ledger == []


@pytest.mark.engine
def test_a_part_changes_that_part(phone: PhoneNumber, tenant: Tenant) -> None:
    def changed(**inbound: Any) -> Any:
        return data_of(send("PATCH", f"phones/{phone.pk}", tenant, {"inbound": inbound}))["inbound"]

    assert changed(greeting="Grüezi 👋\n") == {
        "action": "voicemail", "greeting": "Grüezi 👋\n", "forwardTo": None, "record": False, **UNSAID,
    }  # fmt: skip
    assert changed(forwardTo="+442079460000")["action"] == "voicemail"
    assert changed(action="forward")["forwardTo"] == "442079460000"
    assert changed(record=True) == {
        "action": "forward", "greeting": "Grüezi 👋\n", "forwardTo": "442079460000", "record": True, **UNSAID,
    }  # fmt: skip
    assert changed(action="reject", forwardTo=None)["forwardTo"] is None
    assert data_of(send("PATCH", f"phones/{phone.pk}", tenant, {}))["inbound"] == changed()


def test_ids_that_are_not_the_callers_are_all_the_same_404(
    sandbox: Sandbox, phone: PhoneNumber, tenant: Tenant, other_tenant: Tenant
) -> None:
    sandbox.clear_ledger()
    before = sandbox.snapshot()
    paths = [
        ("GET", "phones/{}"),
        ("PATCH", "phones/{}"),
        ("DELETE", "phones/{}"),
        ("POST", "phones/{}/check"),
        ("GET", "phones/{}/calls"),
        ("GET", "calls/{}"),
        ("GET", "recordings/{}/media"),
    ]
    replies = set()
    for method, path in paths:
        for id in (phone.pk, "f" * 24, "x", "0", "٣" * 24, phone.pk + "0", "%00", "null"):
            reply = send(method, path.format(id), other_tenant, {"label": "mine", "repair": True})
            assert reply.status_code == 404, (method, path, id)
            replies.add(reply.content)
    assert len(replies) == 1
    assert sandbox.ledger == []
    assert sandbox.snapshot() == before
    assert PhoneNumber.objects.get().label == ""


@pytest.mark.parametrize("path", ["phones", "phones/x", "phones/x/check", "available-phones"])
def test_the_family_needs_a_token_and_knows_its_methods(tenant: Tenant, path: str) -> None:
    method = "GET" if path == "phones" else "POST"
    assert Client().generic(method, f"/api/call/{path}").status_code == 401
    reply = send("PUT", path, tenant, {})
    assert (reply.status_code, reply.json()["data"]["error"]) == (405, "method_not_allowed")


def test_a_wrong_new_token_changes_nothing(sandbox: Sandbox, phone: PhoneNumber, tenant: Tenant) -> None:
    def row() -> dict[str, Any]:
        account = Account.objects.values().get()
        return account | {"auth_token": account["auth_token"].sealed}

    before = row()

    reply = send("PATCH", f"phones/{phone.pk}", tenant, {"authToken": "wrong", "label": "new"})

    assert (reply.status_code, reply.json()["data"]["error"]) == (400, "invalid_credentials")
    assert row() == before
    assert data_of(send("GET", f"phones/{phone.pk}", tenant))["label"] == ""


@pytest.mark.engine
@pytest.mark.django_db(transaction=True)
def test_a_change_that_fails_after_the_rotation_says_that_the_new_token_is_in_use(
    sandbox: Sandbox, phone: PhoneNumber, tenant: Tenant, carrier: Good
) -> None:
    rotate_at_the_carrier(sandbox, SUBJECTS[carrier.integration])
    body = {"authToken": NEW_TOKEN, "label": "new", "inbound": {"action": "reject"}}

    with failing(UPDATE, PhoneNumber):
        reply = send("PATCH", f"phones/{phone.pk}", tenant, body)

    assert reply.status_code == 500
    assert reply.json()["data"] == {"error": "internal_error", "field": None}
    assert reply.json()["errorMessage"] == (
        "The new auth token is in use, but label and inbound may be unchanged. Send them again without authToken."
    )
    assert Account.objects.get().token_digest == token_digest(NEW_TOKEN)
    shown = data_of(send("GET", f"phones/{phone.pk}", tenant))
    assert (shown["label"], shown["inbound"]["action"]) == ("", "voicemail")

    del body["authToken"]
    shown = data_of(send("PATCH", f"phones/{phone.pk}", tenant, body))
    assert (shown["label"], shown["inbound"]["action"]) == ("new", "reject")


@pytest.mark.django_db(transaction=True)
def test_a_change_that_fails_alone_claims_nothing(phone: PhoneNumber, tenant: Tenant) -> None:
    with failing(UPDATE, PhoneNumber):
        reply = send("PATCH", f"phones/{phone.pk}", tenant, {"label": "new"})

    assert reply.status_code == 500
    assert (reply.json()["errorMessage"], reply.headers["Retry-After"]) == (STORE_AWAY, "60")
    assert "nothing" not in STORE_AWAY


def test_a_forward_loop_is_refused_before_the_token_is_verified(
    sandbox: Sandbox, phone: PhoneNumber, tenant: Tenant
) -> None:
    sandbox.clear_ledger()
    body = {"authToken": NEW_TOKEN, "inbound": {"action": "forward", "forwardTo": phone.number}}

    reply = send("PATCH", f"phones/{phone.pk}", tenant, body)

    assert (reply.status_code, reply.json()["data"]) == (400, {"error": "invalid_field", "field": "inbound"})
    assert sandbox.ledger == []
    assert Account.objects.get().token_digest != token_digest(NEW_TOKEN)


def test_a_telnyx_number_without_a_webhook_key_says_so(sandbox: Sandbox, tenant: Tenant) -> None:
    body = CARRIERS["telnyx"].body(tenant.user, phoneNumber="13125557777", authToken=seeds.TELNYX_NOPROFILE_KEY)
    assert add(tenant, body).status_code == 201

    (shown,) = data_of(send("GET", "phones", tenant))["items"]
    assert shown["health"] == "drift"
    assert [one["reason"] for one in shown["reasons"]] == ["signature_key_missing"]
    assert data_of(send("GET", "phones?health=drift", tenant))["items"] == [shown]
    assert check(PhoneNumber.objects.get(), tenant)["health"] == "drift"
