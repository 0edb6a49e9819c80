"""Two hundred adds wait for a silent carrier, on a PostgreSQL that takes sixty connections."""

import os
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import requests
from psycopg.sql import SQL, Identifier

from sandbox.postgresql import PostgreSQL, programs
from sandbox.sandbox import Sandbox
from sandbox.strangers import steadily
from tests.support.carriers import TWILIO
from tests.support.knocking import send_add, send_webhook
from tests.support.live import Live, run_manage, serve, template
from tests.support.tally import Tally
from tests.support.watching import end_with_this_process

pytestmark = pytest.mark.skipif(programs() is None, reason="PostgreSQL is not installed")

ADDS, MAX_CONNECTIONS = 200, 60
# The carrier is silent until the webhooks have been answered. An add would give up by itself after 25 s.
SILENCE_S = 60
# Webhooks come as the adds do, and again when most of these wait.
ARRIVE_S, MEASURE_S = 2, 2


class Rows:
    """What `send_webhook` asks of a server's database. It asks once, so as to take no connection from the server."""

    def __init__(self, postgresql: PostgreSQL) -> None:
        self.postgresql = postgresql

    @cache  # noqa: B019  there is one
    def rows(self, table: str, column: str) -> list[tuple[object, ...]]:
        with self.postgresql.connect("phones") as connection:
            query = SQL("SELECT {} FROM {}").format(Identifier(column), Identifier(table))
            return connection.execute(query).fetchall()


@pytest.fixture
def postgresql() -> Iterator[PostgreSQL]:
    """A server with a copy of the tests' workspace."""
    with PostgreSQL(settings={"max_connections": MAX_CONNECTIONS}) as postgresql:
        end_with_this_process(postgresql)
        postgresql.create("phones")
        env = os.environ | {"DATABASE_URL": template().url, "TARGET_URL": postgresql.url("phones")}
        copied = run_manage("copy_database", "--to", "TARGET_URL", env=env)
        assert copied.returncode == 0, copied.stderr
        yield postgresql


@pytest.fixture
def live(postgresql: PostgreSQL, running_sandbox: Sandbox, tmp_path: Path) -> Iterator[Live]:
    running_sandbox.reset()
    variables: dict[str, Any] = {
        "DATABASE_URL": postgresql.url("phones"), "CARRIER_READ_TIMEOUT_S": str(SILENCE_S),
        "LIMIT_REQUESTS": "off", "LIMIT_ADDS": "off",
    }  # fmt: skip
    with serve(tmp_path, running_sandbox, workers=2, **variables) as server:
        database: Any = Rows(postgresql)
        live = replace(server, database=database)
        assert send_add(live, TWILIO.number).status_code == 201
        yield live
    running_sandbox.clear_faults()
    running_sandbox.released.clear()


def wait_for_requests(sandbox: Sandbox, count: int, within_s: float = 15) -> None:
    """Wait until the silent carrier has received so many requests."""
    deadline = time.monotonic() + within_s
    while sum(one.fault == "hang" for one in sandbox.ledger) < count and time.monotonic() < deadline:
        time.sleep(0.05)


def test_adds_at_a_silent_carrier_keep_nobody_else_from_the_database(
    live: Live, postgresql: PostgreSQL, running_sandbox: Sandbox, tally: Tally
) -> None:
    ready, connections, over = Counter[int](), [0], threading.Event()

    def watch() -> None:
        with postgresql.connect("phones") as connection:
            while not over.wait(0.3):
                ready[requests.get(f"{live.url}/readyz", timeout=30).status_code] += 1
                row = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
                connections.append(int(str((row.fetchone() or (0,))[0])))

    def call(_: int) -> float:
        status, took_s = send_webhook(live, running_sandbox, f"CA{uuid.uuid4().hex}")
        assert status == 200
        return took_s

    steadily(call, per_second=10, seconds=1)  # both processes open their connections
    running_sandbox.fault("hang", times=None, seconds=SILENCE_S)
    with ThreadPoolExecutor(ADDS + 1) as pool:
        adds = [pool.submit(send_add, live, f"1212557{1000 + index}") for index in range(ADDS)]
        watching = pool.submit(watch)
        try:
            arriving = steadily(call, per_second=10, seconds=ARRIVE_S)
            wait_for_requests(running_sandbox, ADDS // 2)
            walls = steadily(call, per_second=10, seconds=MEASURE_S)
            waiting = sum(not one.done() for one in adds)
            running_sandbox.released.set()
            replies = [one.result() for one in adds]
        finally:
            running_sandbox.released.set()
            over.set()
        watching.result()

    outcomes = Counter(reply.json()["data"]["error"] for reply in replies)
    tally("adds at a silent carrier on PostgreSQL", sum(outcomes.values()))
    tally("adds at a silent carrier on PostgreSQL: connections at most, of 60", max(connections))
    tally("adds at a silent carrier on PostgreSQL: p99 of webhooks as they come, in ms", round(arriving.p99 * 1000))
    tally("adds at a silent carrier on PostgreSQL: p99 of webhooks as they wait, in ms", round(walls.p99 * 1000))
    assert set(outcomes) <= {"carrier_unavailable", "throttled"}, outcomes
    assert waiting > ADDS / 2, "most of the adds still waited when the webhooks had been answered"
    assert {reply.status_code for reply in replies if reply.json()["data"]["error"] == "throttled"} <= {429}
    assert set(ready) == {200}, ready
    assert max(connections) < MAX_CONNECTIONS / 2
