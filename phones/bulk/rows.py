"""A row of a bulk add and its outcome."""

import math
import time
from dataclasses import dataclass, field
from typing import Any

from core.errors import Refusal
from integrations.errors import IntegrationError
from phones.api.sentences import sentence, wire_name
from phones.services.accounts import Credentials
from users.models import User

ADDED, EXISTS, FAILED, WOULD_ADD, NOT_TRIED = "added", "exists", "failed", "would_add", "not_tried"
IN_WORKSPACE, IN_FILE = "This user has this number already.", "An earlier row of the file has this number."
# A user who was looked up longer ago is looked up again.
USER_KNOWN_S = 60.0
# The carrier refused the number, so it accepted the credentials.
ABOUT_THE_NUMBER = {
    "invalid_phone_number",
    "number_not_owned",
    "number_not_usable",
    "number_routed_elsewhere",
    "number_in_another_workspace",
}

# The user's id and the number.
Key = tuple[str, str]


@dataclass
class BulkRow:
    """A valid row; `line` is its place in the file, `user` the user as found at `looked_up_at`.

    `user_id` is the user's e-mail address if the file has that instead and the user was not found yet. `columns` is
    what the results repeat of the row. Times are seconds on the monotonic clock.
    """

    line: int
    user_id: str
    number: str
    credentials: Credentials
    on_conflict: str
    settings: dict[str, Any] = field(repr=False)
    columns: dict[str, str] = field(default_factory=dict, repr=False)
    user: User | None = field(default=None, repr=False)
    looked_up_at: float = -math.inf
    first_tried_at: float = 0.0

    @property
    def key(self) -> Key:
        return self.user_id, self.number

    @property
    def is_user_known(self) -> bool:
        """Whether `user` was looked up recently. If so and it is None, there is no such user."""
        return time.monotonic() - self.looked_up_at < USER_KNOWN_S

    def outcome(
        self, outcome: str, error: Refusal | IntegrationError | None = None, *, message: str = ""
    ) -> "RowOutcome":
        """This row's outcome, with the API's sentence for the error unless there is a message."""
        code, field = (error.code, wire_name(error.field)) if error else (None, None)
        text = message or (sentence(error) if error else "")
        is_final = isinstance(error, IntegrationError) and error.is_final
        return RowOutcome(self.line, self.columns, outcome, code, field, text, self.key, is_final)


@dataclass(frozen=True)
class RowOutcome:
    """How a row ended: added, exists, failed, would_add or not_tried; `error` is the API's machine code.

    `columns` are those of the file, without secrets; `key` is the row's, if it was valid. `is_final`: the carrier
    answered, and would refuse the row again.
    """

    line: int
    columns: dict[str, str]
    outcome: str
    error: str | None = None
    field: str | None = None
    message: str = ""
    key: Key = ("", "")
    is_final: bool = False

    @property
    def shows_valid_credentials(self) -> bool:
        """Whether the carrier accepted the credentials: it let us add the number, or refused just this number."""
        return self.outcome in (ADDED, WOULD_ADD) or self.error in ABOUT_THE_NUMBER


@dataclass(frozen=True)
class Retry:
    """A row that could not be tried to the end: try it again at `due_at`, in seconds on the monotonic clock."""

    row: BulkRow
    due_at: float
