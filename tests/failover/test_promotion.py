"""A PostgreSQL whose primary dies under adds and webhooks, and whose standby is promoted."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier

from sandbox.postgresql import PostgreSQL, programs
from sandbox.sandbox import Sandbox
from tests.failover.conftest import DATABASE, LEASED, LONG_AGO, Cluster, servers
from tests.failover.load import Told, add_on, assert_nothing_is_lost, first_number, tell_on
from tests.support.carriers import CARRIERS
from tests.support.tally import Tally
from tests.support.watching import end_with_this_process

pytestmark = pytest.mark.skipif(programs() is None, reason="PostgreSQL is not installed")

# How long clients and carriers are at it before the primary dies, and after the standby is promoted. In between, the
# primary sends nothing to the standby, and then neither of them is there.
BEFORE_S, AFTER_S = 4.0, 6.0
SILENT_S, AWAY_S = 0.5, 2.0


@dataclass
class OnPostgreSQL(Cluster):
    primary: PostgreSQL
    standby: PostgreSQL

    def connect(self) -> "psycopg.Connection[dict[str, Any]]":
        url = f"{self.primary.url(DATABASE, self.standby)}?target_session_attrs=read-write"
        return psycopg.connect(url, autocommit=True, row_factory=dict_row)

    def rows(self, table: str) -> list[dict[str, Any]]:
        with self.connect() as connection:
            return connection.execute(SQL("SELECT * FROM {}").format(Identifier(table))).fetchall()

    def age_leases(self) -> None:
        with self.connect() as connection:
            for table in LEASED:
                query = SQL("UPDATE {} SET lease_until = %s WHERE lease_until IS NOT NULL")
                connection.execute(query.format(Identifier(table)), [LONG_AGO])


@pytest.fixture
def cluster(tmp_path: Path, sandbox: Sandbox) -> Iterator[OnPostgreSQL]:
    """A server, and two hosts of which the second follows the first, synchronously."""
    with contextlib.ExitStack() as stack:
        primary = stack.enter_context(PostgreSQL(is_durable=True))
        end_with_this_process(primary)
        primary.create(DATABASE)
        standby = stack.enter_context(PostgreSQL(is_durable=True, follows=primary))
        end_with_this_process(standby)
        with primary.connect() as connection:
            connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{standby.name}'".encode())
            connection.execute("SELECT pg_reload_conf()")
        primary.wait_until("SELECT EXISTS (SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync')")
        url = primary.url(DATABASE, standby)
        running = stack.enter_context(servers(1, tmp_path, sandbox, DATABASE_URL=url))
        yield OnPostgreSQL(**running, primary=primary, standby=standby)


def fail_over(cluster: OnPostgreSQL) -> None:
    with cluster.primary.connect() as connection:
        (sender,) = connection.execute("SELECT pid FROM pg_stat_replication").fetchone() or ()
    # From now on, an asynchronous primary would acknowledge what will be lost.
    os.kill(int(str(sender)), signal.SIGSTOP)
    time.sleep(SILENT_S)
    cluster.primary.kill()
    time.sleep(AWAY_S)
    cluster.standby.promote()


def test_nothing_acknowledged_is_lost_when_a_standby_is_promoted(
    cluster: OnPostgreSQL, sandbox: Sandbox, tally: Tally
) -> None:
    told, over = Told(), threading.Event()
    party = first_number(cluster, sandbox)
    with ThreadPoolExecutor(8) as pool:
        work = [
            pool.submit(add_on, cluster, sandbox, name, place * 1000, told, over) for place, name in enumerate(CARRIERS)
        ]
        work += [pool.submit(tell_on, cluster, party, "twilio", told, over) for _ in range(2)]
        try:
            time.sleep(BEFORE_S)
            fail_over(cluster)
            before = len(told.added), len(told.events)
            time.sleep(AFTER_S)
        finally:
            over.set()
        for one in work:
            one.result()
    tally("promotion of a standby: adds acknowledged", len(told.added))
    tally("promotion of a standby: events acknowledged", len(told.events))
    tally("promotion of a standby: longest request, in ms", round(told.longest_s * 1000))
    for status, count in told.statuses.items():
        tally(f"promotion of a standby: {status}", count)
    assert len(told.added) > before[0] and len(told.events) > before[1], "the server went on with the new primary"
    assert not told.unsettled
    assert_nothing_is_lost(cluster, sandbox, told)
