"""A primary that steps down every five seconds, and dies twice, under adds, webhooks and a bulk add."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox.sandbox import Sandbox
from tests.failover.conftest import OnMongoDB
from tests.failover.load import Told, add_on, assert_nothing_is_lost, body, first_number, numbers, tell_on
from tests.support.carriers import CARRIERS

LASTS_S, STEP_DOWN_EVERY_S = 60.0, 5.0
KILL_AT_S = (18.0, 38.0)
BULK_ROWS = 150
# An election, and what a request itself may take.
LONGEST_S = 25.0


def add_file(cluster: OnMongoDB, file: Path) -> list[int]:
    """Run the bulk command again until nothing is left to do. Returns how the runs ended."""
    ended = []
    for _ in range(12):
        ended.append(cluster.manage("add_phones", str(file), "--workers", "4").returncode)
        if ended[-1] == 0:
            return ended
        cluster.age_leases()
    return ended


def shake(cluster: OnMongoDB) -> int:
    """Step the primary down every so often, and kill it twice. Returns how many times it changed."""
    began, kills, changes, dead = time.monotonic(), list(KILL_AT_S), 0, 0
    while (at := time.monotonic() - began) < LASTS_S:
        if kills and at >= kills[0]:
            kills.pop(0)
            dead = cluster.replica_set.kill_primary()
        else:
            cluster.replica_set.step_down()
        changes += 1
        time.sleep(STEP_DOWN_EVERY_S)
        if dead:
            cluster.replica_set.start(dead)
            dead = 0
    return changes


def test_nothing_acknowledged_is_lost_while_the_primary_changes(
    cluster: OnMongoDB, sandbox: Sandbox, tmp_path: Path
) -> None:
    told, over = Told(), threading.Event()
    party = first_number(cluster, sandbox)
    rows = [
        body(cluster, "plivo", number)
        for number, _ in zip(numbers(sandbox, "plivo", 500_000), range(BULK_ROWS), strict=False)
    ]
    columns = ["userId", "phoneNumber", "integration", "authToken", "accSId"]
    file = tmp_path / "numbers.csv"
    file.write_text("\n".join([",".join(columns), *(",".join(row[name] for name in columns) for row in rows), ""]))

    with ThreadPoolExecutor(8) as pool:
        bulk = pool.submit(add_file, cluster, file)
        work = [
            pool.submit(add_on, cluster, sandbox, name, place * 1000, told, over) for place, name in enumerate(CARRIERS)
        ]
        work += [pool.submit(tell_on, cluster, party, "twilio", told, over) for _ in range(2)]
        try:
            changes = shake(cluster)
        finally:
            over.set()
        for one in work:
            one.result()
        runs = bulk.result()
    print(  # noqa: T201
        f"\n{changes} changes of the primary; {len(told.added)} added, {len(told.events)} events; {dict(told.statuses)};"
        f" longest {told.longest_s:.1f} s; bulk runs {runs}"
    )

    assert changes >= LASTS_S / STEP_DOWN_EVERY_S / 2
    assert len(told.added) > 50
    assert len(told.events) > 100
    assert not told.unsettled
    assert told.longest_s < LONGEST_S
    assert runs[-1] == 0, runs

    told.added |= {row["phoneNumber"] for row in rows}
    assert_nothing_is_lost(cluster, sandbox, told)


# -- two servers ------------------------------------------------------------------------------------------------------


def together(count: int, act: Callable[[int], Any]) -> list[Any]:
    start = threading.Barrier(count)

    def run(index: int) -> Any:
        start.wait(10)
        return act(index)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


@pytest.mark.parametrize("carrier", sorted(CARRIERS))
def test_of_fifty_adds_through_two_servers_one_wins(cluster: OnMongoDB, sandbox: Sandbox, carrier: str) -> None:
    number = next(numbers(sandbox, carrier, 0))
    one = body(cluster, carrier, number)
    replies = together(
        50,
        lambda index: requests.post(
            f"{cluster.urls[index % 2]}/api/call/add-phone", json=one, headers=cluster.headers, timeout=60
        ),
    )
    assert Counter(reply.status_code for reply in replies) == {201: 1, 400: 49}
    assert {reply.json()["data"]["error"] for reply in replies if reply.status_code == 400} == {"phone_exists"}
    with cluster.database() as database:
        assert database.phones_phonenumber.count_documents({}) == 1
        assert database.phones_line.count_documents({}) == 1


@pytest.mark.limits(LIMIT_REQUESTS="20/day")
def test_the_limit_is_one_for_both_servers(cluster: OnMongoDB) -> None:
    replies = together(
        50,
        lambda index: requests.get(f"{cluster.urls[index % 2]}/api/call/phones", headers=cluster.headers, timeout=60),
    )
    assert Counter(reply.status_code for reply in replies) == {200: 20, 429: 30}


@pytest.mark.limits(LIMIT_REFUSED_CREDENTIALS="5/day")
def test_guesses_are_counted_together(cluster: OnMongoDB, sandbox: Sandbox) -> None:
    wanted = [number for number, _ in zip(numbers(sandbox, "twilio", 0), range(30), strict=False)]
    sandbox.clear_ledger()
    replies = together(
        30,
        lambda index: requests.post(
            f"{cluster.urls[index % 2]}/api/call/add-phone",
            json=body(cluster, "twilio", wanted[index]) | {"authToken": "f" * 32},
            headers=cluster.headers,
            timeout=60,
        ),
    )
    assert Counter(reply.status_code for reply in replies) == {400: 5, 429: 25}
    assert len(sandbox.ledger) == 10, "each asks for the account and the number"


def test_twelve_numbers_of_a_new_account_through_two_servers_make_one_application(
    cluster: OnMongoDB, sandbox: Sandbox
) -> None:
    """The account's lease holds between the servers."""
    wanted = [number for number, _ in zip(numbers(sandbox, "telnyx", 0), range(12), strict=False)]
    replies = together(
        12,
        lambda index: requests.post(
            f"{cluster.urls[index % 2]}/api/call/add-phone", json=body(cluster, "telnyx", wanted[index]),
            headers=cluster.headers, timeout=60,
        ),
    )  # fmt: skip
    assert {reply.status_code for reply in replies} == {201}
    account = sandbox.state.account("telnyx", CARRIERS["telnyx"].auth_token)
    made = [one for one in sandbox.ledger if one.method == "POST" and "applications" in one.path]
    assert len(made) == 1, [(one.method, one.path) for one in sandbox.ledger]
    with cluster.database() as database:
        assert database.phones_account.count_documents({}) == 1
    assert account.applications
