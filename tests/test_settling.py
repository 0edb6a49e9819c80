"""What a carrier carries out late: a number is never left with us without a row, nor taken from one that has it."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError

from core import clock
from phones.models import Line, PhoneNumber
from phones.reconciling import reconcile
from phones.services import completing
from phones.services.adding import add_phone
from sandbox.sandbox import Sandbox
from tests.support import state
from tests.support.api import add, check, data_of, get
from tests.support.carriers import TWILIO, Good
from tests.support.numbers import added
from tests.support.people import Tenant, colleague_of
from tests.support.removal import assert_as_before, assert_nothing_is_left, remove
from tests.support.state import age_leases
from users.models import AuditEntry

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.engine]

each_first_or_not = pytest.mark.parametrize("is_first", [True, False], ids=["first of the account", "one of several"])


@pytest.fixture(autouse=True)
def impatient(settings: Any) -> None:
    settings.CARRIER_READ_TIMEOUT_S = 0.4


def make_late(sandbox: Sandbox, good: Good, *, times: int | None = None) -> None:
    """The changes of numbers are carried out long after we have given up waiting."""
    for method in ("POST", "PATCH"):
        sandbox.fault("late", carrier=good.integration, method=method, path="(?i)number", seconds=3600, times=times)


def add_late(sandbox: Sandbox, tenant: Tenant, good: Good, **fields: Any) -> None:
    make_late(sandbox, good)
    reply = add(tenant, good.body(tenant.user, **fields))
    state.assert_envelope(reply, "webhook_setup_failed")
    sandbox.clear_faults()


@each_first_or_not
def test_a_write_that_lands_late_is_put_back(sandbox: Sandbox, tenant: Tenant, carrier: Good, is_first: bool) -> None:
    if not is_first:
        added(tenant, carrier, carrier.another)
    before = sandbox.snapshot()
    add_late(sandbox, tenant, carrier, phoneNumber=carrier.routed_elsewhere)
    assert_as_before(sandbox, before)  # also the application that we made is gone
    listed = [one["phoneNumber"] for one in data_of(get("/api/call/phones", tenant))["items"]]
    assert listed == ([] if is_first else [carrier.another])
    waiting = Line.objects.get(number=carrier.routed_elsewhere)
    assert clock.now() < waiting.unsettled_until <= clock.now() + timedelta(minutes=5)  # type: ignore[operator]

    outcome = reconcile()
    assert (outcome.finished, outcome.failed) == (0, 0), "a row that only waits is no failure"
    sandbox.land_late()
    assert reconcile().failed == 0
    assert_as_before(sandbox, before)
    age_leases()
    assert reconcile().failed == 0
    assert not Line.objects.filter(number=carrier.routed_elsewhere).exists()
    if is_first:
        assert_nothing_is_left()


def test_what_is_found_at_the_last_look_is_looked_at_once_more(sandbox: Sandbox, tenant: Tenant) -> None:
    before = sandbox.snapshot()
    add_late(sandbox, tenant, TWILIO)
    sandbox.land_late()
    age_leases()
    assert reconcile().failed == 0
    assert_as_before(sandbox, before)
    assert Line.objects.filter(number=TWILIO.number).exists()
    assert reconcile().failed == 0
    assert_nothing_is_left()


@pytest.mark.parametrize("who", ["the same user", "a colleague", "another workspace"])
def test_an_add_goes_on_with_a_number_that_waits(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, carrier: Good, who: str
) -> None:
    before = sandbox.snapshot()
    add_late(sandbox, tenant, carrier, phoneNumber=carrier.routed_elsewhere)
    newcomer = {"the same user": tenant, "another workspace": other_tenant}.get(who) or colleague_of(tenant)
    phone = added(newcomer, carrier, carrier.routed_elsewhere)
    assert check(phone, newcomer)["health"] == "ok"
    sandbox.land_late()
    assert reconcile().failed == 0
    assert check(phone, newcomer)["health"] == "ok"
    age_leases()
    assert (reconcile().failed, reconcile().failed) == (0, 0)
    assert Line.objects.get().unsettled_until is None
    assert data_of(remove(newcomer, phone.pk))["restored"] is True
    assert reconcile().failed == 0
    assert_as_before(sandbox, before)
    assert_nothing_is_left()


def test_a_removal_that_lands_after_the_number_was_added_again_takes_nothing(
    sandbox: Sandbox, tenant: Tenant, carrier: Good
) -> None:
    phone = added(tenant, carrier, carrier.routed_elsewhere)
    make_late(sandbox, carrier)
    assert data_of(remove(tenant, phone.pk))["restored"] is False
    sandbox.clear_faults()
    assert reconcile().failed == 0
    phone = added(tenant, carrier, carrier.routed_elsewhere)
    sandbox.land_late()
    assert reconcile().failed == 0
    assert check(phone, tenant)["health"] == "ok"


def test_the_first_of_two_requests_may_land_after_the_number_was_removed(
    sandbox: Sandbox, tenant: Tenant, carrier: Good
) -> None:
    """The carrier answers only the second, so the add succeeds."""
    added(tenant, carrier, carrier.another)
    before = sandbox.snapshot()
    make_late(sandbox, carrier, times=1)
    phone = added(tenant, carrier, carrier.routed_elsewhere)
    sandbox.clear_faults()
    assert data_of(remove(tenant, phone.pk))["restored"] is True
    sandbox.land_late()
    assert reconcile().failed == 0
    assert_as_before(sandbox, before)
    age_leases()
    assert reconcile().failed == 0
    assert not Line.objects.filter(number=carrier.routed_elsewhere).exists()


def test_a_repair_may_land_after_the_number_was_removed(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> None:
    added(tenant, carrier, carrier.another)
    before = sandbox.snapshot()
    phone = added(tenant, carrier)
    resource = sandbox.state.account(carrier.integration, carrier.owner).numbers[carrier.number]
    resource.update(carrier.console_route)
    make_late(sandbox, carrier)
    assert check(phone, tenant, repair=True)["repaired"] is False
    sandbox.clear_faults()
    assert data_of(remove(tenant, phone.pk))["restored"] is True
    sandbox.land_late()
    age_leases()
    assert (reconcile().failed, reconcile().failed) == (0, 0)
    earlier = before[carrier.integration][carrier.owner]["numbers"][carrier.number]
    resource.update({name: earlier[name] for name in carrier.console_route})
    assert_as_before(sandbox, before)


def test_reads_that_lag_leave_nothing_behind(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> None:
    """The write is acknowledged; what is read back is from before."""
    before = sandbox.snapshot()
    sandbox.fault("stale", carrier=carrier.integration, path="(?i)number", times=6)
    reply = add(tenant, carrier.body(tenant.user))
    sandbox.clear_faults()
    if reply.status_code == 201:  # the reply to the write says what is in effect
        assert check(PhoneNumber.objects.get(), tenant)["health"] == "ok"
        return
    state.assert_envelope(reply, "webhook_setup_failed")
    assert reconcile().failed == 0
    assert_as_before(sandbox, before)
    age_leases()
    assert reconcile().failed == 0
    assert_nothing_is_left()


@pytest.mark.parametrize("meanwhile", ["nothing", "forgotten", "added again"])
def test_an_add_that_was_taken_for_dead_puts_back_what_it_wrote(
    sandbox: Sandbox,
    tenant: Tenant,
    other_tenant: Tenant,
    monkeypatch: pytest.MonkeyPatch,
    carrier: Good,
    meanwhile: str,
) -> None:
    """As a machine that is stopped for minutes while its request is under way."""
    from phones.services import adding

    before, apply, settled = sandbox.snapshot(), adding.apply, False

    def overtaken(*args: Any) -> Any:
        nonlocal settled
        if settled:
            return apply(*args)
        settled = True
        age_leases()
        assert reconcile().finished == 1
        if meanwhile == "forgotten":
            age_leases()
            reconcile()
        if meanwhile == "added again":
            added(other_tenant, carrier, carrier.routed_elsewhere)
        return apply(*args)

    monkeypatch.setattr(adding, "apply", overtaken)
    reply = add(tenant, carrier.body(tenant.user, phoneNumber=carrier.routed_elsewhere))
    state.assert_envelope(reply, "webhook_setup_failed")
    age_leases()
    assert (reconcile().failed, reconcile().failed) == (0, 0)
    if meanwhile == "added again":
        assert check(PhoneNumber.objects.get(), other_tenant)["health"] == "ok"
        return
    assert_as_before(sandbox, before)
    assert_nothing_is_left()


@pytest.mark.parametrize("what", ["note", "adopt_credentials"])
def test_nothing_fails_an_add_once_the_number_is_active(
    sandbox: Sandbox, tenant: Tenant, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def fail(*args: Any, **fields: Any) -> None:
        raise DatabaseError("no primary")

    with monkeypatch.context() as patch:
        patch.setattr(completing, what, fail)
        reply = add(tenant, TWILIO.body(tenant.user))
    assert reply.status_code == 201, reply.content
    age_leases()
    assert reconcile().failed == 0
    phone = PhoneNumber.objects.get()
    assert (phone.state, phone.operation, phone.lease_until) == ("active", None, None)
    assert AuditEntry.objects.filter(action="phone.add", phone_id=phone.pk, outcome="ok").count() == 1
    assert check(phone, tenant)["health"] == "ok"


def test_a_token_that_came_with_an_add_is_kept_although_its_store_failed(
    sandbox: Sandbox, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    added(tenant, TWILIO)
    sandbox.change_secret("twilio", TWILIO.owner, "renewed")

    def fail(*args: Any, **fields: Any) -> None:
        raise DatabaseError("no primary")

    with monkeypatch.context() as patch:
        patch.setattr(completing, "adopt_credentials", fail)
        second = add_phone(
            user=tenant.user, number=TWILIO.another, integration="twilio", account_id=TWILIO.acc_sid, auth_token="renewed"
        )  # fmt: skip
    age_leases()
    assert reconcile().failed == 0
    assert second.line is not None and second.line.account is not None
    second.line.account.refresh_from_db()
    assert second.line.account.auth_token.open() == "renewed"
