"""The engine for PostgreSQL: its address, its pool, and what becomes of a connection that is lost.

It starts a server of its own, whatever the other tests run on.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, OperationalError, connections, transaction

from core import databases
from core.databases.clock import ServerClock
from core.databases.postgresql import base
from core.databases.readiness import NEEDS_COMMIT, NO_CONNECTION_FREE, STANDBY, explain
from sandbox.postgresql import PostgreSQL, programs
from tests.support import PROJECT
from tests.support.watching import end_with_this_process
from workspace.exceptions import is_store_away

needs_server = pytest.mark.skipif(programs() is None, reason="PostgreSQL is not installed")


# -- the address ------------------------------------------------------------------------------------------------------


def test_an_address_is_passed_to_libpq_with_what_the_promises_need() -> None:
    config = databases.from_url("DATABASE_URL", "postgresql://ann:p%40ss@h1,h2:5433/phones?sslmode=require&user=bob")
    place = ("core.databases.postgresql", "phones", "bob", "p@ss", "h1,h2", ",5433")
    assert tuple(config[name] for name in ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT")) == place
    options = config["OPTIONS"]
    assert (options["sslmode"], options["target_session_attrs"]) == ("require", "read-write")
    assert (config["CONN_MAX_AGE"], config["DISABLE_SERVER_SIDE_CURSORS"]) == (0, True)


def test_what_the_address_says_of_waiting_stands() -> None:
    config = databases.from_url("DATABASE_URL", "postgres://h/d?connect_timeout=9&application_name=x")
    assert (config["OPTIONS"]["connect_timeout"], config["OPTIONS"]["application_name"]) == ("9", "x")
    assert "target_session_attrs" not in config["OPTIONS"], "a single host may be a pooler, which knows the primary"


def test_with_several_addresses_too_only_a_primary_is_taken() -> None:
    config = databases.from_url("DATABASE_URL", "postgres:///d?hostaddr=10.0.0.1,10.0.0.2")
    assert config["OPTIONS"]["target_session_attrs"] == "read-write"
    with pytest.raises(ImproperlyConfigured, match="target_session_attrs"):
        databases.from_url("DATABASE_URL", "postgres:///d?hostaddr=10.0.0.1,10.0.0.2&target_session_attrs=any")


@pytest.mark.parametrize(
    "url", ["postgres://u:%ff@h/d", "postgres://u:\udcff@h/d", "postgres://h/d?application_name=%ff"]
)
def test_an_address_that_is_not_utf_8_is_refused(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="cannot be read"):
        databases.from_url("DATABASE_URL", url)


# -- connections ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    with PostgreSQL() as server:
        end_with_this_process(server)
        server.create("tests")
        yield server


@pytest.fixture
def alias(server: PostgreSQL, django_db_blocker: Any) -> Iterator[str]:
    """A database of Django's with a pool of two connections."""
    config = databases.from_url("DATABASE_URL", server.url("tests"))
    config["OPTIONS"]["pool"] = config["OPTIONS"]["pool"] | {"max_size": 2}
    connections.settings["postgresql"] = connections.configure_settings({"default": config})["default"]
    with django_db_blocker.unblock():
        yield "postgresql"
        database_of("postgresql").close()
        database_of("postgresql").close_pool()
    del connections["postgresql"], connections.settings["postgresql"]


def database_of(alias: str) -> Any:
    """What our engine adds is not in Django's types."""
    return connections[alias]


def ask(alias: str, query: str) -> Any:
    with connections[alias].cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()[0]


def in_threads(count: int, alias: str, query: str) -> list[Any]:
    """The answers that threads get which have a connection at the same time."""
    together = threading.Barrier(count)

    def run(_: int) -> Any:
        try:
            answer = ask(alias, query)
            together.wait(10)
            return answer
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


@needs_server
def test_a_connection_that_is_given_back_serves_others(alias: str) -> None:
    mine = ask(alias, "SELECT pg_backend_pid()")
    assert ask(alias, "SELECT pg_backend_pid()") == mine, "it is kept between two queries"
    database_of(alias).give_back()
    assert mine in in_threads(2, alias, "SELECT pg_backend_pid()")
    assert ask(alias, "SELECT 1") == 1, "and the next query takes one again"


ENDS = """
import atexit, os

def tell():
    print([pool.closed for pool in database.DatabaseWrapper._connection_pools.values()])

atexit.register(tell)  # before the engine, which is told of the end first

import django
from django.conf import settings
from core import databases

settings.configure(DATABASES={"default": databases.from_url("DATABASE_URL", os.environ["URL"])})
django.setup()
from django.db import connection
from django.db.backends.postgresql import base as database

connection.ensure_connection()
"""


