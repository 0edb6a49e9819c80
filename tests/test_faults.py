"""All or nothing when the carrier fails: each request of an add meets each fault, once and for ever.

Over HTTP against the sandbox carriers through the real SDKs. What must be so after any reply but 201: no row more than
before, and every setting at the three carriers as before.
"""

import json
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.conf import settings as django_settings

from integrations import base
from integrations.sandbox import Sandbox
from integrations.sandbox import state as seeds
from phones.models import Account, Line, PhoneNumber
from phones.services import reconcile
from tests.conftest import PLIVO, TELNYX, TWILIO, Good, Tenant, add

pytestmark = pytest.mark.django_db(transaction=True)

HANG_READ_TIMEOUT_S = 0.4
APPLICATION_NAME = "workspace-phones-"

# -- who adds what ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Subject:
    """A carrier account as the sandbox has it, and a number of it that the customer has routed elsewhere."""

    good: Good
    owner: str
    number: str
    another: str

    @property
    def integration(self) -> str:
        return self.good.integration


NO_PROFILE = Good("telnyx", "", seeds.TELNYX_NOPROFILE_KEY, "13125557777", "13125557778", "13125557777", "13125559999")
SUBJECTS = {
    "twilio": Subject(TWILIO, seeds.TWILIO_SID, TWILIO.routed_elsewhere, TWILIO.another),
    "plivo": Subject(PLIVO, seeds.PLIVO_ID, PLIVO.routed_elsewhere, PLIVO.another),
    "telnyx": Subject(TELNYX, seeds.TELNYX_ACCOUNT, TELNYX.routed_elsewhere, TELNYX.another),
    "telnyx without a voice profile": Subject(
        NO_PROFILE, seeds.TELNYX_NOPROFILE_ACCOUNT, NO_PROFILE.number, NO_PROFILE.another
    ),
}
# What the line must remember of the number, in the provider's words.
BEFORE = {
    "twilio": ("voice_url", f"{seeds.FOREIGN_URL}/twilio/answer"),
    "plivo": ("application_id", seeds.PLIVO_CUSTOMER_APP),
    "telnyx": ("application_id", seeds.TELNYX_CUSTOMER_APP),
    "telnyx without a voice profile": ("application_id", ""),
}

# -- which requests an add makes --------------------------------------------------------------------------------------

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
PLIVO_APPLICATIONS = r"^/v1/Account/[^/]+/Application/$"
PLIVO_APPLICATION = r"^/v1/Account/[^/]+/Application/\d+/$"
TELNYX_NUMBER = r"^/phone_numbers/[^/]+$"
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
TELNYX_LIST = Step("list", "GET", r"^/phone_numbers$", READ)
TELNYX_ASSIGN = Step("assign", "PATCH", TELNYX_NUMBER, WRITE)
TELNYX_FIND = [
    Step("find", "GET", TELNYX_APPLICATIONS, READ),
    Step("profiles", "GET", TELNYX_PROFILES, READ),
    Step("key", "GET", r"^/public_key$", OPTIONAL),
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
    "telnyx": [TELNYX_LIST, Step("application", "GET", TELNYX_APPLICATION, READ, on_404=""), TELNYX_ASSIGN],
}

# -- what goes wrong --------------------------------------------------------------------------------------------------

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


def script(sandbox: Sandbox, subject: Subject, step: Step, fault: str, *, for_ever: bool, after: int = 0) -> None:
    """Set the fault for this step of the next add; `after` more requests like it pass before."""
    kind, status = FAULTS[fault]
    sandbox.fault(
        kind, carrier=subject.integration, method=step.method, path=step.path, skip=step.nth + after, status=status,
        times=None if for_ever else 1,
    )  # fmt: skip


# -- what is there ----------------------------------------------------------------------------------------------------

PASSING = {"used_by", "lease_id", "lease_until", "checked_at", "pulled_at"}


