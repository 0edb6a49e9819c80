"""What the engines have in common that speak SQL."""

import re
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from django.db import connection

from tests.support.engines.base import DELETE, INSERT, OTHER, READ, UPDATE, Around, Database, Statement

ACTS = {"SELECT": READ, "INSERT": INSERT, "UPDATE": UPDATE, "DELETE": DELETE}


class SQL(Database):
    @abstractmethod
    def apart(self) -> AbstractContextManager[Any]:
        """What executes SQL on a connection of its own."""

    def ask(self, sql: str, params: Any = ()) -> list[tuple[Any, ...]]:
        with self.apart() if self.folder else connection.cursor() as cursor:
            return cursor.execute(sql, params).fetchall()

    def rows(self, table: str, *columns: str) -> list[tuple[Any, ...]]:
        return self.ask(f"SELECT {', '.join(columns)} FROM {table}")  # noqa: S608

    def whole(self) -> list[str]:
        with connection.cursor() as cursor:
            tables = connection.introspection.table_names(cursor)
        return [str(self.rows(f'"{table}"', "*")) for table in tables]

    @contextmanager
    def around_statements(self, around: Around) -> Iterator[None]:
        def execute(run: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            return around(lambda: run(sql, params, many, context), statement_of(sql, params))

        with connection.execute_wrapper(execute):
            yield

    @contextmanager
    def table_away(self, table: str) -> Iterator[None]:
        self.rename(table, f"{table}_away")
        try:
            yield
        finally:
            self.rename(f"{table}_away", table)

    def rename(self, before: str, after: str) -> None:
        with self.apart() if self.folder else connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {before} RENAME TO {after}")


def statement_of(sql: str, params: Any) -> Statement:
    table = re.search(r'(?:FROM|INTO|UPDATE) "(\w+)"', sql)
    return Statement(ACTS.get(sql.split(None, 1)[0].upper(), OTHER), table[1] if table else "", sql, params)
