"""Changing a number: its label, how it answers, and the credentials of its account."""

from typing import Any

from integrations.errors import InvalidCredentials
from integrations.transport import Deadline
from phones.errors import NoForwardTarget, NoSuchPhone, TokenReplaced
from phones.models import Account, PhoneNumber
from phones.services.accounts import Credentials, adopt_credentials
from phones.services.carriers import ADD_BUDGET_S, connect
from phones.services.forwarding import check_target
from phones.services.guesses import counted
from phones.services.history import note, refusal_noted
from phones.services.searching import reindex_phone


def check_inbound(phone: PhoneNumber, changes: dict[str, Any]) -> None:
    """Raise NoForwardTarget or ForwardLoop if the number, changed in this way, would forward calls to nowhere or to its
    own workspace.

    A target that came into the workspace after it was chosen stays; a check tells of it.
    """
    action, target = changes.get("action", phone.action), changes.get("forward_to", phone.forward_to)
    if action == "forward" and not target:
        raise NoForwardTarget
    if target != phone.forward_to or (action == "forward" and phone.action != "forward"):
        check_target(phone, target)


def change_phone(phone: PhoneNumber, changes: dict[str, Any]) -> None:
    """Change fields of an active number: `label`, `action`, `greeting`, `forward_to`, `record`.

    Raises NoSuchPhone when it is being removed meanwhile. The row object is changed too.
    """
    if not changes:
        return
    if not PhoneNumber.objects.filter(pk=phone.pk, state=PhoneNumber.State.ACTIVE).update(**changes):
        raise NoSuchPhone
    for name, value in changes.items():
        setattr(phone, name, value)
    if "label" in changes:
        reindex_phone(phone)
    note("phone.change", phone, detail=", ".join(sorted(changes)))


def rotate_auth_token(phone: PhoneNumber, auth_token: str, *, end_old_token: bool = False) -> None:
    """Make this the auth token of the number's account, for all its numbers, once it is verified.

    The token before stays good for webhooks for the rotation window, unless `end_old_token` says that it was stolen.
    Raises IntegrationError and LimitReached; then nothing has changed. Takes at most 20 s.
    """
    assert phone.line is not None  # noqa: S101  as every active number has one
    account = phone.line.account
    credentials = Credentials(account.integration, account.account_id, auth_token)
    provider = connect(account.integration, account.account_id, auth_token, Deadline(ADD_BUDGET_S))
    with refusal_noted("phone.rotate", phone), counted(credentials, phone.user.workspace_id, account):
        found = provider.verify(phone.number, application_id=account.application_id)
        if credentials.names_application and found.application is None:
            raise InvalidCredentials(provider.carrier, "the application is not there: another account's key")
    adopt_credentials(account, credentials, found.public_key)
    if end_old_token:
        ours = Account.objects.filter(pk=account.pk, token_digest=credentials.digest)
        if not ours.update(previous_auth_token=None):
            raise TokenReplaced
    note("phone.rotate", phone, detail="the old token is refused from now on" if end_old_token else "")
