"""Who comes through the carriers' door: signed requests, changed ones, and what happens when we cannot tell."""

import json
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest.mock import patch
from urllib.parse import urlencode

import pytest
from cryptography.fernet import Fernet
from django.db import OperationalError, connection
from django.http.request import HttpHeaders
from django.utils import timezone
from twilio.request_validator import RequestValidator

from core.quiet import Quiet
from integrations import provider_class
from integrations.errors import BadSignature
from integrations.telnyx import provider as telnyx
from integrations.webhooks import Webhook
from phones import webhooks
from phones.models import Account, Call, CallEvent
from sandbox import state as seeds
from sandbox.sandbox import Sandbox
from sandbox.signing import FORM, signed
from tests.support import SAMPLES
from tests.support.api import add
from tests.support.carriers import CARRIERS, PLIVO, TELNYX, TWILIO, Good, each_signing_with_tokens
from tests.support.database import INSERT, OTHER, READ, failing
from tests.support.people import Tenant, new_tenant
from tests.support.webhooks import (
    KEYLESS,
    KINDS,
    NOW,
    PUBLIC_URL,
    Knock,
    Party,
    event,
    events,
    join,
    originals,
    row_counts,
    send,
    vendor_accepts,
    wire,
)

pytestmark = pytest.mark.usefixtures("clock")


@pytest.fixture
def tenant(transactional_db: None) -> Tenant:
    return new_tenant()


# -- the vendors' vectors ---------------------------------------------------------------------------------------------

VECTORS = json.loads((SAMPLES / "signatures.json").read_text())["vectors"]
# Where a receiver decides for itself.
OUR_VERDICTS = {
    "tw-v11": (False, "a SharedKey is not supported: we know the auth token only"),
    "tw-i11": (False, "nor is one with an unknown algorithm"),
    "pl-v5": (False, "V2 does not sign the fields"),
    "pl-v9": (True, "the main account's signature, by a token that is the account's"),
    "pl-i11": (True, "a space after the comma is no part of a signature"),
    "tx-v8": (True, "the signature fits; that it is a GET is the door's business"),
}


@pytest.mark.parametrize("sample", VECTORS, ids=lambda sample: sample["id"])
def test_each_published_vector_gets_its_verdict(clock: Any, sample: dict[str, Any]) -> None:
    clock.time = lambda: sample.get("now", NOW)
    headers = HttpHeaders({HttpHeaders.to_wsgi_name(name): value for name, value in sample["headers"].items()})
    webhook = Webhook(sample["url"], headers, sample["body"].encode())

    def check() -> str:
        return provider_class(sample["provider"]).check_signature(
            webhook, auth_tokens=iter([sample.get("secret", "")]), public_key=sample.get("public_key", "")
        )

    valid = sample["valid"] if sample["normative"] else OUR_VERDICTS[sample["id"]][0]
    if valid:
        assert isinstance(check(), str)
    else:
        with pytest.raises(BadSignature):
            check()


@pytest.mark.parametrize(("late_by", "valid"), [(-301, False), (-300, True), (0, True), (300, True), (301, False)])
def test_telnyx_timestamps_may_be_five_minutes_off(clock: Any, late_by: int, valid: bool) -> None:
    account = seeds.seeded().account("telnyx", seeds.TELNYX_ACCOUNT)
    body, headers = signed(account, PUBLIC_URL, b"{}", timestamp=NOW)
    clock.time = lambda: NOW + late_by + 0.5
    webhook = Webhook(PUBLIC_URL, HttpHeaders({HttpHeaders.to_wsgi_name(k): v for k, v in headers.items()}), body)
    try:
        telnyx.Telnyx.check_signature(webhook, auth_tokens=iter(()), public_key=account.public_key())
    except BadSignature:
        assert not valid
    else:
        assert valid


