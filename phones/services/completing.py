"""What follows once a number is active. None of it fails the add any more: `reconcile` completes what is left."""

from core import keys
from core.secrets import CannotOpen
from phones.errors import LineBusy
from phones.models import Account, Line, PhoneNumber
from phones.services.accounts import Credentials, adopt_credentials
from phones.services.history import note
from phones.services.keyring import Operation
from users.models import AuditEntry

State = PhoneNumber.State


def complete(
    phone: PhoneNumber,
    account: Account,
    credentials: Credentials | None,
    *,
    public_key: str = "",
    is_move: bool = False,
    is_noted: bool = False,
) -> None:
    """Note an add in the audit trail, keep the credentials that it proved and end a move.

    Args:
        credentials: None if newer ones have been stored since.
        public_key: the key that the carrier reported, or empty.
        is_noted: the audit trail has the add already.
    """
    if is_move:
        hand_over(phone, account)
    elif not is_noted:
        note("phone.add", phone, detail=account.integration)
    if credentials:
        adopt_credentials(account, credentials, public_key)
    PhoneNumber.objects.filter(pk=phone.pk, state=State.ACTIVE).update(operation=None, lease_id="", lease_until=None)


def hand_over(phone: PhoneNumber, account: Account) -> None:
    """Give the line of a moved number to its new account, and remove the numbers of the workspace that had it. The
    trails of both workspaces tell where it went and where it came from."""
    before = PhoneNumber.objects.filter(line=phone.line_id, state=State.ACTIVE).select_related("user__workspace")
    leaving = list(before.exclude(user__workspace=account.workspace_id))
    earlier = f"from workspace {leaving[0].user.workspace}" if leaving else "from another workspace"
    note("phone.move", phone, detail=f"{earlier} to user {phone.user.email}", once=phone.pk)
    Line.objects.filter(pk=phone.line_id).exclude(account=account).update(account=account, held_since=phone.created_at)
    for left in leaving:
        note("phone.move", left, detail=f"of user {left.user.email} to workspace {phone.user.workspace}", once=left.pk)
        left.delete()


def finish_move(phone: PhoneNumber) -> None:
    """Finish a move whose process died once the number was active: until then, its line still belongs to the old
    workspace, and nothing else may be done with it. The row object is refreshed. Raises LineBusy if it cannot be
    finished.
    """
    line = phone.line
    if not phone.operation or line is None or line.account.workspace_id == phone.user.workspace_id:
        return
    try:
        complete_later(phone)
        phone.refresh_from_db()
    except (CannotOpen, PhoneNumber.DoesNotExist):
        raise LineBusy from None


def complete_later(phone: PhoneNumber) -> None:
    """Complete an add whose process died, or could not store everything, once the number was active.

    If a key is lost for good, and with it to which account a number was moved, the number is deleted and stays where it
    was. Raises CannotOpen while a key that may come back is missing.
    """
    operation = Operation("")
    try:
        operation = Operation.of(phone)
    except CannotOpen:
        if keys.missing():
            raise
    assert phone.line is not None  # noqa: S101  every active number has one
    account = operation.account_for(phone.line)
    if account.workspace_id != phone.user.workspace_id:
        phone.delete()
        note("phone.move", phone, outcome="unfinished")
        return
    is_newer = account.rotated_at and account.rotated_at > phone.created_at
    credentials = None
    if operation.auth_token and not is_newer:
        credentials = Credentials(account.workspace_id, account.integration, account.account_id, operation.auth_token)
    entries = AuditEntry.objects.filter(number=phone.number, action="phone.add", outcome="ok", phone_id=phone.pk)
    complete(phone, account, credentials, is_move=operation.is_move, is_noted=entries.exists())
