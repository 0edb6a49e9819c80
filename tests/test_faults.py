"""All or nothing when the carrier fails: each request of an add meets a fault of each kind, once and for ever.

Over HTTP against the sandbox carriers through the real SDKs. What must be so after any reply but 201: no row more than
before, and every setting at the three carriers as before.
"""

import re
import socket
from typing import Any

import pytest

from sandbox.sandbox import Sandbox
from tests.support.api import add
from tests.support.carriers import SUBJECTS
from tests.support.faults import (
    CREATE,
    FIRST,
    KNOWN,
    NOT_OURS,
    READ,
    SOME_FAULTS,
    UNDO,
    Step,
    check_outcome,
    check_undo,
    each,
    fail_at_the_end,
    prepare_account,
    undone,
)
from tests.support.people import Tenant
from tests.support.state import assert_active, assert_envelope, assert_gone, assert_remembers, changes, rows

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("patient")]


# -- the cases --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "steps"), FIRST.items(), ids=FIRST)
def test_a_first_add_makes_just_the_requests_listed_here(
    sandbox: Sandbox, tenant: Tenant, name: str, steps: list[Step]
) -> None:
    subject = SUBJECTS[name]
    assert add(tenant, subject.good.body(tenant.user, phoneNumber=subject.number)).status_code == 201
    assert_remembers(assert_active(sandbox, subject, tenant, subject.number), name)
    assert_ledger_is(sandbox, steps)


@pytest.mark.parametrize(("name", "steps"), KNOWN.items(), ids=KNOWN)
def test_a_later_add_makes_just_the_requests_listed_here(
    sandbox: Sandbox, tenant: Tenant, name: str, steps: list[Step]
) -> None:
    subject = SUBJECTS[name]
    prepare_account(sandbox, tenant, subject)
    assert add(tenant, subject.good.body(tenant.user, phoneNumber=subject.number)).status_code == 201
    assert_remembers(assert_active(sandbox, subject, tenant, subject.number), name)
    assert_ledger_is(sandbox, steps)


def assert_ledger_is(sandbox: Sandbox, steps: list[Step]) -> None:
    made = sandbox.ledger
    assert len(made) == len(steps), [(one.method, one.path) for one in made]
    for step in steps:
        like_it = [one for one in made if one.method == step.method and re.search(step.path, one.path)]
        assert len(like_it) > step.nth, f"no request is the step {step.name}"


@pytest.mark.parametrize("name", KNOWN)
def test_a_carrier_that_refuses_connections_leaves_nothing(
    sandbox: Sandbox, settings: Any, tenant: Tenant, name: str
) -> None:
    subject, rows_before, carriers_before = SUBJECTS[name], rows(), sandbox.snapshot()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{unused.getsockname()[1]}"
    settings.CARRIER_API_URLS = settings.CARRIER_API_URLS | {subject.integration: closed}
    reply = add(tenant, subject.good.body(tenant.user, phoneNumber=subject.number))
    assert_envelope(reply, "carrier_unavailable")
    assert rows() == rows_before
    assert changes(carriers_before, sandbox.snapshot()) == []


# -- an undo that fails too -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NOT_OURS)
def test_a_route_that_is_not_ours_in_the_end_is_taken_back(sandbox: Sandbox, tenant: Tenant, name: str) -> None:
    subject, rows_before, carriers_before = SUBJECTS[name], rows(), sandbox.snapshot()
    fail_at_the_end(sandbox, name)
    reply = add(tenant, subject.good.body(tenant.user, phoneNumber=subject.number))
    assert_envelope(reply, "webhook_setup_failed")
    undone = sandbox.ledger[len(FIRST[name]) :]
    assert [one.method for one in undone if one.method != "GET"] == [
        step.method for step in UNDO[name] if step.method != "GET"
    ]
    assert_gone(sandbox, rows_before, carriers_before)


@each(FIRST, chosen=lambda name, step: name in KNOWN or step.kind == CREATE, faults=SOME_FAULTS)
def test_a_first_add_that_meets_a_fault_is_there_or_gone(
    sandbox: Sandbox, settings: Any, tenant: Tenant, name: str, step: Step, fault: str, for_ever: bool
) -> None:
    check_outcome(sandbox, settings, tenant, name, step, fault, for_ever=for_ever)


@each(KNOWN, chosen=lambda name, step: step.kind != READ, faults=SOME_FAULTS)
def test_a_later_add_that_meets_a_fault_is_there_or_gone(
    sandbox: Sandbox, settings: Any, tenant: Tenant, name: str, step: Step, fault: str, for_ever: bool
) -> None:
    prepare_account(sandbox, tenant, SUBJECTS[name])
    check_outcome(sandbox, settings, tenant, name, step, fault, for_ever=for_ever)


@each(UNDO, chosen=undone, faults=("status 500", "lost_reply"))
def test_an_undo_that_meets_a_fault_is_finished(
    sandbox: Sandbox, settings: Any, tenant: Tenant, name: str, step: Step, fault: str, for_ever: bool
) -> None:
    check_undo(sandbox, settings, tenant, name, step, fault, for_ever=for_ever)
