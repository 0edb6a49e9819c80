"""When all carrier slots are taken: every door that asks a carrier refuses at once, and nothing is begun."""

from collections.abc import Callable, Iterator
from threading import BoundedSemaphore
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from phones.models import PhoneNumber, Recording
from phones.services import slots
from sandbox.ledger import Exchange, Ledger
from sandbox.sandbox import Sandbox
from tests.support.api import add, get, send
from tests.support.carriers import PLIVO, TWILIO
from tests.support.people import Tenant
from tests.support.state import rows
from users.models import IdempotentReply

pytestmark = pytest.mark.django_db(transaction=True)

DESK = "/admin/phones/phonenumber/"


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> BoundedSemaphore:
    """The only slot."""
    monkeypatch.setattr(slots, "slots", BoundedSemaphore(1))
    return slots.slots


@pytest.fixture
def phone(sandbox: Sandbox, live_server: Any, settings: Any, tenant: Tenant) -> PhoneNumber:
    """A number with a recording."""
    settings.PUBLIC_URL = live_server.url
    assert add(tenant, TWILIO.body(tenant.user)).status_code == 201
    sandbox.place_call("twilio", TWILIO.number, talk_s=2)
    return PhoneNumber.objects.get()


@pytest.fixture
def nothing_is_begun(phone: PhoneNumber, free: BoundedSemaphore, sandbox: Sandbox) -> Iterator[None]:
    before = rows()
    sandbox.clear_ledger()
    assert free.acquire(blocking=False)
    yield
    assert sandbox.ledger == []
    assert rows() == before
    free.release()  # raises if somebody else gave it back


def account() -> dict[str, str]:
    return {"integration": "plivo", "accSId": PLIVO.acc_sid, "authToken": PLIVO.auth_token}


ASK: dict[str, Callable[[Tenant, PhoneNumber], Any]] = {
    "add": lambda tenant, phone: add(tenant, PLIVO.body(tenant.user)),
    "pick": lambda tenant, phone: send("POST", "available-phones", tenant, account()),
    "new token": lambda tenant, phone: send("PATCH", f"phones/{phone.pk}", tenant, {"authToken": "x", "label": "new"}),
    "check": lambda tenant, phone: send("POST", f"phones/{phone.pk}/check", tenant),
    "remove": lambda tenant, phone: send("DELETE", f"phones/{phone.pk}", tenant),
    "hear": lambda tenant, phone: get(f"/api/call/recordings/{Recording.objects.get().pk}/media", tenant),
}


@pytest.mark.parametrize("what", ASK)
def test_the_api_refuses_at_once(tenant: Tenant, phone: PhoneNumber, nothing_is_begun: None, what: str) -> None:
    reply = ASK[what](tenant, phone)
    assert (reply.status_code, reply.json()["data"]["error"]) == (429, "throttled"), reply.content
    assert int(reply.headers["Retry-After"]) > 0


@pytest.mark.parametrize("what", ASK)
def test_a_slot_is_free_again_when_the_reply_is_out(
    tenant: Tenant, phone: PhoneNumber, free: BoundedSemaphore, sandbox: Sandbox, what: str
) -> None:
    for fault in (None, "reset"):  # then the carrier breaks, and the request fails
        if fault:
            sandbox.fault(fault, times=None)
        reply = ASK[what](tenant, phone)
        assert reply.status_code != 429
        reply.close()
        assert free.acquire(blocking=False), f"{what}, {fault}"
        free.release()


@pytest.mark.engine
def test_a_recording_has_its_slot_until_the_reply_is_closed(
    tenant: Tenant, phone: PhoneNumber, free: BoundedSemaphore
) -> None:
    first = ASK["hear"](tenant, phone)
    assert first.status_code == 200
    assert ASK["hear"](tenant, phone).status_code == 429
    next(iter(first))
    assert ASK["check"](tenant, phone).status_code == 429
    first.close()
    first.close()
    assert ASK["check"](tenant, phone).status_code == 200


