"""What carriers report, in whatever order, however often, however odd, and in whatever moment the server dies."""

import itertools
import json
import logging
import random
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Any

import pytest
import requests
from django.db import OperationalError, transaction
from django.test import Client
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from integrations.events import CallStatus
from integrations.sandbox import Sandbox
from integrations.webhooks import digest
from phones.models import Call, CallEvent, Recording
from phones.services import reconcile
from phones.services.calls import merge_event, record_event
from tests.support.api import add
from tests.support.carriers import CARRIERS
from tests.support.database import INSERT, READ, Statement, around_statements, failing
from tests.support.dialects import DIALECTS, Body, Dialect, after, encoded, iso
from tests.support.people import Tenant, new_tenant
from tests.support.webhooks import Form, Knock, Party, join, send

# The orders of a story of seven events.
ORDERS = 5040


# -- four ways to tell the same story ---------------------------------------------------------------------------------


# Which address a carrier would use matters to none of them.
KINDS = ("answer", "status", "recording", "done", "fallback", "status", "recording")


@pytest.fixture
def tenant(transactional_db: None) -> Tenant:
    return new_tenant()


@pytest.fixture(params=sorted(DIALECTS))
def dialect(request: pytest.FixtureRequest) -> Dialect:
    return DIALECTS[request.param]


@pytest.fixture
def party(sandbox: Sandbox, tenant: Tenant, dialect: Dialect) -> Party:
    return join(sandbox, tenant, CARRIERS[dialect.carrier])


def post(party: Party, body: Body, kind: str = "status") -> Any:
    """As the carrier does, signed now."""
    query = ""
    if isinstance(body, bytes) and party.row.integration == "twilio":
        query = f"bodySHA256={digest(body)}"
    return send(party.knock(kind, body, query=query, timestamp=None))


TOLD = itertools.count()


def tell(party: Party, body: Body) -> None:
    """Past the door, as an event of its own."""
    record_event(party.row, "status", encoded(body), digest(f"{next(TOLD)}".encode()))


OUR_BOOKKEEPING = {"id", "version", "created_at"}


def fields(row: Any) -> dict[str, Any]:
    """All that a row says, but when and under which id we wrote it."""
    names = [field.attname for field in row._meta.concrete_fields if field.attname not in OUR_BOOKKEEPING]
    return {name: getattr(row, name) for name in names}


