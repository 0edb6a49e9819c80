"""Each request of a removal meets each fault: what is left is told truly, and finished by whoever comes next."""

from typing import Any

import pytest

from phones.models import Account, Line, PhoneNumber
from phones.reconciling import reconcile
from sandbox.sandbox import Sandbox
from tests.support.people import Tenant
from tests.support.removal import (
    assert_as_before,
    assert_nothing_is_left,
    listed,
    remove,
    restored,
)
from tests.support.removal_faults import (
    REMOVED,
    Step,
    at_each_step,
    check_removal,
    each_fault,
    only_of_this_one,
    remove_with_fault,
    snapshot_of,
)
from tests.support.state import settle

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("patient", "unlimited")]


@each_fault(only_of_this_one)
def test_a_removal_that_meets_a_fault_is_finished_by_reconcile(
    sandbox: Sandbox, settings: Any, tenant: Tenant, name: str, step: Step, fault: str, for_ever: bool
) -> None:
    check_removal(sandbox, settings, tenant, name, step, fault, for_ever=for_ever)


@at_each_step
def test_who_adds_again_what_could_not_be_removed_settles_it_first(
    sandbox: Sandbox, settings: Any, tenant: Tenant, name: str, step: Step, fault: str
) -> None:
    earlier = REMOVED[name]
    earlier.prepare(sandbox)
    before = sandbox.snapshot()
    snapshot_before = snapshot_of(earlier, tenant)
    id = PhoneNumber.objects.get().pk
    was_restored = remove_with_fault(sandbox, tenant, id, earlier, step, fault)

    assert snapshot_of(earlier, tenant) == snapshot_before, "the line does not remember the customer's route"

    again = PhoneNumber.objects.get()
    assert again.state == PhoneNumber.State.ACTIVE
    assert again.pk != id
    assert listed(tenant) == [earlier.number]
    assert (Account.objects.count(), Line.objects.count()) == (1, 1)
    assert reconcile().failed == 0
    assert restored(remove(tenant, again.pk), again.pk) is True, was_restored
    assert_as_before(sandbox, before)
    settle()
    assert_as_before(sandbox, before)
    assert_nothing_is_left()


@at_each_step
def test_another_user_adds_what_could_not_be_removed(
    sandbox: Sandbox, tenant: Tenant, another: Tenant, name: str, step: Step, fault: str
) -> None:
    earlier = REMOVED[name]
    earlier.prepare(sandbox)
    before = sandbox.snapshot()
    snapshot_before = snapshot_of(earlier, tenant)
    id = PhoneNumber.objects.get().pk
    remove_with_fault(sandbox, tenant, id, earlier, step, fault)

    assert snapshot_of(earlier, another) == snapshot_before, "the line does not remember the customer's route"

    assert reconcile().failed == 0
    again = PhoneNumber.objects.get()
    assert (again.user, again.state) == (another.user, PhoneNumber.State.ACTIVE)
    assert restored(remove(another, again.pk), again.pk) is True
    assert_as_before(sandbox, before)
    settle()
    assert_as_before(sandbox, before)
    assert_nothing_is_left()
