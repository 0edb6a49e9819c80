"""Checking whether a number's calls still reach us, and repairing the carrier's settings."""

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
from phones.services.rejected_webhooks import REFUSED, align_lines, refusal_reasons
from users import audit

log = logging.getLogger(__name__)

Health = Line.Health
# Reasons that a repair cannot fix.
BEYOND_REPAIR = {
    "number_missing", "number_inactive", "credentials_refused", "credentials_unreadable", "carrier_unavailable",
    REFUSED.reason, "forward_loop",
}  # fmt: skip
# Columns that a check does not read.
UNREAD = ("snapshot", "reasons", "account__refused_webhooks", "account__refused_at")
NO_KEY = Difference("signature_key_missing", "the account's webhook public key", "")


@dataclass(frozen=True)
class Check:
    """The result of a check, after the repair if there was one."""

    health: str
    reasons: list[Difference]
    checked_at: datetime = field(default_factory=timezone.now)
    repaired: bool = False

    def as_fields(self, line: Line) -> dict[str, Any]:
        """The fields of the line that hold the result."""
        return {
            "health": self.health,
            "reasons": seal_reasons([reason for reason in self.reasons if reason != REFUSED]),
            "checked_at": self.checked_at,
            "unwell_since": None if self.health == Health.OK else line.unwell_since or self.checked_at,
        }


def check_line(line: Line, *, repair: bool = False) -> Check:
    """Compare the carrier's settings with ours and store the result on the line.

    Args:
        repair: write what differs, and compare again.

    Takes at most 20 s, and 5 s more to compare again after a repair. Raises NoSuchPhone if the line is removed
    meanwhile. An unreachable carrier and credentials whose encryption key is missing are results, not errors.
    """
    try:
        provider = connect_to(line, ADD_BUDGET_S)
        check = compare(line, provider)
    except CannotOpen:
        check = as_check([Difference("credentials_unreadable", "", "")])
    if repair and any(difference.reason not in BEYOND_REPAIR for difference in check.reasons):
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
            detail=", ".join(sorted({difference.reason for difference in check.reasons})),
        )
        check = replace(after, repaired=repaired)
    else:
        check = with_refusals(check, line)
    Line.objects.filter(pk=line.pk).update(**check.as_fields(line))
    align_lines(line.account)
    return check


def with_refusals(check: Check, line: Line) -> Check:
    """Add the account's refused webhooks, as counted by now, to the result of a check."""
    counts = Account.objects.filter(pk=line.account_id).values_list("refused_count", flat=True)
    line.account.refused_count = next(iter(counts), 0)  # a removal of the line may have deleted the account
    refusals = refusal_reasons(line.account)
    return replace(check, health=Health.DRIFT, reasons=check.reasons + refusals) if refusals else check


def connect_to(line: Line, budget_s: float) -> Provider:
    account = line.account
    return connect(account.integration, account.account_id, account.auth_token.open(), Deadline(budget_s))


def compare(line: Line, provider: Provider) -> Check:
    account = line.account
    try:
        found = provider.compare(line.carrier_id, urls_for(account), account.application_id, account.public_key)
        reasons = [shown(difference) for difference in found]
    except InvalidCredentials:
        reasons = [Difference("credentials_refused", "", "")]
    except IntegrationError:
        return Check(Health.UNREACHABLE, [Difference("carrier_unavailable", "", "")])
    return as_check(reasons + key_reasons(provider, has_key=bool(account.public_key)) + find_loop(line))


def shown(reason: Difference) -> Difference:
    """Hide secrets, because clients, pages and files show the reason. A repair compares again without this."""
    return replace(reason, expected=public_setting(reason.expected), actual=public_setting(reason.actual))


def as_check(reasons: list[Difference]) -> Check:
    return Check(Health.DRIFT if reasons else Health.OK, reasons)


def key_reasons(provider: Provider, *, has_key: bool) -> list[Difference]:
    """Report a missing public key: without it, only the secret in the URL verifies the account's webhooks."""
    return [NO_KEY] if provider.signs_with_public_key and not has_key else []


def repair_line(line: Line, provider: Provider, check: Check) -> None:
    """Write the settings that differ, under the line's lease. Raises IntegrationError, LineBusy."""
    account, lease_id = line.account, new_object_id()
    leases.wait(line, lease_id, provider.deadline)
    try:
        if provider.applications:
            repair_application(line, provider, check, lease_id)
        provider.repair(line.carrier_id, urls_for(account), account.application_id)
    finally:
        leases.release(line, lease_id)


def repair_application(line: Line, provider: Provider, check: Check, lease_id: str) -> None:
    """Find or create our application, point it at our URLs and store the public key that the carrier reports."""
    account = line.account
    is_gone = any(difference.reason == "application_missing" for difference in check.reasons)
    found = provider.verify(
        line.number,
        application_id="" if is_gone and not account.application_is_customers else account.application_id,
    )
    keep_public_key(account, reported=found.public_key)
    ready_application(account, found, provider, is_new=False, lease_id=lease_id, deadline=provider.deadline)
    account.refresh_from_db()


def seal_reasons(reasons: list[Difference]) -> Secret | None:
    return Secret.seal(json.dumps([asdict(reason) for reason in reasons])) if reasons else None


def open_reasons(line: Line) -> list[dict[str, str]]:
    """The reasons that the last check found, and whether webhooks are refused, as the API shows them. If the encryption
    key is lost, the stored reasons are left out."""
    found: list[dict[str, str]] = []
    with suppress(CannotOpen):
        found = json.loads(line.reasons.open()) if line.reasons else []
    return found + [asdict(reason) for reason in refusal_reasons(line.account)]


def check_lines(lines: QuerySet[Line], *, repair: bool = False) -> Iterator[tuple[Line, Check | None]]:
    """Check many lines, a few of each account at a time, and yield each line with its result, in order.

    A line that cannot be checked is logged and comes with None. Memory use does not grow with the number of lines.
    """

    def check(line: Line) -> Check | None:
        try:
            return check_line(line, repair=repair)
        except Exception as error:
            log.error("%s of %s could not be checked", line, line.account, exc_info=error)
            return None

    found = lines.select_related("account").defer(*UNREAD).iterator(chunk_size=at_once.WORKERS)
    yield from at_once.each(found, check, account_of=lambda line: line.account_id)