def rows() -> dict[str, list[dict[str, Any]]]:
    """All that we keep, without leases and the note of who used an account last."""
    return {
        model.__name__: sorted(
            (
                {
                    field.attname: getattr(value, "sealed", value)
                    for field in row._meta.concrete_fields
                    if field.attname not in PASSING
                    for value in [getattr(row, field.attname)]
                }
                for row in model.objects.all()
            ),
            key=lambda row: row["id"],
        )
        for model in (Account, Line, PhoneNumber)
    }


def changes(before: Any, after: Any, path: str = "") -> list[str]:
    """What differs between two snapshots of the carriers, one line each."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return [] if before == after else [f"{path}: {before!r} became {after!r}"]
    names = sorted(before.keys() | after.keys())
    return [line for name in names for line in changes(before.get(name), after.get(name), f"{path}/{name}")]


def assert_envelope(reply: Any, code: str) -> None:
    body = reply.json()
    assert list(body) == ["message", "status", "code", "errorMessage", "data"]
    assert body["code"] == reply.status_code
    assert "sandbox" not in reply.content.decode().lower(), "a token or a carrier's body is in the reply"
    if not code:
        assert reply.status_code == 201, body
        return
    assert reply.status_code != 201, f"{code} was expected"
    assert body["data"]["error"] == code, body
    assert reply.status_code == (500 if code in ("webhook_setup_failed", "carrier_unavailable") else 400)


def our_applications(sandbox: Sandbox, subject: Subject) -> list[dict[str, Any]]:
    owner = sandbox.state.account(subject.integration, subject.owner)
    named = owner.applications.values()
    return [
        one for one in named if str(one.get("app_name") or one.get("friendly_name") or "").startswith(APPLICATION_NAME)
    ]


def assert_routed(sandbox: Sandbox, subject: Subject, number: str, account: Account) -> None:
    """The number's calls come to us, and nothing was made twice."""
    base_url = f"{django_settings.PUBLIC_URL}/api/webhooks/{subject.integration}/{account.webhook_token}"
    there = sandbox.state.account(subject.integration, subject.owner).numbers[number]
    if subject.integration == "twilio":
        assert there["voice_url"] == f"{base_url}/answer"
        assert there["voice_fallback_url"] == f"{base_url}/fallback"
        assert there["status_callback"] == f"{base_url}/status"
        assert not there["trunk_sid"] and not there["voice_application_sid"]
        return
    (application,) = our_applications(sandbox, subject)
    if subject.integration == "plivo":
        assert there["application"].endswith(f"/Application/{application['app_id']}/")
        assert application["answer_url"] == f"{base_url}/answer"
        assert application["hangup_url"] == f"{base_url}/status"
    else:
        assert there["connection_id"] == application["id"]
        assert application["voice_url"] == f"{base_url}/answer"
        assert application["status_callback"] == f"{base_url}/status"
    assert account.application_id in (application.get("app_id"), application.get("id"))


def assert_active(sandbox: Sandbox, subject: Subject, tenant: Tenant, number: str) -> PhoneNumber:
    """The user has the number, once, complete and routed."""
    phone = PhoneNumber.objects.get(user=tenant.user, number=number)
    assert phone.state == PhoneNumber.State.ACTIVE
    assert (phone.operation_id, phone.lease_until, phone.operation) == ("", None, None)
    assert phone.line.lease_id == "", "the line is still leased"
    assert phone.line.account.lease_id == "", "the account is still leased"
    assert phone.line.account.auth_token.open() == subject.good.auth_token
    assert_routed(sandbox, subject, number, phone.line.account)
    return phone


def assert_remembers(phone: PhoneNumber, name: str) -> None:
    field, value = BEFORE[name]
    assert json.loads(phone.line.snapshot.open())[field] == value, "the line does not remember the customer's route"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setattr(base, "RETRY_PAUSE_S", (0.0, 0.01))
    settings.CARRIER_CONNECT_TIMEOUT_S = 1.0
    settings.CARRIER_READ_TIMEOUT_S = 5.0


