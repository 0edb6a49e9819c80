"""SQLite: a file."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, NoReturn, Self

from django.db import OperationalError, connection

from tests.support.engines.base import Statement, elsewhere
from tests.support.engines.sql import SQL


class SQLite(SQL):
    engine, label = "sqlite", "SQLite"

    @classmethod
    def start(cls) -> str:
        return "sqlite:///:memory:"

    @property
    def file(self) -> Path:
        return self.folder / "live.sqlite3" if self.folder else Path(connection.settings_dict["NAME"])

    @property
    def name(self) -> str:
        return str(self.file)

    @property
    def url(self) -> str:
        return f"sqlite:///{self.file}"

    @contextmanager
    def apart(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.file, timeout=20)) as database:
            yield database

    def create(self) -> None:
        """The first to write makes the file."""

    def drop(self) -> None:
        """The file goes with its folder."""

    def copy_to(self, other: Self) -> None:
        shutil.copy(self.file, other.file)

    def unreachable(self, folder: Path) -> AbstractContextManager[None]:
        return elsewhere(NAME=str(folder / "no folder" / "no file"))

    def dump(self) -> Any:
        with self.apart() as database:
            return list(database.iterdump())

    def last_write(self) -> None:
        """All of it is read anyway."""

    def written(self, since: Any = None) -> str:
        """The file and its write-ahead log."""
        assert self.file.with_name(f"{self.file.name}-wal").exists(), "the write-ahead log is part of the search"
        return "".join(one.read_bytes().decode("latin-1") for one in self.file.parent.glob(f"{self.file.name}*"))

    def assert_whole(self) -> None:
        assert self.ask("PRAGMA integrity_check") == [("ok",)]

    def fail(self) -> NoReturn:
        raise OperationalError("disk full")

    def plan_of(self, statement: Statement) -> str:
        return " ".join(row[3] for row in self.ask(f"EXPLAIN QUERY PLAN {statement.sql}", statement.params))

    def walks(self, statement: Statement, *, may_sort: bool = False) -> bool:
        plan = self.plan_of(statement)
        scans = f"SCAN {statement.table}" in plan and "LIMIT" not in statement.sql
        return "INDEX" not in plan or scans or ("TEMP B-TREE" in plan and not may_sort)
