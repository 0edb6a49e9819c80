"""The simulated carriers: that they speak as the real ones do, and break as told."""

import base64
import dataclasses
import gc
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
import telnyx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from plivo.exceptions import AuthenticationError, ForbiddenError, ResourceNotFoundError, ValidationError
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.rest.api.v2010.account.incoming_phone_number import IncomingPhoneNumberInstance

from sandbox import state as seeds
from sandbox.ledger import Exchange, rounds
from sandbox.sandbox import Sandbox
from tests.support.carrier_contract import reply_violations, request_violations, spec, violations
from tests.support.sandbox_clients import plivo_client, telnyx_client, twilio_client

NUMBERS = f"/2010-04-01/Accounts/{seeds.TWILIO_SID}/IncomingPhoneNumbers"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


def ask_twilio(
    sandbox: Sandbox, path: str = f"{NUMBERS}.json", method: str = "GET", timeout: float = 5, **kwargs: Any
) -> requests.Response:
    auth = (seeds.TWILIO_SID, seeds.TWILIO_TOKEN)
    return requests.request(method, sandbox.twilio_url + path, auth=auth, timeout=timeout, **kwargs)


def ask_plivo(sandbox: Sandbox, path: str, method: str = "GET", **kwargs: Any) -> requests.Response:
    url = f"{sandbox.plivo_url}/v1/Account/{seeds.PLIVO_ID}/{path}"
    return requests.request(method, url, auth=(seeds.PLIVO_ID, seeds.PLIVO_TOKEN), timeout=5, **kwargs)


def ask_telnyx(
    sandbox: Sandbox, path: str, method: str = "GET", key: str = seeds.TELNYX_KEY, **kwargs: Any
) -> requests.Response:
    headers = {"Authorization": f"Bearer {key}"}
    return requests.request(method, sandbox.telnyx_url + path, headers=headers, timeout=5, **kwargs)


def set_voice_url(
    sandbox: Sandbox, url: str = "https://ours.example.com/a", number: str = "+12125551234"
) -> IncomingPhoneNumberInstance:
    client = twilio_client(sandbox)
    (found,) = client.incoming_phone_numbers.list(phone_number=number, limit=2)
    return client.incoming_phone_numbers(found.sid).update(voice_url=url)


def twilio_number(sandbox: Sandbox, number: str = "12125551234") -> dict[str, Any]:
    return sandbox.snapshot()["twilio"][seeds.TWILIO_SID]["numbers"][number]


# Twilio


def test_twilio_number_is_found_changed_and_restored(sandbox: Sandbox) -> None:
    before = sandbox.snapshot()
    client = twilio_client(sandbox)
    (number,) = client.incoming_phone_numbers.list(phone_number="+12125551234", limit=2)
    assert number.phone_number == "+12125551234" and number.capabilities["voice"] is True
    changed = client.incoming_phone_numbers(number.sid).update(
        voice_url="https://ours.example.com/answer", voice_method="GET", status_callback="https://ours.example.com/st"
    )
    assert (changed.voice_url, changed.voice_method) == ("https://ours.example.com/answer", "GET")
    assert changed.voice_fallback_method == "POST", "what was not given stays"
    assert sandbox.snapshot() != before
    client.incoming_phone_numbers(number.sid).update(voice_url="", voice_method="POST", status_callback="")
    assert sandbox.snapshot() == before


def test_twilio_filter_takes_parts_and_stars(sandbox: Sandbox) -> None:
    client = twilio_client(sandbox)
    assert len(client.incoming_phone_numbers.list(phone_number="55500")) == 7
    assert len(client.incoming_phone_numbers.list(phone_number="+1212555*00*")) == 17
    assert client.incoming_phone_numbers.list(phone_number="+12125559999") == [], "another account's number"


def test_twilio_pages_are_followed(sandbox: Sandbox) -> None:
    client = twilio_client(sandbox)
    found = client.incoming_phone_numbers.list(page_size=20)
    assert len(found) == len({number.sid for number in found}) == 48
    assert len(sandbox.ledger) == 3
    assert sandbox.ledger[-1].response["next_page_uri"] is None
    assert sandbox.ledger[-1].response["previous_page_uri"].startswith("/2010-04-01/")
    assert all(violations(exchange) == [] for exchange in sandbox.ledger)


def test_twilio_trunk_and_application_exclude_each_other(sandbox: Sandbox) -> None:
    client = twilio_client(sandbox)
    (number,) = client.incoming_phone_numbers.list(phone_number="+12125550002")
    assert number.trunk_sid == seeds.TWILIO_TRUNK
    changed = client.incoming_phone_numbers(number.sid).update(voice_application_sid=seeds.TWILIO_APPLICATION)
    assert (changed.voice_application_sid, changed.trunk_sid) == (seeds.TWILIO_APPLICATION, None)
    changed = client.incoming_phone_numbers(number.sid).update(trunk_sid=seeds.TWILIO_TRUNK)
    assert (changed.voice_application_sid, changed.trunk_sid) == (None, seeds.TWILIO_TRUNK)
    changed = client.incoming_phone_numbers(number.sid).update(trunk_sid="", voice_application_sid="")
    assert (changed.voice_application_sid, changed.trunk_sid) == (None, None)


@pytest.mark.parametrize(
    "sid, token",
    [
        (seeds.TWILIO_SID, "wrong"),
        ("AC" + "0" * 32, seeds.TWILIO_TOKEN),
        (seeds.TWILIO_CLOSED_SID, seeds.TWILIO_CLOSED_TOKEN),
    ],
)
def test_twilio_refuses_bad_credentials_and_closed_accounts(sandbox: Sandbox, sid: str, token: str) -> None:
    with pytest.raises(TwilioException, match="Unable to fetch page"):
        twilio_client(sandbox, sid, token).incoming_phone_numbers.list(limit=1)
    assert (sandbox.ledger[0].status, sandbox.ledger[0].response["code"]) == (401, 20003)
    assert sandbox.ledger[0].applied is False
    assert "wrong" not in json.dumps(dataclasses.asdict(sandbox.ledger[0]))


def test_twilio_suspended_account_can_be_read_but_not_changed(sandbox: Sandbox) -> None:
    client = twilio_client(sandbox, seeds.TWILIO_SUSPENDED_SID, seeds.TWILIO_SUSPENDED_TOKEN)
    (number,) = client.incoming_phone_numbers.list()
    assert client.api.v2010.accounts(seeds.TWILIO_SUSPENDED_SID).fetch().status == "suspended"
    with pytest.raises(TwilioRestException):
        client.incoming_phone_numbers(number.sid).update(voice_url="https://ours.example.com/")


def test_twilio_account_and_its_subaccount(sandbox: Sandbox) -> None:
    sub = "AC" + "9" * 32
    sandbox.add_account("twilio", sub, "sub-token", owner=seeds.TWILIO_SID)
    sandbox.add_number("twilio", sub, "+12125557001")
    client = twilio_client(sandbox)
    account = client.api.v2010.accounts(seeds.TWILIO_SID).fetch()
    assert (account.status, account.auth_token) == ("active", seeds.TWILIO_ACCOUNT_AUTH_TOKEN)
    assert client.api.v2010.accounts(sub).fetch().owner_account_sid == seeds.TWILIO_SID
    assert client.incoming_phone_numbers.list(phone_number="+12125557001") == []
    with pytest.raises(TwilioRestException):
        client.api.v2010.accounts(seeds.TWILIO_OTHER_SID).fetch()


