"""The requests that an add makes, the faults that each can meet, and what must come of it."""

from dataclasses import dataclass

from integrations.sandbox import Sandbox
from tests.support.api import add
from tests.support.carriers import SUBJECTS, Subject
from tests.support.people import Tenant

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
