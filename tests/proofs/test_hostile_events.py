"""Events with nonsense in any field are kept and stop nothing."""

import itertools
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest
from django.test import Client

from phones.models import Call, CallEvent, Recording
from phones.reconciling import reconcile
from sandbox.sandbox import Sandbox
from tests.support.carriers import CARRIERS
from tests.support.dialects import DIALECTS, Body, Dialect, encoded, iso
from tests.support.events import post
from tests.support.people import Tenant
from tests.support.webhooks import Form, Party, join

pytestmark = pytest.mark.django_db(transaction=True)

NUMBERS = [
    "-1",
    "-0.5",
    "0.4",
    "17.5",
    "1e3",
    "1e400",
    "-1e400",
    "NaN",
    "Infinity",
    "9" * 400,
    "99999999",
    "1_0",
    "0x10",
]
NUMBERS += ["", " ", "٣", "½", "4;2", "null", "\x00", "1\x00"]
DATES = [
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59.999999-23:59",
    "0000-00-00",
    "9" * 50,
]
DATES += ["Fri, 01 Mar 2024 10:00:00 -9999999999999999999999", "2024-W09-5", "2024-03-01T10:00:00+23:59:59.999999"]
DATES += [
    "Mon, 99 Xxx 2024 99:99:99 +9999",
    "Mon,",
    "Fri, 01 Mar 0001 00:00:00 +0000",
    "1,2,3,4,5",
    "24-3-1",
    "\x00",
    "T",
]
IDS = ["", " ", "\x00", "x" * 5000, "é", "../../x", "' OR 1=1 --", "\r\nX: y", "🎉", "%00", "None", "0"]
WORDS = ["", "\x00", "x" * 20_000, "COMPLETED", " completed", "complété", "unknown", "{}", "[]", "%s%n", "\u202e"]
NUMBER_FIELDS = ["CallDuration", "Duration", "RecordingDuration", "RecordingChannels", "TotalCost", "RecordingStartMs"]
DATE_FIELDS = [
    "Timestamp",
    "CallInitiatedAt",
    "AnsweredTime",
    "StartTime",
    "AnswerTime",
    "EndTime",
    "RecordingStartTime",
]
DATE_FIELDS += ["SessionStart"]
WORD_FIELDS = ["CallStatus", "Direction", "From", "To", "RecordingStatus", "RecordingUrl", "HangupCause", "Event"]
WORD_FIELDS += ["ErrorMessage", "HangupCauseName", "RecordUrl", "ParentCallSid"]
MONEY = ["999999.9999999", "-0.01", "1e-30", "1e30", "sNaN", "-0", "0.1234565"]


def hostile_forms(carrier: str) -> list[Form]:
    """Each odd value in each field, the others as they should be."""
    identity, recording = ("CallUUID", "RecordingID") if carrier == "plivo" else ("CallSid", "RecordingSid")
    good = {identity: "CA-1", recording: "RE-1", "CallStatus": "completed", "Event": "Hangup", "Duration": "42"}
    good |= {"CallDuration": "42", "Timestamp": iso(47), "RecordingDuration": "17", "EndTime": iso(47)}
    odd = [
        *itertools.product(NUMBER_FIELDS, NUMBERS),
        *itertools.product(DATE_FIELDS, DATES),
        *itertools.product(WORD_FIELDS, WORDS),
        *itertools.product([identity, recording], IDS),
        *itertools.product(["TotalCost"], MONEY),
    ]
    forms = [list((good | {name: value}).items()) for name, value in odd]
    forms.append([(f"field{number}", "x") for number in range(998)] + [(identity, "CA-1")])
    forms.append([("x" * 30_000, "y" * 30_000), (identity, "CA-1")])
    forms.append([(identity, "CA-1"), (identity, "CA-2"), ("CallStatus", "completed"), ("CallStatus", "ringing")])
    return forms


ODD_JSON: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1.5,
    1e308,
    10**300,
    float("nan"),
    float("inf"),
    "",
    "\x00",
    "\ud800",
    "x\udfff",
    [],
]
ODD_JSON += [{}, ["\ud800"], {"a": {"b": [1, {"c": None}]}}, [[1]], "x" * 20_000, "-1", "0001-01-01T00:00:00Z"]
JSON_NAMES = ["CallSid", "CallStatus", "CallDuration", "Timestamp", "From", "To", "Direction", "RecordingSid"]
JSON_NAMES += ["RecordingDuration", "RecordingUrl", "RecordingStatus", "ParentCallSid", "RecordingChannels"]
PAYLOAD_NAMES = ["call_control_id", "direction", "from", "to", "start_time", "hangup_cause", "recording_id", "channels"]
PAYLOAD_NAMES += ["recording_started_at", "recording_ended_at"]


