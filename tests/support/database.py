"""What tests ask of the database itself, in the same words on each engine.

`connection` is the tests' own database; an `Apart` is one for a server of its own.
"""

import contextlib
import hashlib
import os
import re
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bson import Timestamp
from django.db import OperationalError, connection, models
from pymongo import IndexModel, MongoClient
from pymongo.errors import OperationFailure
from pymongo.synchronous.bulk import _Bulk
from pymongo.synchronous.pool import Connection

from tests.support.environment import ON_MONGODB

# -- where it is ------------------------------------------------------------------------------------------------------


def mongodb_url(name: str) -> str:
    """The address of a database of this name on the tests' replica set."""
    return urlsplit(os.environ["TEST_DATABASE_URL"])._replace(path=f"/{name}").geturl()


def shared_url() -> str:
    """DATABASE_URL for another process that shall share the tests' database."""
    name = connection.settings_dict["NAME"]
    return mongodb_url(name) if ON_MONGODB else f"sqlite:///{name}"


@contextmanager
def unreachable(folder: Path) -> Iterator[None]:
    """The connection leads nowhere: to a file that cannot be opened, or to a port at which nobody listens."""
    settings = connection.settings_dict
    if not ON_MONGODB:
        connection.close()
        name, settings["NAME"] = settings["NAME"], str(folder / "no folder" / "no file")
        try:
            yield
        finally:
            connection.close()
            settings["NAME"] = name
        return
    connection.ensure_connection()
    real: Any = connection
    host, client, database = settings["HOST"], real._connection_pools.pop("default"), real.database
    settings["HOST"] = "mongodb://127.0.0.1:1/nowhere?replicaSet=tests&serverSelectionTimeoutMS=300"
    real.connection = None
    del real.database
    try:
        yield
    finally:
        if "default" in real._connection_pools:
            real._connection_pools.pop("default").close()
        settings["HOST"] = host
        real._connection_pools["default"], real.connection, real.database = client, client, database


# -- what it holds ----------------------------------------------------------------------------------------------------


def stored(model: type[models.Model], column: str) -> list[Any]:
    """The values of a column as the database has them."""
    table = model._meta.db_table
    if ON_MONGODB:
        return [row.get(column) for row in mongodb()[table].find()]
    with connection.cursor() as cursor:
        return [value for (value,) in cursor.execute(f"SELECT {column} FROM {table}").fetchall()]  # noqa: S608


def whole_database() -> list[str]:
    """All that is in it, to look for what must not be: a text for each table."""
    if ON_MONGODB:
        return [str(list(mongodb()[name].find())) for name in mongodb().list_collection_names()]
    with connection.cursor() as cursor:
        tables = connection.introspection.table_names(cursor)
        return [str(cursor.execute(f'SELECT * FROM "{table}"').fetchall()) for table in tables]  # noqa: S608


def mongodb() -> Any:
    return connection.database  # type: ignore[attr-defined]


def last_write() -> Any:
    """How far the tests' database has been written, for `written`."""
    if not ON_MONGODB:
        return None
    (entry,) = mongodb().client.local["oplog.rs"].find().sort("$natural", -1).limit(1)
    return entry["ts"]


def written(since: Any) -> str:
    """What lies on the disk: SQLite's file and its write-ahead log, or all that went through MongoDB's since then."""
    name = connection.settings_dict["NAME"]
    return oplog(mongodb().client, str(name), since) if ON_MONGODB else file_and_log(Path(name))


def file_and_log(file: Path) -> str:
    return "".join(one.read_bytes().decode("latin-1") for one in file.parent.glob(f"{file.name}*"))


def oplog(client: "MongoClient[Any]", name: str, since: Timestamp) -> str:
    """Each entry as it is kept. A transaction's entries stand under the name of no database."""
    entries = client.local["oplog.rs"].find({"ts": {"$gt": since}, "ns": {"$regex": rf"^({re.escape(name)}|admin)\."}})
    return "\n".join(map(str, entries))


# -- how it fails -----------------------------------------------------------------------------------------------------