def test_twilio_unknown_number_and_bad_values(sandbox: Sandbox) -> None:
    client = twilio_client(sandbox)
    with pytest.raises(TwilioRestException) as caught:
        client.incoming_phone_numbers("PN" + "0" * 32).update(voice_url="https://ours.example.com/")
    assert (caught.value.status, caught.value.code) == (404, 20404)
    (number,) = client.incoming_phone_numbers.list(phone_number="+12125551234")
    for bad in ("ours.example.com/a", "ftp://ours.example.com/a", "https://our_s.example.com/a"):
        with pytest.raises(TwilioRestException) as caught:
            client.incoming_phone_numbers(number.sid).update(
                voice_url=bad, status_callback="https://ours.example.com/s"
            )
        assert (caught.value.status, caught.value.code) == (400, 21502)
    assert twilio_number(sandbox)["status_callback"] is None, "a refused update changes nothing"


# Plivo


def test_plivo_number_is_linked_and_unlinked(sandbox: Sandbox) -> None:
    before = sandbox.snapshot()
    client = plivo_client(sandbox)
    assert client.numbers.get("14155551234").application is None
    created = client.applications.create("ours", answer_url="https://ours.example.com/answer")
    app = client.applications.get(created.app_id)
    assert (app.app_name, app.hangup_url) == ("ours", "https://ours.example.com/answer")
    client.numbers.update("14155551234", app_id=created.app_id)
    linked = f"/v1/Account/{seeds.PLIVO_ID}/Application/{created.app_id}/"
    assert client.numbers.get("14155551234").application == linked
    client.request("POST", ("Number", "14155551234"), {"app_id": None})
    assert client.numbers.get("14155551234").application is None
    client.applications.delete(created.app_id, cascade=False)
    assert sandbox.snapshot() == before
    assert [problem for exchange in sandbox.ledger for problem in violations(exchange)] == []


def test_half_a_request_changes_nothing(sandbox: Sandbox) -> None:
    """As a process leaves it that is killed between the head and the body."""
    before = sandbox.snapshot()
    login = base64.b64encode(f"{seeds.PLIVO_ID}:{seeds.PLIVO_TOKEN}".encode()).decode()
    head = (
        f"POST /plivo/v1/Account/{seeds.PLIVO_ID}/Number/14155551234/ HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: Basic {login}\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n"
    )
    address = ("127.0.0.1", int(sandbox.url.rpartition(":")[2]))
    with socket.create_connection(address, 5) as connection:
        connection.sendall(head.encode())
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1000) == b"", "there is nobody to answer"
    assert sandbox.snapshot() == before
    with socket.create_connection(address, 5) as connection:
        connection.sendall(head.encode() + b'{"app_id": null}')
        assert connection.recv(1000).startswith(b"HTTP/1.1 202")


def test_plivo_number_without_app_id_gets_the_default_application(sandbox: Sandbox) -> None:
    client = plivo_client(sandbox)
    client.numbers.update("14155551234", alias="front door")
    assert client.numbers.get("14155551234").application.endswith(f"/{seeds.PLIVO_DEFAULT_APP}/")


def test_plivo_number_takes_a_trunk_but_no_unknown_application(sandbox: Sandbox) -> None:
    client = plivo_client(sandbox)
    client.numbers.update("14155551234", app_id=seeds.PLIVO_TRUNK)
    with pytest.raises(ResourceNotFoundError):
        client.applications.get(seeds.PLIVO_TRUNK)
    with pytest.raises(ValidationError):
        client.numbers.update("14155551234", app_id="123")


def test_plivo_application_names_may_repeat_and_the_filter_finds_parts(sandbox: Sandbox) -> None:
    client = plivo_client(sandbox)
    ids = {client.applications.create("ours", answer_url="https://ours.example.com/a").app_id for _ in range(2)}
    client.applications.create("ours-too", answer_url="https://ours.example.com/a")
    found = client.applications.list(app_name="ours").objects
    assert len(ids) == 2 and len(found) == 3
    with pytest.raises(ValidationError):
        client.applications.create("no blanks", answer_url="https://ours.example.com/a")
    with pytest.raises(ValidationError):
        client.applications.create("ours", answer_url="https:// example.com/a")


def test_plivo_pages(sandbox: Sandbox) -> None:
    for last in range(10, 40):
        sandbox.add_number("plivo", seeds.PLIVO_ID, f"141555560{last}")
    found, path = [], "Number/?number_startswith=1415555"
    while path:
        page = ask_plivo(sandbox, path).json()
        found += page["objects"]
        path = (page["meta"]["next"] or "").removeprefix(f"/v1/Account/{seeds.PLIVO_ID}/")
    assert len(found) == page["meta"]["total_count"] == 36
    assert ask_plivo(sandbox, "Number/?limit=21").status_code == 400


def test_plivo_update_changes_only_what_is_given(sandbox: Sandbox) -> None:
    answer = ask_plivo(sandbox, f"Application/{seeds.PLIVO_CUSTOMER_APP}/", "POST", json={"answer_method": "POST"})
    assert (answer.status_code, answer.json()["message"]) == (202, "changed")
    app = sandbox.snapshot()["plivo"][seeds.PLIVO_ID]["applications"][seeds.PLIVO_CUSTOMER_APP]
    assert (app["answer_method"], app["hangup_method"], app["public_uri"]) == ("POST", "GET", True)


def test_plivo_deleting_an_application_unlinks_its_numbers(sandbox: Sandbox) -> None:
    assert ask_plivo(sandbox, f"Application/{seeds.PLIVO_CUSTOMER_APP}/", "DELETE").status_code == 204
    assert sandbox.snapshot()["plivo"][seeds.PLIVO_ID]["numbers"]["14155550001"]["application"] is None


def test_plivo_refusals(sandbox: Sandbox) -> None:
    with pytest.raises(AuthenticationError):
        plivo_client(sandbox, token="wrong").numbers.get("14155551234")
    assert sandbox.ledger[-1].response.startswith("Could not verify")
    with pytest.raises(ForbiddenError):
        plivo_client(sandbox, seeds.PLIVO_SUSPENDED_ID, seeds.PLIVO_SUSPENDED_TOKEN).numbers.get("14155558888")
    with pytest.raises(ResourceNotFoundError):
        plivo_client(sandbox).numbers.get("14155559999")
    assert sandbox.ledger[-1].response["error"] == "not found"
    assert ask_plivo(sandbox, "Number/14155551234").status_code == 404, "the slash at the end is needed"
    assert ask_plivo(sandbox, "Number/+14155551234/").status_code == 404, "digits only"
    assert [problem for exchange in sandbox.ledger[:3] for problem in violations(exchange)] == []


# Telnyx


