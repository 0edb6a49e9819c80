"""What tests ask of their own database, the one that `connection` leads to, in the same words on each engine.

`apart(folder)` is one for a server of its own.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from django.db import models

from tests.support.engines.base import DELETE, INSERT, OTHER, READ, UPDATE, Database, Statement
from tests.support.environment import ENGINE, ENGINES

__all__ = ["DELETE", "INSERT", "OTHER", "READ", "UPDATE", "Database", "Statement"]

apart = ENGINES[ENGINE]
OURS = apart()
around_statements, fail, unreachable = OURS.around_statements, OURS.fail, OURS.unreachable
whole_database, last_write, written = OURS.whole, OURS.last_write, OURS.written
plan_of, walks = OURS.plan_of, OURS.walks


def shared_url() -> str:
    """DATABASE_URL for another process that shall share the tests' database."""
    return OURS.url


def stored(model: type[models.Model], column: str) -> list[Any]:
    """The values of a column as the database has them."""
    return [value for (value,) in OURS.rows(model._meta.db_table, column)]


def table_away(model: type[models.Model]) -> AbstractContextManager[None]:
    return OURS.table_away(model._meta.db_table)


@contextmanager
def failing(act: str = "", model: type[models.Model] | None = None, *, times: int | None = None) -> Iterator[None]:
    """Statements of this kind about this model fail as on a full disk: all, or the first `times`."""
    table, failed = model._meta.db_table if model else "", 0

    def around(run: Callable[[], Any], statement: Statement) -> Any:
        nonlocal failed
        is_meant = act in ("", statement.act) and table in ("", statement.table)
        if is_meant and (times is None or failed < times):
            failed += 1
            fail()
        return run()

    with around_statements(around):
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
