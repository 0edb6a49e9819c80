"""One number, one workspace: whose a line is, and when it goes to somebody else.

A line is in the hands of one account. Whoever proves the number by another account gets it only if the account that has
it cannot be used any more, or does not have the number any more; so its carrier is asked, with the stored credentials.
If the two belong to one workspace, the line follows with all its numbers; if not, the other workspace's numbers retire.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from django.utils import timezone

from core.secrets import CannotOpen
from integrations.errors import InvalidCredentials, NumberNotOwned
from integrations.transport import Deadline
from phones.models import Account, Line, PhoneNumber
from phones.services.carriers import connect_as

State = PhoneNumber.State


class Verdict(Enum):
    """What the carrier says of the account that has a line."""

    HAS_IT = "the account still has the number"
    REFUSED = "credentials_refused"
    GONE = "number_missing"


@dataclass(frozen=True)
class Holder:
    """The account that has a line with active numbers, and what its carrier said when it was asked."""

    line: Line
    account: Account
    verdict: Verdict

    def is_still(self, line: Line) -> bool:
        """Whether this is known of the line's present account and its present token."""
        account = line.account
        return (account.pk, account.token_digest) == (self.account.pk, self.account.token_digest)


def line_of(integration: str, number: str) -> Line | None:
    """The line of a real number, with its account."""
    return Line.objects.filter(integration=integration, number=number).select_related("account").first()


def is_in_use(line: Line, *, without: Iterable[str] = ()) -> bool:
    """Whether an active number, apart from those with these ids, is on the line, so that it must stay routed to us."""
    return line.phone_numbers.filter(state=State.ACTIVE).exclude(pk__in=without).exists()


def ask_holder(line: Line, deadline: Deadline) -> Holder:
    """Ask the carrier, with the credentials of the account that has the line, whether it still has the number.

    Credentials that cannot be read cannot be refused: then the account has it. Raises CarrierUnavailable.
    """
    account = line.account
    try:
        token = account.auth_token.open()
    except CannotOpen:
        return Holder(line, account, Verdict.HAS_IT)
    if account.is_retired:
        return Holder(line, account, Verdict.REFUSED)
    provider = connect_as(account, token, deadline)
    try:
        provider.read(line.carrier_id)
    except InvalidCredentials:
        return Holder(line, account, Verdict.REFUSED)
    except NumberNotOwned:
        return Holder(line, account, Verdict.GONE)
    return Holder(line, account, Verdict.HAS_IT)


def retire_account(account: Account) -> bool:
    """Note that the carrier refuses the account's token, so that nothing is asked with it. Returns False if the account
    has got another token since."""
    same = Account.objects.filter(pk=account.pk, token_digest=account.token_digest)
    return bool(same.update(retired_digest=account.token_digest))


def retire(holder: Holder, *, for_workspace: str | None) -> bool:
    """Retire what the holder's workspace loses: the numbers on the line or, if the carrier refuses the account's
    credentials, all numbers of the account. If the line stays in the workspace, only the account is retired.

    Returns False if the account has got another token since it was asked.
    """
    account, lines = holder.account, Line.objects.filter(pk=holder.line.pk)
    if holder.verdict is Verdict.REFUSED:
        if not retire_account(account):
            return False
        lines = Line.objects.filter(account=account)
    if account.workspace_id == for_workspace:
        return True
    # Read separately, because MongoDB cannot join in an update.
    lost = PhoneNumber.objects.filter(state=State.ACTIVE, line__in=list(lines.values_list("pk", flat=True)))
    lost.update(state=State.RETIRED, retired_from=account, retired_for=holder.verdict.value, retired_at=timezone.now())
    return True


@dataclass(frozen=True)
class Tenure:
    """The time in which a line was a workspace's own. Carriers report times in whole seconds, so the first second
    counts from its start."""

    line: Line
    since: datetime
    until: datetime | None = None

    def covers(self, at: datetime) -> bool:
        return at >= self.since.replace(microsecond=0) and (self.until is None or at < self.until)


def tenures(account: Account, **number: str) -> Iterator[Tenure]:
    """When numbers of the account's carrier were its workspace's.

    Args:
        number: `number`, to look for this number only.
    """
    states = [*PhoneNumber.ROUTED, State.RETIRED]
    phones = PhoneNumber.objects.filter(
        user__workspace=account.workspace_id, integration=account.integration, state__in=states, **number
    )
    for phone in phones.exclude(line=None).select_related("line__account"):
        line = phone.line
        assert line is not None  # noqa: S101  see the query
        if phone.is_retired:
            yield Tenure(line, phone.created_at, phone.retired_at)
        else:  # while it is moved here, the line is still in other hands
            is_held = line.account.workspace_id == account.workspace_id
            yield Tenure(line, line.held_since if is_held else phone.created_at)
