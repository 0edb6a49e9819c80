"""The last webhooks of an account that were refused, for whoever wonders where its calls are.

A forged request must not cost more than a look, so they are kept on the account's own row, and not each of many.
"""

import json
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import Q
from django.utils import timezone

from phones.models import Account

KEPT = 5
PAUSE = timedelta(seconds=10)


class RefusedWebhook(NamedTuple):
    """A webhook that did not prove to be the carrier's; `reason` is safe to show."""

    at: datetime
    kind: str
    reason: str


def note_refused(account: Account, kind: str, reason: str) -> None:
    """Remember a refused webhook, unless another was remembered a moment ago."""
    now = timezone.now()
    if account.refused_at and account.refused_at > now - PAUSE:
        return
    kept = [{"at": now.isoformat(), "kind": kind, "reason": reason}, *read(account)][:KEPT]
    not_now = Q(refused_at=None) | Q(refused_at__lte=now - PAUSE)
    Account.objects.filter(not_now, pk=account.pk).update(refused_at=now, refused_webhooks=json.dumps(kept))


def refused_webhooks(account: Account) -> list[RefusedWebhook]:
    """Those remembered, the newest first."""
    return [RefusedWebhook(datetime.fromisoformat(one["at"]), one["kind"], one["reason"]) for one in read(account)]


def read(account: Account) -> list[dict[str, str]]:
    return json.loads(account.refused_webhooks or "[]")
