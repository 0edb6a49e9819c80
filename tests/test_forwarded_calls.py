"""A forwarded call that nobody took is told from one that was answered, whoever tells it and in whichever order."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from integrations.events import CallReport, CallStatus, Direction
from phones.models import Account, Call, PhoneNumber
from phones.reconciling import reconcile
from phones.services.calls import merge_call
from sandbox.sandbox import Sandbox
from tests.support.api import add, get
from tests.support.carriers import CARRIERS, Good
from tests.support.entries import OUTBOUND
from tests.support.events import log_of, post, tell
from tests.support.people import Tenant
from tests.support.webhooks import Form, Party, form_of, join

pytestmark = pytest.mark.django_db(transaction=True)

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
# What each carrier's page lists, and what the log says then.
CASES = [(name, theirs, ours) for name, good in CARRIERS.items() for theirs, ours in good.outcomes.items()]


@pytest.fixture
def party(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> Party:
    return join(sandbox, tenant, carrier)


def story(good: Good, outcome: str) -> dict[str, Form]:
    """The webhooks of a call that was forwarded. The carrier answers it to forward it, and so calls it completed."""
    if good.integration == "plivo":
        ended = {"Duration": "2", "AnswerTime": "2026-11-02 10:00:05", "EndTime": "2026-11-02 10:00:07"}
    else:
        ended = {"CallDuration": "2", "Timestamp": "2026-11-02T10:00:07Z", "AnsweredTime": "2026-11-02T10:00:05Z"}
    return {
        "answer": form_of(good),
        "in-progress": form_of(good, CallStatus="in-progress", Timestamp="2026-11-02T10:00:05Z"),
        "done": form_of(good, CallStatus="in-progress", **{good.outcome_field: outcome}),
        "status": form_of(good, CallStatus="completed", **ended),
    }


@pytest.mark.parametrize(("name", "theirs", "ours"), CASES)
def test_nobody_took_it_in_whichever_order_it_is_told(
    sandbox: Sandbox, tenant: Tenant, name: str, theirs: str, ours: str
) -> None:
    party = join(sandbox, tenant, CARRIERS[name])
    told = set()
    for order in itertools.permutations(story(CARRIERS[name], theirs).values()):
        Call.objects.all().delete()
        for form in order:
            tell(party, form)
        (shown,) = get("/api/call/calls", tenant).json()["data"]["items"]
        told.add((shown["status"], shown["answeredAt"], shown["durationSeconds"]))
    assert told == {(ours, None, 2)}


@pytest.mark.parametrize("kinds", [("done",), ("answer", "done"), ("done", "status"), ("status", "done", "done")])
def test_the_outcome_is_known_whichever_webhooks_are_lost(
    party: Party, carrier: Good, tenant: Tenant, kinds: tuple[str, ...]
) -> None:
    forms = story(carrier, "no-answer")
    for kind in kinds:
        assert post(party, forms[kind], kind).status_code == 200

    (shown,) = get("/api/call/calls?status=no-answer", tenant).json()["data"]["items"]
    assert (shown["status"], shown["answeredAt"]) == ("no-answer", None)


@pytest.mark.parametrize("outcome", ["completed", "answered", "COMPLETED", "", "teleported", None])
def test_a_call_that_somebody_took_or_that_was_not_forwarded_is_completed(
    party: Party, carrier: Good, tenant: Tenant, outcome: str | None
) -> None:
    for form in story(carrier, outcome or "").values():
        tell(party, [field for field in form if outcome is not None or field[0] != carrier.outcome_field])

    (shown,) = get("/api/call/calls", tenant).json()["data"]["items"]
    assert (shown["status"], shown["durationSeconds"]) == ("completed", 2)
    assert shown["answeredAt"]


@pytest.mark.parametrize("said", ["busy", "no-answer", "failed", "canceled"])
def test_only_completed_gives_way_to_the_outcome(party: Party, carrier: Good, said: str) -> None:
    word = "cancel" if (carrier.integration, said) == ("plivo", "canceled") else said
    for outcome in ("busy", "no-answer", "failed"):
        forms = [form_of(carrier, CallStatus=word), story(carrier, outcome)["done"]]
        for order in (forms, forms[::-1]):
            Call.objects.all().delete()
            for form in order:
                tell(party, form)
            assert Call.objects.get().status == said


def test_whatever_else_is_said_the_order_does_not_matter(party: Party, carrier: Good) -> None:
    """Also for words that contradict each other."""
    field = carrier.outcome_field
    forms = [form_of(carrier, CallStatus=word) for word in ("busy", "failed", "completed", "ringing")]
    forms.append(form_of(carrier, CallStatus="in-progress", **{field: "no-answer"}))
    seen = set()
    for order in itertools.permutations(forms):
        Call.objects.all().delete()
        for form in order:
            tell(party, form)
        call = Call.objects.get()
        seen.add((call.status, call.reported_status, call.forwarding))
    assert seen == {("no-answer", "completed", "no-answer")}


@pytest.mark.parametrize(
    ("outcomes", "status"), [(("no-answer", "completed"), "completed"), (("busy", "no-answer"), "busy")]
)
def test_a_second_outcome_tells_the_same_time_of_answer_in_whichever_order(
    party: Party, carrier: Good, tenant: Tenant, outcomes: tuple[str, ...], status: str
) -> None:
    """A customer's own document may ring one phone after the other."""
    first, *rest = story(carrier, outcomes[0]).values()
    forms = [*rest, story(carrier, outcomes[1])["done"]]
    seen = set()
    for order in itertools.permutations(forms):
        Call.objects.all().delete()
        tell(party, first)
        for form in order:
            tell(party, form)
        (shown,) = get("/api/call/calls", tenant).json()["data"]["items"]
        seen.add((shown["status"], shown["answeredAt"], shown["durationSeconds"]))
    assert seen == {(status, "2026-11-02T10:00:05.000Z" if status == "completed" else None, 2)}


