"""Django's SQLite engine, but the threads of a process take turns to begin their transactions, and begin them late.

SQLite has a single writer. A connection that finds it busy sleeps and polls, at intervals of up to 100 ms: with 32
threads, nobody writes for most of that time. Here the threads of a process wait for each other instead; waiting for
other processes is unchanged. A transaction begins with its first statement, so that nobody waits while that statement
is being built.
"""

from threading import Lock
from typing import Any

from django.db.backends.sqlite3 import base

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

    is_to_begin = has_turn = False

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
