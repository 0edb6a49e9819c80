"""The auth tokens that an account's carrier may accept."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TypeVar

from core.secrets import CannotOpen, Secret
from integrations.base import Provider
from integrations.errors import InvalidCredentials
from integrations.transport import Deadline
from phones.models import Account, Line, PhoneNumber
from phones.services.accounts import Credentials
from phones.services.carriers import connect_as


@dataclass(frozen=True)
class Operation:
    """What an unfinished add leaves on its number, sealed, so that another process can finish or undo it.

    `auth_token` is the one that it began with and `account_id` the id of its account's row; `is_move`: it takes the
    number from another workspace.
    """

    auth_token: str = field(repr=False)
    account_id: str = ""
    is_move: bool = False

    def sealed(self) -> Secret:
        return Secret.seal(json.dumps(asdict(self)))

    @classmethod
    def of(cls, phone: PhoneNumber) -> "Operation":
        """What the number's operation left; empty before it changed anything. Raises CannotOpen."""
        return cls(**json.loads(phone.operation.open())) if phone.operation else cls("")

    def account_for(self, line: Line) -> Account:
        """The account with which it began: a move leaves the line in its old hands until the end."""
        return Account.objects.filter(pk=self.account_id).first() or line.account


Result = TypeVar("Result")


class Keyring:
    """An account's tokens, the most trusted first, because any of them may have been rotated. They never leave it.

    `in_doubt`: a change that was requested with one of them was not answered, so it may yet be carried out.
    """

    def __init__(
        self, account: Account, *, verified: Credentials | None = None, left_by: PhoneNumber | Secret | None = None
    ) -> None:
        """
        Args:
            verified: credentials that the carrier accepted a moment ago; used if they are those of the account.
            left_by: a number whose unfinished operation may have begun with another token, or that token, sealed.

        Raises CannotOpen if the encryption keys of all tokens are missing.
        """
        self._account = account
        self.in_doubt = False
        tokens = [verified.auth_token if verified and verified.fit(account) else ""]
        with suppress(CannotOpen):
            if isinstance(left_by, Secret):
                tokens.append(left_by.open())
            elif left_by:
                tokens.append(Operation.of(left_by).auth_token)
        try:
            tokens.append(account.auth_token.open())
        except CannotOpen:
            if not any(tokens):
                raise
        self._tokens = list(dict.fromkeys(filter(None, tokens)))

    def try_each(self, act: Callable[[Provider], Result], deadline: Deadline) -> Result:
        """Call `act` with a provider, using the first token that the carrier does not refuse, and return its result.

        Raises InvalidCredentials if the carrier refuses all tokens, and whatever `act` raises.
        """
        *others, last = self._tokens
        for token in others:
            with suppress(InvalidCredentials):
                return self._try(act, token, deadline)
        return self._try(act, last, deadline)

    def _try(self, act: Callable[[Provider], Result], token: str, deadline: Deadline) -> Result:
        account = self._account
        provider = connect_as(account, token, deadline)
        try:
            return act(provider)
        finally:
            self.in_doubt |= provider.in_doubt
