"""Moving an installation from one database to another, whatever their engines: `manage.py copy_database`.

Both are walked through in the order of their keys, and only what differs is written. So a copy that was interrupted
goes on where it was, and a second one, after the server has been stopped, takes little time.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.apps import apps
from django.db import connections
from django.db.models import Model

from core.fields import whole_milliseconds
from core.secrets import Secret

SOURCE, TARGET = "copy_source", "copy_target"
BATCH = 500


@dataclass(frozen=True)
class Contents:
    """What a database holds of a model: how many rows, and a digest of all their values."""

    rows: int
    digest: str


def models() -> list[type[Model]]:
    """All that have rows of their own, those that others refer to first."""
    every = [model for model in apps.get_models(include_auto_created=True) if model._meta.managed]
    return [model for model in every if not model._meta.proxy]


def told(row: Model) -> list[str | None]:
    """All values of a row, the same whichever database it comes from."""
    return [as_text(getattr(row, field.attname)) for field in row._meta.concrete_fields]


def as_text(value: Any) -> str | None:
    if isinstance(value, Secret):
        return value.sealed
    if isinstance(value, datetime):
        # MongoDB keeps no more of those moments that other packages write.
        return whole_milliseconds(value).isoformat()
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return None if value is None else str(value)


def rows(model: type[Model], alias: str) -> Iterator[Model]:
    return model._base_manager.using(alias).order_by("pk").iterator(BATCH)


def differences(model: type[Model]) -> Iterator[tuple[Model | None, Model | None]]:
    """Pairs of a row of the source and one of the target that differ; None where there is no such row."""
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
            if told(source) != told(target):
                yield source, target
            source, target = next(ours, None), next(theirs, None)


def clear(model: type[Model]) -> int:
    """Delete from the target what is not, or not so, in the source. Returns how many rows."""
    keys = [target.pk for _, target in differences(model) if target]
    for some in in_batches(keys):
        model._base_manager.using(TARGET).filter(pk__in=some)._raw_delete(TARGET)
    return len(keys)


def fill(model: type[Model], count: Callable[[int], None]) -> None:
    """Write to the target what only the source has. `count` is told how many rows, now and then."""
    for some in in_batches(source for source, _ in differences(model) if source):
        # Raw, as `loaddata` writes: no field puts in a moment of its own.
        fields = model._meta.local_concrete_fields
        model._base_manager._insert(some, fields=fields, using=TARGET, raw=True)  # type: ignore[attr-defined]
        count(len(some))


def copy(count: Callable[[str, int], None]) -> None:
    """Make the target the same as the source.

    Args:
        count: told what was done, "copied" or "removed", and with how many rows.

    Effects: writes to the target. The source is only read.
    """
    with connections[TARGET].constraint_checks_disabled():
        # First of all models: a row that goes may have what is unique in one that comes.
        for model in reversed(models()):
            count("removed", clear(model))
        for model in models():
            fill(model, lambda rows: count("copied", rows))


def contents(model: type[Model], alias: str) -> Contents:
    """What a database holds of a model."""
    digest, number = hashlib.sha256(), 0
    for row in rows(model, alias):
        digest.update(json.dumps(told(row)).encode())
        number += 1
    return Contents(number, digest.hexdigest())


def in_batches(items: Iterable[Any]) -> Iterator[list[Any]]:
    """In such numbers as every engine takes in one statement."""
    batch: list[Any] = []
    for item in items:
        batch.append(item)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
