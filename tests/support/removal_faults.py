"""The requests that a removal makes, the faults that each can meet, and what must come of it."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from phones.models import Account, Line, PhoneNumber
from phones.reconciling import reconcile
from sandbox.sandbox import Sandbox
from tests.support.api import send
from tests.support.carriers import CARRIERS, SUBJECTS
from tests.support.faults import (
    FAULTS,
    PLIVO_APPLICATION,
    PLIVO_NUMBER,
    PLIVO_NUMBERS,
    TELNYX_APPLICATION,
    TELNYX_NUMBER,
    TELNYX_NUMBERS,
    TELNYX_PROFILES,
    TWILIO_NUMBER,
)
from tests.support.lines import remembered
from tests.support.people import Tenant
from tests.support.removal import (
    ROUTES,
    Earlier,
    assert_as_before,
    assert_not_found,
    assert_nothing_is_left,
    listed,
    remove,
    restored,
)
from tests.support.state import changes, settle

HANG_READ_TIMEOUT_S = 0.3


@dataclass(frozen=True)
class Step:
    """One request of a removal: the `nth` with this method and path.

    Where a no means that what it is about is gone, it is believed: `gone` says which settings then stay as they are.
    """

    name: str
    method: str
    path: str
    nth: int = 0
    gone: str = ""
    noes: tuple[str, ...] = ("status 404",)


OWN = "telnyx with an own application"
LOOK_TELNYX = [
    Step("look", "GET", TELNYX_NUMBER, gone="numbers"),
    Step("put back", "PATCH", TELNYX_NUMBER),
    Step("look again", "GET", TELNYX_NUMBER, nth=1),
]
DELETE_TELNYX = [
    Step("linked", "GET", TELNYX_NUMBERS),
    Step("delete", "DELETE", TELNYX_APPLICATION, gone="applications"),
    Step("profiles", "GET", TELNYX_PROFILES),
]
STEPS = {
    "twilio": [Step("look", "GET", TWILIO_NUMBER, gone="numbers"), Step("put back", "POST", TWILIO_NUMBER)],
    "plivo": [
        Step("look", "GET", PLIVO_NUMBER, gone="numbers"),
        Step("put back", "POST", PLIVO_NUMBER),
        Step("look again", "GET", PLIVO_NUMBER, nth=1),
        Step("linked", "GET", PLIVO_NUMBERS),
        Step("delete", "DELETE", PLIVO_APPLICATION, gone="applications"),
    ],
    "telnyx": [*LOOK_TELNYX, *DELETE_TELNYX],
    "telnyx without a voice profile": [
        *LOOK_TELNYX,
        *DELETE_TELNYX,
        Step("delete profile", "DELETE", r"^/outbound_voice_profiles/\d+$", gone="profiles"),
    ],
    OWN: [
        *LOOK_TELNYX,
        Step("application", "GET", TELNYX_APPLICATION, gone="applications", noes=("status 400", "status 404")),
        Step("give back", "PATCH", TELNYX_APPLICATION),
    ],
}
REMOVED = {name: Earlier(subject.good, subject.number) for name, subject in SUBJECTS.items()} | {
    OWN: ROUTES["telnyx: SIP connection, own application named"]
}
FAULTS_OF_A_REMOVAL: dict[str, tuple[str, int | None]] = FAULTS | {"status 400": ("status", 400)}
del FAULTS_OF_A_REMOVAL["status 401"]  # refused credentials have tests of their own


def each_fault(
    chosen: Callable[[str, Step], bool], faults: Iterable[str] = FAULTS_OF_A_REMOVAL
) -> pytest.MarkDecorator:
    cases = [
        pytest.param(name, step, fault, for_ever, id="-".join([name, step.name, fault, ["once", "always"][for_ever]]))
        for name, steps in STEPS.items()
        for step in steps
        if chosen(name, step)
        for fault in sorted(faults)
        for for_ever in (False, True)
    ]
    return pytest.mark.parametrize(("name", "step", "fault", "for_ever"), cases)


def only_of_this_one(name: str, step: Step) -> bool:
    """Without repeating at Telnyx what depends on neither the profile nor the application."""
    return name in CARRIERS or step.name in ("delete profile", "application", "give back")


def fail(sandbox: Sandbox, settings: Any, name: str, step: Step, fault: str, *, for_ever: bool) -> None:
    kind, status = FAULTS_OF_A_REMOVAL[fault]
    if fault == "hang":
        settings.CARRIER_READ_TIMEOUT_S = HANG_READ_TIMEOUT_S
    sandbox.fault(
        kind, carrier=REMOVED[name].good.integration, method=step.method, path=step.path, skip=step.nth, status=status,
        times=None if for_ever else 1,
    )  # fmt: skip


at_each_step = pytest.mark.parametrize(
    ("name", "step", "fault"),
    [
        pytest.param(name, step, fault, id=f"{name}-{step.name}-{fault}")
        for name, steps in STEPS.items()
        for step in steps
        if only_of_this_one(name, step)
        for fault in ("lost reply", "status 403", "status 500")
    ],
)


def remove_with_fault(sandbox: Sandbox, tenant: Tenant, id: str, earlier: Earlier, step: Step, fault: str) -> bool:
    """Remove a number while this step of it goes wrong each time. Says whether the reply was that it is restored."""
    kind = {"lost reply": "lost_reply"}.get(fault, "status")
    sandbox.fault(
        kind, carrier=earlier.good.integration, method=step.method, path=step.path, skip=step.nth,
        status=int(fault.split()[1]) if kind == "status" else None, times=None,
    )  # fmt: skip
    was_restored = restored(remove(tenant, id), id)
    sandbox.clear_faults()
    time.sleep(0.002)
    return was_restored


def snapshot_of(earlier: Earlier, tenant: Tenant) -> Any:
    """What the line remembers after the user has added the number."""
    earlier.add(tenant)
    return remembered(Line.objects.get())


def is_anything_to_do() -> bool:
    """Whether rows are left, apart from those of a line that is looked at again."""
    lines, accounts = Line.objects.filter(unsettled_until=None), Account.objects.filter(lines=None)
    return any(rows.exists() for rows in (PhoneNumber.objects.all(), lines, accounts))


def check_removal(
    sandbox: Sandbox, settings: Any, tenant: Tenant, name: str, step: Step, fault: str, *, for_ever: bool
) -> None:
    """Remove the number while this step meets the fault, and see that the reply is true and the rest is finished."""
    earlier = REMOVED[name]
    earlier.prepare(sandbox)
    before = sandbox.snapshot()
    id = earlier.add(tenant)
    fail(sandbox, settings, name, step, fault, for_ever=for_ever)

    reply = remove(tenant, id)

    assert any(one.fault for one in sandbox.ledger), "the fault met no request"
    sandbox.clear_faults()
    is_restored = restored(reply, id)
    assert listed(tenant) == []
    assert_not_found(send("GET", f"phones/{id}", tenant))
    assert_not_found(remove(tenant, id))
    if step.gone and fault in step.noes:
        assert is_restored == (step.gone != "numbers")
        assert not PhoneNumber.objects.exists() and not Line.objects.exists()
        owner = sandbox.state.account(earlier.good.integration, earlier.good.owner).id
        differing = changes(before, sandbox.snapshot())
        # An application stays while a number that we do not have is linked to it.
        there = tuple(f"/{earlier.good.integration}/{owner}/{kind}/" for kind in (step.gone, "applications"))
        assert all(one.startswith(there) for one in differing)
        return
    as_before = changes(before, sandbox.snapshot()) == [] and not is_anything_to_do()
    is_said_to_be_gone = step.name == "look again" and fault == "status 404"
    assert is_restored == (as_before and not is_said_to_be_gone), "the reply says something else than what is so"
    if fault not in ("status 400", "status 403", "status 404") and not for_ever:
        assert is_restored, "one silence must not delay a removal"
    time.sleep(0.002)  # leases end to the millisecond
    assert reconcile().failed == 0
    assert_as_before(sandbox, before)
    assert not PhoneNumber.objects.exists()
    settle()
    assert_as_before(sandbox, before)
    assert_nothing_is_left()
