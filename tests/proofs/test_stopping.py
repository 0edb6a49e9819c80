"""SIGTERM for the real server while adds are under way: each gets its reply, or is settled; nothing is half done."""

import contextlib
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from sandbox.sandbox import Sandbox
from tests.support.carriers import CARRIERS, Good
from tests.support.live import Live, serve
from tests.support.state import changes
from users.models import User

pytestmark = pytest.mark.django_db(transaction=True)

ADDS = [(good, number) for good in CARRIERS.values() for number in (good.number, good.another, good.routed_elsewhere)]


def send_add(live: Live, good: Good, number: str) -> int | None:
    """The status of the reply, or None if there was none."""
    body = good.body(User(pk=live.user), phoneNumber=number)
    headers = {"Authorization": f"Bearer {live.token}"}
    with contextlib.suppress(requests.ConnectionError):
        return requests.post(f"{live.url}/api/call/add-phone", json=body, headers=headers, timeout=40).status_code
    return None


def wait_for(number_of_requests: int, sandbox: Sandbox) -> None:
    give_up_at = time.monotonic() + 20
    while len(sandbox.ledger) < number_of_requests:
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


def age_leases(live: Live) -> None:
    """As if the time that a lease lasts had gone by."""
    live.manage("shell", "--verbosity", "0", "--command", "from tests.support.state import age_leases; age_leases()")


def active(live: Live) -> set[str]:
    return {
        number for number, state in live.database.rows("phones_phonenumber", "number", "state") if state == "active"
    }


def test_adds_under_way_are_finished(sandbox: Sandbox, tmp_path: Path) -> None:
    with serve(tmp_path, sandbox, workers=2) as live:
        sandbox.delay_s = 0.7
        with ThreadPoolExecutor(len(ADDS)) as pool:
            adds = [pool.submit(send_add, live, good, number) for good, number in ADDS]
            wait_for(len(ADDS), sandbox)
            asked_at = time.monotonic()
            live.server.send_signal(signal.SIGTERM)
            assert [one.result() for one in adds] == [201] * len(ADDS)
            answered_after_s = time.monotonic() - asked_at
        assert live.server.wait(10) == 0
        assert answered_after_s > 0.7, "they were under way"
        assert active(live) == {number for _, number in ADDS}
        # Its port is free: nobody else listens there.
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{live.url}/healthz", timeout=5)


def test_an_add_that_comes_too_late_leaves_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    with serve(tmp_path, sandbox, workers=2) as live:
        before, sandbox.delay_s = sandbox.snapshot(), 0.7
        early, late = ADDS[0], ADDS[3:]
        with ThreadPoolExecutor(len(ADDS)) as pool:
            first = pool.submit(send_add, live, *early)
            wait_for(1, sandbox)
            live.server.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            others = {number: pool.submit(send_add, live, good, number) for good, number in late}
            assert first.result() == 201
            replies = {number: one.result() for number, one in others.items()}
        live.server.wait(10)
        sandbox.delay_s = 0.0
        age_leases(live)
        live.manage("reconcile")
        assert active(live) == {early[1]} | {number for number, status in replies.items() if status == 201}
        assert set(replies.values()) <= {201, None}
        untouched = {number for number, status in replies.items() if status is None}
        assert untouched, "the server took no more requests"
        changed = str(changes(before, sandbox.snapshot()))
        assert not [number for number in untouched if number in changed]


def test_what_is_killed_in_the_middle_is_settled(sandbox: Sandbox, tmp_path: Path) -> None:
    with serve(tmp_path, sandbox, workers=1) as live:
        before, sandbox.delay_s = sandbox.snapshot(), 1.2
        with ThreadPoolExecutor(len(ADDS)) as pool:
            adds = [pool.submit(send_add, live, good, number) for good, number in ADDS]
            wait_for(2 * len(ADDS), sandbox)
            live.server.send_signal(signal.SIGTERM)
            for worker in live.workers():  # as when the time to stop is over
                os.kill(worker, signal.SIGKILL)
            assert [one.result() for one in adds] == [None] * len(ADDS)
        assert live.server.wait(10) == 0
        sandbox.delay_s = 0.0
        assert not active(live)
        age_leases(live)
        live.manage("reconcile")
        assert live.database.rows("phones_phonenumber", "state") == []
        assert changes(before, sandbox.snapshot()) == []
