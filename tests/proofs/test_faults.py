"""All or nothing when the carrier fails: each request of an add, and of its undo, meets each fault, once and for ever."""

from typing import Any

import pytest

from phones.reconciling import reconcile
from sandbox.sandbox import Sandbox
from tests.support.api import add
from tests.support.carriers import SUBJECTS
from tests.support.faults import (
    CREATE,
    FIRST,
    HANG_READ_TIMEOUT_S,
    KNOWN,
    OPTIONAL,
    READ,
    READ_BACK,
    REFUSALS,
    UNDO,
    Step,
    check_outcome,
    check_undo,
    each,
    fail_at_the_end,
    prepare_account,
    script,
    undone,
)
from tests.support.people import Tenant
from tests.support.state import assert_active, assert_envelope, assert_gone, assert_remembers, changes, rows, settle

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("patient")]


@each(FIRST, chosen=lambda name, step: name in KNOWN or step.kind == CREATE)
def test_a_first_add_is_all_or_nothing(
    sandbox: Sandbox, settings: Any, tenant: Tenant, name: str, step: Step, fault: str, for_ever: bool
) -> None:
    check_outcome(sandbox, settings, tenant, name, step, fault, for_ever=for_ever)


@each(KNOWN, chosen=lambda name, step: step.kind != READ)
def test_a_later_add_whose_write_fails_is_all_or_nothing(
    sandbox: Sandbox, settings: Any, tenant: Tenant, name: str, step: Step, fault: str, for_ever: bool
) -> None:
    prepare_account(sandbox, tenant, SUBJECTS[name])
    check_outcome(sandbox, settings, tenant, name, step, fault, for_ever=for_ever)


@each(
    KNOWN,
    chosen=lambda name, step: step.kind == READ,
    faults=["status 401", "status 404", "status 500", "hang", "empty"],
)
def test_a_later_add_whose_read_fails_is_all_or_nothing(
    sandbox: Sandbox, settings: Any, tenant: Tenant, name: str, step: Step, fault: str, for_ever: bool
) -> None:
    prepare_account(sandbox, tenant, SUBJECTS[name])
    check_outcome(sandbox, settings, tenant, name, step, fault, for_ever=for_ever)


@each(KNOWN, chosen=lambda name, step: step.kind not in (READ, OPTIONAL))
def test_a_failed_add_leaves_the_number_to_the_other_user_who_has_it(
    sandbox: Sandbox,
    settings: Any,
    tenant: Tenant,
    colleague: Tenant,
    name: str,
    step: Step,
    fault: str,
    for_ever: bool,
) -> None:
    subject = SUBJECTS[name]
    assert add(colleague, subject.good.body(colleague.user, phoneNumber=subject.number)).status_code == 201
    sandbox.clear_ledger()
    rows_before, carriers_before = rows(), sandbox.snapshot()
    # The number is routed to us already: whatever the write does not do is done, and is read back as done.
    code = "webhook_setup_failed" if fault in REFUSALS or (step.kind == READ_BACK and for_ever) else ""
    if fault == "hang":
        settings.CARRIER_READ_TIMEOUT_S = HANG_READ_TIMEOUT_S
    script(sandbox, subject, step, fault, for_ever=for_ever)

    reply = add(tenant, subject.good.body(tenant.user, phoneNumber=subject.number))

    assert any(one.fault for one in sandbox.ledger), "the fault met no request"
    sandbox.clear_faults()
    assert_envelope(reply, code)
    assert_remembers(assert_active(sandbox, subject, colleague, subject.number), name)
    assert changes(carriers_before, sandbox.snapshot()) == []
    if not code:
        assert_active(sandbox, subject, tenant, subject.number)
    assert reconcile().failed == 0
    if code:
        assert_gone(sandbox, rows_before, carriers_before)
    else:
        settle()
        assert_active(sandbox, subject, tenant, subject.number)
    assert changes(carriers_before, sandbox.snapshot()) == []
    assert_active(sandbox, subject, colleague, subject.number)


@each(UNDO, chosen=undone, faults=["status 401", "status 500", "hang", "reset", "empty", "lost_reply", "applied 500"])
def test_an_undo_that_fails_is_finished_by_reconcile(
    sandbox: Sandbox, settings: Any, tenant: Tenant, name: str, step: Step, fault: str, for_ever: bool
) -> None:
    check_undo(sandbox, settings, tenant, name, step, fault, for_ever=for_ever)


@each(UNDO, chosen=undone, faults=["status 401", "lost_reply"])
def test_after_an_undo_that_failed_the_same_user_can_add_the_number_again(
    sandbox: Sandbox, tenant: Tenant, name: str, step: Step, fault: str, for_ever: bool
) -> None:
    subject = SUBJECTS[name]
    fail_at_the_end(sandbox, name)
    script(sandbox, subject, step, fault, for_ever=for_ever)
    body = subject.good.body(tenant.user, phoneNumber=subject.number)
    assert_envelope(add(tenant, body), "webhook_setup_failed")
    sandbox.clear_faults()
    assert add(tenant, body).status_code == 201
    assert_remembers(assert_active(sandbox, subject, tenant, subject.number), name)