def test_telnyx_number_is_connected_and_disconnected(sandbox: Sandbox) -> None:
    before = sandbox.snapshot()
    client = telnyx_client(sandbox)
    (number,) = client.phone_numbers.list(filter={"phone_number": "13125551234"}, page_size=5).data
    profile = client.outbound_voice_profiles.list().data[0]
    assert profile.enabled
    app = client.texml_applications.create(
        friendly_name="ours",
        voice_url="https://ours.example.com/answer",
        voice_method="post",
        status_callback="https://ours.example.com/status",
        outbound={"outbound_voice_profile_id": profile.id},
    ).data
    changed = client.phone_numbers.update(number.id, connection_id=app.id).data
    assert (changed.connection_id, changed.connection_name) == (app.id, "ours")
    assert client.texml_applications.retrieve(app.id).data.voice_url == "https://ours.example.com/answer"
    assert client.phone_numbers.update(number.id, connection_id="").data.connection_id is None
    client.texml_applications.delete(app.id)
    assert sandbox.snapshot() == before
    assert [problem for exchange in sandbox.ledger for problem in violations(exchange)] == []


def test_telnyx_filter_wants_digits(sandbox: Sandbox) -> None:
    client = telnyx_client(sandbox)
    assert client.phone_numbers.list(filter={"phone_number": "+13125551234"}).data == []
    assert len(client.phone_numbers.list(filter={"phone_number": "5555"}).data) == 0
    assert len(client.phone_numbers.list(filter={"phone_number": "31255500"}).data) == 5
    assert client.phone_numbers.list(filter={"phone_number": "13125559999"}).data == [], "another account's number"
    with pytest.raises(telnyx.BadRequestError):
        client.phone_numbers.list(filter={"phone_number": "13"})
    assert len(client.phone_numbers.list(filter={"connection_id": seeds.TELNYX_CUSTOMER_APP}).data) == 1
    with pytest.raises(telnyx.BadRequestError):
        client.phone_numbers.list(filter={"billing_group_id": "x"})


def test_telnyx_numbers_of_an_application_are_listed_over_pages(sandbox: Sandbox) -> None:
    client = telnyx_client(sandbox)
    app = {"connection_id": seeds.TELNYX_CUSTOMER_APP}
    for last in range(100, 103):
        sandbox.add_number("telnyx", seeds.TELNYX_KEY, f"13125556{last}", **app)
    found = list(client.phone_numbers.list(filter={"connection_id": seeds.TELNYX_CUSTOMER_APP}, page_size=3))
    assert [number.phone_number[-4:] for number in found] == ["0001", "6100", "6101", "6102"]
    assert sandbox.ledger[0].query["filter[connection_id]"] == [seeds.TELNYX_CUSTOMER_APP]
    assert client.phone_numbers.list(filter={"connection_id": "1"}).data == []
    client.phone_numbers.update(found[0].id, connection_id="")
    assert len(client.phone_numbers.list(filter={"connection_id": seeds.TELNYX_CUSTOMER_APP}).data) == 3


def test_telnyx_pages_are_followed(sandbox: Sandbox) -> None:
    for last in range(100, 160):
        sandbox.add_number("telnyx", seeds.TELNYX_KEY, f"13125556{last}")
    found = list(telnyx_client(sandbox).phone_numbers.list(page_size=25))
    assert len({number.id for number in found}) == 66
    assert len(sandbox.ledger) >= 3
    assert sandbox.ledger[0].response["meta"] == {
        "page_number": 1,
        "page_size": 25,
        "total_pages": 3,
        "total_results": 66,
    }


def test_telnyx_lists_the_voice_settings_of_all_numbers(sandbox: Sandbox) -> None:
    client = telnyx_client(sandbox)
    found = client.phone_numbers.voice.list(page_size=250).data
    assert {one.id for one in found} == {one.id for one in client.phone_numbers.list(page_size=250).data}
    assert seeds.TELNYX_CUSTOMER_APP in {one.connection_id for one in found}


def test_telnyx_applications_are_found_by_a_part_of_their_name(sandbox: Sandbox) -> None:
    client = telnyx_client(sandbox)
    (app,) = client.texml_applications.list(filter={"friendly_name": "CUSTOMER"}).data
    assert app.id == seeds.TELNYX_CUSTOMER_APP
    found = client.call_control_applications.list(filter={"application_name": {"contains": "dialer"}}).data
    assert [app.id for app in found] == [seeds.TELNYX_CALL_CONTROL_APP]
    with pytest.raises(telnyx.NotFoundError):
        client.texml_applications.retrieve(seeds.TELNYX_CALL_CONTROL_APP)
    assert client.connections.retrieve(seeds.TELNYX_SIP_CONNECTION).data.record_type == "credential_connection"
    assert client.connections.retrieve(seeds.TELNYX_CUSTOMER_APP).data.record_type == "texml_application"
    assert [problem for exchange in sandbox.ledger for problem in violations(exchange)] == []


def test_telnyx_application_update_needs_name_and_url(sandbox: Sandbox) -> None:
    path = f"/texml_applications/{seeds.TELNYX_CUSTOMER_APP}"
    answer = ask_telnyx(sandbox, path, "PATCH", json={"voice_url": "https://ours.example.com/"})
    assert (answer.status_code, answer.json()["errors"][0]["source"]) == (422, {"pointer": "/friendly_name"})
    app = telnyx_client(sandbox).texml_applications.update(
        seeds.TELNYX_CUSTOMER_APP, friendly_name="customer-ivr", voice_url="https://new.example.com/"
    )
    assert (app.data.voice_url, app.data.voice_method) == ("https://new.example.com/", "get")


def test_telnyx_refusals(sandbox: Sandbox) -> None:
    with pytest.raises(telnyx.AuthenticationError) as caught:
        telnyx_client(sandbox, "KEY_wrong").phone_numbers.list()
    refused: Any = caught.value.body
    assert refused["errors"][0]["code"] == "10009"
    with pytest.raises(telnyx.PermissionDeniedError):
        telnyx_client(sandbox, seeds.TELNYX_SUSPENDED_KEY).phone_numbers.list()
    client = telnyx_client(sandbox)
    with pytest.raises(telnyx.NotFoundError):
        client.phone_numbers.retrieve("1")
    (number,) = client.phone_numbers.list(filter={"phone_number": "13125551234"}).data
    with pytest.raises(telnyx.UnprocessableEntityError):
        client.phone_numbers.update(number.id, connection_id="1")
    assert ask_telnyx(sandbox, "/texml_applications", "POST", data="{").status_code == 400
    with pytest.raises(telnyx.UnprocessableEntityError):
        client.texml_applications.create(friendly_name="ours", voice_url="nonsense")
    assert [problem for exchange in sandbox.ledger[:-2] for problem in violations(exchange)] == []
    assert seeds.TELNYX_KEY not in json.dumps([dataclasses.asdict(exchange) for exchange in sandbox.ledger])


