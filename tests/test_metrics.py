"""`/metrics`: who may read it, what it says, and that it says nothing about customers."""

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from core.secrets import Secret
from phones.models import Account, CallEvent, Line, PhoneNumber
from phones.reconciling import reconcile
from phones.services.carriers import urls_for
from sandbox.sandbox import Sandbox
from sandbox.signing import signed
from tests.support.api import add
from tests.support.carriers import CARRIERS, TWILIO, Good
from tests.support.database import seen, unreachable, walks
from tests.support.live import run_manage
from tests.support.metrics import samples
from tests.support.people import Tenant
from tests.support.webhooks import at_carrier, deliver, form_of

TOKEN = "a-token-for-metrics-0123456789-abcdef"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def metrics_token(settings: Any) -> None:
    settings.METRICS_TOKEN = TOKEN


def ask(authorization: str = f"Bearer {TOKEN}") -> Any:
    return Client(headers={"Authorization": authorization}).get("/metrics")


def now() -> dict[tuple[str, ...], float]:
    reply = ask()
    assert reply.status_code == 200
    return samples(reply.content.decode())


@pytest.fixture
def grown() -> Iterator[Any]:
    """By how much values have grown since the test began; the counters of a process know no beginning."""
    before = now()
    yield lambda *key: now().get(key, 0) - before.get(key, 0)


# -- who may read it --------------------------------------------------------------------------------------------------


