"""What carriers report, and what the log of calls makes of it."""

import itertools
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from django.db import OperationalError

from integrations import events
from integrations.events import CallStatus, read_event, read_payload
from phones.models import Call, CallEvent, Recording
from phones.reconciling import reconcile
from sandbox.sandbox import Sandbox
from tests.support.api import add
from tests.support.carriers import CARRIERS
from tests.support.database import INSERT, READ, Statement, around_statements, failing
from tests.support.dialects import DIALECTS, Body, Dialect, encoded
from tests.support.events import assert_log, log_of, post, tell
from tests.support.people import Tenant, new_tenant
from tests.support.webhooks import Party, join

# -- four ways to tell the same story ---------------------------------------------------------------------------------


@pytest.fixture
def tenant(transactional_db: None) -> Tenant:
    return new_tenant()


@pytest.fixture
def party(sandbox: Sandbox, tenant: Tenant, dialect: Dialect) -> Party:
    return join(sandbox, tenant, CARRIERS[dialect.carrier])


# -- any order --------------------------------------------------------------------------------------------------------


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


# -- statuses ---------------------------------------------------------------------------------------------------------

EARLIER = ["queued", "initiated", "ringing", "in-progress", "early media", "answered", "teleported", "", None]
EARLIER_EVENTS = ["call.initiated", "call.answered", "call.bridged", "call.speak.started", "call.recording.saved", ""]


def said(dialect: str, word: str | None) -> Body:
    """One event that says this of the call."""
    if dialect == "call control":
        is_cause = word in DIALECTS["call control"].final or word == "teleported"
        payload = {"call_control_id": "CA-1"} | ({"hangup_cause": word} if is_cause else {})
        return json.dumps({"data": {"event_type": "call.hangup" if is_cause else word, "payload": payload}}).encode()
    form = [("CallUUID" if dialect == "plivo" else "CallSid", "CA-1")]
    return form if word is None else [*form, ("CallStatus", word)]


@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_a_status_never_goes_back(sandbox: Sandbox, tenant: Tenant, name: str) -> None:
    party = join(sandbox, tenant, CARRIERS[DIALECTS[name].carrier])
    earlier = [*EARLIER_EVENTS, "teleported"] if name == "call control" else EARLIER
    reached = set()
    for final in DIALECTS[name].final:
        Call.objects.all().delete()
        tell(party, said(name, final))
        status = Call.objects.get().status
        assert CallStatus(status).is_final
        reached.add(status)
        for word in earlier:
            tell(party, said(name, word))
            assert Call.objects.get().status == status, word
    assert reached == {"completed", "busy", "failed", "no-answer", "canceled"}


@pytest.mark.engine
@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_two_last_words_leave_the_same_one_in_either_order(sandbox: Sandbox, tenant: Tenant, name: str) -> None:
    party = join(sandbox, tenant, CARRIERS[DIALECTS[name].carrier])
    for pair in itertools.combinations(DIALECTS[name].final, 2):
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


@pytest.mark.engine
def test_an_unknown_status_of_a_recording_does_not_replace_a_known_one(sandbox: Sandbox, tenant: Tenant) -> None:
    party = join(sandbox, tenant, CARRIERS["twilio"])
    for word, becomes in (("shredded", "unknown"), ("completed", "completed"), ("shredded", "completed")):
        tell(party, [("CallSid", "CA-1"), ("RecordingSid", "RE-1"), ("RecordingStatus", word)])
        assert Recording.objects.get().status == becomes


# -- kept and not merged ----------------------------------------------------------------------------------------------


@contextmanager
def failing_savepoint() -> Iterator[None]:
    """The one that the merge begins with, once the event is kept."""
    kept: list[Statement] = []
    failed: list[Statement] = []

    def fail(run: Callable[[], Any], statement: Statement) -> Any:
        if statement.act == INSERT and statement.table == CallEvent._meta.db_table:
            kept.append(statement)
        if kept and statement.sql.startswith("SAVEPOINT") and not failed:
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
            failing_savepoint,
            id="savepoint",
            marks=pytest.mark.only("sqlite", "postgresql", reason="MongoDB has no savepoints"),
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
    assert "stored but not merged" in caplog.text
    for body in others:
        assert post(party, body).status_code == 200

    assert reconcile().merged_events == 1
    assert not CallEvent.objects.filter(merged_at=None).exists()
    assert_log(party, dialect, "CA-1")
    before = log_of("CA-1")
    assert reconcile().merged_events == 0
    assert log_of("CA-1") == before


@pytest.mark.only("sqlite", "postgresql", reason="MongoDB has no savepoints")
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


@pytest.mark.engine
def test_an_event_that_cannot_be_merged_does_not_keep_the_others_from_it(party: Party, dialect: Dialect) -> None:
    for number, payload in enumerate(['{"a":', "{", *map(encoded, dialect.tell("CA-1"))]):
        CallEvent.objects.create(account=party.row, kind="status", payload=payload, dedupe_key=str(number))

    assert reconcile().merged_events == 7
    assert CallEvent.objects.filter(merged_at=None).count() == 2
    assert_log(party, dialect, "CA-1")


@pytest.mark.engine
def test_events_that_came_before_the_number_was_ours_are_kept(party: Party, dialect: Dialect) -> None:
    party.row.lines.get().phone_numbers.all().delete()
    party.row.lines.all().delete()
    for body in dialect.tell("CA-1"):
        assert post(party, body).status_code == 200
    call = Call.objects.get()
    assert (call.line, call.status) == (None, "completed")
    assert not CallEvent.objects.filter(merged_at=None).exists()


@pytest.mark.parametrize(
    ("body", "stored"),
    [
        ("CallSid=CA%00-1&From=\0&To=%2500", "CallSid=CA%EF%BF%BD-1&From=%EF%BF%BD&To=%2500"),
        (r'{"CallSid": "CA\u0000-1", "From": "\u0000", "To": "%00"}', r'{"CallSid": "CA\ufffd-1", "From": "\ufffd", "To": "%00"}'),
        # After an even number of backslashes these are five letters and digits.
        (r'{"a": "\\u0000", "b": ["\\\u0000\u0000"]}', r'{"a": "\\u0000", "b": ["\\\ufffd\ufffd"]}'),
    ],
)  # fmt: skip
def test_what_postgresql_cannot_store_is_replaced_where_a_body_is_read(body: str, stored: str) -> None:
    payload, kept = read_event(body, lambda payload: payload)  # type: ignore[arg-type, return-value]
    assert kept == stored
    assert payload == read_payload(stored) == read_payload(body)
    assert "\0" not in str(payload) + kept and "\\x00" not in repr(payload)


def test_so_it_is_where_a_carriers_reply_is_read() -> None:
    assert (events.text("a\0b"), events.party("\0anonymous"), events.party("+1212\0")) == (
        "a\ufffdb",
        "\ufffdanonymous",
        "+1212\ufffd",
    )
