"""`purge`: delete rows past their retention period, in batches, while the server runs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from django.conf import settings
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

    events: int | None
    audit: int | None
    imports: int | None
    calls: int | None


def configured() -> Retention:
    """What the settings KEEP_…_DAYS say."""
    return Retention(**settings.KEEP_DAYS)


@dataclass(frozen=True)
class PurgeTarget:
    """Rows to delete, and the function that deletes them and returns their number."""

    name: str
    rows: QuerySet[Any]
    delete: Callable[[], int]


def purge_targets(kept: Retention) -> Iterator[PurgeTarget]:
    """Yield what a purge deletes, kind by kind."""
    now = clock.now()

    def target(name: str, rows: QuerySet[Any], oldest_by: str) -> PurgeTarget:
        return PurgeTarget(name, rows, partial(delete_in_batches, rows, oldest_by=oldest_by))

    if kept.events:  # only merged events: the others have not reached the call log yet
        yield target("events", CallEvent.objects.filter(merged_at__lt=now - timedelta(kept.events)), "merged_at")
    if kept.calls:  # their recordings are deleted with them; the audio stays at the carrier
        yield target("calls", Call.objects.filter(created_at__lt=now - timedelta(kept.calls)), "created_at")
    if kept.imports:
        imports = Import.objects.filter(created_at__lt=now - timedelta(kept.imports))
        yield PurgeTarget("imports", imports, partial(delete_imports, imports))
    yield target("idempotent replies", IdempotentReply.objects.filter(expires_at__lt=now), "expires_at")
    yield target("limit counters", LimitCounter.objects.filter(expires_at__lt=now), "expires_at")
    yield target("sessions", Session.objects.filter(expire_date__lt=timezone.now()), "expire_date")
    if kept.audit:
        oldest = now - timedelta(kept.audit)
        yield PurgeTarget("audit entries", AuditEntry.objects.filter(at__lt=oldest), partial(audit.purge, oldest))


def purge_all() -> str:
    """Delete what the settings do not keep. Returns a summary. Raises core.stopping.Stopped between two batches."""
    return "deleted " + ", ".join(f"{target.delete()} {target.name}" for target in purge_targets(configured()))


def delete_imports(imports: QuerySet[Import]) -> int:
    """Delete imports. Their rows are deleted first, in batches, because an import may have thousands."""
    for file in imports.order_by("created_at").iterator():
        delete_in_batches(ImportRow.objects.filter(file=file), oldest_by="line")
    return delete_in_batches(imports, oldest_by="created_at")
