"""How often: each limit, what it is counted by, and that the count is exact when everybody comes at once."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.test import RequestFactory
from django.utils import timezone

from core.rates import Rate, parse_rate
from phones.reconciling import reconcile
from sandbox.sandbox import Sandbox
from tests.support.api import DAY_S, add, assert_throttled, post
from tests.support.carriers import TELNYX, TWILIO
from tests.support.people import Tenant, new_tenant
from tests.support.state import asked_of_carrier
from users import limits
from users.addresses import client_address, counted_address
from users.models import ApiToken, LimitCounter

pytestmark = [pytest.mark.engine, pytest.mark.django_db(transaction=True)]

PATH = "/api/call/add-phone"


@pytest.fixture(autouse=True)
def not_at_the_turn_of_a_window() -> None:
    """Windows are those of the clock; a day would turn in the middle of a test once in a blue moon."""
    while DAY_S - time.time() % DAY_S < 20:
        time.sleep(1)


@pytest.fixture
def limit(settings: Any) -> Any:
    def set_limits(**counts: int | None) -> None:
        rates = {name: count and Rate(count, DAY_S) for name, count in counts.items()}
        settings.LIMITS = dict.fromkeys(settings.LIMITS) | rates

    return set_limits


def guess(tenant: Tenant, number: int = 0, **changes: Any) -> Any:
    return add(tenant, TWILIO.body(tenant.user, authToken=f"guess-{number}", **changes))


def at_once(count: int, act: Any) -> list[Any]:
    """The results of `act(0)` … `act(count - 1)`, each in a thread of its own, all started together."""
    together = Barrier(count)

    def one(number: int) -> Any:
        try:
            together.wait()
            return act(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


# -- each limit -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["requests", "adds"])
def test_requests_are_counted_by_token(tenant: Tenant, limit: Any, name: str) -> None:
    limit(**{name: 3})
    assert [add(tenant, {}).status_code for _ in range(3)] == [400] * 3
    assert_throttled(add(tenant, {}))
    another = Tenant(tenant.workspace, tenant.user, ApiToken.issue(tenant.workspace)[1])
    assert add(another, {}).status_code == 400


def test_requests_are_counted_by_workspace_whatever_the_token(tenant: Tenant, other_tenant: Tenant, limit: Any) -> None:
    limit(workspace_requests=3)
    another = Tenant(tenant.workspace, tenant.user, ApiToken.issue(tenant.workspace)[1])
    assert [add(one, {}).status_code for one in (tenant, another, tenant)] == [400] * 3
    assert_throttled(add(tenant, {}))
    assert_throttled(add(another, {}))
    assert add(other_tenant, {}).status_code == 400


def test_requests_are_counted_by_the_address_that_trusted_proxies_saw(
    tenant: Tenant, other_tenant: Tenant, limit: Any, settings: Any
) -> None:
    limit(address_requests=2)
    for one in (tenant, other_tenant):
        assert add(one, {}, **{"X-Forwarded-For": f"203.0.113.{one.user.pk[-1]}"}).status_code == 400
    assert_throttled(add(tenant, {}, **{"X-Forwarded-For": "203.0.113.77"}))
    settings.TRUSTED_PROXY_COUNT = 1
    assert add(tenant, {}, **{"X-Forwarded-For": "127.0.0.1, 203.0.113.77"}).status_code == 400
    assert_throttled(add(tenant, {}, **{"X-Forwarded-For": "203.0.113.77, 127.0.0.1"}))


@pytest.mark.parametrize("name", ["workspace_requests", "address_requests"])
def test_limits_of_workspaces_and_addresses_are_off_unless_set(name: str) -> None:
    assert django_settings.LIMITS[name] is None


def test_refused_credentials_are_counted_by_workspace(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, limit: Any
) -> None:
    limit(refused_credentials=3)
    for number in range(3):
        assert guess(tenant, number, accSId="AC" + f"{number}" * 32).status_code == 400
    sandbox.clear_ledger()
    assert_throttled(add(tenant, TWILIO.body(tenant.user)))
    another_token = Tenant(tenant.workspace, tenant.user, ApiToken.issue(tenant.workspace)[1])
    assert_throttled(guess(another_token, accSId="AC" + "9" * 32))
    assert sandbox.ledger == []
    assert add(other_tenant, TWILIO.body(other_tenant.user)).status_code == 201


def test_guesses_of_others_at_an_account_lock_nobody_out_of_it(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, limit: Any
) -> None:
    limit(refused_credentials=3)
    for number in range(3):
        assert guess(other_tenant, number).status_code == 400
    assert_throttled(guess(other_tenant))
    assert add(tenant, TWILIO.body(tenant.user)).status_code == 201


def test_refused_credentials_are_counted_in_all(sandbox: Sandbox, tenant: Tenant, limit: Any) -> None:
    limit(refused_credentials_total=3)
    for number in range(3):
        guesser = new_tenant(f"guesser{number}")
        assert guess(guesser, number, accSId="AC" + f"{number}" * 32).status_code == 400
    assert_throttled(add(tenant, TELNYX.body(tenant.user, authToken="KEY_guess")))


def test_guesses_of_a_telnyx_key_count_although_no_account_is_named(
    sandbox: Sandbox, tenant: Tenant, limit: Any
) -> None:
    limit(refused_credentials=3)
    for number in range(3):
        assert add(tenant, TELNYX.body(tenant.user, authToken=f"KEY{number}")).status_code == 400
    assert_throttled(add(tenant, TELNYX.body(tenant.user, authToken="KEY3")))


def test_only_refused_credentials_count(sandbox: Sandbox, tenant: Tenant, limit: Any) -> None:
    limit(refused_credentials=2, refused_credentials_total=2)
    for _ in range(4):
        assert (
            add(tenant, TWILIO.body(tenant.user, phoneNumber=TWILIO.not_owned)).json()["data"]["error"]
            == "number_not_owned"
        )
    sandbox.fault("status", carrier="twilio", status=503, times=None)
    for _ in range(4):
        assert guess(tenant).json()["data"]["error"] == "carrier_unavailable"
    sandbox.clear_faults()
    assert guess(tenant).status_code == 400
    assert LimitCounter.objects.filter(held__gt=0).count() == 0


def test_known_good_credentials_are_not_stopped_by_somebody_elses_guesses(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, limit: Any
) -> None:
    limit(refused_credentials=2)
    assert add(tenant, TWILIO.body(tenant.user)).status_code == 201
    for number in range(2):
        assert guess(other_tenant, number).status_code == 400
    assert_throttled(guess(other_tenant))
    assert add(tenant, TWILIO.body(tenant.user, phoneNumber=TWILIO.another)).status_code == 201


def test_unknown_users_are_counted_by_token(sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, limit: Any) -> None:
    limit(unknown_users=3)
    for digit in "012":
        assert add(tenant, TWILIO.body(tenant.user, userId=digit * 24)).status_code == 404
    assert_throttled(add(tenant, TWILIO.body(tenant.user, userId=other_tenant.user.pk)))
    assert add(other_tenant, TWILIO.body(other_tenant.user, userId="0" * 24)).status_code == 404
    assert add(tenant, TWILIO.body(tenant.user)).status_code == 201


def test_failed_tokens_are_counted_by_address_and_good_ones_pass(tenant: Tenant, limit: Any, settings: Any) -> None:
    limit(failed_tokens=3)
    replies = [post(PATH, {}, f"wrong-{number}", **{"X-Forwarded-For": f"203.0.113.{number}"}) for number in range(4)]
    assert [reply.status_code for reply in replies] == [401, 401, 401, 429]
    assert_throttled(replies[3])
    assert add(tenant, {}).status_code == 400
    settings.TRUSTED_PROXY_COUNT = 1
    assert post(PATH, {}, "wrong", **{"X-Forwarded-For": "203.0.113.77"}).status_code == 401


def test_a_limit_that_is_off_never_stops_anybody(tenant: Tenant, limit: Any) -> None:
    limit()
    assert {add(tenant, {}).status_code for _ in range(20)} == {400}
    assert LimitCounter.objects.count() == 0


def test_the_next_window_starts_from_nothing(tenant: Tenant, limit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    limit(requests=1)
    assert add(tenant, {}).status_code == 400
    reply = add(tenant, {})
    assert_throttled(reply)
    later = timezone.now() + timedelta(seconds=int(reply.headers["Retry-After"]))
    monkeypatch.setattr("core.clock.now", lambda: later)
    assert add(tenant, {}).status_code == 400


def test_reconcile_forgets_windows_that_are_over(tenant: Tenant, limit: Any) -> None:
    limit(requests=5)
    add(tenant, {})
    LimitCounter.objects.create(key="old", expires_at=timezone.now() - timedelta(seconds=1))
    reconcile()
    assert [row.used for row in LimitCounter.objects.all()] == [1]


# -- everybody at once ------------------------------------------------------------------------------------------------


def test_fifty_requests_at_once_are_counted_exactly(tenant: Tenant, limit: Any) -> None:
    limit(requests=20)
    statuses = at_once(50, lambda _: add(tenant, {}).status_code)
    assert sorted(set(statuses)) == [400, 429]
    assert statuses.count(400) == 20


def test_fifty_guesses_at_once_ask_the_carrier_no_more_often_than_the_limit(
    sandbox: Sandbox, tenant: Tenant, limit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(refused_credentials=7)
    numbers = [f"1212555{last}" for last in range(6000, 6040)] + [f"1212555{last}" for last in range(6100, 6110)]
    statuses = at_once(50, lambda number: guess(tenant, number, phoneNumber=numbers[number]).status_code)
    assert statuses.count(400) == 7
    assert statuses.count(429) == 43
    assert asked_of_carrier(sandbox) == 7
    assert not LimitCounter.objects.filter(held__gt=0).exists()


def test_good_credentials_that_wait_for_each_other_all_pass(sandbox: Sandbox, tenant: Tenant, limit: Any) -> None:
    """Only what is held is in the way, so they wait for it; none is refused."""
    limit(refused_credentials=2)
    sandbox.delay_s = 0.05
    numbers = [f"1212555{last}" for last in range(6000, 6012)]
    replies = at_once(12, lambda number: add(tenant, TWILIO.body(tenant.user, phoneNumber=numbers[number])))
    assert [reply.status_code for reply in replies] == [201] * 12, [reply.content for reply in replies]


# -- the stores -------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["database", "redis"])
def store(request: pytest.FixtureRequest) -> Iterator[limits.Store]:
    if request.param == "database":
        yield limits.DatabaseStore()
        return
    store = limits.RedisStore(request.getfixturevalue("redis_url"))
    store.redis.flushall()
    yield store
    store.redis.close()


def window(count: int, subject: str = "somebody") -> limits.Window:
    return limits.Window("test", Rate(count, DAY_S), subject)


def test_a_store_counts_what_is_used_and_what_is_held_together(store: limits.Store) -> None:
    three = window(3)
    assert [store.take(three, column) for column in ("used", "held", "used", "used", "held")] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert not store.is_used_up(three)
    store.release(three, used=False)
    assert store.take(three, "held")
    store.release(three, used=True)
    assert store.is_used_up(three)
    assert not store.take(three, "held")
    assert store.take(window(3, "somebody else"), "used")


def test_a_store_is_exact_when_fifty_take_at_once(store: limits.Store) -> None:
    shared = window(20)
    assert at_once(50, lambda _: store.take(shared, "used")).count(True) == 20
    held = window(20, "holders")

    def hold_and_use(_: int) -> bool:
        if not store.take(held, "held"):
            return False
        store.release(held, used=True)
        return True

    assert at_once(50, hold_and_use).count(True) == 20
    assert store.is_used_up(held)


def test_a_store_refuses_nobody_while_there_is_room(store: limits.Store) -> None:
    """Also not those who come while the window's record is being made."""
    for number in range(8):
        shared = window(25, f"new-{number}")
        assert at_once(25, lambda _, shared=shared: store.take(shared, "used")).count(True) == 25