READ, INSERT, UPDATE, DELETE, OTHER = "read", "insert", "update", "delete", "other"
ACTS = {
    "SELECT": READ, "INSERT": INSERT, "UPDATE": UPDATE, "DELETE": DELETE,
    "aggregate": READ, "find": READ, "getMore": READ, "count": READ, "distinct": READ,
    "insert": INSERT, "update": UPDATE, "findAndModify": UPDATE, "delete": DELETE,
}  # fmt: skip
# What the driver sends of its own accord.
CHATTER = {"hello", "ismaster", "isMaster", "ping", "endSessions", "killCursors", "buildInfo", "saslContinue"}


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


def of_sql(sql: str, params: Any) -> Statement:
    table = re.search(r'(?:FROM|INTO|UPDATE) "(\w+)"', sql)
    return Statement(ACTS.get(sql.split(None, 1)[0].upper(), OTHER), table[1] if table else "", sql, params)


def of_command(command: Any) -> Statement:
    name = next(iter(command))
    table = command.get("collection") if name == "getMore" else command[name]
    return Statement(ACTS.get(name, OTHER), str(table), command=dict(command))


@contextmanager
def around_statements(around: Callable[[Callable[[], Any], Statement], Any]) -> Iterator[None]:
    """`around(run, statement)` is called for each statement of this thread; `run()` sends it.

    On MongoDB: for each command, right where the driver puts it on a connection.
    """
    if not ON_MONGODB:

        def execute(run: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            return around(lambda: run(sql, params, many, context), of_sql(sql, params))

        with connection.execute_wrapper(execute):
            yield
        return
    mine = threading.get_ident()
    owners = {Connection: ("command", 1), _Bulk: ("write_command", 1)}
    originals = {owner: owner.__dict__[name] for owner, (name, _) in owners.items()}

    def wrapped(original: Any, place: int) -> Any:
        def send(self: Any, *args: Any, **kwargs: Any) -> Any:
            command = args[place]
            if threading.get_ident() != mine or next(iter(command)) in CHATTER:
                return original(self, *args, **kwargs)
            return around(lambda: original(self, *args, **kwargs), of_command(command))

        return send

    try:
        for owner, (name, place) in owners.items():
            setattr(owner, name, wrapped(originals[owner], place))
        yield
    finally:
        for owner, (name, _) in owners.items():
            setattr(owner, name, originals[owner])


@contextmanager
def failing(act: str = "", model: type[models.Model] | None = None, *, times: int | None = None) -> Iterator[None]:
    """Statements of this kind about this model fail as on a full disk: all, or the first `times`."""
    table, failed = model._meta.db_table if model else "", 0

    def fail(run: Callable[[], Any], statement: Statement) -> Any:
        nonlocal failed
        is_meant = act in ("", statement.act) and table in ("", statement.table)
        if is_meant and (times is None or failed < times):
            failed += 1
            raise OperationFailure("disk full", 14031) if ON_MONGODB else OperationalError("disk full")
        return run()

    with around_statements(fail):
        yield


@contextmanager
def seen() -> Iterator[list[Statement]]:
    """The statements that are sent meanwhile."""
    statements: list[Statement] = []

    def note(run: Callable[[], Any], statement: Statement) -> Any:
        statements.append(statement)
        return run()

    with around_statements(note):
        yield statements


@contextmanager
def table_away(model: type[models.Model]) -> Iterator[None]:
    """As if there were no such table."""
    table = model._meta.db_table
    if ON_MONGODB:
        with renamed(mongodb(), table):
            yield
        return
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO {table}_away")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table}_away RENAME TO {table}")


@contextmanager
def renamed(database: Any, table: str) -> Iterator[None]:
    """A view that cannot be read or written takes its place: a collection that is not there would just be empty."""
    database[table].rename(f"{table}_away")
    database.command("create", table, viewOn="nothing", pipeline=[{"$project": {"x": {"$divide": [1, 0]}}}])
    try:
        yield
    finally:
        database[table].drop()
        database[f"{table}_away"].rename(table)


# -- how it looks things up -------------------------------------------------------------------------------------------

# A few that a plan looks at in vain.
SLACK = 20


def plan_of(statement: Statement) -> str:
    """How the engine does a read."""
    if not ON_MONGODB:
        with connection.cursor() as cursor:
            rows = cursor.execute(f"EXPLAIN QUERY PLAN {statement.sql}", statement.params).fetchall()
        return " ".join(row[3] for row in rows)
    return str(explained(statement))


