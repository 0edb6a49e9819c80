"""Whether the carrier still brings us a number's calls, and putting it right."""

import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from core.fields import new_object_id
from core.secrets import CannotOpen, Secret
from integrations.base import Provider
from integrations.errors import IntegrationError, InvalidCredentials
from integrations.transport import Deadline
from integrations.types import Difference
from phones.errors import LineBusy
from phones.models import Account, Line
from phones.services import at_once, leases
from phones.services.accounts import keep_public_key, ready_application
from phones.services.carriers import ADD_BUDGET_S, UNDO_BUDGET_S, connect, urls_for
from phones.services.forwarding import find_loop
from phones.services.reasons import public_setting
from phones.services.refused import REFUSED, align_lines, refusal_reasons
from users import audit

log = logging.getLogger(__name__)

Health = Line.Health
# Not ours to put right.
BEYOND_REPAIR = {
    "number_missing", "number_inactive", "credentials_refused", "credentials_unreadable", "carrier_unavailable",
    REFUSED.reason, "forward_loop",
}  # fmt: skip
# What a check does not look at.
UNREAD = ("snapshot", "reasons", "account__refused_webhooks", "account__refused_at")
NO_KEY = Difference("signature_key_missing", "the account's webhook public key", "")


@dataclass(frozen=True)
class Check:
    """What a check found, after the repair if there was one."""

    health: str
    reasons: list[Difference]
    checked_at: datetime = field(default_factory=timezone.now)
    repaired: bool = False

    def as_fields(self, line: Line) -> dict[str, Any]:
        """What the line keeps of it."""
        return {
            "health": self.health,
            "reasons": seal_reasons([one for one in self.reasons if one != REFUSED]),
            "checked_at": self.checked_at,
            "unwell_since": None if self.health == Health.OK else line.unwell_since or self.checked_at,
        }


def check_line(line: Line, *, repair: bool = False) -> Check:
    """Compare what the carrier has with what we want; the line keeps the result.

    Args:
        repair: write what differs, and read back.

    Takes at most 20 s, and 5 s more to look again after a repair. Raises NoSuchPhone when the line is removed
    meanwhile; a carrier that does not answer is a result, and so are credentials whose key is missing.
    """
    try:
        provider = connect_to(line, ADD_BUDGET_S)
        check = compare(line, provider)
    except CannotOpen:
        check = as_check([Difference("credentials_unreadable", "", "")])
    if repair and any(one.reason not in BEYOND_REPAIR for one in check.reasons):
        try:
            repair_line(line, provider, check)
        except (IntegrationError, LineBusy) as error:
            log.warning("%s of %s could not be repaired: %s", line, line.account, error)
        after = with_refusals(compare(line, connect_to(line, UNDO_BUDGET_S)), line)
        repaired = not after.reasons
        audit.record(
            "phone.repair",
            number=line.number,
            outcome="ok" if repaired else after.health,
            detail=", ".join(sorted({one.reason for one in check.reasons})),
        )
        check = replace(after, repaired=repaired)
    else:
        check = with_refusals(check, line)
    Line.objects.filter(pk=line.pk).update(**check.as_fields(line))
    align_lines(line.account)
    return check


def with_refusals(check: Check, line: Line) -> Check:
    """The same, and what the account's refused webhooks say by now."""
    counts = Account.objects.filter(pk=line.account_id).values_list("refused_count", flat=True)
    line.account.refused_count = next(iter(counts), 0)  # the account goes with a line that is removed meanwhile
    refusals = refusal_reasons(line.account)
    return replace(check, health=Health.DRIFT, reasons=check.reasons + refusals) if refusals else check


def connect_to(line: Line, budget_s: float) -> Provider:
    account = line.account
    return connect(account.integration, account.account_id, account.auth_token.open(), Deadline(budget_s))


def compare(line: Line, provider: Provider) -> Check:
    account = line.account
    try:
        found = provider.compare(line.carrier_id, urls_for(account), account.application_id, account.public_key)
        reasons = [shown(one) for one in found]
    except InvalidCredentials:
        reasons = [Difference("credentials_refused", "", "")]
    except IntegrationError:
        return Check(Health.UNREACHABLE, [Difference("carrier_unavailable", "", "")])
    return as_check(reasons + key_reasons(provider, has_key=bool(account.public_key)) + find_loop(line))


def shown(reason: Difference) -> Difference:
    """Without secrets: from here it goes to clients, pages and files. A repair compares anew."""
    return replace(reason, expected=public_setting(reason.expected), actual=public_setting(reason.actual))


def as_check(reasons: list[Difference]) -> Check:
    return Check(Health.DRIFT if reasons else Health.OK, reasons)


def key_reasons(provider: Provider, *, has_key: bool) -> list[Difference]:
    """Without the account's key its webhooks are verified by the secret in their address alone."""
    return [NO_KEY] if provider.signs_with_public_key and not has_key else []


def repair_line(line: Line, provider: Provider, check: Check) -> None:
    """Write what differs. Raises IntegrationError, LineBusy."""
    account, lease_id = line.account, new_object_id()
    leases.wait(line, lease_id, provider.deadline)
    try:
        if provider.applications:
            repair_application(line, provider, check, lease_id)
        provider.repair(line.carrier_id, urls_for(account), account.application_id)
    finally:
        leases.release(line, lease_id)


def repair_application(line: Line, provider: Provider, check: Check, lease_id: str) -> None:
    """Find or make our application again, point it at us; take over the webhook key that the carrier tells."""
    account = line.account
    is_gone = any(one.reason == "application_missing" for one in check.reasons)
    found = provider.verify(
        line.number,
        application_id="" if is_gone and not account.application_is_customers else account.application_id,
    )
    keep_public_key(account, reported=found.public_key)
    ready_application(account, found, provider, is_new=False, lease_id=lease_id, deadline=provider.deadline)
    account.refresh_from_db()


def seal_reasons(reasons: list[Difference]) -> Secret | None:
    return Secret.seal(json.dumps([asdict(one) for one in reasons])) if reasons else None


def open_reasons(line: Line) -> list[dict[str, str]]:
    """What the last check found, and whether webhooks are refused, as the API shows it; a lost key costs the details
    only."""
    found: list[dict[str, str]] = []
    with suppress(CannotOpen):
        found = json.loads(line.reasons.open()) if line.reasons else []
    return found + [asdict(one) for one in refusal_reasons(line.account)]


def check_lines(lines: QuerySet[Line], *, repair: bool = False) -> Iterator[tuple[Line, Check | None]]:
    """Check many lines, a few of each account at a time, and yield each with its result as it comes.

    What cannot be checked is logged and comes with None. The memory does not grow with their number.
    """

    def check(line: Line) -> Check | None:
        try:
            return check_line(line, repair=repair)
        except Exception as error:
            log.error("%s of %s could not be checked", line, line.account, exc_info=error)
            return None

    found = lines.select_related("account").defer(*UNREAD).iterator(chunk_size=at_once.WORKERS)
    yield from at_once.each(found, check, account_of=lambda line: line.account_id)
