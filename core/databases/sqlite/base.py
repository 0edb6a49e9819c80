"""Django's SQLite engine, but the threads of a process take turns to begin their transactions, and begin them late.

SQLite has a single writer. A connection that finds it busy sleeps and polls, at intervals of up to 100 ms: with 32
threads, nobody writes for most of that time. Here the threads of a process wait for each other instead; waiting for
other processes is unchanged. A transaction begins with its first statement, so that nobody waits while that statement
is being built.

A database that cannot be written can be read, even if its folder lacks the files that SQLite would create there.
"""

import sqlite3
from threading import Lock
from typing import Any
from urllib.parse import quote

from django.db.backends.sqlite3 import base

from core.databases import unwritable_path

TURN = Lock()


class Cursor(base.SQLiteCursorWrapper):
    """Its first statement begins the postponed transaction."""

    owner: "DatabaseWrapper"

    def execute(self, query: Any, params: Any = None) -> Any:
        self.owner.begin()
        return super().execute(query, params)

    def executemany(self, query: Any, param_list: Any) -> Any:
        self.owner.begin()
        return super().executemany(query, param_list)


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection. It has the turn from BEGIN to COMMIT or ROLLBACK, or until it is closed."""

    is_to_begin = has_turn = is_read_only = False

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        self.is_read_only = False
        try:
            return super().get_new_connection(conn_params)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_READONLY_DIRECTORY:
                raise
        # Nothing is locked then, so the file must not change while it is read. https://sqlite.org/wal.html#readonly
        # (read 2026-11-30)
        self.is_read_only = True
        frozen = f"file:{quote(str(conn_params['database']))}?immutable=1"
        return super().get_new_connection(conn_params | {"database": frozen})

    def connect(self) -> None:
        super().connect()
        # SQLite reads on through a connection that it opened for a file that could not be written then, and refuses its
        # writes for good. So it lasts for this request only: by the next one, somebody may have run chown.
        if self.is_read_only or unwritable_path(self.settings_dict):
            self.close_at = 0.0

    def create_cursor(self, name: Any = None) -> Any:
        cursor = self.connection.cursor(factory=Cursor)
        cursor.owner = self
        return cursor

    def _start_transaction_under_autocommit(self) -> None:
        self.is_to_begin = True

    def begin(self) -> None:
        """Begin the postponed transaction, if there is one."""
        if not self.is_to_begin:
            return
        self.is_to_begin = False
        # Wait only as long as SQLite itself would; then SQLite reports that the database is locked.
        self.has_turn = TURN.acquire(timeout=self.settings_dict["OPTIONS"].get("timeout", 5))
        try:
            super()._start_transaction_under_autocommit()  # type: ignore[misc]
        except BaseException:
            self.end_turn()
            self.is_to_begin = True  # later statements of this transaction must not commit on their own
            raise

    def _commit(self) -> Any:
        # A failed commit leaves the transaction open. It is then rolled back, which ends the turn.
        done = super()._commit()  # type: ignore[misc]
        self.end_turn()
        return done

    def _rollback(self) -> Any:
        try:
            return super()._rollback()  # type: ignore[misc]
        finally:
            self.end_turn()

    def _close(self) -> Any:
        try:
            return super()._close()  # type: ignore[misc]
        finally:
            self.end_turn()

    def end_turn(self) -> None:
        self.is_to_begin = False
        if self.has_turn:
            self.has_turn = False
            TURN.release()