def test_telnyx_voice_profiles_and_balance(sandbox: Sandbox) -> None:
    client = telnyx_client(sandbox, seeds.TELNYX_NOPROFILE_KEY)
    assert client.outbound_voice_profiles.list().data == []
    profile = client.outbound_voice_profiles.create(name="ours").data
    assert profile.enabled and profile.whitelisted_destinations == ["US", "CA"]
    client.outbound_voice_profiles.retrieve(profile.id)
    client.outbound_voice_profiles.delete(profile.id)
    assert client.outbound_voice_profiles.list().data == []
    assert client.balance.retrieve().data.currency == "USD"
    assert [problem for exchange in sandbox.ledger for problem in violations(exchange)] == []


def test_telnyx_public_key_belongs_to_the_key_that_signs(sandbox: Sandbox) -> None:
    shown = ask_telnyx(sandbox, "/public_key").json()["data"]["public"]
    account = sandbox.state.account("telnyx", seeds.TELNYX_KEY)
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(shown))
    key.verify(account.signing_key().sign(b"1700000000|body"), b"1700000000|body")
    assert ask_telnyx(sandbox, "/public_key", key=seeds.TELNYX_OTHER_KEY).json()["data"]["public"] != shown
    assert ask_telnyx(sandbox, "/public_key", key=seeds.TELNYX_NOPROFILE_KEY).status_code == 404


def test_telnyx_deleting_an_application_unassigns_its_numbers(sandbox: Sandbox) -> None:
    assert ask_telnyx(sandbox, f"/texml_applications/{seeds.TELNYX_CUSTOMER_APP}", "DELETE").status_code == 200
    number = sandbox.snapshot()["telnyx"][seeds.TELNYX_ACCOUNT]["numbers"]["13125550001"]
    assert (number["connection_id"], number["connection_name"]) == (None, None)


@pytest.mark.parametrize("cascade", [None, True, False])
def test_application_in_use_may_be_kept(sandbox: Sandbox, cascade: bool | None) -> None:
    requests.post(f"{sandbox.url}/_sandbox/settings", json={"refuse_in_use": True}, timeout=5)
    before = sandbox.snapshot()
    with pytest.raises(ValidationError):
        plivo_client(sandbox).applications.delete(seeds.PLIVO_CUSTOMER_APP, cascade=cascade)
    answer = ask_telnyx(sandbox, f"/texml_applications/{seeds.TELNYX_CUSTOMER_APP}", "DELETE")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "10021")
    assert sandbox.snapshot() == before
    ask_plivo(sandbox, "Number/14155550001/", "POST", json={"app_id": None})
    sandbox.console("telnyx", seeds.TELNYX_KEY, number="13125550001", connection_id=None)
    assert ask_plivo(sandbox, f"Application/{seeds.PLIVO_CUSTOMER_APP}/", "DELETE").status_code == 204
    assert ask_telnyx(sandbox, f"/texml_applications/{seeds.TELNYX_CUSTOMER_APP}", "DELETE").status_code == 200
    sandbox.reset()
    assert sandbox.refuse_in_use is False


# What a customer does at the carrier


@pytest.mark.parametrize("keep_id", [True, False])
def test_transferred_number_arrives_unrouted_at_twilio(sandbox: Sandbox, keep_id: bool) -> None:
    set_voice_url(sandbox)
    sid = twilio_number(sandbox)["sid"]
    sandbox.transfer_number("twilio", "+12125551234", seeds.TWILIO_OTHER_SID, keep_id=keep_id)
    assert ask_twilio(sandbox, f"{NUMBERS}/{sid}.json").status_code == 404
    assert twilio_client(sandbox).incoming_phone_numbers.list(phone_number="+12125551234") == []
    client = twilio_client(sandbox, seeds.TWILIO_OTHER_SID, seeds.TWILIO_OTHER_TOKEN)
    (number,) = client.incoming_phone_numbers.list(phone_number="+12125551234")
    assert (number.voice_url, number.account_sid) == (None, seeds.TWILIO_OTHER_SID)
    assert (number.sid == sid) is keep_id and number.sid in number.uri
    client.incoming_phone_numbers(number.sid).update(voice_url="https://theirs.example.com/")


@pytest.mark.parametrize("keep_id", [True, False])
def test_transferred_number_arrives_unrouted_at_telnyx(sandbox: Sandbox, keep_id: bool) -> None:
    (before,) = telnyx_client(sandbox).phone_numbers.list(filter={"phone_number": "13125550001"}).data
    sandbox.transfer_number("telnyx", "13125550001", seeds.TELNYX_OTHER_ACCOUNT, keep_id=keep_id)
    with pytest.raises(telnyx.NotFoundError):
        telnyx_client(sandbox).phone_numbers.retrieve(before.id)
    client = telnyx_client(sandbox, seeds.TELNYX_OTHER_KEY)
    (number,) = client.phone_numbers.list(filter={"phone_number": "13125550001"}).data
    assert number.connection_id is None and (number.id == before.id) is keep_id
    assert client.phone_numbers.retrieve(number.id).data.phone_number == "+13125550001"


def test_transferred_number_arrives_unrouted_at_plivo_and_may_come_back(sandbox: Sandbox) -> None:
    there = plivo_client(sandbox, seeds.PLIVO_OTHER_ID, seeds.PLIVO_OTHER_TOKEN)
    sandbox.transfer_number("plivo", "14155550001", seeds.PLIVO_OTHER_ID)
    assert there.numbers.get("14155550001").application is None
    with pytest.raises(ResourceNotFoundError):
        plivo_client(sandbox).numbers.get("14155550001")
    move = {"carrier": "plivo", "number": "14155550001", "to": seeds.PLIVO_ID, "account": seeds.PLIVO_OTHER_ID}
    answer = requests.post(f"{sandbox.url}/_sandbox/transfers", json=move, timeout=5)
    assert answer.json()["number"] == plivo_client(sandbox).numbers.get("14155550001").number
    assert requests.post(f"{sandbox.url}/_sandbox/transfers", json=move, timeout=5).status_code == 400, "it is gone"
    with pytest.raises(KeyError):
        sandbox.transfer_number("plivo", "14155550001", "MASANDBOX0000000NOBODY")
    assert plivo_client(sandbox).numbers.get("14155550001").application is None, "a failed transfer moves nothing"


def test_changed_secret_replaces_the_old_one(sandbox: Sandbox) -> None:
    sandbox.change_secret("twilio", seeds.TWILIO_SID, "new-twilio-token")
    assert ask_twilio(sandbox).status_code == 401
    assert twilio_client(sandbox, token="new-twilio-token").incoming_phone_numbers.list(limit=1)
    change = {"carrier": "plivo", "account": seeds.PLIVO_ID, "secret": "new-plivo-token"}
    assert requests.post(f"{sandbox.url}/_sandbox/secrets", json=change, timeout=5).json() == {"status": "ok"}
    assert ask_plivo(sandbox, "").status_code == 401
    assert plivo_client(sandbox, token="new-plivo-token").numbers.get("14155551234")
    sandbox.change_secret("telnyx", seeds.TELNYX_ACCOUNT, "KEY_new")
    assert ask_telnyx(sandbox, "/balance").status_code == 401
    assert ask_telnyx(sandbox, "/balance", key="KEY_new").status_code == 200
    assert ask_telnyx(sandbox, "/balance", key=seeds.TELNYX_OTHER_KEY).status_code == 200