def log_of(call_id: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    call = Call.objects.get(carrier_id=call_id)
    recordings = [fields(one) | {"call_id": "its"} for one in call.recordings.order_by("carrier_id")]
    return fields(call), recordings


def assert_log(party: Party, dialect: Dialect, call_id: str) -> None:
    call, recordings = log_of(call_id)
    number = CARRIERS[dialect.carrier].number
    line = party.row.lines.get()
    own = {"account_id": party.row.pk, "line_id": line.pk, "carrier_id": call_id, "callee": number}
    assert call == dialect.known | own
    (recording,) = recordings
    link = recording["url"]
    assert recording == dialect.recorded | {
        "account_id": party.row.pk, "call_id": "its", "carrier_id": f"RE-{call_id}", "url": dialect.recorded.get("url", link),
    }  # fmt: skip
    assert link == "" or f"RE-{call_id}" in link


# -- any order --------------------------------------------------------------------------------------------------------


def test_each_order_of_the_events_makes_the_same_log(party: Party, dialect: Dialect) -> None:
    """All 5,040. What is merged next sees the rows and the event and nothing else, so orders that have led to the same
    rows and have the same events before them are gone on with once."""
    events = [
        CallEvent.objects.create(account=party.row, kind="status", payload=encoded(body), dedupe_key=str(number))
        for number, body in enumerate(dialect.tell("CA-1"))
    ]
    seen: dict[Any, int] = {}

    def orders_of(told: list[CallEvent], left: list[CallEvent]) -> int:
        """Tells the rest in every order; how many there are."""
        rows = [sorted(map(repr, map(fields, model.objects.all()))) for model in (Call, Recording)]
        here = repr((rows, [event.pk for event in left]))
        if here in seen:
            return seen[here]
        if not left:
            try:
                assert_log(party, dialect, "CA-1")
            except AssertionError as error:
                raise AssertionError(f"in the order {[events.index(one) for one in told]}") from error
        orders = 0 if left else 1
        for event in left:
            before = transaction.savepoint()
            merge_event(event)
            orders += orders_of([*told, event], [one for one in left if one is not event])
            transaction.savepoint_rollback(before)
        seen[here] = orders
        return orders

    with transaction.atomic():
        assert orders_of([], events) == ORDERS


def test_a_hundred_orders_through_the_door_make_the_same_log(party: Party, dialect: Dialect) -> None:
    chance = random.Random(dialect.carrier)
    stories = {f"CA-{number}": dialect.tell(f"CA-{number}") for number in range(100)}
    for call_id, story in stories.items():
        told = list(zip(KINDS, story, strict=True))
        chance.shuffle(told)
        for kind, body in told:
            assert post(party, body, kind).status_code == 200
        assert_log(party, dialect, call_id)
    assert CallEvent.objects.count() == 700
    assert not CallEvent.objects.filter(merged_at=None).exists()
    assert Call.objects.count() == Recording.objects.count() == 100


@given(told=st.lists(st.integers(0, 6), min_size=1, max_size=16))
@hypothesis_settings(
    max_examples=120,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_some_events_some_of_them_again_make_the_log_of_those_told_once(
    party: Party, dialect: Dialect, told: list[int]
) -> None:
    story = [encoded(body) for body in dialect.tell("CA-1")]

    def outcome(numbers: list[int]) -> Any:
        with transaction.atomic():
            for number in numbers:
                record_event(party.row, "status", story[number], digest(str(number).encode()))
            assert CallEvent.objects.count() == len(set(numbers))
            call, recordings = log_of("CA-1")
            transaction.set_rollback(True)
        for model in (CallEvent, Recording, Call):  # where nothing is rolled back
            model.objects.all().delete()
        # Without a time from the carrier the log has the time of the first report.
        return call | {"started_at": min(call["started_at"], after(3600))}, recordings

    assert outcome(told) == outcome(sorted(set(told)))


@pytest.mark.parametrize("first", [0, 1])
def test_a_call_between_two_of_our_numbers_is_on_the_line_that_called(
    sandbox: Sandbox, tenant: Tenant, first: int
) -> None:
    good = CARRIERS["telnyx"]
    party = join(sandbox, tenant, good)
    assert add(tenant, good.body(tenant.user, phoneNumber=good.another)).status_code == 201
    ends = {"call_control_id": "v3:1", "from": f"+{good.number}", "to": f"+{good.another}"}
    events = [
        {"event_type": "call.initiated", "id": "1", "payload": ends | {"direction": "outgoing"}},
        {"event_type": "call.answered", "id": "2", "payload": ends},  # does not say who called
    ]
    for event in (events[first], events[1 - first]):
        assert post(party, json.dumps({"data": event}).encode()).status_code == 200

    call = Call.objects.get()
    assert call.line is not None
    assert (call.direction, call.line.number) == ("outbound", good.number)


# -- the same again ---------------------------------------------------------------------------------------------------


def test_the_same_event_a_hundred_times_fifty_at_once_is_one(
    live_server: Any, sandbox: Sandbox, party: Party, dialect: Dialect
) -> None:
    body = dialect.tell("CA-1")[1]
    now = int(time.time())
    knocks = [party.knock("answer", body, timestamp=now - number % 60) for number in range(100)]

    def over_the_wire(knock: Knock) -> Any:
        reply = requests.post(live_server.url + knock.path, data=knock.body, headers=knock.headers, timeout=30)
        return reply.status_code, reply.headers["Content-Type"], reply.content

    with ThreadPoolExecutor(50) as pool:
        replies = list(pool.map(over_the_wire, knocks))

    assert len(set(replies)) == 1
    assert replies[0][0] == 200
    assert b"<Response>" in replies[0][2]
    assert CallEvent.objects.count() == Call.objects.count() == 1
    assert CallEvent.objects.get().merged_at is not None
    assert Call.objects.get().version == 0


def test_the_events_of_a_call_all_at_once_make_the_same_log(
    live_server: Any, sandbox: Sandbox, party: Party, dialect: Dialect
) -> None:
    knocks = [party.knock("status", body, timestamp=None) for body in dialect.tell("CA-1") for _ in range(5)]
    random.Random(1).shuffle(knocks)

    def over_the_wire(knock: Knock) -> int:
        return requests.post(
            live_server.url + knock.path, data=knock.body, headers=knock.headers, timeout=30
        ).status_code

    with ThreadPoolExecutor(35) as pool:
        assert set(pool.map(over_the_wire, knocks)) == {200}

    assert CallEvent.objects.filter(merged_at__isnull=False).count() == CallEvent.objects.count() == 7
    assert_log(party, dialect, "CA-1")


# -- statuses ---------------------------------------------------------------------------------------------------------

FINAL = {
    "twilio": ["completed", "busy", "failed", "no-answer", "canceled"],
    "texml": ["completed", "busy", "failed", "no-answer", "canceled"],
    "plivo": ["completed", "busy", "failed", "timeout", "no-answer", "cancel"],
    "call control": ["normal_clearing", "user_busy", "unspecified", "no_answer", "originator_cancel", "timeout"],
}
EARLIER = ["queued", "initiated", "ringing", "in-progress", "early media", "answered", "teleported", "", None]
EARLIER_EVENTS = ["call.initiated", "call.answered", "call.bridged", "call.speak.started", "call.recording.saved", ""]


def said(dialect: str, word: str | None) -> Body:
    """One event that says this of the call."""
    if dialect == "call control":
        is_cause = word in FINAL["call control"] or word == "teleported"
        payload = {"call_control_id": "CA-1"} | ({"hangup_cause": word} if is_cause else {})
        return json.dumps({"data": {"event_type": "call.hangup" if is_cause else word, "payload": payload}}).encode()
    form = [("CallUUID" if dialect == "plivo" else "CallSid", "CA-1")]
    return form if word is None else [*form, ("CallStatus", word)]


@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_a_status_never_goes_back(sandbox: Sandbox, tenant: Tenant, name: str) -> None:
    party = join(sandbox, tenant, CARRIERS[DIALECTS[name].carrier])
    earlier = [*EARLIER_EVENTS, "teleported"] if name == "call control" else EARLIER
    reached = set()
    for final in FINAL[name]:
        Call.objects.all().delete()
        tell(party, said(name, final))
        status = Call.objects.get().status
        assert CallStatus(status).is_final
        reached.add(status)
        for word in earlier:
            tell(party, said(name, word))
            assert Call.objects.get().status == status, word
    assert reached == {"completed", "busy", "failed", "no-answer", "canceled"}


@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_two_last_words_leave_the_same_one_in_either_order(sandbox: Sandbox, tenant: Tenant, name: str) -> None:
    party = join(sandbox, tenant, CARRIERS[DIALECTS[name].carrier])
    for pair in itertools.combinations(FINAL[name], 2):
        left = set()
        for order in (pair, pair[::-1]):
            Call.objects.all().delete()
            for word in order:
                tell(party, said(name, word))
            left.add(Call.objects.get().status)
        assert len(left) == 1, pair


@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_an_unknown_status_is_logged_and_counts_only_while_nothing_else_is_known(
    sandbox: Sandbox, tenant: Tenant, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    party = join(sandbox, tenant, CARRIERS[DIALECTS[name].carrier])
    caplog.clear()
    assert post(party, said(name, "teleported")).status_code == 200
    assert Call.objects.get().status == "unknown"
    (line,) = (one for one in caplog.records if one.levelno >= logging.WARNING)
    assert "teleported" in line.getMessage()

    words = {"ringing": "call.initiated"} if name == "call control" else {"queued": "queued", "ringing": "ringing"}
    for status, word in words.items():
        assert post(party, said(name, word)).status_code == 200
        assert Call.objects.get().status == status
        tell(party, said(name, "teleported"))
        assert Call.objects.get().status == status
    assert not CallEvent.objects.filter(merged_at=None).exists()


def test_an_unknown_status_of_a_recording_does_not_replace_a_known_one(sandbox: Sandbox, tenant: Tenant) -> None:
    party = join(sandbox, tenant, CARRIERS["twilio"])
    for word, becomes in (("shredded", "unknown"), ("completed", "completed"), ("shredded", "completed")):
        tell(party, [("CallSid", "CA-1"), ("RecordingSid", "RE-1"), ("RecordingStatus", word)])
        assert Recording.objects.get().status == becomes


# -- what no carrier should send --------------------------------------------------------------------------------------

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
DATES += [
    "Mon, 99 Xxx 2024 99:99:99 +9999",
    "Mon,",
    "Fri, 01 Mar 0001 00:00:00 +0000",
    "1,2,3,4,5",
    "24-3-1",
    "\x00",
    "T",
]
DATES += ["Fri, 01 Mar 2024 10:00:00 -9999999999999999999999", "2024-W09-5", "2024-03-01T10:00:00+23:59:59.999999"]
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


ODD_JSON = [
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
    odd = [b"{}", b"{} ", b"{'a': 1}", b"\xef\xbb\xbf{}", b'{"CallSid": "\\u0000"}']
    return [*texts, *odd, b'{"CallSid": "CA-1", "CallSid": "CA-2"}']


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


# -- kept and not merged ----------------------------------------------------------------------------------------------


@contextmanager
def failing_savepoint() -> Iterator[None]:
    failed = []

    def fail(run: Callable[[], Any], statement: Statement) -> Any:
        if statement.sql.startswith("SAVEPOINT") and not failed:
            failed.append(statement)
            raise OperationalError("database is locked")
        return run()

    with around_statements(fail):
        yield


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(lambda: failing(READ, Call, times=1), id="read the call"),
        pytest.param(lambda: failing(INSERT, Call, times=1), id="make the call"),
        pytest.param(lambda: failing(INSERT, Recording, times=1), id="make the recording"),
        pytest.param(
            failing_savepoint, id="savepoint", marks=pytest.mark.sqlite_only(reason="MongoDB has no savepoints")
        ),
    ],
)
def test_an_event_that_is_kept_and_not_merged_is_merged_by_reconcile(
    party: Party,
    dialect: Dialect,
    fault: Callable[[], AbstractContextManager[None]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    *others, recording = dialect.tell("CA-1")
    with fault():
        assert post(party, recording).status_code == 200
    assert CallEvent.objects.get().merged_at is None
    assert Recording.objects.count() == 0
    assert "kept and not merged" in caplog.text
    for body in others:
        assert post(party, body).status_code == 200

    assert reconcile().merged_events == 1
    assert not CallEvent.objects.filter(merged_at=None).exists()
    assert_log(party, dialect, "CA-1")
    before = log_of("CA-1")
    assert reconcile().merged_events == 0
    assert log_of("CA-1") == before


@pytest.mark.sqlite_only(reason="MongoDB has no savepoints")
def test_an_event_whose_merge_cannot_even_be_undone_is_not_acknowledged(party: Party, dialect: Dialect) -> None:
    def fail(run: Callable[[], Any], statement: Statement) -> Any:
        if statement.sql.startswith("ROLLBACK TO SAVEPOINT"):
            raise OperationalError("disk I/O error")
        return run()

    *_, recording = dialect.tell("CA-1")
    with failing(READ, Call, times=1), around_statements(fail):
        assert post(party, recording).status_code == 503
    assert not CallEvent.objects.exists()

    assert post(party, recording).status_code == 200
    assert CallEvent.objects.get().merged_at is not None


def test_an_event_that_cannot_be_merged_does_not_keep_the_others_from_it(party: Party, dialect: Dialect) -> None:
    for number, payload in enumerate(['{"a":', "{", *map(encoded, dialect.tell("CA-1"))]):
        CallEvent.objects.create(account=party.row, kind="status", payload=payload, dedupe_key=str(number))

    assert reconcile().merged_events == 7
    assert CallEvent.objects.filter(merged_at=None).count() == 2
    assert_log(party, dialect, "CA-1")


def test_events_that_came_before_the_number_was_ours_are_kept(party: Party, dialect: Dialect) -> None:
    party.row.lines.get().phone_numbers.all().delete()
    party.row.lines.all().delete()
    for body in dialect.tell("CA-1"):
        assert post(party, body).status_code == 200
    call = Call.objects.get()
    assert (call.line, call.status) == (None, "completed")
    assert not CallEvent.objects.filter(merged_at=None).exists()
