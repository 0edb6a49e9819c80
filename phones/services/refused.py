"""The webhooks of an account that were refused, for whoever wonders where its calls are.

A forged request must not cost more than a look, so they are kept on the account's own row, and not each of many.

When several were refused for their signature and none was accepted since, the account's numbers are not well, whatever
their settings at the carrier: their lines are in drift, and those of which the last check has found nothing else are
well again with the next webhook that is accepted.
"""

import json
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import F, Q
from django.utils import timezone

from integrations.types import Difference
from phones.models import Account, Line

KEPT = 5
PAUSE = timedelta(seconds=10)
# So many in a row are no accident.
MANY = 5
REFUSED = Difference("webhooks_refused", "", "")


class RefusedWebhook(NamedTuple):
    """A webhook that could not be verified as the carrier's; `reason` is safe to show."""

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


def count_refused(account: Account) -> None:
    """Count a webhook that was refused for its signature."""
    if account.refused_count >= MANY:
        return
    same = Account.objects.filter(pk=account.pk)
    same.filter(refused_count__lt=MANY).update(refused_count=F("refused_count") + 1)
    align_lines(account)


def note_accepted(account: Account, *, by_present: bool) -> None:
    """Note, once, that a webhook was accepted, and whether it was signed with the present token or public key."""
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
    """Bring the health of the account's lines into line with its count, after either was written.

    Whoever writes last reads the count last, so that the two agree in the end.
    """
    lines = Line.objects.filter(account_id=account.pk)
    if Account.objects.filter(pk=account.pk, refused_count__gte=MANY).exists():
        lines.filter(health=Line.Health.OK).update(health=Line.Health.DRIFT, unwell_since=timezone.now())
    else:
        lines.filter(health=Line.Health.DRIFT, reasons=None).update(health=Line.Health.OK, unwell_since=None)


def refusal_reasons(account: Account) -> list[Difference]:
    """The reason that the refused webhooks are, if they are many. No line keeps it."""
    return [REFUSED] if account.refused_count >= MANY else []


def refused_webhooks(account: Account) -> list[RefusedWebhook]:
    """Those remembered, the newest first."""
    return [RefusedWebhook(datetime.fromisoformat(one["at"]), one["kind"], one["reason"]) for one in read(account)]


def read(account: Account) -> list[dict[str, str]]:
    return json.loads(account.refused_webhooks or "[]")
