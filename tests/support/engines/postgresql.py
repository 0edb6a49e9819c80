"""PostgreSQL: one server for all databases."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NoReturn, Self

import psycopg
from django.db import connection

from sandbox.postgresql import PostgreSQL as Server
from sandbox.postgresql import programs
from tests.support.engines.base import OnServer, Statement, elsewhere
from tests.support.engines.sql import SQL
from tests.support.watching import end_with_this_process

# Where the server has its files.
FOLDER = "TEST_DATABASE_FOLDER"
# `written` reads the write-ahead log, which must still be there.
SETTINGS: dict[str, str | int] = {"wal_keep_size": "512MB", "autovacuum_naptime": 10}
# As that of many servers: texts are not in the order of their code points. Since version 15.
EN_US = ("--locale-provider=icu", "--icu-locale=en-US")
DISK_FULL = "DO $$ BEGIN RAISE EXCEPTION 'disk full' USING ERRCODE = 'disk_full'; END $$"
# pglz would tear apart what is looked for in the files.
UNCOMPRESSED = """
DO $$ DECLARE one record; BEGIN
  FOR one IN SELECT attrelid::regclass AS name, attname FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
             WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND attstorage IN ('x', 'm') AND NOT attisdropped LOOP
    EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET STORAGE EXTERNAL', one.name, one.attname);
  END LOOP;
END $$
"""
# A plan for a few hundred rows, which lie on a few pages, is the one for a large table if each row costs a lot.
AS_IF_LARGE = ("enable_seqscan = off", "cpu_tuple_cost = 1000", "cpu_index_tuple_cost = 1000", "cpu_operator_cost = 10")
# A few that a plan looks at in vain.
SLACK = 20


class PostgreSQL(OnServer, SQL):
    engine, label = "postgresql", "PostgreSQL"
    created: tuple[str, int] | None = None

    @classmethod
    def start(cls) -> str:
        if cls.ADDRESS not in os.environ:
            if programs() is None:
                raise LookupError("PostgreSQL is not installed on this machine (Debian: apt-get install postgresql)")
            server = Server(settings=SETTINGS, locale=EN_US).__enter__()
            end_with_this_process(server)
            os.environ |= {cls.ADDRESS: server.url("postgres"), FOLDER: str(server.folder)}
        return os.environ[cls.ADDRESS]

    def apart(self) -> AbstractContextManager[Any]:
        return psycopg.connect(self.url, autocommit=True)

    def manage(self, sql: str) -> None:
        """What no connection to the database itself can do."""
        with psycopg.connect(os.environ[self.ADDRESS], autocommit=True) as server:
            server.execute(sql.encode())

    def create(self) -> None:
        self.manage(f"CREATE DATABASE {self.name}")

    def copy_to(self, other: Self) -> None:
        with self.apart() as ours:
            ours.execute(UNCOMPRESSED)
        other.created = self.last_write()
        self.manage(f"CREATE DATABASE {other.name} TEMPLATE {self.name}")

    def drop(self) -> None:
        self.manage(f"DROP DATABASE {self.name} WITH (FORCE)")

    def flush(self, tables: list[str]) -> None:
        """TRUNCATE, Django's own, takes a second: it makes new files."""
        with connection.cursor() as cursor:
            cursor.execute("; ".join(f'DELETE FROM "{table}"' for table in tables))  # noqa: S608

    def unreachable(self, folder: Path) -> AbstractContextManager[None]:
        return elsewhere(HOST="127.0.0.1", PORT="1")

    def dump(self) -> Any:
        lines = self.run("pg_dump", self.url).splitlines()
        return [line for line in lines if not line.startswith(("\\restrict", "\\unrestrict"))]  # a new word each time

    def run(self, program: str, *arguments: str) -> str:
        folder = programs()
        assert folder
        return subprocess.run([folder / program, *arguments], capture_output=True, text=True, check=True).stdout

    def last_write(self) -> tuple[str, int]:
        """The place in the write-ahead log: a file of it, and how many bytes of that are written."""
        ((file, written),) = self.ask(
            "SELECT file_name, file_offset FROM pg_walfile_name_offset(pg_current_wal_insert_lsn())"
        )
        return file, written

    def written(self, since: tuple[str, int] | None = None) -> str:
        """The database's files and the server's log, and of the write-ahead log what has come since then.

        With `since`, no files: rows that earlier tests have deleted still lie there. The write-ahead log is that of all
        databases, so what other tests write at the same time is searched as well.
        """
        with self.apart() as database:
            database.execute("CHECKPOINT")
            ((oid,),) = database.execute("SELECT oid FROM pg_database WHERE datname = current_database()").fetchall()
        folder, (first, offset), (last, end) = (
            Path(os.environ[FOLDER]),
            since or self.created or ("", 0),
            self.last_write(),
        )
        log = [file for file in sorted((folder / "data/pg_wal").glob("0*")) if first <= file.name <= last]
        assert log and (not first or log[0].name == first), "the write-ahead log is part of the search"
        found = [file.read_bytes() for file in log]
        found[-1] = found[-1][:end]
        found[0] = found[0][offset:]
        files = [] if since else sorted((folder / "data/base" / str(oid)).iterdir())
        found += [file.read_bytes() for file in [*files, folder / "log"]]
        return b"".join(found).decode("latin-1")

    def assert_whole(self) -> None:
        self.run("pg_amcheck", "--install-missing", "--heapallindexed", self.url)

    def fail(self) -> NoReturn:
        """The server itself fails, so that a transaction is as it is after an error: no further statement is taken."""
        connection.ensure_connection()
        with connection.wrap_database_errors:
            connection.connection.execute(DISK_FULL)
        raise AssertionError

    def explain(self, statement: Statement) -> dict[str, Any]:
        """PostgreSQL's own account of a read, with what it looked at. It plans as if each row were far from the others."""
        with connection.cursor() as cursor:
            cursor.execute(f'ANALYZE "{statement.table}"')
            cursor.execute("; ".join(f"SET {setting}" for setting in AS_IF_LARGE))
            try:
                cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement.sql}", statement.params)
                return cursor.fetchone()[0][0]["Plan"]
            finally:
                cursor.execute("; ".join(f"RESET {setting.partition(' ')[0]}" for setting in AS_IF_LARGE))

    def plan_of(self, statement: Statement) -> str:
        return str(self.explain(statement))

    def walks(self, statement: Statement, *, may_sort: bool = False) -> bool:
        plan = self.explain(statement)
        # What these are given is what was asked for: the rows of a page and those before it, or those to be counted.
        asked = plan
        while asked["Node Type"] in ("Aggregate", "Limit", "LockRows", *(("Sort",) if may_sort else ())):
            (asked,) = asked["Plans"][:1]
        return max(map(looked_at, nodes(plan))) > asked["Actual Rows"] + SLACK


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for one in plan.get("Plans", []):
        yield from nodes(one)


def looked_at(node: dict[str, Any]) -> int:
    """The rows that a scan has read, also in vain."""
    if "Relation Name" not in node:
        return 0
    rejected = sum(rows for name, rows in node.items() if name.startswith("Rows Removed"))
    return (node["Actual Rows"] + rejected) * node["Actual Loops"]
