"""Deleting many rows while the server runs."""

import time
from typing import Any

from django.db.models import QuerySet

BATCH = 500
# SQLite has one writer: between two batches the others have their turn.
PAUSE_S = 0.05


def delete_in_batches(rows: QuerySet[Any], *, oldest_by: str) -> int:
    """Delete rows a batch at a time, each in a statement of its own. What was begun is gone on with by the next call.

    Args:
        rows: what is past its time. A row that changes meanwhile and is no longer among them stays.
        oldest_by: the column with the index by which they are found.

    Returns how many there were.
    """
    count = 0
    while keys := list(rows.order_by(oldest_by).values_list("pk", flat=True)[:BATCH]):
        _, deleted = rows.filter(pk__in=keys).delete()
        count += deleted.get(rows.model._meta.label, 0)
        time.sleep(PAUSE_S)
    return count