def each(
    steps: dict[str, list[Step]], chosen: Callable[[Step], bool] = lambda step: True, faults: Any = FAULTS
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
):
    subject = SUBJECTS[name]
    assert add(tenant, subject.good.body(tenant.user, phoneNumber=subject.number)).status_code == 201
    assert_remembers(assert_active(sandbox, subject, tenant, subject.number), name)
    assert_ledger_is(sandbox, steps)


@pytest.mark.parametrize(("name", "steps"), KNOWN.items(), ids=KNOWN)
def test_a_later_add_makes_just_the_requests_listed_here(
    sandbox: Sandbox, tenant: Tenant, name: str, steps: list[Step]
):
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


def prepare_account(sandbox: Sandbox, tenant: Tenant, subject: Subject) -> None:
    """Have another number of the account added, so that its row and its application are there."""
    assert add(tenant, subject.good.body(tenant.user, phoneNumber=subject.another)).status_code == 201
    sandbox.clear_ledger()


@each(FIRST, chosen=lambda name, step: name in KNOWN or step.kind == CREATE)
def test_a_first_add_is_all_or_nothing(
    sandbox: Sandbox, settings: Any, tenant: Tenant, name: str, step: Step, fault: str, for_ever: bool
):
    check_outcome(sandbox, settings, tenant, name, step, fault, for_ever=for_ever)


@each(KNOWN, chosen=lambda name, step: step.kind != READ)
def test_a_later_add_whose_write_fails_is_all_or_nothing(
    sandbox: Sandbox, settings: Any, tenant: Tenant, name: str, step: Step, fault: str, for_ever: bool
):
    prepare_account(sandbox, tenant, SUBJECTS[name])
    check_outcome(sandbox, settings, tenant, name, step, fault, for_ever=for_ever)


@each(
    KNOWN,
    chosen=lambda name, step: step.kind == READ,
    faults=["status 401", "status 404", "status 500", "hang", "empty"],
)
def test_a_later_add_whose_read_fails_is_all_or_nothing(
    sandbox: Sandbox, settings: Any, tenant: Tenant, name: str, step: Step, fault: str, for_ever: bool
):
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
):
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
def test_a_carrier_that_refuses_connections_leaves_nothing(sandbox: Sandbox, settings: Any, tenant: Tenant, name: str):
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

# An add that has done everything and is told at the end that the route is not ours: which reply to change, and how.
NOT_OURS = {
    "twilio": (TWILIO_STEPS[2], lambda body: body | {"voice_url": "https://elsewhere.example.com/"}),
    "plivo": (PLIVO_LINK[1], lambda body: body | {"application": None}),
    "telnyx": (TELNYX_ASSIGN, lambda body: {"data": body["data"] | {"connection_id": None}}),
    "telnyx without a voice profile": (TELNYX_ASSIGN, lambda body: {"data": body["data"] | {"connection_id": None}}),
}
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


def fail_at_the_end(sandbox: Sandbox, name: str) -> None:
    step, change = NOT_OURS[name]
    sandbox.fault(
        "rewrite", carrier=SUBJECTS[name].integration, method=step.method, path=step.path, skip=step.nth, change=change
    )


@pytest.mark.parametrize("name", NOT_OURS)
def test_a_route_that_is_not_ours_in_the_end_is_taken_back(sandbox: Sandbox, tenant: Tenant, name: str):
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
):
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
):
    subject = SUBJECTS[name]
    fail_at_the_end(sandbox, name)
    script(sandbox, subject, step, fault, for_ever=for_ever)
    body = subject.good.body(tenant.user, phoneNumber=subject.number)
    assert_envelope(add(tenant, body), "webhook_setup_failed")
    sandbox.clear_faults()
    assert add(tenant, body).status_code == 201
    assert_remembers(assert_active(sandbox, subject, tenant, subject.number), name)