def test_prometheus_may_call_it_by_the_address_of_a_pod() -> None:
    """As its service discovery in Kubernetes does: kubernetes-sd, role pod."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Host": "10.0.0.5:8000"}
    assert Client(headers=headers).get("/metrics").status_code == 200


@pytest.mark.parametrize("wrong", ["", TOKEN, f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer ", "Bearer é"])
def test_only_the_token_opens_it(wrong: str) -> None:
    reply = ask(wrong)
    assert (reply.status_code, reply.content, reply.headers["WWW-Authenticate"]) == (401, b"", "Bearer")
    assert ask().status_code == 200


@pytest.mark.parametrize("given", ["Bearer ", "Bearer", "", f"Bearer {TOKEN}"])
def test_without_the_setting_there_is_no_page(settings: Any, given: str) -> None:
    settings.METRICS_TOKEN = ""
    assert ask(given).status_code == 404


def test_a_token_that_can_be_guessed_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    told = run_manage("check", env=os.environ | {"METRICS_TOKEN": "short"})
    assert told.returncode == 1 and "METRICS_TOKEN must have at least 32 characters" in told.stderr


# -- what it counts ---------------------------------------------------------------------------------------------------


def test_adds_are_counted_by_outcome(sandbox: Sandbox, tenant: Tenant, carrier: Good, grown: Any) -> None:
    assert add(tenant, carrier.body(tenant.user, phoneNumber=carrier.not_owned)).status_code == 400
    assert add(tenant, carrier.body(tenant.user)).status_code == 201
    assert add(tenant, carrier.body(tenant.user)).status_code == 400
    name = carrier.integration
    outcomes = ("added", "number_not_owned", "phone_exists")
    assert [grown("phones_adds_total", name, outcome) for outcome in outcomes] == [1, 1, 1]


def test_requests_to_carriers_are_measured(sandbox: Sandbox, tenant: Tenant, carrier: Good, grown: Any) -> None:
    def measured(outcome: str) -> tuple[float, float]:
        name = "phones_carrier_request_seconds"
        labels = carrier.integration, outcome
        return grown(f"{name}_count", *labels), grown(f"{name}_sum", *labels)

    sandbox.delay_s = 0.05
    assert add(tenant, carrier.body(tenant.user)).status_code == 201
    count, total_s = measured("answered")
    assert count == len(sandbox.ledger) and total_s >= 0.05 * count

    for status, outcome in ((503, "unanswered"), (429, "rate_limited"), (401, "refused")):
        sandbox.clear_faults()
        sandbox.fault("status", carrier=carrier.integration, status=status, times=None)
        assert add(tenant, carrier.body(tenant.user, phoneNumber=carrier.another)).status_code >= 400
        assert measured(outcome)[0] >= 1, outcome


def test_webhooks_are_counted_by_verdict(
    sandbox: Sandbox, tenant: Tenant, grown: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert add(tenant, TWILIO.body(tenant.user)).status_code == 201
    url = urls_for(Account.objects.get()).status
    body, headers = signed(at_carrier(sandbox, TWILIO), url, form_of(TWILIO))
    assert deliver(url, body, dict(headers)).status_code == 200
    assert deliver(url, body + b"x", dict(headers)).status_code == 403
    monkeypatch.setattr("phones.webhooks.record_event", lambda *_: 1 / 0)
    assert deliver(url, body, dict(headers)).status_code == 503
    assert Client().post("/api/webhooks/made-up/x/status").status_code == 403

    assert [grown("phones_webhooks_total", "twilio", verdict) for verdict in ("kept", "refused", "failed")] == [1, 1, 1]
    assert grown("phones_webhooks_total", "unknown", "refused") == 1
    assert grown("phones_http_responses_total", "5xx") == 1
    assert "made-up" not in ask().content.decode()


def test_a_crash_counts_as_5xx(tenant: Tenant, grown: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phones.api.views.add_phone", lambda **_: 1 / 0)
    assert add(tenant, TWILIO.body(tenant.user)).status_code == 500
    assert grown("phones_http_responses_total", "5xx") == 1


# -- what the database says -------------------------------------------------------------------------------------------


def test_numbers_are_told_by_health(sandbox: Sandbox, tenant: Tenant) -> None:
    for good in CARRIERS.values():
        assert add(tenant, good.body(tenant.user)).status_code == 201
    Line.objects.filter(number=TWILIO.number).update(health="drift")
    reconcile()
    told = now()
    assert told["phones_numbers", "twilio", "drift"] == 1
    assert told["phones_numbers", "plivo", "ok"] == told["phones_numbers", "telnyx", "ok"] == 1
    assert 0 <= told["phones_reconciled_seconds",] < 60


def test_what_is_unfinished_is_told(tenant: Tenant) -> None:
    assert now()["phones_unfinished_operations", "reserved"] == 0
    for number in range(3):
        PhoneNumber.objects.create(user=tenant.user, number=str(10**10 + number), integration="twilio")
    told = now()
    assert told["phones_unfinished_operations", "reserved"] == 3
    assert told["phones_unfinished_operations", "removing"] == 0


def new_account() -> Account:
    return Account.objects.create(integration="twilio", account_id="AC1", auth_token=Secret.seal("x"), token_digest="x")


def events(account: Account, count: int, **fields: Any) -> None:
    rows = [CallEvent(account=account, dedupe_key=f"{fields} {n}"[-64:], kind="status", **fields) for n in range(count)]
    CallEvent.objects.bulk_create(rows)


def test_the_event_lag_is_the_age_of_the_oldest_that_is_not_merged() -> None:
    account = new_account()
    assert now()["phones_event_lag_seconds",] == 0
    events(account, 1, merged_at=timezone.now(), received_at=timezone.now() - timedelta(hours=9))
    assert now()["phones_event_lag_seconds",] == 0
    for minutes in (1, 5, 3):
        events(account, 1, received_at=timezone.now() - timedelta(minutes=minutes))
    assert 300 <= now()["phones_event_lag_seconds",] < 320


def test_nothing_walks_through_a_table(tenant: Tenant) -> None:
    account = new_account()
    events(account, 300, merged_at=timezone.now())
    events(account, 300)
    numbers = [
        PhoneNumber(user=tenant.user, number=str(10**10 + n), integration="twilio", state=PhoneNumber.State.ACTIVE)
        for n in range(300)
    ]
    PhoneNumber.objects.bulk_create(numbers)
    with seen() as statements:
        now()
    reads = [one for one in statements if one.table in (CallEvent._meta.db_table, PhoneNumber._meta.db_table)]
    assert len(reads) == 2
    assert not [one for one in reads if walks(one)]


@pytest.mark.engine
def test_without_the_database_the_counters_are_told_all_the_same(tmp_path: Path) -> None:
    assert now()["phones_database_up",] == 1
    with unreachable(tmp_path):
        told = now()
    assert told["phones_database_up",] == 0
    assert ("phones_event_lag_seconds",) not in told
    assert any(key[0] == "phones_http_responses_total" for key in told)