# -- what the door itself looks at ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_only_post_is_taken(party: Party, kind: str) -> None:
    knock = originals(party, kind)[0]
    for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
        reply = send(knock, method)
        assert (reply.status_code, reply.content) == (405, b""), method
    in_query = replace(knock, path=f"{knock.path}?{knock.body.decode()}", body=b"")
    assert send(in_query, "GET").status_code == 405
    assert row_counts() == (0, 0, 0)


def test_a_body_that_is_too_large_is_not_looked_at(party: Party) -> None:
    for size, status in ((64 * 1024, 200), (64 * 1024 + 1, 413), (300_000, 413)):
        padding = size - len(party.knock("status", [*event(party.row.integration), ("Padding", "")]).body)
        knock = party.knock("status", [*event(party.row.integration), ("Padding", "x" * padding)])
        assert len(knock.body) == size
        reply = send(knock)
        assert (reply.status_code, reply.content) == (status, b"")
    assert CallEvent.objects.count() == 1


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_read_is_refused_although_it_is_signed(party: Party, kind: str) -> None:
    carrier = party.row.integration
    form = event(carrier)
    many = [*form, *((f"field{number}", "x") for number in range(1000))]
    unreadable = [party.knock(kind, many)]
    if carrier == "telnyx":
        bodies = (b"CallSid=\xff\xfe", b'{"data":', b'{"data": 1}}', b"{" * 5000, b'{"a":' + b"[" * 5000, b"\x80{}")
        unreadable += [party.knock(kind, body) for body in bodies]
    else:
        json_body = party.knock(kind, json.dumps(dict(form)).encode())
        if carrier == "twilio":  # Plivo's body is a form, whatever it says of itself
            unreadable += [json_body, replace(party.knock(kind, form), headers=json_body.headers)]
            unreadable.append(party.knock(kind, form).with_headers(Content_Type="multipart/form-data; boundary=x"))
            unreadable.append(party.knock(kind, form).with_headers(Content_Type=""))
        unreadable.append(replace(party.knock(kind, form), body=b"CallSid=\xff\xfe"))
    for knock in unreadable:
        reply = send(knock)
        assert (reply.status_code, reply.content) == (403, b""), knock.body[:50]
    assert row_counts() == (0, 0, 0)


def test_json_to_twilio_counts_when_the_signed_address_has_its_hash(sandbox: Sandbox, tenant: Tenant) -> None:
    party = join(sandbox, tenant, TWILIO)
    body = json.dumps(dict(event("twilio"))).encode()

    def knock(of: bytes) -> Knock:
        path = f"{party.path('status')}?bodySHA256={RequestValidator('').compute_hash(of.decode())}"
        _, headers = signed(party.carrier, PUBLIC_URL + path, b"")
        return Knock(path, body, headers | {"Content-Type": "application/json"})

    assert send(knock(body + b" ")).status_code == 403
    assert row_counts() == (0, 0, 0)
    assert send(knock(body)).status_code == 200
    assert Call.objects.get().carrier_id == "CA-1"


@pytest.mark.parametrize("escapes", [b"CallSid=CA-9&x=%zz", b"CallUUID=CA-9&x=%", b"CallSid=%FF%FE&x=%e2%28"])
def test_escapes_that_are_none_are_refused_unless_they_are_signed(party: Party, escapes: bytes) -> None:
    knock = party.knock("status", event(party.row.integration))
    assert send(replace(knock, body=escapes)).status_code == 403
    assert row_counts() == (0, 0, 0)


def test_a_nonce_cannot_take_over_a_part_of_what_is_signed(sandbox: Sandbox, tenant: Tenant) -> None:
    """What Plivo signs is all fields, a dot and the nonce: fields behind another dot can be moved into the nonce."""
    party = join(sandbox, tenant, PLIVO)
    form = [("BillRate", "0.5"), *event("plivo")]
    knock = party.knock("status", form, nonce="12345")
    assert vendor_accepts(knock, [party])
    rest = "".join(name + value for name, value in sorted(form)).partition(".")[2]
    cut = replace(knock, body=b"BillRate=0").with_headers(X_Plivo_Signature_V3_Nonce=f"{rest}.12345")
    assert vendor_accepts(cut, [party]), "the vendor has mended it; then this test has done its duty"

    assert send(cut).status_code == 403
    assert row_counts() == (0, 0, 0)