# Faults


def test_status_fault_answers_in_the_carriers_own_words_and_applies_nothing(sandbox: Sandbox) -> None:
    for status, code in ((500, 20500), (503, 20503), (429, 20429)):
        sandbox.fault("status", carrier="twilio", method="POST", status=status)
        with pytest.raises(TwilioRestException) as caught:
            set_voice_url(sandbox)
        assert (caught.value.status, caught.value.code) == (status, code)
    assert twilio_number(sandbox)["voice_url"] is None
    assert [exchange.applied for exchange in sandbox.ledger] == [True, False] * 3
    sandbox.fault("status", carrier="telnyx", status=429)
    answer = ask_telnyx(sandbox, "/balance")
    assert (answer.json()["errors"][0]["code"], answer.headers["x-ratelimit-remaining"]) == ("10011", "0")
    sandbox.fault("status", status=418, body={"own": 1}, headers={"Retry-After": "3"})
    answer = ask_telnyx(sandbox, "/balance")
    assert (answer.status_code, answer.json(), answer.headers["Retry-After"]) == (418, {"own": 1}, "3")


def test_fault_waits_and_ends_as_told(sandbox: Sandbox) -> None:
    sandbox.fault("status", carrier="twilio", path=r"IncomingPhoneNumbers\.json$", skip=1, times=2)
    account = f"/2010-04-01/Accounts/{seeds.TWILIO_SID}.json"
    seen = [ask_twilio(sandbox, path).status_code for path in [account, *[f"{NUMBERS}.json"] * 4]]
    assert seen == [200, 200, 500, 500, 200]
    sandbox.fault("status", times=None)
    assert {ask_twilio(sandbox).status_code for _ in range(3)} == {500}
    sandbox.clear_faults()
    assert ask_twilio(sandbox).status_code == 200
    with pytest.raises(ValueError):
        sandbox.fault("nonsense")


