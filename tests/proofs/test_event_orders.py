"""Events in any order, some of them again or all at once, make the same log."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from django.db import transaction
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from integrations.webhooks import digest
from phones.models import Call, CallEvent, Recording
from phones.services.calls import merge_event, record_event
from sandbox.sandbox import Sandbox
from tests.support import EVERY_CASE
from tests.support.carriers import CARRIERS
from tests.support.dialects import Dialect, after, encoded
from tests.support.events import KINDS, assert_log, fields, log_of, post
from tests.support.people import Tenant
from tests.support.webhooks import Knock, Party, join

ORDERS = 5040
CALLS, EXAMPLES = (100, 120) if EVERY_CASE else (30, 40)
pytestmark = pytest.mark.django_db(transaction=True)


def test_any_order_through_the_door_makes_the_same_log(party: Party, dialect: Dialect) -> None:
    chance = random.Random(dialect.carrier)
    stories = {f"CA-{number}": dialect.tell(f"CA-{number}") for number in range(CALLS)}
    for call_id, story in stories.items():
        told = list(zip(KINDS, story, strict=True))
        chance.shuffle(told)
        for kind, body in told:
            assert post(party, body, kind).status_code == 200
        assert_log(party, dialect, call_id)
    assert CallEvent.objects.count() == 7 * CALLS
    assert not CallEvent.objects.filter(merged_at=None).exists()
    assert Call.objects.count() == Recording.objects.count() == CALLS


@pytest.fixture
def party(sandbox: Sandbox, tenant: Tenant, dialect: Dialect) -> Party:
    return join(sandbox, tenant, CARRIERS[dialect.carrier])


@given(told=st.lists(st.integers(0, 6), min_size=1, max_size=16))
@hypothesis_settings(
    max_examples=EXAMPLES,
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


@pytest.mark.engine
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


@pytest.mark.engine
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


@pytest.mark.engine
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


# The orders of a story of seven events.
