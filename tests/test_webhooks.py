"""The carriers' door beside its signatures: what is refused, and what must not go wrong with what is accepted."""

import json
import logging
import threading
import time
from collections import Counter
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import requests
from django.utils import timezone

from core.fields import new_object_id
from core.rates import Rate
from core.secrets import Secret
from integrations.events import KEPT_VALUE
from phones.models import Account, Call, CallEvent, PhoneNumber, Recording
from phones.reconciling import Done, reconcile
from phones.services.calls import merge_or_leave
from phones.services.carriers import urls_for
from sandbox.ports import free_port
from sandbox.sandbox import Sandbox
from sandbox.signing import signed
from sandbox.state import Account as CarrierAccount
from tests.support.api import DAY_S, add, data_of, send
from tests.support.carriers import CARRIERS, PLIVO, TELNYX, TWILIO, Good, each_signing_with_tokens
from tests.support.database import INSERT, failing
from tests.support.people import Tenant
from tests.support.races import together
from tests.support.webhooks import at_carrier, deliver, form_of
from users.models import LimitCounter

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def account(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> Account:
    return account_of(tenant, carrier)


def account_of(tenant: Tenant, good: Good) -> Account:
    assert add(tenant, good.body(tenant.user)).status_code == 201
    return Account.objects.get(integration=good.integration)


def test_every_refusal_is_empty_and_says_how_long_it_is(account: Account, live_server: Any) -> None:
    there = urls_for(account).answer.replace("https://phones.example.com", live_server.url)
    for reply, status in [
        (requests.get(there, timeout=5), 405),
        (requests.put(there, timeout=5), 405),
        (requests.post(there, data={"a": "b"}, timeout=5), 403),
        (requests.post(there + "/", timeout=5), 404),
        (requests.post(there.replace("answer", "other"), timeout=5), 403),
        (requests.post(there, data=b"x" * 65_537, timeout=5), 413),
        (requests.post(there.rpartition("/")[0], timeout=5), 404),
    ]:
        assert (reply.status_code, reply.content, reply.headers["Content-Length"]) == (status, b"", "0")
        assert reply.headers["X-Request-ID"]
    assert requests.get(there, timeout=5).headers["Allow"] == "POST"
    assert not CallEvent.objects.exists()


def test_a_body_of_64_kib_is_taken(sandbox: Sandbox, account: Account, carrier: Good) -> None:
    form = form_of(carrier, CallerName="")
    room = 65_536 - len(signed(at_carrier(sandbox, carrier), urls_for(account).status, form)[0])
    full = form_of(carrier, CallerName="x" * room)
    body, headers = signed(at_carrier(sandbox, carrier), urls_for(account).status, full)

    assert len(body) == 65_536
    assert deliver(urls_for(account).status, body, headers).status_code == 200


def test_the_end_of_a_plivo_body_cannot_move_into_the_nonce(sandbox: Sandbox, tenant: Tenant) -> None:
    account, url = account_of(tenant, PLIVO), ""
    url = urls_for(account).status
    genuine = form_of(PLIVO, TotalCost="0.0085")
    body, headers = signed(at_carrier(sandbox, PLIVO), url, genuine, nonce="12345")
    assert deliver(url, body, dict(headers)).status_code == 200

    cut = body.replace(b"TotalCost=0.0085", b"TotalCost=0")
    assert cut != body
    forged = headers | {"X-Plivo-Signature-V3-Nonce": "0085.12345"}

    assert deliver(url, cut, forged).status_code == 403
    assert CallEvent.objects.count() == 1


def test_a_recording_that_ends_before_it_begins_hangs_nothing(sandbox: Sandbox, tenant: Tenant) -> None:
    account = account_of(tenant, TELNYX)
    times = {"recording_started_at": "2026-11-23T08:00:47Z", "recording_ended_at": "2026-11-23T08:00:05Z"}
    payload = {"call_control_id": "v3:one", "recording_id": "r1", **times}
    data = {"event_type": "call.recording.saved", "id": "e1", "occurred_at": "2026-11-23T08:01:00Z", "payload": payload}
    body, headers = signed(at_carrier(sandbox, TELNYX), urls_for(account).status, json.dumps({"data": data}).encode())

    assert deliver(urls_for(account).status, body, headers).status_code == 200
    assert Recording.objects.get().duration_s is None


def test_no_log_line_has_the_secret_of_the_address(
    sandbox: Sandbox, tenant: Tenant, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = account_of(tenant, TWILIO)
    body, headers = signed(at_carrier(sandbox, TWILIO), urls_for(account).status, form_of(TWILIO))
    monkeypatch.setattr("phones.webhooks.record_event", lambda *_: 1 / 0)

    with caplog.at_level(logging.DEBUG):
        assert deliver(urls_for(account).status, body, headers).status_code == 503
        assert deliver(urls_for(account).status, body + b"x", dict(headers)).status_code == 403

    assert "ZeroDivisionError" in caplog.text
    assert account.webhook_token not in caplog.text


@pytest.mark.engine
@each_signing_with_tokens
def test_a_lost_key_of_the_token_before_does_not_matter(sandbox: Sandbox, tenant: Tenant, good: Good) -> None:
    account = account_of(tenant, good)
    Account.objects.update(previous_auth_token=Secret("lost"), rotated_at=timezone.now())
    body, headers = signed(at_carrier(sandbox, good), urls_for(account).status, form_of(good))

    assert deliver(urls_for(account).status, body, headers).status_code == 200


@pytest.mark.engine
def test_a_number_that_forwards_to_nowhere_takes_a_message(sandbox: Sandbox, account: Account, carrier: Good) -> None:
    PhoneNumber.objects.update(action="forward", forward_to="")
    body, headers = signed(at_carrier(sandbox, carrier), urls_for(account).answer, form_of(carrier))

    assert b"<Record " in deliver(urls_for(account).answer, body, headers).content


@pytest.mark.parametrize(
    ("action", "limits"), [("voicemail", [b'maxLength="120"', b'timeout="5"']), ("forward", [b'timeLimit="14400"'])]
)
def test_a_message_ends_after_two_minutes_or_silence_and_a_forwarded_call_after_four_hours(
    sandbox: Sandbox, account: Account, carrier: Good, action: str, limits: list[bytes]
) -> None:
    PhoneNumber.objects.update(action=action, forward_to="442079460000")
    body, headers = signed(at_carrier(sandbox, carrier), urls_for(account).answer, form_of(carrier))

    document = deliver(urls_for(account).answer, body, headers).content

    assert all(limit in document for limit in limits), document


@pytest.mark.engine
@pytest.mark.parametrize(("action", "verb"), [("voicemail", b"<Record "), ("forward", b"<Record "), ("reject", b"rej")])
def test_at_the_fallback_address_a_message_is_taken_unless_calls_are_rejected(
    sandbox: Sandbox, account: Account, carrier: Good, action: str, verb: bytes
) -> None:
    PhoneNumber.objects.update(action=action, forward_to="442079460000", greeting="Hello")
    body, headers = signed(at_carrier(sandbox, carrier), urls_for(account).fallback, form_of(carrier))

    document = deliver(urls_for(account).fallback, body, headers).content
    assert verb in document.replace(b"<Reject", b"rej")
    assert b"<Dial" not in document


@pytest.mark.engine
def test_two_numbers_of_one_account_that_call_each_other_are_told_apart_in_any_order(
    sandbox: Sandbox, tenant: Tenant
) -> None:
    account = account_of(tenant, TELNYX)
    assert add(tenant, TELNYX.body(tenant.user, phoneNumber=TELNYX.another)).status_code == 201
    url, there = urls_for(account).status, at_carrier(sandbox, TELNYX)
    without = {"From": f"+{TELNYX.number}", "To": f"+{TELNYX.another}", "Direction": ""}
    told: list[tuple[str, str | None]] = []
    for order in ([without, without | {"Direction": "outbound"}], [without | {"Direction": "outbound"}, without]):
        for number, fields in enumerate(order):
            form = form_of(TELNYX, call_id=f"call{len(told)}", SequenceNumber=str(number), **fields)
            assert deliver(url, *signed(there, url, form)).status_code == 200
        call = Call.objects.get(carrier_id=f"call{len(told)}")
        told.append((call.direction, call.line.number if call.line else None))
    assert told == [("outbound", TELNYX.number)] * 2


def test_webhooks_and_reconcile_need_no_redis(sandbox: Sandbox, account: Account, carrier: Good, settings: Any) -> None:
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    body, headers = signed(at_carrier(sandbox, carrier), urls_for(account).answer, form_of(carrier))

    assert deliver(urls_for(account).answer, body, headers).status_code == 200
    assert reconcile().pulls == {Done.YES: 1}


# -- rotation ---------------------------------------------------------------------------------------------------------


@pytest.mark.engine
def test_a_new_token_whose_add_died_before_its_account_took_it_over_is_taken_over_by_reconcile(
    sandbox: Sandbox, account: Account, tenant: Tenant, carrier: Good
) -> None:
    operation = Secret.seal(json.dumps({"auth_token": "a-new-token"}))
    an_hour_ago = timezone.now() - timedelta(hours=1)
    PhoneNumber.objects.update(operation=operation, lease_id=new_object_id(), lease_until=an_hour_ago)

    assert reconcile().finished == 1

    account.refresh_from_db()
    assert account.auth_token.open() == "a-new-token" and account.previous_auth_token
    assert account.previous_auth_token.open() == carrier.auth_token
    phone = PhoneNumber.objects.get()
    assert phone.state == "active" and phone.lease_until is None and phone.operation is None


@each_signing_with_tokens
def test_while_a_token_is_rotated_webhooks_of_either_pass(
    sandbox: Sandbox, tenant: Tenant, good: Good, settings: Any, live_server: Any
) -> None:
    settings.PUBLIC_URL = live_server.url
    account, there = account_of(tenant, good), at_carrier(sandbox, good)
    phone, url = PhoneNumber.objects.get(), urls_for(account).status
    statuses: list[int] = []
    stop = threading.Event()
    # Signed by the carrier with either token, whichever of its machines it comes from.
    old, new = there.secret, "rotated-token-of-the-sandbox"
    signers = {secret: CarrierAccount(there.carrier, there.id, secret) for secret in (old, new)}

    def pour(secret: str) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            body, headers = signed(signers[secret], url, form_of(good, f"{secret}{number}"))
            statuses.append(requests.post(url, data=body, headers=headers, timeout=10).status_code)

    with_old = threading.Thread(target=pour, args=(old,))
    with_old.start()
    wait_for(lambda: len(statuses) > 5)
    there.secret = new
    data_of(send("PATCH", f"phones/{phone.pk}", tenant, {"authToken": new}))
    with_new = threading.Thread(target=pour, args=(new,))
    with_new.start()
    seen = len(statuses)
    wait_for(lambda: len(statuses) > seen + 20)
    stop.set()
    with_old.join()
    with_new.join()
    assert set(statuses) == {200}

    Account.objects.update(signed_at=timezone.now() - timedelta(seconds=settings.TOKEN_ROTATION_WINDOW_S))
    for secret, status in [(old, 403), (new, 200)]:
        body, headers = signed(signers[secret], url, form_of(good, "last"))
        assert requests.post(url, data=body, headers=headers, timeout=10).status_code == status


def wait_for(condition: Any) -> None:
    give_up_at = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


def test_a_number_of_the_carriers_that_has_calls_keeps_them_when_it_is_removed(
    sandbox: Sandbox, account: Account, carrier: Good, tenant: Tenant
) -> None:
    body, headers = signed(at_carrier(sandbox, carrier), urls_for(account).status, form_of(carrier))
    assert deliver(urls_for(account).status, body, dict(headers)).status_code == 200

    assert data_of(send("DELETE", f"phones/{PhoneNumber.objects.get().pk}", tenant))["restored"] is True

    assert Call.objects.get().line is None
    late, headers = signed(at_carrier(sandbox, carrier), urls_for(account).answer, form_of(carrier, "late"))
    answer = deliver(urls_for(account).answer, late, headers)
    assert answer.status_code == 200
    assert b"<Hangup" in answer.content
    assert b"<Record" not in answer.content
    assert CARRIERS[carrier.integration].number not in str(send("GET", "calls", tenant).content)


# -- how many events an account may have, and how much is kept of one -------------------------------------------------


@pytest.fixture
def three_events(settings: Any) -> None:
    """LIMIT_EVENTS, in a window that does not turn in the middle of a test."""
    settings.LIMITS = settings.LIMITS | {"events": Rate(3, DAY_S)}


def tell(sandbox: Sandbox, account: Account, good: Good, kind: str, **fields: str) -> Any:
    url = getattr(urls_for(account), kind)
    return deliver(url, *signed(at_carrier(sandbox, good), url, form_of(good, **fields)))


@pytest.mark.engine
@pytest.mark.usefixtures("three_events")
def test_events_beyond_the_limit_of_an_account_get_a_503_and_no_row(
    sandbox: Sandbox, account: Account, carrier: Good, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = ("answer", "status", "recording", "done", "fallback", "status")
    replies = [tell(sandbox, account, carrier, kind, call_id=f"call{n}") for n, kind in enumerate(kinds)]

    assert [reply.status_code for reply in replies] == [200, 200, 200, 503, 503, 503]
    assert all(reply.content == b"" and int(reply["Retry-After"]) > 0 for reply in replies[3:])
    assert (CallEvent.objects.count(), Call.objects.count()) == (3, 3)
    later = timezone.now() + timedelta(days=1)
    monkeypatch.setattr("core.clock.now", lambda: later)
    assert tell(sandbox, account, carrier, "status", call_id="tomorrow").status_code == 200


@pytest.mark.engine
@pytest.mark.usefixtures("three_events")
def test_repeats_count_and_what_is_not_the_carriers_does_not(sandbox: Sandbox, account: Account, carrier: Good) -> None:
    url = urls_for(account).status
    body, headers = signed(at_carrier(sandbox, carrier), url, form_of(carrier))
    for _ in range(5):
        assert deliver(url, body + b"x", dict(headers)).status_code == 403

    statuses = [deliver(url, body, dict(headers)).status_code for _ in range(5)]

    assert statuses == [200, 200, 200, 503, 503]
    assert CallEvent.objects.count() == 1


@pytest.mark.usefixtures("three_events")
def test_each_account_has_a_limit_of_its_own(sandbox: Sandbox, tenant: Tenant) -> None:
    first = account_of(tenant, TWILIO)
    second = account_of(tenant, PLIVO)
    statuses = [tell(sandbox, first, TWILIO, "status", call_id=f"{n}").status_code for n in range(5)]
    assert statuses == [200, 200, 200, 503, 503]
    assert tell(sandbox, second, PLIVO, "status").status_code == 200


@pytest.mark.engine
@pytest.mark.usefixtures("three_events")
def test_an_event_that_cannot_be_kept_is_not_counted_where_that_can_be_undone(sandbox: Sandbox, tenant: Tenant) -> None:
    account = account_of(tenant, TWILIO)
    with failing(INSERT, CallEvent):
        assert [tell(sandbox, account, TWILIO, "status").status_code for _ in range(2)] == [503, 503]
    assert tell(sandbox, account, TWILIO, "status").status_code == 200
    assert CallEvent.objects.count() == 1


@pytest.mark.engine
def test_fifty_events_at_once_are_counted_exactly(sandbox: Sandbox, tenant: Tenant, settings: Any) -> None:
    settings.LIMITS = settings.LIMITS | {"events": Rate(20, DAY_S)}
    account = account_of(tenant, PLIVO)
    acts = [partial(tell, sandbox, account, PLIVO, "status", call_id=f"call{n}") for n in range(50)]

    assert Counter(reply.status_code for reply in together(*acts)) == {200: 20, 503: 30}
    assert CallEvent.objects.count() == 20


def test_a_limit_that_is_off_counts_nothing(sandbox: Sandbox, tenant: Tenant, settings: Any) -> None:
    settings.LIMITS = settings.LIMITS | {"events": None}
    account = account_of(tenant, TWILIO)
    before = LimitCounter.objects.count()
    assert {tell(sandbox, account, TWILIO, "status", call_id=f"{n}").status_code for n in range(5)} == {200}
    assert LimitCounter.objects.count() == before


@pytest.mark.engine
@pytest.mark.parametrize(
    "padding",
    [
        {"Unknown": "x" * 60_000},
        {f"Unknown{n}": "y" * 50 for n in range(900)},
        {"N" * 60_000: "z"},
        {"From": "8" * 60_000},
    ],
    ids=["one long", "many short", "a long name", "one that is read"],
)
def test_of_a_long_body_only_what_is_read_is_kept(
    sandbox: Sandbox, account: Account, carrier: Good, padding: dict[str, str]
) -> None:
    fields = {"CallStatus": "completed", "Duration": "42", "CallDuration": "42"} | padding
    assert tell(sandbox, account, carrier, "status", **fields).status_code == 200

    event, call = CallEvent.objects.get(), Call.objects.get()
    assert len(event.payload) < 3 * KEPT_VALUE
    assert "Unknown" not in event.payload and "NNNN" not in event.payload
    before: dict[str, Any] = dict(Call.objects.values().get())
    Call.objects.all().delete()
    assert merge_or_leave(event)
    again: dict[str, Any] = dict(Call.objects.values().get())
    unlike = {name for name in before if before[name] != again[name]} - {"id", "created_at", "version"}
    assert not unlike and call.status == "completed", "merged again from what was kept"


def test_an_ordinary_body_is_kept_as_received(sandbox: Sandbox, account: Account, carrier: Good) -> None:
    url = urls_for(account).status
    body, headers = signed(at_carrier(sandbox, carrier), url, form_of(carrier, Unknown="x" * 2000, SipHeader="a=b;c"))
    assert deliver(url, body, headers).status_code == 200
    assert CallEvent.objects.get().payload == body.decode()


def test_of_a_long_event_of_call_control_only_what_is_read_is_kept(sandbox: Sandbox, tenant: Tenant) -> None:
    account, url = account_of(tenant, TELNYX), ""
    url = urls_for(account).status
    payload = {"call_control_id": "v3:one", "from": "+12125550100", "to": f"+{TELNYX.number}", "direction": "incoming"}
    payload |= {"custom_headers": [{"name": "X", "value": "x" * 50_000}], "client_state": "s" * 9000}  # type: ignore[dict-item]
    data = {"event_type": "call.initiated", "id": "e1", "occurred_at": "2026-11-23T08:01:00Z", "payload": payload}
    body, headers = signed(at_carrier(sandbox, TELNYX), url, json.dumps({"data": data, "meta": {"a": "b"}}).encode())

    assert deliver(url, body, headers).status_code == 200

    kept = json.loads(CallEvent.objects.get().payload)
    assert kept["data"]["payload"]["call_control_id"] == "v3:one"
    assert len(str(kept)) < 1000 and "custom_headers" not in str(kept) and "meta" not in kept
    assert Call.objects.get().caller == "12125550100"
