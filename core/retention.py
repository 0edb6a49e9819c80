"""Delete many rows while the server is running."""

import time
from typing import Any

from django.db.models import QuerySet

from core.stopping import raise_if_stopping

BATCH = 500
# SQLite has a single writer: the pause lets others write between two batches.
PAUSE_S = 0.05


def delete_in_batches(rows: QuerySet[Any], *, oldest_by: str) -> int:
    """Delete rows in batches, with one statement per batch. After an interruption, the next call continues.
    Raises core.stopping.Stopped between two batches.

    Args:
        rows: the expired rows. A row that changes meanwhile and no longer matches is not deleted.
        oldest_by: an indexed column to sort by, oldest first.

    Returns the number of deleted rows.
    """
    count = 0
    while keys := list(rows.order_by(oldest_by).values_list("pk", flat=True)[:BATCH]):
        _, deleted = rows.filter(pk__in=keys).delete()
        count += deleted.get(rows.model._meta.label, 0)
        raise_if_stopping()
        time.sleep(PAUSE_S)
    return count
