"""The connection: borrowed from the pool of the process, and given back whenever its thread waits for somebody else."""

import atexit
from datetime import datetime
from functools import partial
from threading import Lock
from typing import Any

from django.db import connections
from django.db.backends.postgresql import base, operations
from psycopg import Error, OperationalError
from psycopg.adapt import AdaptersMap
from psycopg.types.string import StrDumperUnknown
from psycopg_pool import ConnectionPool, PoolTimeout

from core.databases.clock import ServerClock
from core.databases.postgresql.schema import DatabaseSchemaEditor


class TextDumper(StrDumperUnknown):
    """PostgreSQL's text cannot hold U+0000. Where it may arise from input, it is stored, and looked up, as U+FFFD."""

    def dump(self, obj: str) -> Any:
        return super().dump(obj.replace("\0", "\ufffd"))


class DatabaseOperations(operations.DatabaseOperations):
    def lookup_cast(self, *args: Any) -> Any:
        # In the columns' own order (schema.py), UPPER knows only the letters of ASCII, but in that of the text which
        # is looked for, those of the database's locale.
        return super().lookup_cast(*args).replace("::text)", '::text COLLATE "default")')


class DatabaseWrapper(base.DatabaseWrapper):
    SchemaEditorClass = DatabaseSchemaEditor
    ops_class = DatabaseOperations
    _clocks: dict[str, ServerClock] = {}
    _trying = Lock()

    @property
    def clock(self) -> ServerClock:
        """The primary's clock (core/clock.py)."""
        return self._clocks.setdefault(
            self.alias, ServerClock(partial(read_clock, self.alias), partial(connect, self.alias))
        )

    def give_back(self) -> None:
        """Return the connection to the pool, except within a transaction (core/waiting.py)."""
        if not self.in_atomic_block:
            self.close()

    def get_connection_params(self) -> dict[str, Any]:
        params = super().get_connection_params()
        adapters = AdaptersMap(params["context"])
        adapters.register_dumper(str, TextDumper)
        return params | {"context": adapters}

    def ensure_connection(self) -> None:
        # Lost in an earlier statement of this request. Outside of a transaction, none depends on the one before.
        if self.connection is not None and self.connection.closed:
            self.give_back()
        super().ensure_connection()

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Take a connection that works from the pool.

        Raises psycopg.Error: what the server says if it refuses connections or does not answer, and PoolTimeout if
        other threads have had all connections for too long.
        """
        if not self.pool:  # Django's own, for the database in which it creates those of the tests
            return super().get_new_connection(conn_params)
        if self.pool.closed or not self.pool.get_stats()["pool_size"]:  # not open yet, or the server has been away
            self.try_to_connect(conn_params)
        connection = self.take(conn_params)
        try:
            ConnectionPool.check_connection(connection)
        except Error:
            # The server was restarted, or another one is the primary: those that are left in the pool are of no use.
            self.pool.putconn(connection)
            self.pool.drain()
            connection = self.take(conn_params)
        return connection

    def take(self, conn_params: dict[str, Any]) -> Any:
        try:
            return super().get_new_connection(conn_params)
        except PoolTimeout:
            self.try_to_connect(conn_params)
            raise

    def try_to_connect(self, conn_params: dict[str, Any]) -> None:
        """Raise what prevents a connection. The pool itself does not say, and tries again until its time is over.

        One thread of the process at a time does this, because such a connection comes on top of the pool's. The others
        do nothing.
        """
        if not self._trying.acquire(blocking=False):
            return
        try:
            with self.Database.connect(**conn_params | {"autocommit": True}) as connection:
                self._configure_connection(connection)
        finally:
            self._trying.release()

    def _configure_connection(self, connection: Any) -> bool:
        """What Django does, and its pool, with each new connection.

        Raises psycopg.OperationalError if the server acknowledges what a power cut or the loss of a primary would undo.
        """
        if connection.execute("SHOW synchronous_commit").fetchone()[0] in ("off", "local"):
            raise OperationalError("synchronous_commit is off or local")
        return bool(super()._configure_connection(connection))  # type: ignore[misc]


@atexit.register
def close_pools() -> None:
    """Stop the threads of the pools while they can still be: Python waits for them when it no longer runs them."""
    for pool in base.DatabaseWrapper._connection_pools.values():  # type: ignore[attr-defined]
        pool.close()


def connect(alias: str) -> None:
    connections[alias].ensure_connection()


def read_clock(alias: str) -> datetime:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cursor.fetchone()[0]
