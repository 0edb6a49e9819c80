"""Checking whether a number's calls still reach us, and repairing the carrier's settings."""

import json
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from core.databases.readiness import explain
from core.fields import new_object_id
from core.lookups import in_key_order
from core.secrets import CannotOpen, Secret
from integrations.base import Provider
from integrations.errors import IntegrationError, InvalidCredentials
from integrations.transport import Deadline
from integrations.types import Difference
from phones.errors import LineBusy, NoSuchPhone
from phones.models import Account, Line, PhoneNumber
from phones.services import at_once, leases
from phones.services.accounts import keep_public_key, ready_application
from phones.services.carriers import ADD_BUDGET_S, UNDO_BUDGET_S, connect_stored, urls_for
from phones.services.completing import finish_move
from phones.services.handling import find_loop
from phones.services.reasons import public_setting
from phones.services.rejected_webhooks import REFUSALS, align_lines, refusal_reasons
from phones.services.restoring import unsettled
from users import audit

log = logging.getLogger(__name__)

Health = Line.Health
# Reasons that a repair cannot fix.
BEYOND_REPAIR = {
    "number_missing", "number_inactive", "credentials_refused", "credentials_unreadable",
    "carrier_unavailable", "carrier_refuses",
    *(refusal.reason for refusal in REFUSALS), "forward_loop",
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
            "reasons": seal_reasons([reason for reason in self.reasons if reason not in REFUSALS]),
            "checked_at": self.checked_at,
            "unwell_since": None if self.health == Health.OK else line.unwell_since or self.checked_at,
        }


def check_phone(phone: PhoneNumber, *, repair: bool = False) -> Check:
    """Check a number's line as `check_line` does. Of a retired number, tell what it is; no carrier is asked. Raises
    LineBusy while the number is being moved here."""
    if phone.is_retired:
        return Check(Health.DRIFT, [Difference(phone.retired_for, "", "")])
    finish_move(phone)
    assert phone.line is not None  # noqa: S101  every active number has one
    return check_line(phone.line, repair=repair)


def check_line(line: Line, *, repair: bool = False) -> Check:
    """Compare the carrier's settings with ours and store the result on the line.

    Args:
        repair: write what differs, and compare again.

    Takes at most 20 s, and 5 s more to compare again after a repair. Raises NoSuchPhone if the line is removed
    meanwhile, or comes into other hands. An unreachable carrier and credentials whose encryption key is missing are
    results, not errors.
    """
    try:
        provider = connect_stored(line.account, Deadline(ADD_BUDGET_S))
        check = compare(line, provider)
    except CannotOpen:
        check = as_check([Difference("credentials_unreadable", "", "")])
    except InvalidCredentials:
        check = as_check([Difference("credentials_refused", "", "")])
    if repair and any(difference.reason not in BEYOND_REPAIR for difference in check.reasons):
        try:
            repair_line(line, provider, check)
        except (IntegrationError, LineBusy) as error:
            log.warning("%s of %s could not be repaired: %s", line, line.account, error)
        after = with_refusals(compare(line, connect_stored(line.account, Deadline(UNDO_BUDGET_S))), line)
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
    Line.objects.filter(pk=line.pk, account=line.account_id).update(**check.as_fields(line))
    align_lines(line.account)
    return check


def with_refusals(check: Check, line: Line) -> Check:
    """Add the account's refused webhooks, as counted by now, to the result of a check."""
    noted = Account.objects.filter(pk=line.account_id).values_list("refused_count", "refused_webhooks")
    # A removal of the line may have deleted the account.
    line.account.refused_count, line.account.refused_webhooks = next(iter(noted), (0, ""))
    refusals = refusal_reasons(line.account)
    return replace(check, health=Health.DRIFT, reasons=check.reasons + refusals) if refusals else check


def compare(line: Line, provider: Provider) -> Check:
    account = line.account
    try:
        found = provider.compare(line.carrier_id, urls_for(account), account.application_id, account.public_key)
        reasons = [shown(difference) for difference in found]
    except InvalidCredentials:
        reasons = [Difference("credentials_refused", "", "")]
    except IntegrationError as error:
        reason = "carrier_refuses" if error.is_final else "carrier_unavailable"
        return Check(Health.UNREACHABLE, [Difference(reason, "", "")])
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
        if not Line.objects.filter(pk=line.pk, account=account).exists():
            raise NoSuchPhone  # meanwhile, the line has come into other hands
        if line.phone_numbers.filter(state=PhoneNumber.State.ACTIVE).exclude(lease_until=None).exists():
            raise LineBusy  # a move, whose process died before it had the line
        if provider.applications:
            repair_application(line, provider, check, lease_id)
        provider.repair(line.carrier_id, urls_for(account), account.application_id)
    finally:
        leases.release(line, lease_id, **(unsettled() if provider.in_doubt else {}))


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


def reasons_of(phone: PhoneNumber) -> list[dict[str, str]]:
    """Why a number is not healthy, as the API shows it."""
    if phone.is_retired:
        return [asdict(Difference(phone.retired_for, "", ""))]
    return open_reasons(phone.line) if phone.line else []


def open_reasons(line: Line) -> list[dict[str, str]]:
    """The reasons that the last check found, and whether webhooks are refused, as the API shows them. If the encryption
    key is lost, the stored reasons are left out."""
    found: list[dict[str, str]] = []
    with suppress(CannotOpen):
        found = json.loads(line.reasons.open()) if line.reasons else []
    return found + [asdict(reason) for reason in refusal_reasons(line.account)]


def active_lines(workspace_id: str | None = None) -> QuerySet[Line]:
    """The lines with numbers in use, of one workspace or of all."""
    phones = PhoneNumber.objects.filter(state=PhoneNumber.State.ACTIVE)
    if workspace_id is not None:
        phones = phones.filter(user__workspace=workspace_id)
    return Line.objects.filter(pk__in=phones.values("line")).order_by("pk")


def check_lines(lines: QuerySet[Line], *, repair: bool = False) -> Iterator[tuple[Line, Check | None]]:
    """Check many lines, a few of each account at a time, and yield each line with its result, in the order of the ids.

    A line that cannot be checked is logged and comes with None. Memory use does not grow with the number of lines.
    """

    def check(line: Line) -> Check | None:
        try:
            return check_line(line, repair=repair)
        except Exception as error:
            reason = explain(error)
            log.error(
                "%s of %s could not be checked%s",
                line,
                line.account,
                f": {reason}" if reason else "",
                exc_info=None if reason else error,
            )
            return None

    found = in_key_order(lines.select_related("account").defer(*UNREAD), at_once.WORKERS)
    yield from at_once.each(found, check, account_of=lambda line: line.account_id)


def verdict(check: Check | None) -> str:
    """A word for the result of a check, to count."""
    return "failed" if check is None else "repaired" if check.repaired else check.health


def summary(verdicts: Counter[str]) -> str:
    return ", ".join(f"{word} {count}" for word, count in sorted(verdicts.items())) or "no numbers"


def check_all() -> str:
    """Check all lines in use, without repairing any. Returns a summary. Raises core.stopping.Stopped between two."""
    return summary(Counter(verdict(check) for _, check in check_lines(active_lines())))