def test_garbage_faults(sandbox: Sandbox) -> None:
    sandbox.fault("html")
    answer = ask_twilio(sandbox)
    assert (answer.status_code, answer.headers["Content-Type"]) == (502, "text/html")
    sandbox.fault("truncated")
    answer = ask_twilio(sandbox)
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "application/json"
    with pytest.raises(ValueError):
        answer.json()
    sandbox.fault("empty")
    assert ask_twilio(sandbox).content == b""
    sandbox.fault("redirect", location="https://elsewhere.example.com/")
    answer = ask_twilio(sandbox, allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (302, "https://elsewhere.example.com/")
    assert not any(exchange.applied for exchange in sandbox.ledger)


def test_huge_fault_sends_that_many_megabytes(sandbox: Sandbox) -> None:
    sandbox.fault("huge", megabytes=3)
    answer = ask_twilio(sandbox)
    assert "Content-Length" not in answer.headers and len(answer.json()["padding"]) == 3 * 2**20


@pytest.mark.parametrize("kind, applied", [("reset", False), ("lost_reply", True)])
def test_faults_that_break_the_connection(sandbox: Sandbox, kind: str, applied: bool) -> None:
    sandbox.fault(kind, method="POST")
    with pytest.raises(requests.ConnectionError, match="Connection reset"):
        set_voice_url(sandbox)
    last = sandbox.ledger[-1]
    assert (last.applied, last.status, last.fault) == (applied, None, kind)
    assert bool(twilio_number(sandbox)["voice_url"]) is applied


@pytest.mark.parametrize("kind, applied", [("hang", False), ("applied_hang", True)])
def test_faults_that_hold_the_request(sandbox: Sandbox, kind: str, applied: bool) -> None:
    sandbox.fault(kind, method="POST", path="IncomingPhoneNumbers")
    sid = twilio_number(sandbox)["sid"]
    with pytest.raises(requests.ReadTimeout):
        ask_twilio(
            sandbox, f"{NUMBERS}/{sid}.json", "POST", timeout=0.2, data={"VoiceUrl": "https://ours.example.com/"}
        )
    assert bool(twilio_number(sandbox)["voice_url"]) is applied


@pytest.mark.parametrize("end", ["reset", "stop"])
def test_what_is_held_ends_with_the_sandbox(sandbox: Sandbox, end: str) -> None:
    sandbox.fault("hang")
    with ThreadPoolExecutor() as pool:
        held = pool.submit(ask_twilio, sandbox, timeout=30)
        while not sandbox.ledger:
            time.sleep(0.01)
        time.sleep(0.1)
        getattr(sandbox, end)()
        assert isinstance(held.exception(timeout=5), requests.ConnectionError)


def post_and_give_up(sandbox: Sandbox, url: str) -> None:
    sid = twilio_number(sandbox)["sid"]
    with pytest.raises(requests.ReadTimeout):
        ask_twilio(sandbox, f"{NUMBERS}/{sid}.json", "POST", timeout=0.2, data={"VoiceUrl": url})


def test_late_fault_carries_the_request_out_after_the_caller_has_given_up(sandbox: Sandbox) -> None:
    sandbox.fault("late", method="POST", seconds=0.5)
    post_and_give_up(sandbox, "https://ours.example.com/")
    (entry,) = sandbox.ledger
    assert twilio_number(sandbox)["voice_url"] is None and entry.applied is False
    until = time.monotonic() + 10
    while not entry.applied and time.monotonic() < until:
        time.sleep(0.01)
    assert twilio_number(sandbox)["voice_url"] == "https://ours.example.com/"
    assert (entry.applied, entry.status, entry.fault) == (True, None, "late")


def test_late_requests_land_at_once_in_their_order_when_told(sandbox: Sandbox) -> None:
    sandbox.fault("late", method="POST", times=2)
    post_and_give_up(sandbox, "https://ours.example.com/first")
    post_and_give_up(sandbox, "https://ours.example.com/second")
    sandbox.clear_faults()
    set_voice_url(sandbox, "https://ours.example.com/in-time")
    assert [entry.applied for entry in sandbox.ledger if entry.method == "POST"] == [False, False, True]
    assert sandbox.land_late() == 2
    assert twilio_number(sandbox)["voice_url"] == "https://ours.example.com/second"
    assert all(entry.applied for entry in sandbox.ledger)
    assert sandbox.land_late() == 0, "each lands once"


def test_late_fault_with_a_status_answers_at_once(sandbox: Sandbox) -> None:
    sandbox.fault("late", method="POST", status=504)
    with pytest.raises(TwilioRestException) as caught:
        set_voice_url(sandbox)
    assert caught.value.status == 504 and twilio_number(sandbox)["voice_url"] is None
    assert requests.post(f"{sandbox.url}/_sandbox/late", timeout=5).json() == {"landed": 1}
    assert twilio_number(sandbox)["voice_url"] == "https://ours.example.com/a"
    assert (sandbox.ledger[-1].applied, sandbox.ledger[-1].status) == (True, 504)


def test_late_request_that_the_carrier_refuses_is_not_applied(sandbox: Sandbox) -> None:
    sandbox.fault("late", method="POST", status=504)
    link = {"app_id": seeds.PLIVO_CUSTOMER_APP}
    assert ask_plivo(sandbox, "Number/14155551234/", "POST", json=link).status_code == 504
    ask_plivo(sandbox, f"Application/{seeds.PLIVO_CUSTOMER_APP}/", "DELETE")
    assert sandbox.land_late() == 1
    assert sandbox.ledger[0].applied is False


@pytest.mark.parametrize("end", ["reset", "stop"])
def test_late_requests_end_with_the_sandbox(sandbox: Sandbox, end: str) -> None:
    sandbox.fault("late", method="POST", status=504, seconds=0.2)
    with pytest.raises(TwilioRestException):
        set_voice_url(sandbox)
    entry = sandbox.ledger[-1]
    getattr(sandbox, end)()
    time.sleep(0.4)
    assert sandbox.land_late() == 0 and entry.applied is False
    assert twilio_number(sandbox)["voice_url"] is None


def test_delay_fault_is_late_but_right(sandbox: Sandbox) -> None:
    sandbox.fault("delay", seconds=0.2)
    started = time.monotonic()
    assert ask_twilio(sandbox).status_code == 200
    assert time.monotonic() - started >= 0.2


def test_applied_status_fault_does_it_and_denies_it(sandbox: Sandbox) -> None:
    sandbox.fault("applied_status", method="POST", status=503)
    with pytest.raises(TwilioRestException) as caught:
        set_voice_url(sandbox)
    assert caught.value.status == 503 and sandbox.ledger[-1].applied
    assert twilio_number(sandbox)["voice_url"] == "https://ours.example.com/a"


def test_stale_fault_shows_the_settings_before_the_change(sandbox: Sandbox) -> None:
    sandbox.fault("stale", carrier="twilio", times=2)
    sid = twilio_number(sandbox)["sid"]
    reads = (f"{NUMBERS}/{sid}.json", f"{NUMBERS}.json?PhoneNumber=12125551234", f"{NUMBERS}/{sid}.json")

    def voice_urls() -> list[str | None]:
        answers = [ask_twilio(sandbox, path).json() for path in reads]
        return [answer.get("incoming_phone_numbers", [answer])[0]["voice_url"] for answer in answers]

    assert voice_urls() == [None, None, None]
    data = {"VoiceUrl": "https://ours.example.com/"}
    changed = ask_twilio(sandbox, f"{NUMBERS}/{sid}.json", "POST", data=data).json()
    assert changed["voice_url"] == "https://ours.example.com/", "only reads lag"
    assert voice_urls() == [None, None, "https://ours.example.com/"]
    assert [entry.fault for entry in sandbox.ledger] == [None] * 4 + ["stale", "stale", None]
    assert twilio_number(sandbox)["voice_url"] == "https://ours.example.com/"


def test_stale_fault_covers_plivos_numbers_lists_and_applications(sandbox: Sandbox) -> None:
    app = f"Application/{seeds.PLIVO_CUSTOMER_APP}/"
    sandbox.fault("stale", carrier="plivo", times=None)
    ask_plivo(sandbox, "Number/14155551234/", "POST", json={"app_id": seeds.PLIVO_CUSTOMER_APP})
    ask_plivo(sandbox, app, "POST", json={"answer_url": "https://ours.example.com/"})
    created = ask_plivo(sandbox, "Application/", "POST", json={"app_name": "o", "answer_url": "https://o.example.com/"})

    def seen() -> tuple[object, ...]:
        (number,) = ask_plivo(sandbox, "Number/?number_startswith=14155551234").json()["objects"]
        return (
            ask_plivo(sandbox, "Number/14155551234/").json()["application"],
            number["application"],
            ask_plivo(sandbox, app).json()["answer_url"],
            ask_plivo(sandbox, "Application/").json()["meta"]["total_count"],
            ask_plivo(sandbox, f"Application/{created.json()['app_id']}/").status_code,
        )

    assert seen() == (None, None, f"{seeds.FOREIGN_URL}/plivo/answer", 2, 404)
    sandbox.clear_faults()
    uri = f"/v1/Account/{seeds.PLIVO_ID}/{app}"
    assert seen() == (uri, uri, "https://ours.example.com/", 3, 200)


def test_stale_fault_covers_telnyx_numbers_lists_and_applications(sandbox: Sandbox) -> None:
    app = f"/texml_applications/{seeds.TELNYX_CUSTOMER_APP}"
    number = sandbox.snapshot()["telnyx"][seeds.TELNYX_ACCOUNT]["numbers"]["13125551234"]["id"]
    sandbox.fault("stale", carrier="telnyx", times=None)
    ask_telnyx(sandbox, f"/phone_numbers/{number}", "PATCH", json={"connection_id": seeds.TELNYX_CUSTOMER_APP})
    ours = {"friendly_name": "ours", "voice_url": "https://ours.example.com/"}
    ask_telnyx(sandbox, app, "PATCH", json=ours)
    created = ask_telnyx(sandbox, "/texml_applications", "POST", json=ours).json()["data"]["id"]

    def seen() -> tuple[object, ...]:
        linked = ask_telnyx(sandbox, f"/phone_numbers?filter[connection_id]={seeds.TELNYX_CUSTOMER_APP}")
        return (
            ask_telnyx(sandbox, f"/phone_numbers/{number}").json()["data"]["connection_id"],
            linked.json()["meta"]["total_results"],
            ask_telnyx(sandbox, app).json()["data"]["voice_url"],
            ask_telnyx(sandbox, "/texml_applications").json()["meta"]["total_results"],
            ask_telnyx(sandbox, f"/texml_applications/{created}").status_code,
        )

    assert seen() == (None, 1, f"{seeds.FOREIGN_URL}/telnyx/answer", 1, 404)
    sandbox.clear_faults()
    assert seen() == (seeds.TELNYX_CUSTOMER_APP, 2, "https://ours.example.com/", 2, 200)


def test_stale_fault_knows_newer_accounts_as_they_are_and_leaves_the_other_carriers_alone(sandbox: Sandbox) -> None:
    sandbox.fault("stale", times=None)
    ask_plivo(sandbox, "Number/14155551234/", "POST", json={"app_id": seeds.PLIVO_CUSTOMER_APP})
    ask_twilio(sandbox)
    assert sandbox.ledger[-1].fault is None, "nothing has changed at Twilio"
    sandbox.add_account("plivo", "MASANDBOX00000000009", "new-token")
    number = sandbox.add_number("plivo", "MASANDBOX00000000009", "14155557777")["number"]
    assert plivo_client(sandbox, "MASANDBOX00000000009", "new-token").numbers.get(number).application is None
    assert sandbox.ledger[-1].fault == "stale"
    with pytest.raises(ValueError):
        sandbox.fault("stale", method="POST")


def test_drip_fault_sends_byte_after_byte(sandbox: Sandbox) -> None:
    sandbox.fault("drip", interval=0.001)
    started = time.monotonic()
    answer = ask_telnyx(sandbox, "/balance")
    assert answer.json()["data"]["currency"] == "USD"
    assert time.monotonic() - started >= 0.001 * len(answer.content)


def test_rewrite_fault_changes_the_reply_only(sandbox: Sandbox) -> None:
    def lie(reply: dict[str, Any]) -> dict[str, Any]:
        reply["voice_url"] = "https://liar.example.com/"
        reply["capabilities"]["voice"] = False
        return reply

    sandbox.fault("rewrite", method="POST", change=lie)
    assert set_voice_url(sandbox).voice_url == "https://liar.example.com/"
    assert twilio_number(sandbox)["voice_url"] == "https://ours.example.com/a"
    assert twilio_number(sandbox)["capabilities"]["voice"] is True


def test_more_requests_at_once_than_allowed_get_the_carriers_429(sandbox: Sandbox) -> None:
    sandbox.concurrency_limit, sandbox.delay_s = 2, 0.3
    with ThreadPoolExecutor(8) as pool:
        for ask in (
            lambda _: ask_plivo(sandbox, ""),
            lambda _: ask_telnyx(sandbox, "/balance"),
            lambda _: ask_twilio(sandbox),
        ):
            answers = list(pool.map(ask, range(4)))
            assert sorted(answer.status_code for answer in answers) == [200, 200, 429, 429]
    assert {answer.json()["code"] for answer in answers if answer.status_code == 429} == {20429}
    assert ask_twilio(sandbox).status_code == 200


# Ledger, state, control


def test_rounds_count_what_had_to_wait(sandbox: Sandbox) -> None:
    sandbox.delay_s = 0.05
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda _: ask_twilio(sandbox), range(3)))
    ask_twilio(sandbox)
    assert len(sandbox.ledger) == 4 and rounds(sandbox.ledger) == 2
    assert rounds([]) == 0


