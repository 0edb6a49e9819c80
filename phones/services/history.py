"""Entries in the audit trail: what was done to a number, by whom and with what outcome."""

from collections.abc import Iterator
from contextlib import contextmanager

from core.errors import Refusal
from integrations.errors import IntegrationError
from phones.models import PhoneNumber
from users import audit


def note(action: str, phone: PhoneNumber, *, outcome: str = "ok", detail: str = "", once: str = "") -> None:
    """Record an action on a number; with `once`, only the first with this name (users/audit.py)."""
    audit.record(
        action,
        number=phone.number,
        phone_id=phone.pk,
        workspace_id=phone.user.workspace_id,
        outcome=outcome,
        detail=detail,
        once=once,
    )


@contextmanager
def refusal_noted(action: str, phone: PhoneNumber, *, detail: str = "") -> Iterator[None]:
    """Record the action if the block is refused, with the error code as the outcome."""
    try:
        yield
    except (Refusal, IntegrationError) as refusal:
        note(action, phone, outcome=refusal.code, detail=detail)
        raise
