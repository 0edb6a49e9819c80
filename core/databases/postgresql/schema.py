"""Columns whose order is the same on every server."""

from collections.abc import Iterator
from typing import Any

from django.db.backends.postgresql import schema

TEXT = ("varchar", "text")
# By code points, as SQLite and MongoDB sort. Otherwise the order is that of the database's locale, in which no range
# holds all texts with a common beginning, and an upgrade of the system can change it under an index.
# https://www.postgresql.org/docs/current/collation.html (read 2026-11-30)
BY_CODE_POINTS = ' COLLATE "C"'


def collated(column_type: str) -> str:
    return column_type + BY_CODE_POINTS if column_type.startswith(TEXT) else column_type


class DatabaseSchemaEditor(schema.DatabaseSchemaEditor):
    def _iter_column_sql(self, column_db_type: str, *args: Any) -> Iterator[str]:
        return super()._iter_column_sql(collated(column_db_type), *args)  # type: ignore[misc]

    def _alter_column_type_sql(self, model: Any, old_field: Any, new_field: Any, new_type: str, *args: Any) -> Any:
        return super()._alter_column_type_sql(model, old_field, new_field, collated(new_type), *args)  # type: ignore[misc]

    def _create_like_index_sql(self, *args: Any) -> None:
        """No second index of a text column: in this order, the first one serves LIKE as well."""
