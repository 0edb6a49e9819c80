"""A primary that steps down every five seconds, and dies twice, under adds, webhooks and a bulk add."""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from phones.models import Account
from sandbox.sandbox import Sandbox
from tests.failover.conftest import Cluster
from tests.support.carriers import CARRIERS
from tests.support.dialects import DIALECTS, encoded
from tests.support.webhooks import Party

LASTS_S, STEP_DOWN_EVERY_S = 60.0, 5.0
KILL_AT_S = (18.0, 38.0)
BULK_ROWS = 150
# A client sends again until it is told how it ended. What a failed add still holds comes free with its lease.
SETTLES_WITHIN_S = 90.0
# An election, and what a request itself may take.
LONGEST_S = 25.0
AGAIN = {409, 500, 503}


@dataclass
class Told:
    """What clients saw."""

    added: set[str] = field(default_factory=set)
    events: set[str] = field(default_factory=set)
    statuses: Counter[str] = field(default_factory=Counter)
    longest_s: float = 0.0
    unsettled: list[str] = field(default_factory=list)

    def post(self, what: str, session: requests.Session, url: str, **given: Any) -> requests.Response:
        began = time.monotonic()
        reply = session.post(url, timeout=60, **given)
        self.longest_s = max(self.longest_s, time.monotonic() - began)
        self.statuses[f"{what} {reply.status_code}"] += 1
        return reply


def numbers(sandbox: Sandbox, carrier: str, first: int) -> Any:
    good = CARRIERS[carrier]
    owner = good.acc_sid or sandbox.state.account(carrier, good.auth_token).id
    for index in itertools.count(first):
        number = f"{good.number[:4]}7{index:06}"
        sandbox.add_number(carrier, owner, number)
        yield number


def body(cluster: Cluster, carrier: str, number: str) -> dict[str, str]:
    good = CARRIERS[carrier]
    given = {"userId": cluster.user, "phoneNumber": number, "integration": carrier, "authToken": good.auth_token}
    return given | ({"accSId": good.acc_sid} if good.acc_sid else {})


def add_on(cluster: Cluster, sandbox: Sandbox, carrier: str, first: int, told: Told, over: threading.Event) -> None:
    """Add one number after another, each until it is known how that ended."""
    with requests.Session() as session:
        for place, number in enumerate(numbers(sandbox, carrier, first)):
            if over.is_set():
                return
            headers = {**cluster.headers, "Idempotency-Key": f"add-{number}"}
            give_up_at = time.monotonic() + SETTLES_WITHIN_S
            for attempt in itertools.count():
                url = f"{cluster.urls[(place + attempt) % 2]}/api/call/add-phone"
                reply = told.post("add", session, url, json=body(cluster, carrier, number), headers=headers)
                if reply.status_code == 201:
                    told.added.add(number)
                    break
                is_held = reply.status_code == 400 and reply.json()["data"]["error"] == "phone_exists"
                assert is_held or reply.status_code in AGAIN, reply.text
                if is_held and is_listed(cluster, session, number):
                    told.added.add(number)
                    break
                if time.monotonic() > give_up_at:
                    told.unsettled.append(number)
                    break
                time.sleep(0.3)


def is_listed(cluster: Cluster, session: requests.Session, number: str) -> bool:
    """Whether the number is there, or an add that died has it until its lease is over."""
    found = session.get(
        f"{cluster.urls[0]}/api/call/phones", params={"phoneNumber": number}, headers=cluster.headers, timeout=60
    )
    return found.status_code == 200 and number in found.text


