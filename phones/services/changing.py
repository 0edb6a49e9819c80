"""Changing a number: its label, how it answers, and the credentials of its account."""

from copy import copy
from typing import Any

from integrations.errors import InvalidCredentials
from integrations.transport import Deadline
from phones.errors import NoSuchPhone, NumberRetired, TokenReplaced
from phones.models import Account, PhoneNumber
from phones.services.accounts import Credentials, adopt_credentials, renew_public_key
from phones.services.carriers import ADD_BUDGET_S, connect_as
from phones.services.completing import finish_move
from phones.services.guesses import limit_credential_attempts
from phones.services.handling import check_handling, check_loop
from phones.services.history import note, refusal_noted
from phones.services.searching import reindex_phone

TARGETS = ("forward_to", "connect_to")


def check_inbound(phone: PhoneNumber, changes: dict[str, Any]) -> None:
    """Raise what check_handling() and check_loop() raise of the number with these changes, or NumberRetired if another
    workspace has it now.

    If a target joined the workspace after it was chosen, it stays; a check reports it.
    """
    if phone.is_retired:
        raise NumberRetired
    changed = copy(phone)
    for name, value in changes.items():
        setattr(changed, name, value)
    check_handling(changed)
    chosen = {getattr(changed, name) for name in TARGETS if getattr(changed, name) != getattr(phone, name)}
    check_loop(changed, *chosen, *([changed.target] if changed.action != phone.action else []))


def change_phone(phone: PhoneNumber, changes: dict[str, Any]) -> None:
    """Change fields of an active number: `label`, `action`, `greeting`, `language`, `forward_to`, `connect_to`,
    `ring_seconds`, `if_unanswered`, `record`.

    Raises NoSuchPhone if the number is being removed. The row object is changed, too.
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
    """Verify the auth token and make it the current one of the number's account, for all the account's numbers.

    Args:
        end_old_token: refuse the previous token at once, as for a stolen one. Otherwise it stays valid for webhooks for
            the rotation window.

    Raises IntegrationError, LimitReached, LineBusy or NumberRetired before anything has changed, TokenReplaced if
    another token was stored meanwhile. Takes at most 20 s.
    """
    if phone.is_retired:
        raise NumberRetired
    finish_move(phone)
    assert phone.line is not None  # noqa: S101  every active number has one
    account = phone.line.account
    credentials = Credentials(account.workspace_id, account.integration, account.account_id, auth_token)
    provider = connect_as(account, auth_token, Deadline(ADD_BUDGET_S))
    with refusal_noted("phone.rotate", phone), limit_credential_attempts(credentials, account):
        found = provider.verify(phone.number, application_id=account.application_id)
        if credentials.names_application and found.application is None:
            raise InvalidCredentials(provider.carrier, "application not found: the key is another account's")
    adopt_credentials(account, credentials, found.public_key)
    if end_old_token:
        ours = Account.objects.filter(pk=account.pk, token_digest=credentials.digest)
        if not ours.update(previous_auth_token=None):
            raise TokenReplaced
    note("phone.rotate", phone, detail="the old token is refused from now on" if end_old_token else "")


def enter_public_key(phone: PhoneNumber, public_key: str) -> None:
    """Store the webhook key of the number's account, as `renew_public_key` does, for all the account's numbers.

    Raises IntegrationError, LineBusy, NumberRetired or CannotOpen before anything has changed. Takes at most 20 s.
    """
    if phone.is_retired:
        raise NumberRetired
    finish_move(phone)
    assert phone.line is not None  # noqa: S101  every active number has one
    account = phone.line.account
    provider = connect_as(account, account.auth_token.open(), Deadline(ADD_BUDGET_S))
    with refusal_noted("phone.rotate", phone):
        renew_public_key(account, public_key, provider)
    note("phone.rotate", phone, detail="the public key was entered")