def hostile_json(carrier: str) -> list[bytes]:
    good = {
        "CallSid": "CA-1",
        "CallStatus": "completed",
        "CallDuration": "42",
        "Timestamp": iso(47),
        "RecordingSid": "RE",
    }
    bodies: list[Any] = [good | {name: value} for name, value in itertools.product(JSON_NAMES, ODD_JSON)]
    bodies += [[], [good], "CallSid", 1, None, {}, {"data": None}, {"data": []}, {"data": good}]
    if carrier == "telnyx":
        payload = {"call_control_id": "CA-1", "hangup_cause": "normal_clearing", "recording_id": "RE-1"}
        payload |= {"recording_started_at": iso(10), "recording_ended_at": iso(27)}
        for kind in ("call.hangup", "call.recording.saved"):
            data = {"event_type": kind, "occurred_at": iso(47), "payload": payload}
            odd = itertools.product(PAYLOAD_NAMES, ODD_JSON)
            bodies += [{"data": data | {"payload": payload | {name: value}}} for name, value in odd]
            names = itertools.product(["event_type", "occurred_at", "payload", "id"], ODD_JSON)
            bodies += [{"data": data | {name: value}} for name, value in names]
            bodies += [{"data": value, "CallSid": value} for value in ODD_JSON]
    texts = [json.dumps(body).encode() for body in bodies]
    texts += [
        b'{"CallSid": "CA-1", "Timestamp": ' + b"[" * depth + b"]" * depth + b"}" for depth in range(50, 1500, 30)
    ]
    others = [b"{}", b"{} ", b"{'a': 1}", b"\xef\xbb\xbf{}", b'{"CallSid": "\\u0000"}']
    return [*texts, *others, b'{"CallSid": "CA-1", "CallSid": "CA-2"}']


class Stuck(BaseException):
    """No handler of the product may catch it."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    def give_up(number: int, frame: FrameType | None) -> None:
        raise Stuck

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def take_hostile(party: Party, dialect: Dialect, bodies: list[Body], kind: str) -> None:
    """Each is kept or refused as unreadable, never a fault of ours; and afterwards the call's own events count."""
    wrong: list[Any] = []
    for body in bodies:
        before = CallEvent.objects.count()
        try:
            with at_most(5):
                reply = post(party, body, kind)
        except Stuck:
            wrong.append(("stuck", body))
            continue
        kept = CallEvent.objects.count() - before
        if (reply.status_code, kept) not in ((200, 1), (403, 0)):
            wrong.append((reply.status_code, kept, body))
    assert [(*one[:-1], one[-1][:300]) for one in wrong[:5]] == [], f"and {len(wrong) - 5} more"
    for body in dialect.tell("CA-1"):
        assert post(party, body).status_code == 200
    assert Call.objects.get(carrier_id="CA-1").status == "completed"
    assert Recording.objects.get(carrier_id="RE-CA-1").status == "completed"


def assert_nothing_is_stuck() -> None:
    reconcile()
    left = [event.payload[:200] for event in CallEvent.objects.filter(merged_at=None)[:5]]
    assert left == [], "what is kept and never merged is tried again by every reconcile"


def assert_log_can_be_read(tenant: Tenant) -> None:
    query, headers = "?limit=100", {"Authorization": f"Bearer {tenant.token}"}
    assert Client(raise_request_exception=False).get(f"/api/call/calls{query}", headers=headers).status_code == 200


FORMS = [name for name in sorted(DIALECTS) if name != "call control"]


@pytest.mark.parametrize("kind", ["answer", "status"])
@pytest.mark.parametrize("name", FORMS)
def test_a_form_with_nonsense_is_kept_and_hurts_nobody(sandbox: Sandbox, tenant: Tenant, name: str, kind: str) -> None:
    dialect = DIALECTS[name]
    party = join(sandbox, tenant, CARRIERS[dialect.carrier])
    forms = [[(name, value.replace("\r", "")) for name, value in form] for form in hostile_forms(dialect.carrier)]
    take_hostile(party, dialect, list({encoded(form): form for form in forms}.values()), kind)
    assert_nothing_is_stuck()
    assert_log_can_be_read(tenant)


@pytest.mark.parametrize("kind", ["answer", "status"])
@pytest.mark.parametrize("name", ["twilio", "call control"])
def test_json_with_nonsense_is_kept_and_hurts_nobody(sandbox: Sandbox, tenant: Tenant, name: str, kind: str) -> None:
    dialect = DIALECTS[name]
    party = join(sandbox, tenant, CARRIERS[dialect.carrier])
    bodies = without_repeats(hostile_json(dialect.carrier))
    take_hostile(party, dialect, bodies, kind)
    assert_nothing_is_stuck()
    assert_log_can_be_read(tenant)


def without_repeats(bodies: list[bytes]) -> list[Body]:
    """Two events with the same id are the same event."""
    seen: dict[Any, bytes] = {}
    for body in bodies:
        try:
            data = json.loads(body).get("data")
            mark = str(data["id"])[:128] if isinstance(data, dict) and isinstance(data.get("id"), str | int) else ""
        except (ValueError, AttributeError, RecursionError):
            mark = ""
        seen.setdefault(mark if mark and mark not in ("True", "False") else body, body)
    return list(seen.values())


@pytest.mark.parametrize(
    ("began", "ended"),
    [(27, 10), (10**9, 0), (-60_000_000_000, 200_000_000_000)],
    ids=["by 17 s", "by years", "by ages"],
)
def test_a_recording_that_ends_before_it_begins_does_not_stop_the_server(
    sandbox: Sandbox, tenant: Tenant, began: float, ended: float
) -> None:
    party = join(sandbox, tenant, CARRIERS["telnyx"])
    payload = {"call_control_id": "CA-1", "recording_id": "RE-1"}
    payload |= {"recording_started_at": iso(began), "recording_ended_at": iso(ended)}
    body = json.dumps({"data": {"event_type": "call.recording.saved", "id": "1", "payload": payload}}).encode()
    with at_most(5):
        assert post(party, body).status_code == 200
    assert Recording.objects.get().status == "completed"
    assert (Recording.objects.get().duration_s or 0) >= 0
    assert CallEvent.objects.get().merged_at is not None