@pytest.mark.engine
def test_a_telnyx_id_that_is_no_text_does_not_hurt(sandbox: Sandbox, tenant: Tenant) -> None:
    party = join(sandbox, tenant, TELNYX)
    halves = (b'{"data": {"id": "\\ud800"}}', b'{"data": {"id": ["\\ud800"]}}')
    for body in halves:  # half a character: kept or unreadable, but no fault of ours
        assert send(party.knock("status", body)).status_code in (200, 403), body
    kept = CallEvent.objects.count()
    for body in (b'{"data": []}', b'{"data": {"id": 7}}', b'{"data": {"id": null}}'):
        assert send(party.knock("status", body)).status_code == 200, body
    assert CallEvent.objects.count() == kept + 3


# -- the same content in another form ---------------------------------------------------------------------------------


@pytest.mark.engine
def test_the_order_of_fields_and_their_spelling_make_no_other_event(party: Party) -> None:
    if party.row.integration == "telnyx":
        pytest.skip("Telnyx signs the bytes")
    for form in events(party.row.integration):
        CallEvent.objects.all().delete()
        knock = party.knock("answer", form)
        fields = knock.body.split(b"&")
        spellings = [knock.body, b"&".join(reversed(fields)), b"&".join(sorted(fields)), knock.body + b"&"]
        spellings.append(b"&".join(fields).replace(b"%2B", b"%2b").replace(b"CallStatus", b"Call%53tatus"))
        spellings.append(knock.body.replace(b"+", b"%20"))
        replies = {wire(send(replace(knock, body=body))) for body in spellings}
        assert len(replies) == 1
        assert replies.pop()[0] == 200
        assert CallEvent.objects.count() == 1


def test_a_replay_signed_anew_is_the_same_event(party: Party) -> None:
    form = event(party.row.integration)
    replies = {
        wire(send(party.knock("answer", form, timestamp=NOW + second, nonce=f"nonce{second}"))) for second in range(5)
    }
    assert len(replies) == 1
    assert replies.pop()[0] == 200
    assert row_counts() == (1, 1, 0)


def test_an_attempt_that_telnyx_counts_is_the_same_event(sandbox: Sandbox, tenant: Tenant) -> None:
    party = join(sandbox, tenant, TELNYX)
    for attempt, kind in ((1, "status"), (2, "status"), (3, "fallback")):
        payload = {"call_control_id": "v3:1", "from": "+441632960083", "to": f"+{TELNYX.number}"}
        data = {"event_type": "call.initiated", "id": "0ccc7b54", "payload": payload}
        body = json.dumps({"data": data, "meta": {"attempt": attempt}}).encode()
        assert send(party.knock(kind, body)).status_code == 200
    assert row_counts() == (1, 1, 0)


def test_the_same_words_to_two_accounts_are_two_events(party: Party, other: Party) -> None:
    for one in (party, other):
        assert send(one.knock("status", event(party.row.integration))).status_code == 200
    assert row_counts() == (2, 2, 0)


def test_the_host_of_a_request_does_not_matter(party: Party) -> None:
    """Proxies that keep the client's Host pass on a name; those that do not, their own name or address: the first three
    are what nginx sends without `proxy_set_header Host`, or with an upstream."""
    knock = party.knock("answer", event(party.row.integration))
    for host in (
        "127.0.0.1:8000", "phones_backend", "phones_backend:8000", "testserver:8443", "7c7168a662c1:8000",
        "[fd00::1]:8000", "[", "a b", "phones.example.com:99999", "phones.example.com, proxy.example.com", "ph\u00f6nes", "",
    ):  # fmt: skip
        reply = send(knock.with_headers(Host=host))
        assert (reply.status_code, reply.headers["Content-Type"]) == (200, "text/xml; charset=utf-8"), host
        assert b"<Response>" in reply.content
    assert row_counts() == (1, 1, 0)


