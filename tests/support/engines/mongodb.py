"""MongoDB: a replica set of one member for all databases."""

import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NoReturn, Self

from bson import Timestamp
from django.db import connection
from pymongo import IndexModel, MongoClient
from pymongo.errors import OperationFailure
from pymongo.synchronous.bulk import _Bulk
from pymongo.synchronous.pool import Connection

from sandbox.replica_set import ReplicaSet, mongod
from tests.support.engines.base import DELETE, INSERT, OTHER, READ, UPDATE, Around, OnServer, Statement, elsewhere
from tests.support.watching import kill_with_this_process

ACTS = {
    "aggregate": READ, "find": READ, "getMore": READ, "count": READ, "distinct": READ,
    "insert": INSERT, "update": UPDATE, "findAndModify": UPDATE, "delete": DELETE,
}  # fmt: skip
# What the driver sends of its own accord.
CHATTER = {"hello", "ismaster", "isMaster", "ping", "endSessions", "killCursors", "buildInfo", "saslContinue"}
# A few that a plan looks at in vain.
SLACK = 20


class MongoDB(OnServer):
    engine, label = "mongodb", "MongoDB"

    @classmethod
    def start(cls) -> str:
        if cls.ADDRESS not in os.environ:
            if mongod() is None:
                raise LookupError("there is no mongod that runs on this machine")
            replica_set = ReplicaSet().__enter__()
            kill_with_this_process([one.pid for one in replica_set.processes.values()], replica_set.folder)
            os.environ[cls.ADDRESS] = replica_set.url("tests")
        return os.environ[cls.ADDRESS]

    @contextmanager
    def database(self) -> Iterator[Any]:
        """pymongo's."""
        if self.folder is None:
            yield connection.database  # type: ignore[attr-defined]
            return
        client: MongoClient[dict[str, Any]] = MongoClient(self.url)
        with client:
            yield client[self.name]

    def create(self) -> None:
        """The first to write makes it."""

    def copy_to(self, other: Self) -> None:
        with self.database() as ours, other.database() as theirs:
            for name in ours.list_collection_names():
                indexes = [IndexModel(one["key"], **options_of(one)) for one in ours[name].list_indexes()]
                theirs[name].create_indexes(indexes)
                if rows := list(ours[name].find()):
                    theirs[name].insert_many(rows)

    def drop(self) -> None:
        with self.database() as database:
            database.client.drop_database(self.name)

    def unreachable(self, folder: Path) -> AbstractContextManager[None]:
        options = connection.settings_dict["OPTIONS"] | {"serverselectiontimeoutms": 300}
        return elsewhere(HOST="mongodb://127.0.0.1:1/nowhere?replicaSet=tests", OPTIONS=options)

    def rows(self, table: str, *columns: str) -> list[tuple[Any, ...]]:
        with self.database() as database:
            return [tuple(row.get(column) for column in columns) for row in database[table].find()]

    def whole(self) -> list[str]:
        with self.database() as database:
            return [str(list(database[name].find())) for name in database.list_collection_names()]

    def dump(self) -> Any:
        with self.database() as database:
            return {
                name: (list(database[name].find().sort("_id")), sorted(database[name].index_information().items()))
                for name in sorted(database.list_collection_names())
            }

    def last_write(self) -> Timestamp:
        with self.database() as database:
            (entry,) = database.client.local["oplog.rs"].find().sort("$natural", -1).limit(1)
        return entry["ts"]

    def written(self, since: Timestamp | None = None) -> str:
        """Each entry of the oplog as it is kept. A transaction's entries stand under the name of no database."""
        ours = {"$regex": rf"^({re.escape(self.name)}|admin)\."}
        with self.database() as database:
            entries = database.client.local["oplog.rs"].find({"ts": {"$gt": since or Timestamp(0, 0)}, "ns": ours})
            return "\n".join(map(str, entries))

    def assert_whole(self) -> None:
        with self.database() as database:
            names = database.list_collection_names()
            assert names
            for name in names:
                found = database.command("validate", name)
                assert found["valid"] and not found["errors"], found

    @contextmanager
    def around_statements(self, around: Around) -> Iterator[None]:
        """Commands, right where the driver puts them on a connection."""
        mine = threading.get_ident()
        owners = {Connection: ("command", 1), _Bulk: ("write_command", 1)}
        originals = {owner: owner.__dict__[name] for owner, (name, _) in owners.items()}

        def wrapped(original: Any, place: int) -> Callable[..., Any]:
            def send(self: Any, *args: Any, **kwargs: Any) -> Any:
                command = args[place]
                if threading.get_ident() != mine or next(iter(command)) in CHATTER:
                    return original(self, *args, **kwargs)
                return around(lambda: original(self, *args, **kwargs), statement_of(command))

            return send

        try:
            for owner, (name, place) in owners.items():
                setattr(owner, name, wrapped(originals[owner], place))
            yield
        finally:
            for owner, (name, _) in owners.items():
                setattr(owner, name, originals[owner])

    def fail(self) -> NoReturn:
        raise OperationFailure("disk full", 14031)

    @contextmanager
    def table_away(self, table: str) -> Iterator[None]:
        """A view that cannot be read or written takes its place: a collection that is not there would just be empty."""
        fails = [{"$project": {"x": {"$divide": [1, 0]}}}]
        with self.database() as database:
            database[table].rename(f"{table}_away")
            database.command("create", table, viewOn="nothing", pipeline=fails)
            try:
                yield
            finally:
                database[table].drop()
                database[f"{table}_away"].rename(table)

    def plan_of(self, statement: Statement) -> str:
        return str(self.explained(statement))

    def explained(self, statement: Statement) -> dict[str, Any]:
        """MongoDB's own account of a read, with what it looked at."""
        sent = {name: statement.command[name] for name in ("aggregate", "pipeline")} | {"cursor": {}}
        with self.database() as database:
            return database.command("explain", sent, verbosity="executionStats")

    def walks(self, statement: Statement, *, may_sort: bool = False) -> bool:
        told = self.explained(statement)
        stages = told.get("stages", [])
        done = (stages[0]["$cursor"] if stages else told)["executionStats"]
        looked_at = max(done["totalKeysExamined"], done["totalDocsExamined"])
        sorts = any("$sort" in stage for stage in stages) or "'stage': 'SORT'" in str(done)
        skipped = sum(stage.get("$skip", 0) for stage in statement.command["pipeline"])
        return looked_at > done["nReturned"] + skipped + SLACK or (sorts and not may_sort and looked_at > SLACK)


def statement_of(command: Any) -> Statement:
    name = next(iter(command))
    table = command.get("collection") if name == "getMore" else command[name]
    return Statement(ACTS.get(name, OTHER), str(table), command=dict(command))


def options_of(index: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in index.items() if name not in ("key", "v", "ns")}
