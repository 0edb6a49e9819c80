"""Count the statements sent to the database and their table scans. The counts are identical on every machine."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from pymongo import monitoring

GROWING = r"phones_(?:phonenumber|line|account|call|callevent|recording|searchterm|importrow)|users_auditentry"
# Commands that the driver sends on its own.
CHATTER = {"hello", "ismaster", "ping", "endSessions", "killCursors", "buildInfo"}


@dataclass(frozen=True)
class Statement:
    """SQL with its parameters, or the name of a MongoDB command with the command itself."""

    text: str
    given: Any


class Listener(monitoring.CommandListener):
    """Records the commands of every client that was created after `listener()`."""

    def __init__(self) -> None:
        self.heard: list[Statement] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name not in CHATTER:
            self.heard.append(Statement(event.command_name, dict(event.command)))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


@cache
def listener() -> Listener:
    """The listener of this process. Call this before Django connects to MongoDB."""
    one = Listener()
    monitoring.register(one)
    return one


@contextmanager
def sent() -> Iterator[list[Statement]]:
    """Record the statements sent in this block: by this thread's connection on SQLite, by the process on MongoDB."""
    from django.db import connection

    statements: list[Statement] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        statements.append(Statement(sql, params))
        return execute(sql, params, many, context)

    if connection.vendor == "mongodb":
        before = len(listener().heard)
        yield statements
        statements += listener().heard[before:]
        return
    with connection.execute_wrapper(note):
        yield statements


def scans(statements: list[Statement], tables: str = GROWING, *, even_limited: bool = False) -> set[str]:
    """The steps of the statements' plans that scan a table.

    Args:
        tables: a regular expression of the tables' names.
        even_limited: also count scans that a limit ends early.
    """
    from django.db import connection

    of_one = scans_on_mongodb if connection.vendor == "mongodb" else scans_on_sqlite
    return {step for one in statements for step in of_one(one, tables, even_limited)}


def scans_on_sqlite(statement: Statement, tables: str, even_limited: bool) -> set[str]:
    """A limit ends a scan early, unless all rows are sorted first or matches are rare."""
    from django.db import connection

    sql = statement.text
    if not sql.startswith("SELECT"):
        return set()
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {sql}", statement.given)
        steps = [row[3] for row in cursor.fetchall()]
    is_sorted = any("TEMP B-TREE FOR ORDER BY" in step for step in steps)
    if "LIMIT" in sql and "LIKE" not in sql and not is_sorted and not even_limited:
        return set()
    return {step for step in steps if re.match(rf"SCAN ({tables})\b", step)}


def scans_on_mongodb(statement: Statement, tables: str, even_limited: bool) -> set[str]:
    """Django reads only with aggregations. A limit at the very start ends a scan early."""
    from django.db import connection

    name = str(statement.given.get("aggregate"))
    if statement.text != "aggregate" or not re.fullmatch(tables, name):
        return set()
    command = {"aggregate": name, "pipeline": statement.given["pipeline"], "cursor": {}}
    plan = connection.database.command("explain", command, verbosity="queryPlanner")  # type: ignore[attr-defined]
    stages = [next(iter(stage)) for stage in command["pipeline"]]
    is_limited = "$limit" in stages and not {"$match", "$sort"} & set(stages[: stages.index("$limit")])
    if "'stage': 'COLLSCAN'" not in str(plan) or (is_limited and not even_limited):
        return set()
    return {f"COLLSCAN {name}"}