def test_what_asks_no_carrier_goes_on(tenant: Tenant, phone: PhoneNumber, free: BoundedSemaphore) -> None:
    with slots.carrier_slot():
        assert send("GET", f"phones/{phone.pk}", tenant).status_code == 200
        assert send("GET", "phones", tenant).status_code == 200
        assert send("PATCH", f"phones/{phone.pk}", tenant, {"label": "new"}).status_code == 200
        assert send("PATCH", f"phones/{phone.pk}", tenant, {"inbound": {"action": "reject"}}).status_code == 200


@pytest.mark.engine
def test_the_same_request_again_is_not_still_in_progress(
    tenant: Tenant, phone: PhoneNumber, free: BoundedSemaphore
) -> None:
    body, key = PLIVO.body(tenant.user), {"Idempotency-Key": "one"}
    with slots.carrier_slot():
        assert add(tenant, body, **key).status_code == 429
    assert not IdempotentReply.objects.exists()
    assert add(tenant, body, **key).status_code == 201


def typed(tenant: Tenant) -> dict[str, str]:
    return {
        "user": tenant.user.pk, "integration": "plivo", "account_id": PLIVO.acc_sid, "auth_token": PLIVO.auth_token,
        "number": PLIVO.number, "on_conflict": "replace", "action": "voicemail",
    }  # fmt: skip


@pytest.mark.parametrize("what", ASK)
def test_a_carrier_is_waited_for_without_a_database_connection(
    tenant: Tenant, phone: PhoneNumber, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """PostgreSQL has fewer than we have threads."""
    held, held_when_asked = [False], []
    monkeypatch.setattr(connection, "give_back", lambda: held.__setitem__(0, False), raising=False)

    def query(execute: Callable[..., Any], *arguments: Any) -> Any:
        held[0] = True
        return execute(*arguments)

    def arrive(ledger: Ledger, **fields: Any) -> Exchange:
        held_when_asked.append(held[0])
        return open_exchange(ledger, **fields)

    open_exchange = Ledger.open
    monkeypatch.setattr(Ledger, "open", arrive)
    with connection.execute_wrapper(query):
        ASK[what](tenant, phone)
    assert held == [True] and held_when_asked and not any(held_when_asked)


@pytest.mark.parametrize("what", ["add", "pick", "new token"])
def test_a_form_of_the_desk_says_so_and_keeps_what_was_typed(
    desk: Client, tenant: Tenant, phone: PhoneNumber, nothing_is_begun: None, what: str
) -> None:
    if what == "new token":
        response = desk.post(f"{DESK}{phone.pk}/token/", {"auth_token": "another"})
    else:
        response = desk.post(f"{DESK}add/", typed(tenant) | ({"_pick": "1"} if what == "pick" else {}))
    assert response.status_code == 200
    assert [error.code for error in response.context["form"].errors.as_data()["__all__"]] == ["throttled"]


@pytest.mark.parametrize("what", ["check", "repair", "check several", "remove", "hear"])
def test_a_page_of_the_desk_is_too_many_requests(
    desk: Client, phone: PhoneNumber, nothing_is_begun: None, what: str
) -> None:
    several = {"action": "check_selected", "_selected_action": phone.pk}
    response = {
        "check": lambda: desk.post(f"{DESK}{phone.pk}/check/"),
        "repair": lambda: desk.post(f"{DESK}{phone.pk}/check/", {"repair": "1"}),
        "check several": lambda: desk.post(DESK, several),
        "remove": lambda: desk.post(f"{DESK}{phone.pk}/delete/"),
        "hear": lambda: desk.get(f"{DESK}recordings/{Recording.objects.get().pk}/media"),
    }[what]()
    assert response.status_code == 429
    assert int(response.headers["Retry-After"]) > 0
    assert "Nothing was changed" in response.content.decode()
    assert response.headers["Content-Security-Policy"]