@needs_server
def test_the_pool_is_closed_when_a_process_ends(server: PostgreSQL) -> None:
    env = os.environ | {"URL": server.url("tests")}
    done = subprocess.run(
        [sys.executable, "-c", ENDS], cwd=PROJECT, env=env, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[True]\n"


@needs_server
def test_a_transaction_keeps_its_connection(alias: str) -> None:
    with transaction.atomic(using=alias):
        mine = ask(alias, "SELECT txid_current()")
        database_of(alias).give_back()
        assert ask(alias, "SELECT txid_current()") == mine


@needs_server
def test_who_waits_in_vain_is_told_that_the_process_has_no_connection_free(alias: str) -> None:
    leave, have = threading.Event(), threading.Barrier(3)

    def keep() -> None:
        ask(alias, "SELECT 1")
        have.wait(10)
        leave.wait(10)
        connections.close_all()

    threads = [threading.Thread(target=keep) for _ in range(2)]
    for thread in threads:
        thread.start()
    have.wait(10)
    database_of(alias).pool.timeout = 0.3  # only now, because a busy machine may take longer to connect
    try:
        with pytest.raises(OperationalError) as refused:
            ask(alias, "SELECT 1")
        assert explain(refused.value) == NO_CONNECTION_FREE
    finally:
        leave.set()
        for thread in threads:
            thread.join()


@needs_server
def test_connections_that_were_lost_while_nobody_used_them_trouble_nobody(alias: str, server: PostgreSQL) -> None:
    before = in_threads(2, alias, "SELECT pg_backend_pid()")
    server.stop("immediate")
    server.start()
    assert not set(in_threads(2, alias, "SELECT pg_backend_pid()")) & set(before)


@needs_server
def test_a_connection_that_is_lost_fails_one_statement_and_the_next_one_gets_another(
    alias: str, server: PostgreSQL
) -> None:
    """So an add whose write failed can still be rolled back."""
    for block in (None, transaction.atomic(using=alias)):
        pid = ask(alias, "SELECT pg_backend_pid()")
        with server.connect() as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        with pytest.raises(OperationalError) as lost:
            if block:
                with block:
                    ask(alias, "SELECT 1")
            else:
                ask(alias, "SELECT 1")
        assert "connection to the database was lost" in (explain(lost.value) or "")
        assert ask(alias, "SELECT pg_backend_pid()") != pid


@needs_server
def test_the_servers_clock_is_followed(alias: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def an_hour_ahead(alias: str) -> datetime:
        answer: datetime = ask(alias, "SELECT clock_timestamp() + interval '1 hour'")
        return answer

    monkeypatch.setattr(base, "read_clock", an_hour_ahead)
    with closing(database_of(alias)) as database:
        database._clocks.pop(alias, None)
        assert abs(database.clock.ahead() - timedelta(hours=1)) < timedelta(minutes=1)
        database._clocks.pop(alias)


def test_the_time_that_a_connection_takes_is_no_part_of_the_clock() -> None:
    clock = ServerClock(lambda: datetime.now(UTC), connect=partial(time.sleep, 0.4))
    assert abs(clock.ahead()) < timedelta(seconds=0.15)


@needs_server
def test_what_cannot_be_written_is_explained(alias: str) -> None:
    ask(alias, "SELECT set_config('default_transaction_read_only', 'on', false)")
    with pytest.raises(DatabaseError) as refused, connections[alias].cursor() as cursor:
        cursor.execute("CREATE TABLE a (b int)")
    assert explain(refused.value) == STANDBY
    assert is_store_away(refused.value)


@needs_server
def test_a_mistake_with_a_transaction_is_none_of_the_database(alias: str) -> None:
    with pytest.raises(DatabaseError) as refused, connections[alias].cursor() as cursor:
        cursor.execute("SAVEPOINT outside_of_a_transaction")
    assert not is_store_away(refused.value)


@needs_server
def test_a_text_that_it_cannot_store_is_stored_and_found_with_a_replacement(alias: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT %s, %s = 'a\ufffdb', 'a\ufffdb' = ANY(%s)", ["\0", "a\0b", ["a\0b"]])
        assert cursor.fetchone() == ("\ufffd", True, True)


@needs_server
@pytest.mark.parametrize("value", ["off", "local"])
def test_a_server_that_acknowledges_too_early_is_refused(alias: str, value: str) -> None:
    database_of(alias).settings_dict["OPTIONS"]["options"] = f"-c synchronous_commit={value}"
    with pytest.raises(OperationalError) as refused:
        ask(alias, "SELECT 1")
    assert explain(refused.value) == NEEDS_COMMIT