def explained(statement: Statement) -> dict[str, Any]:
    """MongoDB's own account of a read, with what it looked at."""
    sent = {name: statement.command[name] for name in ("aggregate", "pipeline")} | {"cursor": {}}
    return mongodb().command("explain", sent, verbosity="executionStats")


def walks(statement: Statement) -> bool:
    """Whether a read goes through more than it gives back. Give the table some hundred rows first."""
    if not ON_MONGODB:
        plan = plan_of(statement)
        return "INDEX" not in plan or (f"SCAN {statement.table}" in plan and "LIMIT" not in statement.sql)
    told = explained(statement)
    stages = told.get("stages", [])
    done = (stages[0]["$cursor"] if stages else told)["executionStats"]
    looked_at = max(done["totalKeysExamined"], done["totalDocsExamined"])
    sorts = any("$sort" in stage for stage in stages) or "'stage': 'SORT'" in str(done)
    skipped = sum(stage.get("$skip", 0) for stage in statement.command["pipeline"])
    return looked_at > done["nReturned"] + skipped + SLACK or (sorts and looked_at > SLACK)


def options_of(index: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in index.items() if name not in ("key", "v", "ns")}


# -- a database of its own --------------------------------------------------------------------------------------------


class Apart:
    """A database for a server of its own: a file in this folder, or one more on the tests' replica set."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "live.sqlite3"
        self.name = f"live_{hashlib.sha256(str(folder).encode()).hexdigest()[:32]}"
        self.url = mongodb_url(self.name) if ON_MONGODB else f"sqlite:///{self.file}"

    def copy_to(self, other: "Apart") -> None:
        """Fill another one, which is empty, with what is here. Nobody may be writing."""
        if not ON_MONGODB:
            shutil.copy(self.file, other.file)
            return
        with self.client() as ours, other.client() as theirs:
            for name in ours.list_collection_names():
                indexes = [IndexModel(one["key"], **options_of(one)) for one in ours[name].list_indexes()]
                theirs[name].create_indexes(indexes)
                if rows := list(ours[name].find()):
                    theirs[name].insert_many(rows)

    @contextmanager
    def client(self) -> Iterator[Any]:
        client: MongoClient[dict[str, Any]] = MongoClient(self.url)
        with client:
            yield client[self.name]

    def drop(self) -> None:
        """A file goes with its folder."""
        if ON_MONGODB:
            with self.client() as database:
                database.client.drop_database(self.name)

    def rows(self, table: str, *columns: str) -> list[tuple[Any, ...]]:
        """What it has stored."""
        if ON_MONGODB:
            with self.client() as database:
                return [tuple(row.get(column) for column in columns) for row in database[table].find()]
        with closing(sqlite3.connect(self.file, timeout=20)) as database:
            return database.execute(f"SELECT {', '.join(columns)} FROM {table}").fetchall()  # noqa: S608

    def assert_whole(self) -> None:
        """The engine finds nothing broken in it."""
        if not ON_MONGODB:
            with closing(sqlite3.connect(self.file, timeout=20)) as database:
                assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            return
        with self.client() as database:
            names = database.list_collection_names()
            assert names
            for name in names:
                found = database.command("validate", name)
                assert found["valid"] and not found["errors"], found

    def written(self) -> str:
        """What lies on the disk, as of the tests' database."""
        if ON_MONGODB:
            with self.client() as database:
                return oplog(database.client, self.name, Timestamp(0, 0))
        assert self.file.with_name(f"{self.file.name}-wal").exists(), "the write-ahead log is part of the search"
        return file_and_log(self.file)

    @contextmanager
    def table_away(self, table: str) -> Iterator[None]:
        if ON_MONGODB:
            with self.client() as database, renamed(database, table):
                yield
            return

        def rename(before: str, after: str) -> None:
            with closing(sqlite3.connect(self.file, timeout=10)) as database:
                database.execute(f"ALTER TABLE {before} RENAME TO {after}")

        rename(table, "away")
        with contextlib.ExitStack() as stack:
            stack.callback(rename, "away", table)
            yield
