"""The audit trail: who did what, when, from where, and with what result. Rows are added and never changed; only
`purge` deletes expired ones."""

import hashlib
from datetime import datetime
from typing import cast

from django.db import IntegrityError, transaction
from django.db.models import CharField, QuerySet

from core.logs import request_id
from core.retention import delete_in_batches
from users.actor import current_actor
from users.models import AuditEntry

# The admin's filter offers these.
ACTIONS = [
    "phone.add",
    "phone.remove",
    "phone.change",
    "phone.repair",
    "phone.rotate",
    "phone.move",
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
    """Add one row for an action that was just done or rejected. The actor is the current one (users/actor.py).

    Call this after the action. It joins an open transaction; outside one, the action stays done even if this write
    fails.

    Args:
        action: what was done, such as "phone.add".
        number: the phone number, E.164 digits.
        phone_id, workspace_id: ids of rows; not foreign keys, because history outlives the rows.
        outcome: "ok", or the machine code of the error.
        detail: safe text, such as the names of changed fields; never a value that may be a secret. Too long a text is
            truncated.
        once: a name for the action if repeating it must not add another row: as long as the first row exists, it stays
            the only one with this action and name.

    Raises:
        django.db.DatabaseError: the row could not be written. This is not suppressed, because somebody must notice an
            action that left no trace.
    """
    actor = current_actor()
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


def purge(before: datetime) -> int:
    """Delete the entries from before a time. An entry about the deletion is written first, so that every deletion is
    recorded.

    Returns the number of deleted entries.
    """
    entries: QuerySet[AuditEntry] = QuerySet(AuditEntry).filter(at__lt=before)  # AuditEntry.objects deletes nothing
    if not entries.exists():
        return 0
    record("audit.purge", detail=f"before {before:%Y-%m-%d %H:%M:%S} UTC")
    return delete_in_batches(entries, oldest_by="at")


def fit(text: str, field: str) -> str:
    """The text on one line, truncated to the length of the column."""
    column = cast(CharField, AuditEntry._meta.get_field(field))
    return " ".join(text.split())[: column.max_length]