def test_what_a_dead_process_held_is_free_again_after_a_minute(
    store: limits.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = window(2)
    monkeypatch.setattr(limits, "HOLD_LASTS_S", -2)
    assert store.take(two, "held") and store.take(two, "used")
    monkeypatch.undo()
    assert store.take(two, "held")
    assert not store.take(two, "held")
    store.release(two, used=True)
    store.release(two, used=False)
    assert store.is_used_up(two)


def test_what_is_held_is_given_back_whatever_happens(limit: Any) -> None:
    limit(requests=1)
    with pytest.raises(ZeroDivisionError), limits.hold(("requests", "x")):
        raise ZeroDivisionError
    with limits.hold(("requests", "x")) as hold:
        hold.spend()
    with pytest.raises(limits.LimitReached), limits.hold(("requests", "x")):
        pass


def test_who_waits_for_a_hold_in_vain_may_come_back_soon(limit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    limit(requests=1)
    monkeypatch.setattr(limits, "HOLD_WAIT_S", 0.1)
    with limits.hold(("requests", "x")), pytest.raises(limits.LimitReached) as caught, limits.hold(("requests", "x")):
        pass
    assert caught.value.headers == {"Retry-After": "1"}


# -- addresses and rates ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, None, "10.0.0.9"), (0, "1.1.1.1", "10.0.0.9"), (1, "1.1.1.1", "1.1.1.1"), (1, "6.6.6.6, 1.1.1.1", "1.1.1.1"),
        (2, "6.6.6.6, 1.1.1.1, 2.2.2.2", "1.1.1.1"), (2, "1.1.1.1", "1.1.1.1"), (1, None, "10.0.0.9"), (1, "", "10.0.0.9"),
        (1, " , ", "10.0.0.9"), (3, None, "10.0.0.9"), (1, "6.6.6.6,", "10.0.0.9"), (1, "unknown", "10.0.0.9"),
        (1, "1.1.1.1:40000", "1.1.1.1"), (2, "1.1.1.1:1, 2.2.2.2:2", "1.1.1.1"), (1, "[2001:DB8::1]:443", "2001:db8::1"),
        (1, "[2001:db8::1]", "2001:db8::1"), (1, "2001:db8:0::1", "2001:db8::1"), (1, "::ffff:1.1.1.1", "1.1.1.1"),
        (1, "x" * 300, "10.0.0.9"), (1, "[]:80", "10.0.0.9"), (1, "[]", "10.0.0.9"), (1, "6.6.6.6, _hidden", "10.0.0.9"), (2, "6.6.6.6, unknown, 2.2.2.2", "2.2.2.2"),
        (2, "6.6.6.6, ,2.2.2.2:9", "2.2.2.2"), (2, "unknown, unknown", "10.0.0.9"), (2, "1.1.1.1, unknown", "1.1.1.1"),
        (1, "1.1.1.1:", "10.0.0.9"), (1, "1.1.1.1:port", "10.0.0.9"), (1, '"1.1.1.1"', "10.0.0.9"), (1, "1.1.1", "10.0.0.9"),
        (1, "fe80::1%eth0", "fe80::1"), (1, "[fe80::1%25eth0]:443", "fe80::1"), (1, "[::ffff:1.1.1.1]:443", "1.1.1.1"),
        (1, "-", "10.0.0.9"), (1, "1.1.1.1;drop", "10.0.0.9"), (1, "[2001:db8::1", "10.0.0.9"),
    ],
)  # fmt: skip
def test_only_trusted_proxies_are_believed(settings: Any, proxies: int, forwarded: str | None, address: str) -> None:
    settings.TRUSTED_PROXY_COUNT = proxies
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    assert client_address(RequestFactory().get("/", REMOTE_ADDR="10.0.0.9", headers=headers)) == address