def test_rounds_of_made_up_times() -> None:
    def at(started: float, ended: float | None) -> Exchange:
        return Exchange(1, "twilio", "GET", "/", {}, None, None, started, ended)

    assert rounds([at(5, 6), at(0, 3), at(1, 2)]) == 2
    assert rounds([at(0, 2), at(1, 4), at(3, 5)]) == 1, "the third overlaps the second"
    assert rounds([at(0, None), at(9, 10)]) == 1, "the first was never answered"


def test_ledger_tells_what_was_asked_and_by_whom(sandbox: Sandbox) -> None:
    ask_plivo(sandbox, "Number/14155551234/?a=1&a=2", "POST", json={"app_id": seeds.PLIVO_CUSTOMER_APP})
    (entry,) = sandbox.ledger
    assert (entry.seq, entry.carrier, entry.method, entry.account) == (1, "plivo", "POST", seeds.PLIVO_ID)
    assert entry.path == f"/v1/Account/{seeds.PLIVO_ID}/Number/14155551234/"
    assert (entry.query, entry.body) == ({"a": ["1", "2"]}, {"app_id": seeds.PLIVO_CUSTOMER_APP})
    assert (entry.status, entry.response["message"], entry.applied) == (202, "changed", True)
    assert entry.ended is not None and entry.started <= entry.ended
    sandbox.clear_ledger()
    assert sandbox.ledger == []


def test_reset_brings_the_seeds_back(sandbox: Sandbox) -> None:
    before = sandbox.snapshot()
    set_voice_url(sandbox)
    ask_plivo(sandbox, "Application/", "POST", json={"app_name": "ours", "answer_url": "https://ours.example.com/"})
    sandbox.fault("status", times=None)
    assert sandbox.snapshot() != before
    sandbox.reset()
    assert sandbox.snapshot() == before and sandbox.ledger == []
    assert ask_twilio(sandbox).status_code == 200


def test_snapshot_is_a_copy_without_secrets(sandbox: Sandbox) -> None:
    shown = sandbox.snapshot()
    shown["twilio"][seeds.TWILIO_SID]["numbers"].clear()
    assert len(sandbox.snapshot()["twilio"][seeds.TWILIO_SID]["numbers"]) == 48
    text = json.dumps(sandbox.snapshot())
    assert seeds.TWILIO_TOKEN not in text and seeds.TELNYX_KEY not in text and "date_updated" not in text


def test_the_five_thousandth_number_is_added_as_quickly_as_the_first(sandbox: Sandbox) -> None:
    def cost(numbers: range) -> float:
        gc.collect()
        gc.disable()  # what other tests have left is not part of it
        try:
            began = time.process_time()
            for last in numbers:
                sandbox.add_number("telnyx", seeds.TELNYX_ACCOUNT, f"1773{last:07}")
            return time.process_time() - began
        finally:
            gc.enable()

    first = cost(range(500))
    cost(range(500, 4500))
    assert cost(range(4500, 5000)) < 5 * first, "those that are there make each new one slower"


def test_control_api_scripts_and_shows_the_sandbox(sandbox: Sandbox) -> None:
    def control(method: str, name: str, body: object = None) -> requests.Response:
        return requests.request(method, f"{sandbox.url}/_sandbox/{name}", json=body, timeout=5)

    assert control("GET", "health").json() == {"status": "ok"}
    assert control("GET", "state").json() == sandbox.snapshot()
    assert control("POST", "faults", {"kind": "status", "carrier": "twilio", "status": 503}).status_code == 200
    assert ask_twilio(sandbox).status_code == 503
    assert control("GET", "ledger").json()["exchanges"][0]["fault"] == "status"
    control("POST", "faults", {"kind": "status", "times": None})
    control("DELETE", "faults")
    assert ask_twilio(sandbox).status_code == 200
    edit = {"carrier": "twilio", "account": seeds.TWILIO_SID, "number": "12125551234", "set": {"voice_method": "GET"}}
    assert control("POST", "console", edit).json()["voice_method"] == "GET"
    assert twilio_number(sandbox)["voice_method"] == "GET" and len(sandbox.ledger) == 2
    edit = {
        "carrier": "plivo",
        "account": seeds.PLIVO_ID,
        "application": seeds.PLIVO_CUSTOMER_APP,
        "set": {"enabled": False},
    }
    assert control("POST", "console", edit).json()["enabled"] is False
    control("POST", "settings", {"delay_s": 0.01, "concurrency_limit": 7})
    assert (sandbox.delay_s, sandbox.concurrency_limit) == (0.01, 7)
    control("POST", "reset")
    assert sandbox.ledger == [] and twilio_number(sandbox)["voice_method"] == "POST"
    for name, body in [
        ("faults", {"kind": "nonsense"}),
        ("faults", {"kind": "status", "colour": "red"}),
        ("faults", {"kind": "status", "path": "("}),
        ("faults", {"kind": "rewrite"}),
        ("faults", {"kind": "rewrite", "change": "print"}),
        ("faults", [1]),
        ("console", {"carrier": "twilio", "account": "AC", "number": "1", "set": {}}),
    ]:
        assert control("POST", name, body).status_code == 400, (name, body)
    assert control("GET", "nothing").status_code == 404


