"""The rows of a bulk add that wait for one carrier account, and when how many of them may be under way."""

from collections import deque
from dataclasses import dataclass, field

from core.errors import Refusal
from phones.bulk.gates import AccountGate
from phones.bulk.inventory import Inventory
from phones.bulk.rows import BulkRow

# Requests of one account at a time, until its carrier says that they are too many.
PER_ACCOUNT = 8
# An account's list is read for the rows that wait; for fewer than this each is asked for itself.
MIN_LISTED = 12
# Rows of an account beyond those that its gate lets through: it is not idle while a row is written down here.
AT_THE_GATE = 4


@dataclass
class AccountQueue:
    """The waiting rows of one account, and what is known of the account."""

    gate: AccountGate
    inventory: Inventory
    integration: str
    rows: deque[BulkRow] = field(default_factory=deque)
    in_flight: int = 0
    is_proved: bool = False
    is_reading: bool = False
    # A row was begun since the last page: a list that is old before it is used does not keep the rows from their turn.
    has_begun_row: bool = True
    refusal: Refusal | None = None

    @property
    def most(self) -> int:
        """How much may be under way. Unless its credentials are proved one row goes ahead, so that no others are spent
        on a wrong token. A row that the list has not shown takes two requests at a time: half as many of them leave
        room at the gate for the page that spares the others theirs."""
        if not self.is_proved:
            return 1
        if self.is_reading and not self.inventory.listed():
            return 1 + min(self.gate.limit, PER_ACCOUNT) // 2
        return self.gate.limit + AT_THE_GATE

    @property
    def may_start(self) -> bool:
        return bool(self.rows) and self.in_flight < self.most and not self.gate.is_closed

    @property
    def wants_page(self) -> bool:
        """Whether to read on in the account's list, as what it has shown is soon used up."""
        return (
            self.is_proved
            and not self.is_reading
            and self.has_begun_row
            and len(self.rows) >= MIN_LISTED
            and self.inventory.is_worth_it(len(self.rows))
            and len(self.inventory.listed()) < 2 * self.gate.limit
        )

    def put_listed_first(self) -> None:
        """So that what the list has shown is used while it is fresh, though the file has another order."""
        listed = self.inventory.listed()
        self.rows = deque(sorted(self.rows, key=lambda row: row.number not in listed))

    @property
    def urgency(self) -> tuple[bool, float]:
        """Unproved accounts first, as they have one row under way at most; then who has most to do for each worker."""
        return not self.is_proved, len(self.rows) / (self.in_flight + 1)
