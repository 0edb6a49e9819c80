"""A row of a bulk add, and what became of it."""

import math
import time
from dataclasses import dataclass, field
from typing import Any

from core.errors import Refusal
from integrations.errors import IntegrationError
from phones.services.accounts import Credentials
from users.models import User

ADDED, EXISTS, FAILED, WOULD_ADD, NOT_TRIED = "added", "exists", "failed", "would_add", "not_tried"
IN_WORKSPACE, IN_FILE = "This user has this number already.", "An earlier row of the file has this number."
# A user who was looked up longer ago is looked up again.
USER_KNOWN_S = 60.0


@dataclass
class BulkRow:
    """A row that makes sense; `line` is its place in the file, `user` as it was looked up at `looked_up_at`."""

    line: int
    user_id: str
    number: str
    credentials: Credentials
    on_conflict: str
    settings: dict[str, Any] = field(repr=False)
    user: User | None = field(default=None, repr=False)
    looked_up_at: float = -math.inf
    tried_at: float = 0.0

    @property
    def key(self) -> tuple[str, str]:
        return self.user_id, self.number

    @property
    def is_user_known(self) -> bool:
        """Whether `user` is what it was a moment ago; None then says that there is no such user."""
        return time.monotonic() - self.looked_up_at < USER_KNOWN_S

    def ended(
        self, outcome: str, error: Refusal | IntegrationError | None = None, *, message: str = ""
    ) -> "RowOutcome":
        told = (error.code, error.field, str(error)) if error else (None, None, message)
        return RowOutcome(self.line, self.user_id, self.number, outcome, *told)


@dataclass(frozen=True)
class RowOutcome:
    """What became of a row: added, exists, failed, would_add or not_tried; `error` is the API's machine code."""

    line: int
    user_id: str
    phone_number: str
    outcome: str
    error: str | None = None
    field: str | None = None
    message: str = ""
