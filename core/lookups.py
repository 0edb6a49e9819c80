"""Queries written so that every database uses its index."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from django.db.models import Model, Q, QuerySet

Row = TypeVar("Row", bound=Model)

# Rows of a query of `in_key_order`.
BATCH = 500

# The last code point: every string that starts with a prefix sorts between the prefix and the prefix plus this.
LAST = "\U0010ffff"


def begins_with(field: str, text: str) -> Q:
    """Rows whose field starts with a text. A range, because not every database uses its index for `startswith`."""
    return Q(**{f"{field}__gte": text, f"{field}__lt": text + LAST})


def read_related(rows: Sequence[Model], *names: str) -> None:
    """Read the rows that these foreign keys refer to, in one query per key, and cache them on the given rows.

    Django's prefetch compares tuples, which django-mongodb-backend 5.2.4 turns into an expression that uses no index.
    """
    for name in names if rows else ():
        field: Any = rows[0]._meta.get_field(name)
        keys = {getattr(row, field.attname) for row in rows} - {None}
        found = field.remote_field.model._base_manager.in_bulk(keys)
        for row in rows:
            field.set_cached_value(row, found.get(getattr(row, field.attname)))


def in_key_order(rows: QuerySet[Row], batch: int = BATCH) -> Iterator[Row]:
    """All rows by their keys, of which only so many are in memory.

    Each batch is a query of its own, so that no cursor stays open while others write, or while a carrier is asked.
    """
    rows, last = rows.order_by("pk"), None
    while found := list((rows if last is None else rows.filter(pk__gt=last))[:batch]):
        yield from found
        last = found[-1].pk