def tell_on(cluster: Cluster, party: Party, name: str, told: Told, over: threading.Event) -> None:
    """Webhooks of one call after another, each sent again until it is answered, as carriers do."""
    with requests.Session() as session:
        for call in itertools.count():
            for place, event in enumerate(DIALECTS[name].tell(f"CA-{threading.get_ident()}-{call}")):
                knock = party.knock("status", event, timestamp=None)
                for attempt in itertools.count():
                    if over.is_set():
                        return
                    url = f"{cluster.urls[(place + attempt) % 2]}{knock.path}"
                    reply = told.post("webhook", session, url, data=knock.body, headers=knock.headers)
                    assert reply.status_code in {200, 500, 503}, reply.text
                    if reply.status_code == 200:
                        told.events.add(encoded(event))
                        break
                    time.sleep(0.3)
            time.sleep(0.02)


def add_file(cluster: Cluster, file: Path) -> list[int]:
    """Run the bulk command again until nothing is left to do. Returns how the runs ended."""
    ended = []
    for _ in range(12):
        ended.append(cluster.manage("add_phones", str(file), "--workers", "4").returncode)
        if ended[-1] == 0:
            return ended
        cluster.age_leases()
    return ended


def shake(cluster: Cluster) -> int:
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
    cluster: Cluster, sandbox: Sandbox, tmp_path: Path
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

    cluster.age_leases()
    reconciled = cluster.manage("reconcile")
    assert reconciled.returncode == 0, reconciled.stderr
    with cluster.database() as database:
        phones = {row["number"]: row["state"] for row in database.phones_phonenumber.find()}
        kept = {row["payload"] for row in database.phones_callevent.find()}
        unmerged = database.phones_callevent.count_documents({"merged_at": None})
    acknowledged = told.added | {row["phoneNumber"] for row in rows}
    assert acknowledged <= phones.keys(), "an acknowledged number is lost"
    assert set(phones.values()) == {"active"}, "an add is half done"
    assert told.events <= kept, "an acknowledged event is lost"
    assert unmerged == 0
    assert_routes(cluster, sandbox, phones)


def first_number(cluster: Cluster, sandbox: Sandbox) -> Party:
    """A number that gets calls."""
    reply = requests.post(
        f"{cluster.urls[0]}/api/call/add-phone",
        json=body(cluster, "twilio", CARRIERS["twilio"].number), headers=cluster.headers, timeout=30,
    )  # fmt: skip
    assert reply.status_code == 201, reply.text
    with cluster.database() as database:
        token = database.phones_account.find_one()["webhook_token"]
    row = Account(integration="twilio", webhook_token=token)
    return Party(row, sandbox.state.account("twilio", CARRIERS["twilio"].acc_sid))


def assert_routes(cluster: Cluster, sandbox: Sandbox, phones: dict[str, str]) -> None:
    """Every number that we have is routed to us, and no other."""
    with cluster.database() as database:
        rows = {row["integration"]: row for row in database.phones_account.find()}
    for carrier, good in CARRIERS.items():
        row = rows[carrier]
        account = {name: row[name] for name in ("webhook_token", "application_id")}
        there = sandbox.state.account(carrier, good.owner).numbers
        ours = {number for number, resource in there.items() if good.routes_to(resource, **account)}
        assert ours == phones.keys() & there.keys(), carrier


# -- two servers ------------------------------------------------------------------------------------------------------


def together(count: int, act: Callable[[int], Any]) -> list[Any]:
    start = threading.Barrier(count)

    def run(index: int) -> Any:
        start.wait(10)
        return act(index)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


@pytest.mark.parametrize("carrier", sorted(CARRIERS))
def test_of_fifty_adds_through_two_servers_one_wins(cluster: Cluster, sandbox: Sandbox, carrier: str) -> None:
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
def test_the_limit_is_one_for_both_servers(cluster: Cluster) -> None:
    replies = together(
        50,
        lambda index: requests.get(f"{cluster.urls[index % 2]}/api/call/phones", headers=cluster.headers, timeout=60),
    )
    assert Counter(reply.status_code for reply in replies) == {200: 20, 429: 30}


@pytest.mark.limits(LIMIT_REFUSED_CREDENTIALS="5/day")
def test_guesses_are_counted_together(cluster: Cluster, sandbox: Sandbox) -> None:
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
    cluster: Cluster, sandbox: Sandbox
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
