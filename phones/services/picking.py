"""Listing the numbers of a carrier account, so that a client can pick which to add."""

import base64
import binascii
import re
from typing import NamedTuple

from core.errors import Refusal
from integrations.errors import IntegrationError
from integrations.transport import Deadline
from integrations.types import ListedNumber
from phones.errors import UnknownCursor
from phones.services.accounts import Credentials, connect_with, known_account
from phones.services.call_log import active_numbers
from phones.services.carriers import ADD_BUDGET_S
from phones.services.guesses import limit_credential_attempts
from users import audit

CURSOR = re.compile(r"[0-9]{1,9}( [A-Za-z0-9_-]{0,200})?")


class Available(NamedTuple):
    """A number of the account. `added`: the workspace already has it."""

    listed: ListedNumber
    added: bool


def available_phones(credentials: Credentials, cursor: str) -> tuple[list[Available], str]:
    """Return a page of the account's numbers and the cursor of the next page; empty at the end.

    The credentials are not stored, but their use is recorded in the audit trail. Raises IntegrationError and
    LimitReached, and UnknownCursor. Takes at most 20 s.
    """
    workspace_id = credentials.workspace_id
    try:
        page, following = listed_page(credentials, cursor)
    except (Refusal, IntegrationError) as refusal:
        audit.record("phone.pick", workspace_id=workspace_id, outcome=refusal.code, detail=credentials.integration)
        raise
    # Without the account id: if a user confuses the fields, it contains the token, and Telnyx does not notice.
    audit.record("phone.pick", workspace_id=workspace_id, detail=credentials.integration)
    numbers = active_numbers(workspace_id).filter(number__in=[listed.number for listed in page])
    added = set(numbers.filter(integration=credentials.integration).values_list("number", flat=True))
    return [Available(listed, listed.number in added) for listed in page], following


def listed_page(credentials: Credentials, cursor: str) -> tuple[list[ListedNumber], str]:
    provider = connect_with(credentials, Deadline(ADD_BUDGET_S))
    with limit_credential_attempts(credentials, known_account(credentials)):
        try:
            return provider.list_numbers(cursor)
        except ValueError:
            raise UnknownCursor from None


def write_cursor(cursor: str) -> str:
    return base64.urlsafe_b64encode(cursor.encode()).decode()


def read_cursor(text: str) -> str:
    """Decode a cursor. Raises ValueError."""
    try:
        cursor = base64.urlsafe_b64decode(text).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise ValueError("not a cursor") from None
    if not CURSOR.fullmatch(cursor):
        raise ValueError("not a cursor")
    return cursor
