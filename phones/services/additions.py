"""What an add is given, and what its steps pass on to each other."""

from dataclasses import dataclass, field, replace

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from integrations.base import Provider
from integrations.transport import Deadline
from integrations.types import CarrierNumber
from phones.errors import LeaseLost, NumberInAnotherWorkspace
from phones.models import Account, Line, PhoneNumber
from phones.services import leases
from phones.services.accounts import Credentials
from phones.services.keyring import Operation
from phones.services.ownership import Holder
from phones.services.releasing import mark_used


@dataclass
class AccountHints:
    """What a caller that adds many numbers of an account knows already, so that we need not ask for each number.

    `is_verified`: the carrier accepted these credentials a moment ago, so they are not a guess. `found`: the number as
    the carrier has just listed it.
    """

    is_verified: bool = False
    found: CarrierNumber | None = None


@dataclass
class Addition:
    """The input of an add, its reservation, and what was learnt so far.

    `moved` is the number of another workspace that this one replaces. `holder` is set if another account has the line.
    `prepared` is set once the carrier may have been changed, `taken_from` once the line was taken from an account.
    """

    reservation: PhoneNumber
    credentials: Credentials
    refuse_conflict: bool
    deadline: Deadline
    hints: AccountHints = field(default_factory=AccountHints)
    moved: PhoneNumber | None = None
    holder: Holder | None = None
    prepared: "Prepared | None" = None
    taken_from: Account | None = None

    @property
    def lease_id(self) -> str:
        return self.reservation.lease_id

    def owned(self) -> QuerySet[PhoneNumber]:
        """The reservation, for as long as its lease is ours."""
        return leases.owned(self.reservation, self.lease_id)

    def follow(self, holder: Holder) -> None:
        """The holder's account still has the number: join it if it is the workspace's own. The same number on two of
        its accounts is one real account under two names, as at Telnyx. Raises NumberInAnotherWorkspace."""
        if holder.account.workspace_id != self.credentials.workspace_id:
            raise NumberInAnotherWorkspace
        self.credentials = replace(self.credentials, account_id=holder.account.account_id)

    def moves(self, line: Line) -> bool:
        """Whether the line is that of the number to be moved, so that it stays in its hands until the end."""
        moved = self.moved
        return moved is not None and (moved.line_id, moved.user.workspace_id) == (line.pk, line.account.workspace_id)


@dataclass
class Prepared:
    """The account and the line of an add, ready for the first change at the carrier."""

    account: Account
    account_is_new: bool
    line: Line
    found: CarrierNumber
    provider: Provider


def begin(addition: Addition, account: Account, line: Line) -> bool:
    """Mark the account as used and set the number to applying, after which the carrier may be changed. Returns False if
    the account is gone. Raises LeaseLost if the lease is lost."""
    is_move = addition.moved is not None
    operation = Operation(addition.credentials.auth_token, account.pk, is_move=is_move)
    with transaction.atomic():  # one disk flush instead of two; each statement is enough alone
        if not mark_used(account, addition.lease_id):
            return False
        changes = {"state": PhoneNumber.State.APPLYING, "line": line, "operation": operation.sealed()}
        if is_move:  # calls until now are the old workspace's
            changes["created_at"] = timezone.now()
        if not addition.owned().update(**changes):
            raise LeaseLost
    for name, value in changes.items():
        setattr(addition.reservation, name, value)
    return True
