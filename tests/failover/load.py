"""What clients and carriers do to servers whose database fails over, and what they were told."""

import itertools
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import requests

from phones.models import Account
from sandbox.sandbox import Sandbox
from tests.failover.conftest import Cluster
from tests.support.carriers import CARRIERS
from tests.support.dialects import DIALECTS, encoded
from tests.support.webhooks import Party

# A client sends again until it is told how it ended. What a failed add still holds comes free with its lease.
SETTLES_WITHIN_S = 90.0
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
                url = f"{cluster.urls[(place + attempt) % len(cluster.urls)]}/api/call/add-phone"
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
                    url = f"{cluster.urls[(place + attempt) % len(cluster.urls)]}{knock.path}"
                    reply = told.post("webhook", session, url, data=knock.body, headers=knock.headers)
                    assert reply.status_code in {200, 500, 503}, reply.text
                    if reply.status_code == 200:
                        told.events.add(encoded(event))
                        break
                    time.sleep(0.3)
            time.sleep(0.02)


def first_number(cluster: Cluster, sandbox: Sandbox) -> Party:
    """A number that gets calls."""
    reply = requests.post(
        f"{cluster.urls[0]}/api/call/add-phone",
        json=body(cluster, "twilio", CARRIERS["twilio"].number), headers=cluster.headers, timeout=30,
    )  # fmt: skip
    assert reply.status_code == 201, reply.text
    row = Account(integration="twilio", webhook_token=cluster.rows("phones_account")[0]["webhook_token"])
    return Party(row, sandbox.state.account("twilio", CARRIERS["twilio"].acc_sid))


def assert_routes(cluster: Cluster, sandbox: Sandbox, phones: dict[str, str]) -> None:
    """Every number that we have is routed to us, and no other."""
    rows = {row["integration"]: row for row in cluster.rows("phones_account")}
    for carrier, good in CARRIERS.items():
        row = rows[carrier]
        account = {name: row[name] for name in ("webhook_token", "application_id")}
        there = sandbox.state.account(carrier, good.owner).numbers
        ours = {number for number, resource in there.items() if good.routes_to(resource, **account)}
        assert ours == phones.keys() & there.keys(), carrier


def assert_nothing_is_lost(cluster: Cluster, sandbox: Sandbox, told: Told) -> None:
    """What was acknowledged is there once `reconcile` has run, and nothing is half done."""
    cluster.age_leases()
    reconciled = cluster.manage("reconcile")
    assert reconciled.returncode == 0, reconciled.stderr
    phones = {row["number"]: row["state"] for row in cluster.rows("phones_phonenumber")}
    events = cluster.rows("phones_callevent")
    assert told.added <= phones.keys(), "an acknowledged number is lost"
    assert set(phones.values()) == {"active"}, "an add is half done"
    assert told.events <= {row["payload"] for row in events}, "an acknowledged event is lost"
    assert all(row["merged_at"] for row in events)
    assert_routes(cluster, sandbox, phones)
