"""Counting refused credentials, so that nobody can use us to guess valid ones (docs/decisions/0004)."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from integrations import CARRIERS
from integrations.errors import ApiKeyAsAccountId, InvalidCredentials, NotAnAccountId, NotAnAuthToken
from phones.models import Account
from phones.services.accounts import Credentials, was_verified
from users import limits


@contextmanager
def limit_credential_attempts(credentials: Credentials, known: Account | None) -> Iterator[None]:
    """Ask a carrier about credentials in this block. After too many refusals, the block is not entered.

    They are counted for the workspace, so that nobody can lock another workspace out of its account.

    Args:
        known: the account, if we have it. Credentials that were verified for it before are not a guess.

    Before the block it raises LimitReached, and NotAnAccountId or NotAnAuthToken for what is plainly no account's.
    """
    check_form(credentials)
    if was_verified(known, credentials):
        yield
        return
    workspace = f"workspace:{credentials.workspace_id}"
    with limits.hold(("refused_credentials", workspace), ("refused_credentials_total", "all")) as hold:
        try:
            yield
        except InvalidCredentials:
            if hold:
                hold.spend()
            raise


def check_form(credentials: Credentials) -> None:
    """Raise NotAnAccountId or NotAnAuthToken for what customers confuse with an account's credentials. It is no guess,
    and the carrier need not be asked.

    Only what the carrier is known to refuse counts: a form that we do not know may be a new one.
    """
    carrier, account_id, auth_token = CARRIERS[credentials.integration], credentials.account_id, credentials.auth_token
    if account_id and re.fullmatch(carrier.api_keys, account_id):
        raise ApiKeyAsAccountId(carrier)
    if account_id and re.fullmatch(carrier.other_ids, account_id):
        raise NotAnAccountId(carrier)
    if auth_token == account_id or re.fullmatch(carrier.no_tokens, auth_token):
        raise NotAnAuthToken(carrier)
