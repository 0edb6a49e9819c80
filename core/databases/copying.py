"""Move an installation from one database to another, whatever their engines: `manage.py copy_database`.

Both databases are read in key order, and only the differences are written. So an interrupted copy continues where it
stopped, and a second one, after the server has been stopped, takes little time.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from graphlib import TopologicalSorter
from typing import Any

from django.apps import apps
from django.core.management.color import no_style
from django.db import connections
from django.db.models import Model

from core.fields import whole_milliseconds
from core.lookups import BATCH, in_key_order
from core.secrets import Secret

SOURCE, TARGET = "copy_source", "copy_target"


@dataclass(frozen=True)
class Contents:
    """Summary of a model's rows in a database: their number, and a digest of all their values."""

    rows: int
    digest: str


def models() -> list[type[Model]]:
    """All models with rows of their own; models that others refer to come first."""
    order: TopologicalSorter[Any] = TopologicalSorter()
    for model in apps.get_models(include_auto_created=True):
        if model._meta.managed and not model._meta.proxy:
            order.add(model, *(field.related_model for field in model._meta.concrete_fields if field.related_model))
    return list(order.static_order())


def row_values(row: Model) -> list[str | None]:
    """All values of a row as text, identical whichever database they come from."""
    return [as_text(getattr(row, field.attname)) for field in row._meta.concrete_fields]


def as_text(value: Any) -> str | None:
    if isinstance(value, Secret):
        return value.sealed
    if isinstance(value, datetime):
        # MongoDB stores only milliseconds, also of times that other packages write with microseconds.
        return whole_milliseconds(value).isoformat()
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    # PostgreSQL's text cannot hold U+0000, so its engine stores U+FFFD instead.
    return None if value is None else str(value).replace("\0", "\ufffd")


def rows(model: type[Model], alias: str) -> Iterator[Model]:
    return in_key_order(model._base_manager.using(alias))


def differences(model: type[Model]) -> Iterator[tuple[Model | None, Model | None]]:
    """Differing pairs of a source row and a target row; None where one of them does not exist."""
    ours, theirs = rows(model, SOURCE), rows(model, TARGET)
    source, target = next(ours, None), next(theirs, None)
    while source or target:
        if target is None or (source and source.pk < target.pk):
            yield source, None
            source = next(ours, None)
        elif source is None or target.pk < source.pk:
            yield None, target
            target = next(theirs, None)
        else:
            if row_values(source) != row_values(target):
                yield source, target
            source, target = next(ours, None), next(theirs, None)


def clear(model: type[Model]) -> int:
    """Delete the target's rows that are missing from the source or differ from it. Returns their number."""
    keys = [target.pk for _, target in differences(model) if target]
    for some in in_batches(keys):
        model._base_manager.using(TARGET).filter(pk__in=some)._raw_delete(TARGET)
    return len(keys)


def fill(model: type[Model], count: Callable[[int], None]) -> None:
    """Write the rows that only the source has to the target. Calls `count` with the size of each batch."""
    for some in in_batches(source for source, _ in differences(model) if source):
        # Raw, as in `loaddata`, so that no field inserts the current time.
        fields = model._meta.local_concrete_fields
        model._base_manager._insert(some, fields=fields, using=TARGET, raw=True)  # type: ignore[attr-defined]
        count(len(some))


def copy(count: Callable[[str, int], None]) -> None:
    """Make the target identical to the source.

    Args:
        count: called with what was done, "copied" or "removed", and the number of rows.

    Effects: writes to the target. The source is only read.
    """
    with connections[TARGET].constraint_checks_disabled():
        # Clear all models first: a row to be deleted may hold a unique value of a row to be copied.
        for model in reversed(models()):
            count("removed", clear(model))
        for model in models():
            fill(model, lambda rows: count("copied", rows))
    continue_sequences()


def continue_sequences() -> None:
    """Let the target draw integer keys after those that were copied. Only PostgreSQL does not do so by itself."""
    target = connections[TARGET]
    for statement in target.ops.sequence_reset_sql(no_style(), models()):
        with target.cursor() as cursor:
            cursor.execute(statement)


def contents(model: type[Model], alias: str) -> Contents:
    """Count and digest a model's rows in a database."""
    digest, number = hashlib.sha256(), 0
    for row in rows(model, alias):
        digest.update(json.dumps(row_values(row)).encode())
        number += 1
    return Contents(number, digest.hexdigest())


def in_batches(items: Iterable[Any]) -> Iterator[list[Any]]:
    """Split items into batches that every engine accepts in one statement."""
    batch: list[Any] = []
    for item in items:
        batch.append(item)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
