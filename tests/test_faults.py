"""All or nothing when the carrier fails: each request of an add meets each fault, once and for ever.

Over HTTP against the sandbox carriers through the real SDKs. What must be so after any reply but 201: no row more than
before, and every setting at the three carriers as before.
"""

import re
import socket
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from integrations.sandbox import Sandbox
from phones.services import reconcile
from tests.support.api import add
from tests.support.carriers import SUBJECTS
from tests.support.faults import (
    CREATE,
    FAULTS,
    FIRST,
    KNOWN,
    NOT_OURS,
    PLIVO_APPLICATION,
    PLIVO_NUMBER,
    READ,
    READ_BACK,
    REFUSALS,
    TELNYX_APPLICATION,
    TELNYX_NUMBER,
    TWILIO_NUMBER,
    WRITE,
    Step,
    expected,
    fail_at_the_end,
    prepare_account,
    script,
)
from tests.support.people import Tenant
from tests.support.state import assert_active, assert_envelope, assert_remembers, changes, rows

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("patient")]

HANG_READ_TIMEOUT_S = 0.4

# -- who adds what ----------------------------------------------------------------------------------------------------


# -- which requests an add makes --------------------------------------------------------------------------------------


# -- what goes wrong --------------------------------------------------------------------------------------------------


# -- what is there ----------------------------------------------------------------------------------------------------


def each(
    steps: dict[str, list[Step]], chosen: Callable[[str, Step], bool], faults: Iterable[str] = FAULTS
) -> pytest.MarkDecorator:
    """One case for each request, fault and number of times."""
    cases = [
        pytest.param(
            name, step, fault, for_ever, id="-".join([name, step.name, fault, "always" if for_ever else "once"])
        )
        for name, of_carrier in steps.items()
        for step in of_carrier
        if chosen(name, step)
        for fault in faults
        for for_ever in (False, True)
    ]
    return pytest.mark.parametrize(("name", "step", "fault", "for_ever"), cases)


def breaks_the_undo(step: Step, *, for_ever: bool) -> bool:
    """The undo reads the number as the read-back does."""
    return step.kind == READ_BACK and for_ever


def check_outcome(
    sandbox: Sandbox, settings: Any, tenant: Tenant, name: str, step: Step, fault: str, *, for_ever: bool
) -> None:
    """Add the number while the fault is on, and see that it is all there or nothing."""
    subject = SUBJECTS[name]
    rows_before, carriers_before = rows(), sandbox.snapshot()
    code = expected(step, fault, for_ever=for_ever)
    if fault == "hang":
        settings.CARRIER_READ_TIMEOUT_S = HANG_READ_TIMEOUT_S
    script(sandbox, subject, step, fault, for_ever=for_ever)

    reply = add(tenant, subject.good.body(tenant.user, phoneNumber=subject.number))

    hit = [one for one in sandbox.ledger if one.fault]
    assert hit, "the fault met no request"
    assert all((one.method, one.carrier) == (step.method, subject.integration) for one in hit)
    sandbox.clear_faults()
    assert_envelope(reply, code)
    if not code:
        phone = assert_active(sandbox, subject, tenant, subject.number)
        assert_remembers(phone, name)
        reconcile()
        assert_active(sandbox, subject, tenant, subject.number)
        return
    if not breaks_the_undo(step, for_ever=for_ever):
        assert rows() == rows_before
        assert changes(carriers_before, sandbox.snapshot()) == []
    assert reconcile().failed == 0
    assert rows() == rows_before
    assert changes(carriers_before, sandbox.snapshot()) == []


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


