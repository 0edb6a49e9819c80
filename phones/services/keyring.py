"""The auth tokens that an account's carrier may accept."""

import json
from collections.abc import Callable
from contextlib import suppress

from core.secrets import CannotOpen, Secret
from integrations.base import Provider
from integrations.errors import InvalidCredentials
from integrations.transport import Deadline
from phones.models import Account, PhoneNumber
from phones.services.accounts import Credentials
from phones.services.carriers import connect


class Keyring:
    """An account's tokens, the most trusted first, because any of them may have been rotated. They never leave it."""

    def __init__(
        self, account: Account, *, verified: Credentials | None = None, operation_of: PhoneNumber | None = None
    ) -> None:
        """
        Args:
            verified: credentials of the account that the carrier accepted a moment ago.
            operation_of: a number whose unfinished operation may have begun with other credentials.

        Raises CannotOpen if the encryption keys of all tokens are missing.
        """
        self._account = account
        tokens = [verified.auth_token if verified else ""]
        with suppress(CannotOpen):
            tokens.append(operation_token(operation_of) if operation_of else "")
        try:
            tokens.append(account.auth_token.open())
        except CannotOpen:
            if not any(tokens):
                raise
        self._tokens = list(dict.fromkeys(filter(None, tokens)))

    def try_each(self, act: Callable[[Provider], object], deadline: Deadline) -> None:
        """Call `act` with a provider, using the first token that the carrier does not refuse.

        Raises InvalidCredentials if the carrier refuses all tokens, and whatever `act` raises.
        """
        for token in self._tokens:
            try:
                act(connect(self._account.integration, self._account.account_id, token, deadline))
                return
            except InvalidCredentials:
                if token == self._tokens[-1]:
                    raise


def sealed_operation(credentials: Credentials) -> Secret:
    """Seal what a number stores about its add: the token to roll it back with."""
    return Secret.seal(json.dumps({"auth_token": credentials.auth_token}))


def operation_token(phone: PhoneNumber) -> str:
    """The auth token that an unfinished operation began with; empty before it changed anything. Raises CannotOpen."""
    return json.loads(phone.operation.open())["auth_token"] if phone.operation else ""