def test_only_this_machine_is_served(sandbox: Sandbox) -> None:
    def status(host: str) -> int:
        with socket.create_connection(("127.0.0.1", int(sandbox.url.rpartition(":")[2]))) as connection:
            connection.sendall(f"GET /_sandbox/health HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            return int(connection.recv(100).split()[1])

    assert status("localhost:8100") == status("127.0.0.1") == 200
    assert status("rebound.example.com") == status("127.0.0.1.example.com") == status("") == 403
    assert sandbox.url.startswith("http://127.0.0.1:")


def test_connections_are_kept_alive_and_closed_at_stop() -> None:
    sandbox = Sandbox().start()
    with requests.Session() as session:
        session.get(f"{sandbox.url}/_sandbox/health", timeout=5)
        (kept,) = sandbox._server._connections
        session.get(f"{sandbox.url}/_sandbox/health", timeout=5)
        assert sandbox._server._connections == {kept}
        sandbox.stop()
        with pytest.raises(requests.ConnectionError):
            session.get(f"{sandbox.url}/_sandbox/health", timeout=5)


def test_hundreds_of_callers_at_once(sandbox: Sandbox) -> None:
    sandbox.delay_s = 0.05
    barrier = threading.Barrier(200)

    def ask(_: int) -> int:
        barrier.wait()
        return ask_telnyx(sandbox, "/balance", key=seeds.TELNYX_KEY).status_code

    with ThreadPoolExecutor(200) as pool:
        assert set(pool.map(ask, range(200))) == {200}


# Contract


def exchange(
    carrier: str,
    method: str,
    path: str,
    *,
    status: int = 200,
    response: object = None,
    query: dict[str, list[str]] | None = None,
    body: object = None,
) -> Exchange:
    return Exchange(1, carrier, method, path, query or {}, body, None, 0.0, 1.0, status, response)


@pytest.mark.parametrize(
    "wrong, part",
    [
        (exchange("twilio", "GET", "/2010-04-01/Numbers.json"), "path"),
        (exchange("twilio", "PATCH", f"{NUMBERS}.json"), "method"),
        (exchange("twilio", "GET", f"{NUMBERS}.json", query={"Number": ["1"]}), "Number is unknown"),
        (exchange("twilio", "GET", f"{NUMBERS}.json", query={"PageSize": ["many"]}), "PageSize"),
        (exchange("twilio", "GET", f"{NUMBERS}.json", query={"PageSize": ["1001"]}), "PageSize"),
        (exchange("twilio", "GET", f"{NUMBERS}/PN12.json"), "Sid"),
        (exchange("twilio", "POST", f"{NUMBERS}/PN{'0' * 32}.json", body={"VoiceURL": "https://a.b/"}), "VoiceURL"),
        (exchange("twilio", "POST", f"{NUMBERS}/PN{'0' * 32}.json", body={"VoiceURL": ""}), "VoiceURL"),
        (exchange("twilio", "POST", f"{NUMBERS}/PN{'0' * 32}.json", body={"VoiceMethod": "post"}), "VoiceMethod"),
        (exchange("twilio", "POST", f"{NUMBERS}/PN{'0' * 32}.json", body={"TrunkSid": "None"}), "TrunkSid"),
        (exchange("plivo", "GET", "/v1/Account/MA123/"), "auth_id"),
        (exchange("plivo", "POST", f"/v1/Account/{seeds.PLIVO_ID}/Number/1/", body={"app": "1"}), "app"),
        (exchange("plivo", "POST", f"/v1/Account/{seeds.PLIVO_ID}/Number/1/"), "body"),
        (exchange("plivo", "POST", f"/v1/Account/{seeds.PLIVO_ID}/Application/", body={"app_name": "a b"}), "app_name"),
        (exchange("telnyx", "GET", "/phone_numbers", query={"filter[number]": ["1"]}), "number"),
        (exchange("telnyx", "GET", "/phone_numbers", query={"page[size]": ["251"]}), "page.size"),
        (exchange("telnyx", "PATCH", "/phone_numbers/1", body={"connection_id": 1}), "connection_id"),
        (exchange("telnyx", "POST", "/texml_applications", body={"friendly_name": "a"}), "voice_url"),
        (
            exchange(
                "telnyx",
                "POST",
                "/texml_applications",
                body={"friendly_name": "a", "voice_url": "https://a.b/", "voice_method": "POST"},
            ),
            "voice_method",
        ),
    ],
)
def test_planted_wrong_requests_are_reported(wrong: Exchange, part: str) -> None:
    assert any(part in problem for problem in request_violations(wrong)), request_violations(wrong)


@pytest.mark.parametrize(
    "field, value",
    [
        ("sid", "PN1"),
        ("voice_method", "post"),
        ("voice_url", "nonsense"),
        ("capabilities", {"voice": "yes"}),
        ("date_created", "2024-01-02"),
        ("voice_receive_mode", "both"),
        ("voice_uri", "https://ours.example.com/"),
    ],
)
def test_planted_wrong_replies_are_reported(sandbox: Sandbox, field: str, value: object) -> None:
    sandbox.fault("rewrite", method="POST", change=lambda reply: reply | {field: value})
    sid = twilio_number(sandbox)["sid"]
    ask_twilio(sandbox, f"{NUMBERS}/{sid}.json", "POST", data={"VoiceMethod": "POST"})
    problems = reply_violations(sandbox.ledger[-1])
    assert problems and all(field in problem for problem in problems)


def test_planted_wrong_replies_of_the_others_are_reported() -> None:
    assert reply_violations(exchange("twilio", "GET", f"{NUMBERS}.json", status=302))
    assert reply_violations(exchange("telnyx", "GET", "/phone_numbers", response={"data": []}))
    assert reply_violations(exchange("telnyx", "GET", "/phone_numbers/1", response={"data": {"id": 1}}))
    assert reply_violations(
        exchange("plivo", "GET", f"/v1/Account/{seeds.PLIVO_ID}/", response={"auto_recharge": "no"})
    )
    assert reply_violations(exchange("plivo", "GET", f"/v1/Account/{seeds.PLIVO_ID}/", status=401, response=None))


def test_every_seeded_resource_has_every_field_of_the_contract(sandbox: Sandbox) -> None:
    state = sandbox.state
    twilio = state.account("twilio", seeds.TWILIO_SID)
    plivo = state.account("plivo", seeds.PLIVO_ID)
    telnyx = state.account("telnyx", seeds.TELNYX_KEY)
    app = telnyx.applications[seeds.TELNYX_CUSTOMER_APP]
    for carrier, schema, resource, lacking in [
        ("twilio", "api.v2010.account.incoming_phone_number", twilio.numbers["12125551234"], set()),
        ("plivo", "Number", plivo.numbers["14155551234"], {"api_id"}),
        ("plivo", "Application", plivo.applications[seeds.PLIVO_CUSTOMER_APP], {"api_id"}),
        ("telnyx", "PhoneNumberDetailed", telnyx.numbers["13125551234"], set()),
        ("telnyx", "TexmlApplication", app, set()),
        ("telnyx", "CallControlApplication", telnyx.applications[seeds.TELNYX_CALL_CONTROL_APP], set()),
    ]:
        documented = spec(carrier)["components"]["schemas"][schema]["properties"].keys()
        assert documented - resource.keys() == lacking, schema
