"""An account's refused webhooks, which explain why its calls are missing.

A forged request must cost us almost nothing, so refusals are stored on the account's own row, and not all of them.

After several webhooks in a row were refused for their signature, the account's lines are in drift, whatever their
settings at the carrier. The next accepted webhook makes them healthy again, unless the last check found other reasons.
"""

import json
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import F, Q
from django.utils import timezone

from integrations.errors import BadSignature, SignedOtherwise
from integrations.types import Difference
from phones.models import Account, Line

KEPT = 5
PAUSE = timedelta(seconds=10)
# This many in a row are not a coincidence.
MANY = 5
REFUSED = Difference("webhooks_refused", "", "")
# The newest refused webhook says that the account has its webhooks signed with another key.
SIGNED_OTHERWISE = Difference("webhooks_signed_otherwise", "", "")
REFUSALS = (REFUSED, SIGNED_OTHERWISE)


class RefusedWebhook(NamedTuple):
    """A webhook that could not be verified as the carrier's. `reason` is safe to show."""

    at: datetime
    kind: str
    reason: str


def note_refused(account: Account, kind: str, refusal: BadSignature) -> None:
    """Store a refused webhook, unless another was stored within the last 10 s."""
    now = timezone.now()
    if account.refused_at and account.refused_at > now - PAUSE:
        return
    noted = {"at": now.isoformat(), "kind": kind, "reason": str(refusal)}
    if isinstance(refusal, SignedOtherwise):
        noted["difference"] = SIGNED_OTHERWISE.reason
    kept = [noted, *read(account)][:KEPT]
    not_now = Q(refused_at=None) | Q(refused_at__lte=now - PAUSE)
    Account.objects.filter(not_now, pk=account.pk).update(refused_at=now, refused_webhooks=json.dumps(kept))


def count_refused(account: Account) -> None:
    """Count a webhook that was refused for its signature."""
    if account.refused_count >= MANY:
        return
    same = Account.objects.filter(pk=account.pk)
    same.filter(refused_count__lt=MANY).update(refused_count=F("refused_count") + 1)
    align_lines(account)


def note_accepted(account: Account, *, by_present: bool) -> None:
    """Reset the count of refusals after an accepted webhook, and note the first one that the current key verified.

    Args:
        by_present: the webhook was verified with the account's current auth token or public key.
    """
    changes: dict[str, object] = {}
    if account.refused_count:
        changes["refused_count"] = 0
    if by_present and account.signed_at is None:
        changes["signed_at"] = timezone.now()
    if changes:
        same = Account.objects.filter(token_digest=account.token_digest, public_key=account.public_key)
        same.filter(pk=account.pk).update(**changes)
    if account.refused_count:
        align_lines(account)


def align_lines(account: Account) -> None:
    """Make the health of the account's lines agree with its count of refusals. Call this after writing either.

    The last writer reads the count last, so the two agree in the end.
    """
    lines = Line.objects.filter(account_id=account.pk)
    if Account.objects.filter(pk=account.pk, refused_count__gte=MANY).exists():
        lines.filter(health=Line.Health.OK).update(health=Line.Health.DRIFT, unwell_since=timezone.now())
    else:
        lines.filter(health=Line.Health.DRIFT, reasons=None).update(health=Line.Health.OK, unwell_since=None)


def refusal_reasons(account: Account) -> list[Difference]:
    """The reasons that many refused webhooks add to a check. They are not stored on lines."""
    if account.refused_count < MANY:
        return []
    newest = next(iter(read(account)), {})
    return [REFUSED, SIGNED_OTHERWISE] if newest.get("difference") == SIGNED_OTHERWISE.reason else [REFUSED]


def refused_webhooks(account: Account) -> list[RefusedWebhook]:
    """The stored refusals, newest first."""
    return [RefusedWebhook(datetime.fromisoformat(row["at"]), row["kind"], row["reason"]) for row in read(account)]


def read(account: Account) -> list[dict[str, str]]:
    return json.loads(account.refused_webhooks or "[]")
