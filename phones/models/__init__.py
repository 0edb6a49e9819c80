"""The rows. Migrations refer to NOT_RESTORED, carrier_choices and new_webhook_token here."""

from phones.models.calls import Call, CallEvent, Recording
from phones.models.figures import Figure
from phones.models.imports import Import, ImportRow
from phones.models.numbers import (
    MAX_RING_S,
    MIN_RING_S,
    NOT_RESTORED,
    Account,
    Line,
    MadeApplication,
    PhoneNumber,
    SearchTerm,
    carrier_choices,
    new_webhook_token,
    token_digest,
)

__all__ = [
    "MAX_RING_S",
    "MIN_RING_S",
    "NOT_RESTORED",
    "Account",
    "Call",
    "CallEvent",
    "Figure",
    "Import",
    "ImportRow",
    "Line",
    "MadeApplication",
    "PhoneNumber",
    "Recording",
    "SearchTerm",
    "carrier_choices",
    "new_webhook_token",
    "token_digest",
]
