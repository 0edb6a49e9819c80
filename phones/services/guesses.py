"""Counting refused credentials, so that nobody can use us to guess valid ones (docs/decisions/0004)."""

from collections.abc import Iterator
from contextlib import contextmanager

from integrations.errors import InvalidCredentials
from phones.models import Account
from phones.services.accounts import Credentials, was_verified
from users import limits


@contextmanager
def limit_credential_attempts(
    credentials: Credentials, workspace_id: str | None, known: Account | None
) -> Iterator[None]:
    """Ask a carrier about credentials in this block. After too many refusals, the block is not entered.

    Args:
        known: the account, if we have it. Credentials that were verified for it before are not a guess.

    Raises LimitReached before the block, and whatever the block raises.
    """
    if was_verified(known, credentials):
        yield
        return
    subjects = [("refused_credentials", f"workspace:{workspace_id}")]
    if credentials.account_id:
        subjects.append(("refused_credentials", f"{credentials.integration}:{credentials.account_id}"))
    subjects.append(("refused_credentials_total", "all"))
    with limits.hold(*subjects) as hold:
        try:
            yield
        except InvalidCredentials:
            if hold:
                hold.spend()
            raise
