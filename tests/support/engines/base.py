"""What tests ask of a database, whatever its engine."""

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NoReturn, Self
from urllib.parse import urlsplit

from django.core.management.color import no_style
from django.db import connection

READ, INSERT, UPDATE, DELETE, OTHER = "read", "insert", "update", "delete", "other"


@dataclass(frozen=True)
class Statement:
    """What the server is sent: SQL and its parameters, or a command."""

    act: str
    table: str
    sql: str = ""
    params: Any = None
    command: dict[str, Any] = field(default_factory=dict)

    @property
    def is_write(self) -> bool:
        return self.act in (INSERT, UPDATE, DELETE)


# Called with what sends a statement, and the statement.
Around = Callable[[Callable[[], Any], Statement], Any]


class Database(ABC):
    """A database for a server of its own, which belongs to this folder; without one, the one that `connection` leads to."""

    engine: ClassVar[str]
    label: ClassVar[str]
    # The server is started by the first process, and the others have its address from there.
    ADDRESS: ClassVar[str] = "TEST_DATABASE_URL"

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder

    # -- the server ---------------------------------------------------------------------------------------------------

    @classmethod
    @abstractmethod
    def start(cls) -> str:
        """Start the engine for this run, until it ends, where it has not been started. Returns DATABASE_URL.

        Raises LookupError, with what is missing, if it cannot be had on this machine.
        """

    # -- the database -------------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def name(self) -> str:
        """NAME in Django's settings."""

    @property
    @abstractmethod
    def url(self) -> str:
        """DATABASE_URL for another process."""

    @abstractmethod
    def create(self) -> None:
        """Make it, without tables, where the first to write does not make it."""

    @abstractmethod
    def drop(self) -> None:
        """Leave nothing of it."""

    def flush(self, tables: list[str]) -> None:
        """Empty these tables."""
        connection.ops.execute_sql_flush(connection.ops.sql_flush(no_style(), tables))

    @abstractmethod
    def copy_to(self, other: Self) -> None:
        """Make another one, with what is here. Nobody may be writing."""

    @contextmanager
    def connected(self) -> Iterator[None]:
        """`connection` leads to this one."""
        with elsewhere(NAME=self.name):
            yield

    @abstractmethod
    def unreachable(self, folder: Path) -> AbstractContextManager[None]:
        """`connection` leads nowhere: to a file that cannot be opened, or to a port at which nobody listens."""

    # -- what it holds ------------------------------------------------------------------------------------------------

    @abstractmethod
    def rows(self, table: str, *columns: str) -> list[tuple[Any, ...]]:
        """These columns as the database has them."""

    @abstractmethod
    def whole(self) -> list[str]:
        """All that is in it, to look for what must not be: a text for each table."""

    @abstractmethod
    def dump(self) -> Any:
        """The rows as stored, and the schema, to be compared."""

    @abstractmethod
    def last_write(self) -> Any:
        """How far it has been written, for `written`."""

    @abstractmethod
    def written(self, since: Any = None) -> str:
        """What lies on the disk; with `last_write()`, at least what has been written since then."""

    @abstractmethod
    def assert_whole(self) -> None:
        """The engine finds nothing broken in it."""

    # -- how it fails -------------------------------------------------------------------------------------------------

    @abstractmethod
    def around_statements(self, around: Around) -> AbstractContextManager[None]:
        """`around(run, statement)` is called for each statement of this thread; `run()` sends it."""

    @abstractmethod
    def fail(self) -> NoReturn:
        """Fail as on a full disk, in place of a statement."""

    @abstractmethod
    def table_away(self, table: str) -> AbstractContextManager[None]:
        """As if there were no such table."""

    # -- how it looks things up ---------------------------------------------------------------------------------------

    @abstractmethod
    def plan_of(self, statement: Statement) -> str:
        """How the engine does a read."""

    @abstractmethod
    def walks(self, statement: Statement, *, may_sort: bool = False) -> bool:
        """Whether a read goes through more than it gives back. Give the table some hundred rows first.

        Args:
            may_sort: whether it may go through all that fits, to put that in order.
        """


class OnServer(Database):
    """One of the databases of a server."""

    @property
    def name(self) -> str:
        if self.folder is None:
            return str(connection.settings_dict["NAME"])
        return f"live_{hashlib.sha256(str(self.folder).encode()).hexdigest()[:32]}"

    @property
    def url(self) -> str:
        return urlsplit(os.environ[self.ADDRESS])._replace(path=f"/{self.name}").geturl()


@contextmanager
def elsewhere(**settings: Any) -> Iterator[None]:
    """`connection` has these settings."""
    kept = {name: connection.settings_dict[name] for name in settings}
    leave(connection)
    connection.settings_dict.update(settings)
    try:
        yield
    finally:
        leave(connection)
        connection.settings_dict.update(kept)


def leave(one: Any) -> None:
    """Close a connection, and those that its engine keeps for others."""
    one.close()
    getattr(one, "close_pool", one.close)()
