"""A server is killed while carriers send it events: nothing that it acknowledged is lost."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from phones.models import Account
from sandbox.ports import free_port
from sandbox.sandbox import Sandbox
from tests.support import EVERY_CASE, PROJECT
from tests.support.carriers import CARRIERS, environment_of
from tests.support.database import apart
from tests.support.dialects import CALLER, DIALECTS, Body, encoded
from tests.support.live import SERVE, run_manage, wait_until_ready
from tests.support.webhooks import Party

pytestmark = pytest.mark.engine

ROUNDS, CALLS_PER_ROUND = (3, 30) if EVERY_CASE else (2, 15)
SENDERS = 4


class Server:
    """The server with two workers, in a process group of its own that can be killed at once."""

    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        self.database, self.folder = apart(folder), folder
        self.port = free_port()
        self.env = os.environ | {
            "DATABASE_URL": self.database.url,
            "BIND": f"127.0.0.1:{self.port}",
            **environment_of(sandbox),
        }
        self.process: subprocess.Popen[bytes] | None = None

    def manage(self, *arguments: str) -> str:
        done = run_manage(*arguments, env=self.env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self) -> None:
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *SERVE], cwd=PROJECT, env=self.env, stdout=log, stderr=log, start_new_session=True
            )
        wait_until_ready(self.port, self.process)

    def kill(self) -> None:
        """All of it: the group is led by the process that was started here."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)
            self.process = None


@pytest.fixture
def server(tmp_path: Path, sandbox: Sandbox) -> Iterator[Server]:
    server = Server(tmp_path, sandbox)
    server.database.create()
    try:
        server.manage("migrate", "--verbosity", "0")
        yield server
    finally:
        server.kill()
        server.database.drop()


def pour(server: Server, party: Party, told: list[Body], enough: int) -> set[str]:
    """Post events from some threads, kill the server when so many are answered. Returns those that were, with 2xx."""
    left, answered = deque(told), set[str]()
    dead = False

    def send_on() -> None:
        with requests.Session() as session:
            while left:
                try:
                    body = left.popleft()
                except IndexError:
                    return  # another thread was quicker
                knock = party.knock("status", body, timestamp=None)
                url = f"http://127.0.0.1:{server.port}{knock.path}"
                try:
                    reply = session.post(url, data=knock.body, headers=knock.headers, timeout=20)
                except requests.RequestException:
                    assert dead, "the server went away by itself"
                    return
                assert reply.status_code == 200, reply.status_code
                answered.add(encoded(body))

    with ThreadPoolExecutor(SENDERS) as pool:
        sending = [pool.submit(send_on) for _ in range(SENDERS)]
        while len(answered) < enough and not all(one.done() for one in sending):
            time.sleep(0.001)
        dead = True
        server.kill()
        for one in sending:
            one.result()
    return answered


def join_live(server: Server, sandbox: Sandbox, carrier: str) -> Party:
    """Add the number through the running server. The row of the account is read from its database."""
    made = json.loads(server.manage("create_workspace", "Live", "--email", "user@live.example.com"))
    good = CARRIERS[carrier]
    body = {"userId": made["userId"], "phoneNumber": good.number, "integration": carrier, "authToken": good.auth_token}
    url, headers = f"http://127.0.0.1:{server.port}/api/call/add-phone", {"Authorization": f"Bearer {made['token']}"}
    reply = requests.post(
        url, json=body | ({"accSId": good.acc_sid} if good.acc_sid else {}), headers=headers, timeout=20
    )
    assert reply.status_code == 201, reply.text
    long_ago = "from phones.models import Line; Line.objects.update(held_since='2020-01-01T00:00Z')"
    server.manage("shell", "-c", long_ago)  # before the calls of the dialects
    ((token,),) = server.database.rows("phones_account", "webhook_token")
    row = Account(integration=carrier, webhook_token=token)
    return Party(row, sandbox.state.account(carrier, good.acc_sid or good.auth_token))


RANK = {"queued": 1, "ringing": 2, "in-progress": 3, "completed": 4}


# Without TeXML, which tells what Twilio does.
@pytest.mark.parametrize("name", [name for name in DIALECTS if name != "texml"])
def test_what_was_answered_survives_the_death_of_the_server(sandbox: Sandbox, server: Server, name: str) -> None:
    dialect, chance = DIALECTS[name], random.Random(name)
    server.start()
    party = join_live(server, sandbox, dialect.carrier)
    answered: set[str] = set()
    stories: dict[str, list[Body]] = {}
    cut_short = 0
    for number in range(ROUNDS):
        if number:
            server.start()
        fresh = {f"CA-{number}-{call}": dialect.tell(f"CA-{number}-{call}") for call in range(CALLS_PER_ROUND)}
        stories |= fresh
        told = [body for story in fresh.values() for body in story]
        # What the last server did not answer, the carrier sends again, and some that it did.
        told += [body for story in stories.values() for body in story if encoded(body) not in answered][:50]
        chance.shuffle(told)
        different = len({encoded(body) for body in told})
        came = pour(server, party, told, int(chance.uniform(0.1, 0.8) * different))
        assert came, "nothing was answered"
        cut_short += len(came) < different
        answered |= came

        output = server.manage("reconcile")
        assert "merged" in output
        events = server.database.rows("phones_callevent", "payload", "merged_at")
        kept = {payload for payload, _ in events}
        assert answered <= kept, "an answered event is lost"
        assert len(kept) == len(events), "an event is kept twice"
        assert all(merged_at for _, merged_at in events)
        server.database.assert_whole()
        calls = dict(server.database.rows("phones_call", "carrier_id", "status"))
        expected = {}
        for call_id, story in stories.items():
            heard = [status for status, body in zip(dialect.statuses, story, strict=True) if encoded(body) in kept]
            if heard:
                expected[call_id] = max(heard, key=lambda status: RANK.get(status, 0))
        assert calls == expected
    assert cut_short, "the server was never killed in the middle"

    server.start()
    for body in [body for story in stories.values() for body in story]:
        if encoded(body) not in answered:
            knock = party.knock("status", body, timestamp=None)
            url = f"http://127.0.0.1:{server.port}{knock.path}"
            assert requests.post(url, data=knock.body, headers=knock.headers, timeout=20).status_code == 200
    ends = server.database.rows("phones_call", "status", "duration_s", "caller", "callee", "ended_at", "line_id")
    (end,) = set(ends)
    assert end[:4] == ("completed", dialect.known["duration_s"], CALLER, CARRIERS[dialect.carrier].number)
    assert str(end[4]).startswith("2024-03-01 10:00:47")
    assert end[5]
    assert len(ends) == len(stories) == ROUNDS * CALLS_PER_ROUND
    recordings = server.database.rows("phones_recording", "status", "duration_s")
    assert Counter(recordings) == {("completed", 17): len(stories)}
