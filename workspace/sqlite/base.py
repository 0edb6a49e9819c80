"""Django's engine for SQLite, whose transactions begin one after the other within a process.

SQLite has one writer. Who finds another writing sleeps and looks again, up to 100 ms later each time: with 32 threads
most of that time nobody writes. Here the threads of a process wait for each other instead; other processes are waited
for as ever.
"""

from threading import Lock
from typing import Any

from django.db.backends.sqlite3 import base

TURN = Lock()


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection. It holds the turn from BEGIN to COMMIT or ROLLBACK, or until it is closed."""

    has_turn = False

    def _start_transaction_under_autocommit(self) -> None:
        # After as long as SQLite itself would wait, SQLite says that it is locked.
        self.has_turn = TURN.acquire(timeout=self.settings_dict["OPTIONS"].get("timeout", 5))
        try:
            super()._start_transaction_under_autocommit()  # type: ignore[misc]
        except BaseException:
            self.end_turn()
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
        if self.has_turn:
            self.has_turn = False
            TURN.release()
