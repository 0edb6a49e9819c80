"""Django's engine for SQLite, whose transactions begin one after the other within a process, and late.

SQLite has one writer. Who finds another writing sleeps and looks again, up to 100 ms later each time: with 32 threads
most of that time nobody writes. Here the threads of a process wait for each other instead; other processes are waited
for as ever. And a transaction begins with its first statement, so that nobody waits while that is being put together.
"""

from threading import Lock
from typing import Any

from django.db.backends.sqlite3 import base

TURN = Lock()


class Cursor(base.SQLiteCursorWrapper):
    """Its first statement begins the transaction that is to begin."""

    owner: "DatabaseWrapper"

    def execute(self, query: Any, params: Any = None) -> Any:
        self.owner.begin()
        return super().execute(query, params)

    def executemany(self, query: Any, param_list: Any) -> Any:
        self.owner.begin()
        return super().executemany(query, param_list)


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection. It holds the turn from BEGIN to COMMIT or ROLLBACK, or until it is closed."""

    is_to_begin = has_turn = False

    def create_cursor(self, name: Any = None) -> Any:
        cursor = self.connection.cursor(factory=Cursor)
        cursor.owner = self
        return cursor

    def _start_transaction_under_autocommit(self) -> None:
        self.is_to_begin = True

    def begin(self) -> None:
        """Begin the transaction that was put off, if there is one."""
        if not self.is_to_begin:
            return
        self.is_to_begin = False
        # After as long as SQLite itself would wait, SQLite says that it is locked.
        self.has_turn = TURN.acquire(timeout=self.settings_dict["OPTIONS"].get("timeout", 5))
        try:
            super()._start_transaction_under_autocommit()  # type: ignore[misc]
        except BaseException:
            self.end_turn()
            self.is_to_begin = True  # nothing that comes after in this transaction may stand by itself
            raise

    def _commit(self) -> Any:
        # A commit that fails leaves the transaction open: it is rolled back, which ends the turn.
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
