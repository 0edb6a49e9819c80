"""Lines that no number is on, whoever deleted it: the carrier gets back what it had."""

from collections.abc import Callable
from typing import Any

import pytest

from core import clock
from core.fields import new_object_id
from core.leased import LEASE
from phones.models import Account, Call, Line, PhoneNumber
from phones.reconciling import reconcile
from phones.services import leases
from phones.services.restoring import delete_line
from sandbox.sandbox import Sandbox
from tests.support.carriers import CARRIERS, TWILIO, Good
from tests.support.database import DELETE, Statement, around_statements
from tests.support.numbers import added
from tests.support.people import Tenant
from tests.support.removal import assert_as_before, assert_nothing_is_left, each_carrier, remove

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.engine
@each_carrier
@pytest.mark.parametrize("lease", ["none", "over"])
def test_reconcile_gives_back_a_line_whose_number_was_deleted_by_hand(
    sandbox: Sandbox, tenant: Tenant, name: str, lease: str
) -> None:
    before = sandbox.snapshot()
    added(tenant, CARRIERS[name], CARRIERS[name].routed_elsewhere)
    PhoneNumber.objects.all().delete()
    if lease == "over":
        Line.objects.update(lease_id="dead", lease_until=Line.objects.get().created_at)

    outcome = reconcile()

    assert (outcome.finished, outcome.failed) == (1, 0)
    assert_as_before(sandbox, before)
    assert_nothing_is_left()
    sandbox.clear_ledger()
    assert reconcile().finished == 0 and sandbox.ledger == []


def test_reconcile_finds_them_among_many_whatever_their_place(
    sandbox: Sandbox, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phones.reconciling.LINES_A_LOOK", 2)
    numbers = [f"1646555{index:04}" for index in range(7)]
    for number in numbers:
        sandbox.add_number("twilio", TWILIO.acc_sid, number)
    before = sandbox.snapshot()["twilio"][TWILIO.acc_sid]["numbers"]
    for number in numbers:
        added(tenant, TWILIO, number)
    kept = {numbers[1], numbers[4]}
    PhoneNumber.objects.exclude(number__in=kept).delete()
    assert reconcile().finished == 5
    after = sandbox.snapshot()["twilio"][TWILIO.acc_sid]["numbers"]
    assert {number for number in numbers if after[number] != before[number]} == kept
    assert set(Line.objects.values_list("number", flat=True)) == kept


@pytest.mark.engine
def test_reconcile_leaves_a_line_that_somebody_works_on(sandbox: Sandbox, tenant: Tenant) -> None:
    """An add inserts the line, and then marks its number."""
    added(tenant, TWILIO)
    PhoneNumber.objects.all().delete()
    Line.objects.update(lease_id="b" * 24, lease_until=clock.now() + LEASE)
    with_us = sandbox.snapshot()
    assert reconcile().finished == 0
    assert Line.objects.get().lease_id == "b" * 24
    assert sandbox.snapshot() == with_us


def test_reconcile_tries_again_when_the_carrier_does_not_answer(sandbox: Sandbox, tenant: Tenant) -> None:
    before = sandbox.snapshot()
    added(tenant, TWILIO)
    PhoneNumber.objects.all().delete()
    sandbox.fault("reset", carrier="twilio", times=None)
    assert reconcile().failed == 1
    assert Line.objects.count() == Account.objects.count() == 1
    sandbox.clear_faults()
    assert reconcile().failed == 0
    assert_as_before(sandbox, before)
    assert_nothing_is_left()


@pytest.mark.engine
def test_a_number_that_comes_back_before_reconcile_remembers_what_was_there_at_first(
    sandbox: Sandbox, tenant: Tenant, carrier: Good
) -> None:
    before = sandbox.snapshot()
    added(tenant, carrier, carrier.routed_elsewhere)
    PhoneNumber.objects.all().delete()
    phone = added(tenant, carrier, carrier.routed_elsewhere)
    assert reconcile().finished == 0
    assert remove(tenant, phone.pk).status_code == 200
    assert_as_before(sandbox, before)
    assert_nothing_is_left()


# -- deleting a line --------------------------------------------------------------------------------------------------


@pytest.fixture
def line(sandbox: Sandbox, tenant: Tenant) -> Line:
    """A line with a call and without a number."""
    line = added(tenant, TWILIO).line
    assert line is not None
    Call.objects.create(account=line.account, line=line, carrier_id="CA1", started_at=line.created_at)
    PhoneNumber.objects.all().delete()
    return line


@pytest.mark.engine
def test_the_log_of_calls_outlives_its_line(line: Line) -> None:
    lease_id = new_object_id()
    assert leases.acquire(line, lease_id)
    assert delete_line(line, lease_id)
    assert not Line.objects.exists()
    assert Call.objects.get().line_id is None


@pytest.mark.engine
def test_a_line_with_a_number_is_not_deleted(line: Line, tenant: Tenant) -> None:
    lease_id = new_object_id()
    assert leases.acquire(line, lease_id)
    PhoneNumber.objects.create(user=tenant.user, number=line.number, integration="twilio", line=line)
    assert not delete_line(line, lease_id)
    assert Call.objects.get().line_id == line.pk


@pytest.mark.engine
def test_a_line_is_not_deleted_under_an_add_that_has_taken_it_over(line: Line, tenant: Tenant) -> None:
    """The lease ran out; the add takes it right before the line's row would go, and then puts its number there."""
    lease_id, add_id = new_object_id(), new_object_id()
    taken: list[bool] = []
    assert leases.acquire(line, lease_id)

    def take_before(run: Callable[[], Any], statement: Statement) -> Any:
        if statement.act == DELETE and statement.table == Line._meta.db_table and not taken:
            taken.append(True)
            Line.objects.filter(pk=line.pk).update(lease_id=add_id, lease_until=clock.now() + LEASE)
            PhoneNumber.objects.create(
                user=tenant.user, number=line.number, integration="twilio", line=line, lease_id=add_id
            )
        return run()

    with around_statements(take_before):
        is_deleted = delete_line(line, lease_id)

    assert taken and not is_deleted
    assert Line.objects.get().lease_id == add_id
    assert PhoneNumber.objects.get().line == line
    assert Call.objects.get().line_id == line.pk
