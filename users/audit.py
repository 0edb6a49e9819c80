"""The audit trail: who did what, when, from where, and what came of it. Rows are added and never changed; those past
their time leave by `forget` and by nothing else."""

import hashlib
from datetime import datetime
from typing import cast

from django.db import IntegrityError, transaction
from django.db.models import CharField, QuerySet

from core.logs import request_id
from core.retention import delete_in_batches
from users.acting import acting, present_actor
from users.models import AuditEntry

__all__ = ["ACTIONS", "acting", "forget", "record"]

# What the admin offers to filter by.
ACTIONS = [
    "phone.add",
    "phone.remove",
    "phone.change",
    "phone.repair",
    "phone.rotate",
    "phone.pick",
    "phone.rehearse",
    "recording.hear",
    "import.bring",
    "import.add",
    "import.resume",
    "token.issue",
    "token.revoke",
    "workspace.add",
    "workspace.change",
    "workspace.delete",
    "user.add",
    "user.change",
    "user.delete",
    "user.password",
    "group.add",
    "group.change",
    "group.delete",
    "login",
    "login.failed",
    "login.locked",
    "logout",
    "totp.enrolled",
    "totp.failed",
    "totp.reset",
    "audit.purge",
]


def record(
    action: str,
    *,
    number: str = "",
    phone_id: str | None = None,
    workspace_id: str | None = None,
    outcome: str = "ok",
    detail: str = "",
    once: str = "",
) -> None:
    """Add one row for what was just done or refused. Who did it is who `acting` says.

    Call it when the outcome is known: a row is no promise. Like any other write it belongs to a transaction that is
    open; without one it stands for itself, and so does the act.

    Args:
        action: what was done, such as "phone.add".
        number: the phone number, E.164 digits.
        phone_id, workspace_id: ids of rows. They are no foreign keys: history outlives its rows.
        outcome: "ok", or the machine code of the refusal.
        detail: safe text, such as the names of changed fields; never a value that may be a secret. Texts
            that are too long are cut, never refused.
        once: a name for what is done, if doing it again is to add no row: as long as the first is kept, it stays the
            only one of this action and name.

    Raises:
        django.db.DatabaseError: the row could not be written. It is not hidden, as an act without a trace must be seen
            by somebody; what was done before the call stays done, so call this last.
    """
    actor = present_actor()
    entry = AuditEntry(
        actor_kind=actor.kind,
        actor=fit(actor.name, "actor"),
        address=fit(actor.address, "address"),
        action=fit(action, "action"),
        outcome=fit(outcome, "outcome"),
        number=fit(number, "number"),
        phone_id=phone_id,
        workspace_id=workspace_id,
        request_id=fit(request_id.get(), "request_id"),
        detail=fit(detail, "detail"),
    )
    if not once:
        entry.save()
        return
    entry.pk = hashlib.sha256(f"{action} {once}".encode()).hexdigest()[:24]
    same = AuditEntry.objects.filter(pk=entry.pk)
    if same.exists():
        return
    try:
        with transaction.atomic():
            entry.save()
    except IntegrityError:
        if not same.exists():
            raise


def forget(before: datetime) -> int:
    """Delete the entries from before a moment. That it was done is an entry of its own, written first, so that none
    leaves untold.

    Returns how many there were.
    """
    entries: QuerySet[AuditEntry] = QuerySet(AuditEntry).filter(at__lt=before)  # AuditEntry.objects deletes nothing
    if not entries.exists():
        return 0
    record("audit.purge", detail=f"before {before:%Y-%m-%d %H:%M:%S} UTC")
    return delete_in_batches(entries, oldest_by="at")


def fit(text: str, field: str) -> str:
    """As much of a text as the column takes, on one line."""
    column = cast(CharField, AuditEntry._meta.get_field(field))
    return " ".join(text.split())[: column.max_length]
