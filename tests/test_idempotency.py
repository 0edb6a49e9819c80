"""`Idempotency-Key`: the same request again, another request with its key, and what is never kept."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.db.models import QuerySet
from django.test import Client
from django.utils import timezone

from core.rates import Rate
from phones.models import PhoneNumber
from phones.reconciling import reconcile
from sandbox.sandbox import Sandbox
from tests.support.api import add
from tests.support.carriers import TWILIO, Good
from tests.support.people import Tenant
from users import idempotency
from users.models import ApiToken, IdempotentReply

pytestmark = [pytest.mark.engine, pytest.mark.django_db(transaction=True)]

KEY = {"Idempotency-Key": "order-4711"}


def error(reply: Any) -> str:
    return reply.json()["data"]["error"]


def test_the_same_request_again_gets_the_first_reply_again(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> None:
    first = add(tenant, carrier.body(tenant.user), **KEY)
    assert first.status_code == 201
    assert "Idempotent-Replayed" not in first.headers
    sandbox.clear_ledger()
    again = add(tenant, carrier.body(tenant.user), **KEY)
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Content-Type"] == "application/json"
    assert again.headers["Cache-Control"] == "no-store"
    assert again.headers["X-Request-ID"] != first.headers["X-Request-ID"]
    assert sandbox.ledger == []
    assert PhoneNumber.objects.count() == 1


def test_another_token_of_the_workspace_is_the_same_client(sandbox: Sandbox, tenant: Tenant) -> None:
    first = add(tenant, TWILIO.body(tenant.user), **KEY)
    another = Tenant(tenant.workspace, tenant.user, ApiToken.issue(tenant.workspace)[1])
    assert add(another, TWILIO.body(tenant.user), **KEY).content == first.content


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"phoneNumber": TWILIO.not_owned}, 400),
        ({"userId": "f" * 24}, 404),
        ({"userId": "x"}, 400),
        ({"authToken": "wrong"}, 400),
    ],
)
def test_a_refusal_is_replayed(sandbox: Sandbox, tenant: Tenant, changes: dict[str, Any], status: int) -> None:
    body = TWILIO.body(tenant.user, **changes)
    first = add(tenant, body, **KEY)
    sandbox.clear_ledger()
    again = add(tenant, body, **KEY)
    assert first.status_code == again.status_code == status
    assert again.content == first.content
    assert again.headers["Idempotent-Replayed"] == "true"
    assert sandbox.ledger == []


def test_another_body_with_the_key_is_refused(sandbox: Sandbox, tenant: Tenant) -> None:
    assert add(tenant, TWILIO.body(tenant.user), **KEY).status_code == 201
    for body in (TWILIO.body(tenant.user, phoneNumber=TWILIO.another), {}, TWILIO.body(tenant.user, authToken="wrong")):
        reply = add(tenant, body, **KEY)
        assert reply.status_code == 422
        assert reply.json()["data"] == {"error": "idempotency_mismatch", "field": None}
    assert PhoneNumber.objects.count() == 1


def test_keys_are_apart_for_each_workspace(sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant) -> None:
    first = add(tenant, TWILIO.body(tenant.user), **KEY)
    second = add(other_tenant, TWILIO.body(other_tenant.user, phoneNumber=TWILIO.another), **KEY)
    assert second.status_code == 201
    assert "Idempotent-Replayed" not in second.headers
    assert second.content != first.content


def test_another_key_is_another_request(sandbox: Sandbox, tenant: Tenant) -> None:
    assert add(tenant, TWILIO.body(tenant.user), **KEY).status_code == 201
    assert error(add(tenant, TWILIO.body(tenant.user), **{"Idempotency-Key": "order-4712"})) == "phone_exists"
    assert error(add(tenant, TWILIO.body(tenant.user))) == "phone_exists"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_outage_is_not_kept(sandbox: Sandbox, tenant: Tenant, status: int) -> None:
    sandbox.fault("status", carrier="twilio", status=status, times=None)
    assert add(tenant, TWILIO.body(tenant.user), **KEY).status_code == 500
    sandbox.clear_faults()
    reply = add(tenant, TWILIO.body(tenant.user), **KEY)
    assert reply.status_code == 201
    assert "Idempotent-Replayed" not in reply.headers


def test_a_crash_is_not_kept(sandbox: Sandbox, tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(**fields: Any) -> None:
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr("phones.api.views.add_phone", crash)
        assert add(tenant, TWILIO.body(tenant.user), **KEY).status_code == 500
    assert add(tenant, TWILIO.body(tenant.user), **KEY).status_code == 201


def test_too_many_requests_is_not_kept(sandbox: Sandbox, tenant: Tenant, settings: Any) -> None:
    everything = settings.LIMITS
    unknown = TWILIO.body(tenant.user, userId="f" * 24)
    for name in ("unknown_users", "requests"):
        settings.LIMITS = everything | {name: Rate(1, 86400)}
        add(tenant, unknown)
        assert add(tenant, unknown, **KEY).status_code == 429
    settings.LIMITS = everything
    reply = add(tenant, unknown, **KEY)
    assert reply.status_code == 404
    assert "Idempotent-Replayed" not in reply.headers


@pytest.mark.parametrize(("content_type", "token"), [("text/plain", None), ("application/json", "wrong")])
def test_what_was_never_read_is_not_kept(
    sandbox: Sandbox, tenant: Tenant, content_type: str, token: str | None
) -> None:
    headers = {"Authorization": f"Bearer {token or tenant.token}", **KEY}
    Client().post("/api/call/add-phone", "{}", content_type=content_type, headers=headers)
    assert IdempotentReply.objects.count() == 0


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "a" * 256, "a\tb", "\x7f"])
def test_a_bad_key_is_refused(sandbox: Sandbox, tenant: Tenant, key: str) -> None:
    reply = add(tenant, TWILIO.body(tenant.user), **{"Idempotency-Key": key})
    assert reply.status_code == 400
    assert reply.json()["data"] == {"error": "invalid_field", "field": "Idempotency-Key"}
    assert PhoneNumber.objects.count() == IdempotentReply.objects.count() == 0


def test_a_twin_of_an_unfinished_request_is_told_to_wait(sandbox: Sandbox, tenant: Tenant) -> None:
    sandbox.delay_s = 0.4
    replies: dict[str, Any] = {}

    def first() -> None:
        replies["first"] = add(tenant, TWILIO.body(tenant.user), **KEY)
        connection.close()

    thread = threading.Thread(target=first)
    thread.start()
    while not sandbox.ledger:
        pass
    twin = add(tenant, TWILIO.body(tenant.user), **KEY)
    mismatched = add(tenant, {}, **KEY)
    thread.join()
    assert replies["first"].status_code == 201
    assert (twin.status_code, error(twin)) == (409, "idempotency_in_progress")
    assert int(twin.headers["Retry-After"]) > 0
    assert error(mismatched) == "idempotency_mismatch"
    assert add(tenant, TWILIO.body(tenant.user), **KEY).content == replies["first"].content


def test_of_many_twins_one_acts(sandbox: Sandbox, tenant: Tenant) -> None:
    replies: list[Any] = []
    together = threading.Barrier(12)

    def twin() -> None:
        together.wait()
        replies.append(add(tenant, TWILIO.body(tenant.user), **KEY))
        connection.close()

    threads = [threading.Thread(target=twin) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {reply.status_code for reply in replies} <= {201, 409}
    made = [reply for reply in replies if reply.status_code == 201]
    assert len([reply for reply in made if "Idempotent-Replayed" not in reply.headers]) == 1
    assert len({reply.content for reply in made}) == 1


def test_after_a_day_the_key_is_free_again(sandbox: Sandbox, tenant: Tenant) -> None:
    assert add(tenant, TWILIO.body(tenant.user), **KEY).status_code == 201
    row = IdempotentReply.objects.get()
    assert abs(row.expires_at - timezone.now() - timedelta(hours=24)) < timedelta(minutes=1)
    IdempotentReply.objects.update(expires_at=timezone.now() + timedelta(seconds=30))
    assert add(tenant, TWILIO.body(tenant.user), **KEY).status_code == 201
    IdempotentReply.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert add(tenant, TWILIO.body(tenant.user, phoneNumber=TWILIO.another), **KEY).status_code == 201


def test_a_first_request_that_died_is_taken_over(
    sandbox: Sandbox, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        # As after a kill: the record of the unfinished request stays.
        patched.setattr(idempotency, "store", lambda mine, response: None)
        patched.setattr("phones.api.views.add_phone", lambda **fields: 1 / 0)
        add(tenant, TWILIO.body(tenant.user), **KEY)
    assert IdempotentReply.objects.get().status is None
    assert error(add(tenant, TWILIO.body(tenant.user), **KEY)) == "idempotency_in_progress"
    IdempotentReply.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert add(tenant, TWILIO.body(tenant.user), **KEY).status_code == 201
    assert add(tenant, TWILIO.body(tenant.user), **KEY).headers["Idempotent-Replayed"] == "true"


def test_who_was_overtaken_does_not_spoil_the_record(
    sandbox: Sandbox, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overtaken(**fields: Any) -> None:
        IdempotentReply.objects.update(owner="f" * 24, status=201, body="the other's")
        raise RuntimeError

    monkeypatch.setattr("phones.api.views.add_phone", overtaken)
    assert add(tenant, TWILIO.body(tenant.user), **KEY).status_code == 500
    assert IdempotentReply.objects.get().body == "the other's"


def test_a_reply_that_cannot_be_kept_still_goes_out(
    sandbox: Sandbox, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = QuerySet.update

    def away(self: Any, **values: Any) -> int:
        if self.model is IdempotentReply and values.get("status"):
            raise OperationalError("disk full")
        return update(self, **values)

    monkeypatch.setattr(QuerySet, "update", away)
    assert add(tenant, TWILIO.body(tenant.user), **KEY).status_code == 201


def test_reconcile_forgets_what_has_run_out(sandbox: Sandbox, tenant: Tenant) -> None:
    add(tenant, {}, **KEY)
    add(tenant, {}, **{"Idempotency-Key": "another"})
    first = IdempotentReply.objects.first()
    assert first is not None
    IdempotentReply.objects.filter(pk=first.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    reconcile()
    assert IdempotentReply.objects.count() == 1


def test_no_secret_and_no_key_is_kept(sandbox: Sandbox, tenant: Tenant) -> None:
    for number, changes in enumerate([{}, {"authToken": "a-wrong-auth-token"}, {"userId": "x"}]):
        add(tenant, TWILIO.body(tenant.user, **changes), **{"Idempotency-Key": f"a-telling-key-{number}"})
    kept = str(list(IdempotentReply.objects.values()))
    assert IdempotentReply.objects.count() == 3
    for secret in (TWILIO.auth_token, TWILIO.acc_sid, tenant.token, "a-wrong-auth-token", "a-telling-key"):
        assert secret not in kept