# -- calls that are placed --------------------------------------------------------------------------------------------


@pytest.fixture
def forwarding(sandbox: Sandbox, live_server: Any, settings: Any, tenant: Tenant, carrier: Good) -> PhoneNumber:
    settings.PUBLIC_URL = live_server.url
    assert add(tenant, carrier.body(tenant.user)).status_code == 201
    PhoneNumber.objects.update(action="forward", forward_to="442079460000")
    return PhoneNumber.objects.get()


@pytest.mark.engine
@pytest.mark.parametrize("unruly", [{}, {"duplicate": 3}, {"reorder": True}, {"drop": ("status",)}])
def test_a_colleague_who_does_not_answer(
    sandbox: Sandbox, forwarding: PhoneNumber, tenant: Tenant, unruly: dict[str, Any]
) -> None:
    sandbox.place_call(forwarding.integration, forwarding.number, forward_answers=False, **unruly)

    for _ in range(2):
        (shown,) = get("/api/call/calls", tenant).json()["data"]["items"]
        assert (shown["status"], shown["answeredAt"]) == ("no-answer", None)
        reconcile()  # the carrier's list says completed


def test_what_the_list_says_of_the_leg_counts_if_its_webhook_is_lost(
    sandbox: Sandbox, forwarding: PhoneNumber, tenant: Tenant
) -> None:
    """Telnyx's list does not tell a leg from another call."""
    sandbox.place_call(forwarding.integration, forwarding.number, forward_answers=False, drop=True)
    sandbox.place_call(forwarding.integration, forwarding.number, forward_answers=True, drop=True)

    reconcile()

    statuses = [one["status"] for one in get("/api/call/calls", tenant).json()["data"]["items"]]
    unanswered = "completed" if forwarding.integration == "telnyx" else "no-answer"
    assert sorted(statuses) == sorted(["completed", unanswered])
    before = [log_of(one.carrier_id) for one in Call.objects.all()]
    reconcile()
    assert [log_of(one.carrier_id) for one in Call.objects.all()] == before


@pytest.mark.parametrize("name", OUTBOUND)
@pytest.mark.parametrize("is_known", [True, False])
def test_a_call_that_the_customer_placed_is_not_one_that_was_forwarded(
    sandbox: Sandbox, live_server: Any, settings: Any, tenant: Tenant, name: str, is_known: bool
) -> None:
    """Click-to-call, or a menu that dials on: nobody took the leg, but the call was answered."""
    settings.PUBLIC_URL = live_server.url
    good = CARRIERS[name]
    assert add(tenant, good.body(tenant.user)).status_code == 201
    PhoneNumber.objects.update(action="forward", forward_to="442079460000")
    placed = sandbox.place_call(name, good.number, forward_answers=False, drop=True)
    calls = sandbox.state.account(name, good.owner).calls
    legs = {key: calls.pop(key) for key in list(calls) if key != placed.id}
    assert len(legs) == 1
    calls[placed.id] |= OUTBOUND[name](calls[placed.id])
    if is_known:
        reconcile()
    calls |= legs

    for _ in range(2):
        Account.objects.update(pulled_at=None)
        reconcile()

    (shown,) = get("/api/call/calls", tenant).json()["data"]["items"]
    assert (shown["direction"], shown["status"]) == ("outbound", "completed")
    assert bool(shown["answeredAt"]) == (name == "plivo")  # Twilio's list has no time of answer


@pytest.mark.parametrize("direction", [Direction.INBOUND, Direction.OUTBOUND])
def test_the_direction_may_be_told_last(party: Party, carrier: Good, direction: Direction) -> None:
    caller, callee = "441632960083", carrier.number
    if direction is Direction.OUTBOUND:
        caller, callee = callee, caller
    reports = [
        CallReport("one", forwarding=CallStatus.NO_ANSWER),
        CallReport("one", direction, caller, callee),
        CallReport("one", status=CallStatus.COMPLETED, answered_at=NOON, ended_at=NOON + timedelta(seconds=9)),
    ]
    seen = set()
    for order in itertools.permutations(reports):
        Call.objects.all().delete()
        for report in order:
            call = merge_call(party.row, report, NOON)
        seen.add((call.status, call.taken_at, call.talked_s))
    assert seen == {("no-answer", None, None) if direction is Direction.INBOUND else ("completed", NOON, 9)}
