"""`purge`: delete rows past their retention period, in batches, while the server runs."""

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
    """How many days to keep rows that have no expiry of their own. None: forever."""

    events_days: int = 90
    audit_days: int = 365
    imports_days: int = 30
    calls_days: int | None = None


@dataclass(frozen=True)
class PurgeTarget:
    """Rows to delete, and the function that deletes them and returns their number."""

    name: str
    rows: QuerySet[Any]
    delete: Callable[[], int]


def purge_targets(retention: Retention) -> Iterator[PurgeTarget]:
    """Yield what a purge deletes, kind by kind."""
    now = clock.now()

    def days_ago(days: int) -> Any:
        return now - timedelta(days=days)

    def target(name: str, rows: QuerySet[Any], oldest_by: str) -> PurgeTarget:
        return PurgeTarget(name, rows, partial(delete_in_batches, rows, oldest_by=oldest_by))

    # Only merged events: the others have not reached the call log yet.
    yield target("events", CallEvent.objects.filter(merged_at__lt=days_ago(retention.events_days)), "merged_at")
    if retention.calls_days is not None:
        # Their recordings are deleted with them; the audio stays at the carrier.
        yield target("calls", Call.objects.filter(created_at__lt=days_ago(retention.calls_days)), "created_at")
    imports = Import.objects.filter(created_at__lt=days_ago(retention.imports_days))
    yield PurgeTarget("imports", imports, partial(delete_imports, imports))
    yield target("idempotent replies", IdempotentReply.objects.filter(expires_at__lt=now), "expires_at")
    yield target("limit counters", LimitCounter.objects.filter(expires_at__lt=now), "expires_at")
    yield target("sessions", Session.objects.filter(expire_date__lt=timezone.now()), "expire_date")
    oldest = days_ago(retention.audit_days)
    yield PurgeTarget("audit entries", AuditEntry.objects.filter(at__lt=oldest), partial(audit.purge, oldest))


def delete_imports(imports: QuerySet[Import]) -> int:
    """Delete imports. Their rows are deleted first, in batches, because an import may have thousands."""
    for file in imports.order_by("created_at").iterator():
        delete_in_batches(ImportRow.objects.filter(file=file), oldest_by="line")
    return delete_in_batches(imports, oldest_by="created_at")
