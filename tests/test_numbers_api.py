"""Live with a number: list, change, check, repair, remove, pick."""

import json
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from integrations.sandbox import Sandbox
from integrations.sandbox import state as seeds
from phones.models import Account, Call, Line, MadeApplication, PhoneNumber
from phones.services import reconcile
from tests.conftest import CARRIERS, Good, Tenant, add
from tests.test_calls import get
from workspace.rates import Rate

pytestmark = pytest.mark.django_db


def send(method: str, path: str, tenant: Tenant, body: Any = None) -> Any:
    headers = {"Authorization": f"Bearer {tenant.token}"}
    client = Client(raise_request_exception=False)
    data = "" if body is None else json.dumps(body)
    return client.generic(method, f"/api/call/{path}", data, content_type="application/json", headers=headers)


def data_of(reply: Any) -> Any:
    assert reply.status_code == 200, reply.content
    return reply.json()["data"]


@pytest.fixture
def phone(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> PhoneNumber:
    assert add(tenant, carrier.body(tenant.user)).status_code == 201
    return PhoneNumber.objects.get()


def check(phone: PhoneNumber, tenant: Tenant, *, repair: bool = False) -> dict[str, Any]:
    return data_of(send("POST", f"phones/{phone.pk}/check", tenant, {"repair": repair}))


def reasons(checked: dict[str, Any]) -> set[str]:
    return {one["reason"] for one in checked["reasons"]}


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
        "inbound": {"action": "voicemail", "greeting": "", "forwardTo": None, "record": False},
        "health": "ok",
        "reasons": [],
        "checkedAt": shown["checkedAt"],
        "lastCallAt": None,
        "createdAt": shown["createdAt"],
    }
    assert shown["checkedAt"] >= shown["createdAt"]
    assert data_of(send("GET", "phones", tenant)) == {"items": [shown], "nextCursor": None}


def test_drift_is_found_and_repaired(sandbox: Sandbox, phone: PhoneNumber, tenant: Tenant, carrier: Good) -> None:
    assert check(phone, tenant)["health"] == "ok"


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
    print(data)
    mine = next(one for one in data["items"] if one["phoneNumber"] == carrier.number)
    assert mine == {"phoneNumber": carrier.number, "voice": True, "active": True, "route": "ours", "added": True}


def test_changes(sandbox: Sandbox, phone: PhoneNumber, tenant: Tenant, carrier: Good) -> None:
    shown = data_of(send("PATCH", f"phones/{phone.pk}", tenant, {"label": "Front desk", "inbound": {"action": "forward", "forwardTo": "+44 20 7946 0000", "record": True}}))
    assert shown["label"] == "Front desk"
    assert shown["inbound"] == {"action": "forward", "greeting": "", "forwardTo": "442079460000", "record": True}
