"""`purge`: what has been kept for long enough is deleted, in batches, while the server runs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from django.contrib.sessions.models import Session
from django.db.models import QuerySet
from django.utils import timezone

from core import clock
from core.retention import delete_in_batches
from phones.models import Call, CallEvent, Import, ImportRow
from users import audit
from users.models import AuditEntry, IdempotentReply, LimitCounter


@dataclass(frozen=True)
class Retention:
    """How many days is kept what has no end of its own. Calls are kept for good without a number."""

    events_days: int = 90
    audit_days: int = 365
    imports_days: int = 30
    calls_days: int | None = None


@dataclass(frozen=True)
class Old:
    """Rows past their time, and what deletes them; it returns how many there were."""

    name: str
    rows: QuerySet[Any]
    delete: Callable[[], int]


def old_rows(retention: Retention) -> Iterator[Old]:
    """What a purge deletes, kind by kind."""
    now = clock.now()

    def days_ago(days: int) -> Any:
        return now - timedelta(days=days)

    def old(name: str, rows: QuerySet[Any], oldest_by: str) -> Old:
        return Old(name, rows, partial(delete_in_batches, rows, oldest_by=oldest_by))

    # Merged ones only: what is not merged is not in the log of calls.
    yield old("events", CallEvent.objects.filter(merged_at__lt=days_ago(retention.events_days)), "merged_at")
    if retention.calls_days is not None:
        # With their recordings; the audio stays at the carrier.
        yield old("calls", Call.objects.filter(created_at__lt=days_ago(retention.calls_days)), "created_at")
    imports = Import.objects.filter(created_at__lt=days_ago(retention.imports_days))
    yield Old("imports", imports, partial(delete_imports, imports))
    yield old("idempotent replies", IdempotentReply.objects.filter(expires_at__lt=now), "expires_at")
    yield old("limit counters", LimitCounter.objects.filter(expires_at__lt=now), "expires_at")
    yield old("sessions", Session.objects.filter(expire_date__lt=timezone.now()), "expire_date")
    oldest_entry = days_ago(retention.audit_days)
    yield Old("audit entries", AuditEntry.objects.filter(at__lt=oldest_entry), partial(audit.forget, oldest_entry))


def delete_imports(imports: QuerySet[Import]) -> int:
    """Delete files with their rows: the rows first, as a file may have thousands."""
    for file in imports.order_by("created_at").iterator():
        delete_in_batches(ImportRow.objects.filter(file=file), oldest_by="line")
    return delete_in_batches(imports, oldest_by="created_at")