@pytest.mark.parametrize(("forwarded", "address"), [("1.1.1.1", "1.1.1.1"), ("unknown", ""), ("", "")])
def test_a_proxy_at_a_unix_socket_has_no_address(settings: Any, forwarded: str, address: str) -> None:
    settings.TRUSTED_PROXY_COUNT = 1
    request = RequestFactory().get("/", REMOTE_ADDR="", headers={"X-Forwarded-For": forwarded})
    assert (client_address(request), counted_address(request)) == (address, address)


@pytest.mark.parametrize(
    ("forwarded", "others"),
    [
        ("1.1.1.1", ["1.1.1.1:1", "1.1.1.1:65535", "::ffff:1.1.1.1", "[::ffff:1.1.1.1]:9"]),
        ("2001:db8:1:2::1", ["2001:db8:1:2:ffff::", "[2001:db8:1:2::2]:443", "2001:0DB8:1:2:0:0:0:1"]),
        ("fe80::1%eth0", ["fe80::2%eth0"]),
    ],
)
def test_a_client_is_counted_as_one_whatever_its_port_and_spelling(
    settings: Any, forwarded: str, others: list[str]
) -> None:
    settings.TRUSTED_PROXY_COUNT = 1

    def counted(text: str) -> str:
        return counted_address(RequestFactory().get("/", headers={"X-Forwarded-For": text}))

    assert {counted(one) for one in others} == {counted(forwarded)}
    assert len({counted(one) for one in ("1.1.1.1", "1.1.1.2", "2001:db8:1:2::1", "2001:db8:1:3::1", "unknown")}) == 5


def test_ports_and_addresses_of_one_network_are_no_way_round_a_limit(limit: Any, settings: Any) -> None:
    settings.TRUSTED_PROXY_COUNT = 1
    limit(failed_tokens=3)
    for clients in (["203.0.113.5:1", "203.0.113.5:2"], ["2001:db8::1", "[2001:db8::ffff]:3"], ["unknown", "_x7"]):
        statuses = [post(PATH, {}, "wrong", **{"X-Forwarded-For": one}).status_code for one in clients * 2]
        assert statuses == [401, 401, 401, 429]


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("20/hour", Rate(20, 3600)),
        ("1/second", Rate(1, 1)),
        (" 5/minute ", Rate(5, 60)),
        ("9/day", Rate(9, DAY_S)),
        ("off", None),
    ],
)
def test_a_limit_is_read_as_it_is_written(text: str, rate: Rate | None) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    "text", ["", "20", "20/week", "0/hour", "-1/hour", "1.5/hour", "٢/hour", "20 / hour", "1e3/day", "20/hours"]
)
def test_a_limit_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="N/minute"):
        parse_rate(text)