@each(KNOWN, chosen=lambda name, step: step.kind != READ)
def test_a_failed_add_leaves_the_number_to_the_other_user_who_has_it(
    sandbox: Sandbox,
    settings: Any,
    tenant: Tenant,
    other_tenant: Tenant,
    name: str,
    step: Step,
    fault: str,
    for_ever: bool,
) -> None:
    subject = SUBJECTS[name]
    assert add(other_tenant, subject.good.body(other_tenant.user, phoneNumber=subject.number)).status_code == 201
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
    assert_remembers(assert_active(sandbox, subject, other_tenant, subject.number), name)
    assert changes(carriers_before, sandbox.snapshot()) == []
    if code:
        assert rows() == rows_before
    else:
        assert_active(sandbox, subject, tenant, subject.number)
    assert reconcile().failed == 0
    assert changes(carriers_before, sandbox.snapshot()) == []
    assert_active(sandbox, subject, other_tenant, subject.number)


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

# The requests of the undo. `nth` counts those of the same kind that the add itself has made, but for the changed one.
TELNYX_UNDO = [
    Step("look", "GET", TELNYX_NUMBER, READ),
    Step("put back", "PATCH", TELNYX_NUMBER, WRITE),
    Step("look again", "GET", TELNYX_NUMBER, READ, nth=1),
    Step("delete", "DELETE", TELNYX_APPLICATION, WRITE),
]
UNDO = {
    "twilio": [Step("look", "GET", TWILIO_NUMBER, READ), Step("put back", "POST", TWILIO_NUMBER, WRITE)],
    "plivo": [
        Step("look", "GET", PLIVO_NUMBER, READ, nth=1),
        Step("put back", "POST", PLIVO_NUMBER, WRITE, nth=1),
        Step("look again", "GET", PLIVO_NUMBER, READ, nth=2),
        Step("delete", "DELETE", PLIVO_APPLICATION, WRITE),
    ],
    "telnyx": TELNYX_UNDO,
    "telnyx without a voice profile": [
        *TELNYX_UNDO,
        Step("delete profile", "DELETE", r"^/outbound_voice_profiles/\d+$", WRITE),
    ],
}


@pytest.mark.parametrize("name", NOT_OURS)
def test_a_route_that_is_not_ours_in_the_end_is_taken_back(sandbox: Sandbox, tenant: Tenant, name: str) -> None:
    subject, rows_before, carriers_before = SUBJECTS[name], rows(), sandbox.snapshot()
    fail_at_the_end(sandbox, name)
    reply = add(tenant, subject.good.body(tenant.user, phoneNumber=subject.number))
    assert_envelope(reply, "webhook_setup_failed")
    assert rows() == rows_before
    assert changes(carriers_before, sandbox.snapshot()) == []
    undone = sandbox.ledger[len(FIRST[name]) :]
    assert [one.method for one in undone if one.method != "GET"] == [
        step.method for step in UNDO[name] if step.method != "GET"
    ]


def undone(name: str, step: Step) -> bool:
    """Without repeating at Telnyx what does not depend on the voice profile."""
    return name in KNOWN or step.method == "DELETE"


@each(UNDO, chosen=undone, faults=["status 401", "status 500", "hang", "reset", "empty", "lost_reply", "applied 500"])
def test_an_undo_that_fails_is_finished_by_reconcile(
    sandbox: Sandbox, settings: Any, tenant: Tenant, name: str, step: Step, fault: str, for_ever: bool
) -> None:
    subject, rows_before, carriers_before = SUBJECTS[name], rows(), sandbox.snapshot()
    if fault == "hang":
        settings.CARRIER_READ_TIMEOUT_S = HANG_READ_TIMEOUT_S
    fail_at_the_end(sandbox, name)
    script(sandbox, subject, step, fault, for_ever=for_ever)

    reply = add(tenant, subject.good.body(tenant.user, phoneNumber=subject.number))

    assert [one.fault for one in sandbox.ledger if one.fault] != ["rewrite"], "the fault met no request of the undo"
    sandbox.clear_faults()
    assert_envelope(reply, "webhook_setup_failed")
    if fault not in REFUSALS and not for_ever:
        assert rows() == rows_before, "one silence must not break the undo"
        assert changes(carriers_before, sandbox.snapshot()) == []
    assert reconcile().failed == 0
    assert rows() == rows_before
    assert changes(carriers_before, sandbox.snapshot()) == []


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
