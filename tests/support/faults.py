"""The requests that an add makes, the faults that each can meet, and what must come of it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from phones.reconciling import reconcile
from sandbox.sandbox import Sandbox
from tests.support.api import add
from tests.support.carriers import SUBJECTS, Subject
from tests.support.people import Tenant
from tests.support.state import (
    assert_active,
    assert_envelope,
    assert_gone,
    assert_remembers,
    changes,
    is_in_doubt,
    rows,
)

READ, OPTIONAL, CREATE, WRITE, READ_BACK = "read", "optional", "create", "write", "read back"


@dataclass(frozen=True)
class Step:
    """One request of an add: the `nth` with this method and path. `on_404` is the outcome when a read gets a 404."""

    name: str
    method: str
    path: str
    kind: str
    nth: int = 0
    on_404: str = "carrier_unavailable"


TWILIO_NUMBER = r"^/2010-04-01/Accounts/[^/]+/IncomingPhoneNumbers/[^/]+\.json$"
PLIVO_NUMBER = r"^/v1/Account/[^/]+/Number/\d+/$"
PLIVO_NUMBERS = r"^/v1/Account/[^/]+/Number/$"
PLIVO_APPLICATIONS = r"^/v1/Account/[^/]+/Application/$"
PLIVO_APPLICATION = r"^/v1/Account/[^/]+/Application/\d+/$"
TELNYX_NUMBER = r"^/phone_numbers/[^/]+$"
TELNYX_NUMBERS = r"^/phone_numbers$"
TELNYX_APPLICATIONS = r"^/texml_applications$"
TELNYX_APPLICATION = r"^/texml_applications/\d+$"
TELNYX_PROFILES = r"^/outbound_voice_profiles$"
TWILIO_STEPS = [
    Step("list", "GET", r"^/2010-04-01/Accounts/[^/]+/IncomingPhoneNumbers\.json$", READ, on_404="invalid_credentials"),
    Step("account", "GET", r"^/2010-04-01/Accounts/[^/]+\.json$", READ, on_404="invalid_credentials"),
    Step("update", "POST", TWILIO_NUMBER, WRITE),
]
PLIVO_READ = Step("number", "GET", PLIVO_NUMBER, READ, on_404="number_not_owned")
PLIVO_LINK = [Step("link", "POST", PLIVO_NUMBER, WRITE), Step("read back", "GET", PLIVO_NUMBER, READ_BACK, nth=1)]
TELNYX_LIST = Step("list", "GET", TELNYX_NUMBERS, READ)
TELNYX_ASSIGN = Step("assign", "PATCH", TELNYX_NUMBER, WRITE)
TELNYX_KEY = Step("key", "GET", r"^/public_key$", OPTIONAL)
TELNYX_FIND = [
    Step("find", "GET", TELNYX_APPLICATIONS, READ),
    Step("profiles", "GET", TELNYX_PROFILES, READ),
    TELNYX_KEY,
]
TELNYX_CREATE = Step("create", "POST", TELNYX_APPLICATIONS, CREATE)
# The first add of an account; an add on an account whose application exists.
FIRST = {
    "twilio": TWILIO_STEPS,
    "plivo": [
        PLIVO_READ,
        Step("find", "GET", PLIVO_APPLICATIONS, READ),
        Step("create", "POST", PLIVO_APPLICATIONS, CREATE),
        *PLIVO_LINK,
    ],
    "telnyx": [TELNYX_LIST, *TELNYX_FIND, TELNYX_CREATE, TELNYX_ASSIGN],
    "telnyx without a voice profile": [
        TELNYX_LIST,
        *TELNYX_FIND,
        Step("create profile", "POST", TELNYX_PROFILES, CREATE),
        TELNYX_CREATE,
        TELNYX_ASSIGN,
    ],
}
KNOWN = {
    "twilio": TWILIO_STEPS,
    # An application that its id does not find is looked for by name.
    "plivo": [PLIVO_READ, Step("application", "GET", PLIVO_APPLICATION, READ, on_404=""), *PLIVO_LINK],
    "telnyx": [TELNYX_LIST, Step("application", "GET", TELNYX_APPLICATION, READ, on_404=""), TELNYX_KEY, TELNYX_ASSIGN],
}
REFUSALS = {f"status {status}": ("status", status) for status in (401, 403, 404)}
SILENCES: dict[str, tuple[str, int | None]] = {
    **{f"status {status}": ("status", status) for status in (429, 500, 503)},
    **{kind: (kind, None) for kind in ("html", "truncated", "hang", "reset", "empty", "redirect")},
}
UNKNOWN: dict[str, tuple[str, int | None]] = {
    "lost_reply": ("lost_reply", None),
    "applied 500": ("applied_status", 500),
}
FAULTS = REFUSALS | SILENCES | UNKNOWN
# One of each kind: a no, a silence, a yes that nobody hears.
SOME_FAULTS = ("status 403", "reset", "lost_reply")


def expected(step: Step, fault: str, *, for_ever: bool) -> str:
    """The error code that SPEC 2 and 3 ask for; empty for a 201."""
    if step.kind == OPTIONAL:
        return ""
    if fault in REFUSALS:
        if step.kind != READ:
            return "webhook_setup_failed"
        return step.on_404 if fault == "status 404" else "invalid_credentials"
    if fault in UNKNOWN and step.kind in (CREATE, WRITE):
        return ""  # read back, or found by its name
    if step.kind == CREATE:
        return "webhook_setup_failed"  # never sent twice
    if not for_ever:
        return ""  # sent once more
    return "carrier_unavailable" if step.kind == READ else "webhook_setup_failed"


def leaves_doubt(step: Step, fault: str) -> bool:
    """Whether the carrier may still carry out what an add that failed has requested: it did not answer, or what it
    confirmed could not be read back."""
    is_unanswered = fault not in REFUSALS and fault != "status 429"
    return step.kind == READ_BACK or (step.kind in (CREATE, WRITE) and is_unanswered)


def script(sandbox: Sandbox, subject: Subject, step: Step, fault: str, *, for_ever: bool, after: int = 0) -> None:
    """Set the fault for this step of the next add; `after` more requests like it pass before."""
    kind, status = FAULTS[fault]
    sandbox.fault(
        kind, carrier=subject.integration, method=step.method, path=step.path, skip=step.nth + after, status=status,
        times=None if for_ever else 1,
    )  # fmt: skip


def prepare_account(sandbox: Sandbox, tenant: Tenant, subject: Subject) -> None:
    """Have another number of the account added, so that its row and its application are there."""
    assert add(tenant, subject.good.body(tenant.user, phoneNumber=subject.another)).status_code == 201
    sandbox.clear_ledger()


# An add that has done everything and is told at the end that the route is not ours: which reply to change, and how.
NOT_OURS = {
    "twilio": (TWILIO_STEPS[2], lambda body: body | {"voice_url": "https://elsewhere.example.com/"}),
    "plivo": (PLIVO_LINK[1], lambda body: body | {"application": None}),
    "telnyx": (TELNYX_ASSIGN, lambda body: {"data": body["data"] | {"connection_id": None}}),
    "telnyx without a voice profile": (TELNYX_ASSIGN, lambda body: {"data": body["data"] | {"connection_id": None}}),
}


def fail_at_the_end(sandbox: Sandbox, name: str) -> None:
    step, change = NOT_OURS[name]
    sandbox.fault(
        "rewrite", carrier=SUBJECTS[name].integration, method=step.method, path=step.path, skip=step.nth, change=change
    )


HANG_READ_TIMEOUT_S = 0.4


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
        assert rows()["PhoneNumber"] == rows_before["PhoneNumber"]
        assert changes(carriers_before, sandbox.snapshot()) == []
    assert is_in_doubt() == leaves_doubt(step, fault)
    if not is_in_doubt():
        assert rows() == rows_before
    assert reconcile().failed == 0
    assert_gone(sandbox, rows_before, carriers_before)


# The requests of the undo. `nth` counts those of the same kind that the add itself has made, but for the changed one.
TELNYX_UNDO = [
    Step("look", "GET", TELNYX_NUMBER, READ),
    Step("put back", "PATCH", TELNYX_NUMBER, WRITE),
    Step("look again", "GET", TELNYX_NUMBER, READ, nth=1),
    Step("linked", "GET", TELNYX_NUMBERS, READ, nth=1),
    Step("delete", "DELETE", TELNYX_APPLICATION, WRITE),
]
UNDO = {
    "twilio": [Step("look", "GET", TWILIO_NUMBER, READ), Step("put back", "POST", TWILIO_NUMBER, WRITE)],
    "plivo": [
        Step("look", "GET", PLIVO_NUMBER, READ, nth=1),
        Step("put back", "POST", PLIVO_NUMBER, WRITE, nth=1),
        Step("look again", "GET", PLIVO_NUMBER, READ, nth=2),
        Step("linked", "GET", PLIVO_NUMBERS, READ),
        Step("delete", "DELETE", PLIVO_APPLICATION, WRITE),
    ],
    "telnyx": TELNYX_UNDO,
    "telnyx without a voice profile": [
        *TELNYX_UNDO,
        Step("delete profile", "DELETE", r"^/outbound_voice_profiles/\d+$", WRITE),
    ],
}


def undone(name: str, step: Step) -> bool:
    """Without repeating at Telnyx what does not depend on the voice profile."""
    return name in KNOWN or step.method == "DELETE"


def check_undo(
    sandbox: Sandbox, settings: Any, tenant: Tenant, name: str, step: Step, fault: str, *, for_ever: bool
) -> None:
    """Add a number that is not ours in the end while this step of the undo meets the fault, and see that it is gone."""
    subject, rows_before, carriers_before = SUBJECTS[name], rows(), sandbox.snapshot()
    if fault == "hang":
        settings.CARRIER_READ_TIMEOUT_S = HANG_READ_TIMEOUT_S
    fail_at_the_end(sandbox, name)
    script(sandbox, subject, step, fault, for_ever=for_ever)

    reply = add(tenant, subject.good.body(tenant.user, phoneNumber=subject.number))

    assert [one.fault for one in sandbox.ledger if one.fault] != ["rewrite"], "the fault met no request of the undo"
    sandbox.clear_faults()
    assert_envelope(reply, "webhook_setup_failed")
    assert is_in_doubt(), "the route that was confirmed may come later"
    if fault not in REFUSALS and not for_ever:
        assert rows()["PhoneNumber"] == rows_before["PhoneNumber"], "one silence must not break the undo"
        assert changes(carriers_before, sandbox.snapshot()) == []
    assert reconcile().failed == 0
    assert_gone(sandbox, rows_before, carriers_before)