# -- tokens and keys --------------------------------------------------------------------------------------------------


def rotate(sandbox: Sandbox, tenant: Tenant, good: Good, number: str, token: str) -> seeds.Account:
    """The customer has made a new token, and adds another number with it. Returns the account as it was before."""
    account = sandbox.state.account(good.integration, good.acc_sid)
    before = replace(account)
    account.secret = token
    assert add(tenant, good.body(tenant.user, phoneNumber=number, authToken=token)).status_code == 201
    return before


@pytest.mark.engine
@each_signing_with_tokens
def test_the_token_before_is_good_for_as_long_as_the_carrier_may_still_sign_with_it(
    sandbox: Sandbox, tenant: Tenant, colleague: Tenant, settings: Any, good: Good
) -> None:
    party = join(sandbox, tenant, good)
    first = rotate(sandbox, colleague, good, good.another, "second-token")

    def knock(by: seeds.Account, call_id: str) -> int:
        return send(Party(party.row, by).knock("status", event(good.integration, call_id))).status_code

    assert knock(first, "CA-old") == knock(party.carrier, "CA-new") == 200
    window = timedelta(seconds=settings.TOKEN_ROTATION_WINDOW_S)
    Account.objects.update(signed_at=timezone.now() - window + timedelta(minutes=1))
    assert knock(first, "CA-late") == 200
    Account.objects.update(signed_at=timezone.now() - window - timedelta(seconds=1))
    assert knock(first, "CA-too-late") == 403
    assert knock(first, "CA-old") == 403, "a repeat is no exception"
    assert knock(party.carrier, "CA-newer") == 200

    second = rotate(sandbox, tenant, good, good.routed_elsewhere if good is PLIVO else "12125556000", "third-token")
    assert knock(second, "CA-second") == knock(party.carrier, "CA-third") == 200
    assert knock(first, "CA-first") == 403
    assert CallEvent.objects.count() == 6
    Account.objects.update(previous_auth_token=None)
    assert knock(second, "CA-second-again") == 403


@pytest.mark.engine
def test_a_repeat_signed_with_either_token_is_the_same_event(sandbox: Sandbox, tenant: Tenant) -> None:
    party = join(sandbox, tenant, TWILIO)
    first = rotate(sandbox, tenant, TWILIO, TWILIO.another, "second-token")
    for by in (first, party.carrier):
        assert send(Party(party.row, by).knock("status", event("twilio"))).status_code == 200
    assert row_counts() == (1, 1, 0)


def test_an_account_whose_key_nobody_knows_is_known_by_its_address_alone(sandbox: Sandbox, tenant: Tenant) -> None:
    party = join(sandbox, tenant, KEYLESS)
    assert party.row.public_key == ""
    body = urlencode(event("telnyx")).encode()
    bare = Knock(party.path("status"), body, {"Content-Type": FORM})
    assert send(bare).status_code == 200
    assert send(bare.with_headers(telnyx_timestamp="0", telnyx_signature_ed25519="x")).status_code == 200
    assert row_counts() == (1, 1, 0)
    for path in (bare.path.replace(party.row.webhook_token, "x" * 43), bare.path.replace("telnyx", "twilio")):
        assert wire(send(replace(bare, path=path)))[:2] == (403, b"")
    assert row_counts() == (1, 1, 0)


@pytest.mark.engine
def test_a_key_that_is_known_later_is_asked_for(sandbox: Sandbox, tenant: Tenant) -> None:
    party = join(sandbox, tenant, KEYLESS)
    Account.objects.update(public_key=party.carrier.public_key())
    knock = party.knock("status", event("telnyx"))
    assert send(replace(knock, headers={"Content-Type": FORM})).status_code == 403
    assert send(knock).status_code == 200


# -- the log ----------------------------------------------------------------------------------------------------------


def test_the_reason_is_in_the_log_and_nothing_secret_with_it(
    party: Party, other: Party, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    knock = party.knock("status", event(party.row.integration, "CA-secret"))
    token, good = party.row.webhook_token, CARRIERS[party.row.integration]
    no_signature = dict.fromkeys((*good.signature_headers, *good.signed_headers))
    refused = [
        replace(knock, path=knock.path.replace(token, "nobody")),
        replace(knock, path=knock.path.replace("/status", "/elsewhere")),
        replace(knock, path=knock.path.replace(token, other.row.webhook_token)),
        replace(knock, body=knock.body + b"&x=1"),
        replace(knock, body=b"\xff"),
        knock.with_headers(**no_signature),
    ]
    secrets = [*party.secrets(), *other.secrets(), "CA-secret", "441632960083", *knock.headers.values()]
    secrets = [one for one in secrets if one != FORM]
    reasons, replies = set(), set()
    for one in refused:
        caplog.clear()
        monkeypatch.setattr(webhooks, "quiet", Quiet(["unknown"]))  # or the second made-up URL would not be logged
        with caplog.at_level(logging.DEBUG):
            replies.add(wire(send(one)))
        (record,) = [line for line in caplog.records if line.levelno > logging.DEBUG]
        assert record.levelno == logging.WARNING
        assert record.exc_info is None
        assert not any(secret in caplog.text for secret in secrets), caplog.text
        reasons.add(record.getMessage())
    assert len(replies) == 1
    assert replies.pop()[:2] == (403, b"")
    assert len(reasons) >= 3


# -- when we cannot tell, or cannot keep it ---------------------------------------------------------------------------


begin = pytest.mark.only("sqlite", reason="the other engines begin a transaction with its first statement")
commit = pytest.mark.only("sqlite", "postgresql", reason="MongoDB's driver commits")


def failing_commit() -> Any:
    def disk_full() -> None:
        raise OperationalError("disk full")

    return patch.object(connection, "_commit", disk_full)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(failing, id="everything"),
        pytest.param(lambda: failing(READ, Account), id="read"),
        pytest.param(lambda: failing(INSERT, CallEvent), id="insert"),
        pytest.param(lambda: failing(OTHER), id="begin", marks=begin),
        pytest.param(failing_commit, id="commit", marks=commit),
    ],
)
def test_without_the_database_the_carrier_is_asked_to_come_again(
    party: Party, kind: str, fault: Callable[[], AbstractContextManager[None]]
) -> None:
    knock = party.knock(kind, event(party.row.integration))
    with fault():
        reply = send(knock)
    assert (reply.status_code, reply.content) == (503, b"")
    assert row_counts() == (0, 0, 0)

    assert send(knock).status_code == 200
    assert row_counts() == (1, 1, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_that_cannot_be_opened_refuses_nobody(party: Party, kind: str, settings: Any) -> None:
    if party.row.integration == "telnyx":
        pytest.skip("Telnyx' public key is no secret")
    knock = party.knock(kind, event(party.row.integration))
    keys = settings.CREDENTIAL_KEYS
    settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode()]
    for one in (knock, replace(knock, body=b"x=1")):
        reply = send(one)
        assert (reply.status_code, reply.content) == (503, b"")
    assert row_counts() == (0, 0, 0)

    settings.CREDENTIAL_KEYS = keys
    assert send(knock).status_code == 200


def test_telnyx_is_heard_although_the_token_cannot_be_opened(sandbox: Sandbox, tenant: Tenant, settings: Any) -> None:
    party = join(sandbox, tenant, TELNYX)
    settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode()]
    assert send(party.knock("status", event("telnyx"))).status_code == 200
    assert row_counts() == (1, 1, 0)
