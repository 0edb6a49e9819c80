"""What an account's list shows of the numbers that are wanted: read in pages, instead of asking for each by itself."""

import time
from collections.abc import Collection
from dataclasses import dataclass
from threading import Lock

from integrations.base import Provider
from integrations.transport import Deadline
from integrations.types import Application, CarrierNumber, ListedNumber, Route
from phones.services.accounts import Credentials, known_account
from phones.services.carriers import ADD_BUDGET_S, SETTLE_BUDGET_S, connect

# What a number's calls did before us is remembered from the list. An older entry is not believed: somebody may have
# changed the number at the carrier since. An add by itself may take as long between its look and its write.
FRESH_S = ADD_BUDGET_S
# Pages that may be read in vain: one for so many numbers that are wanted, and in all no more than MAX_IN_VAIN.
NUMBERS_A_PAGE, MAX_IN_VAIN = 4, 50


@dataclass(frozen=True)
class Entry:
    """A number as the list had it, and when the list was asked."""

    number: CarrierNumber
    asked_at: float

    @property
    def is_fresh(self) -> bool:
        return time.monotonic() - self.asked_at < FRESH_S


class Inventory:
    """The numbers of one account. Thread safe.

    It only ever says yes. Of a number that is not in it, cannot take calls, is routed anywhere or was read too long ago
    it says nothing, and the carrier is asked for that number itself: a customer's route is never taken from a list.
    """

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials
        # Pages that had none of the wanted numbers, less the numbers that others had.
        self._in_vain = 0
        self._entries: dict[str, Entry] = {}
        # What a page is read for; a number that is asked for by itself meanwhile is wanted no more.
        self._missing: set[str] = set()
        # Of the page that was read last, when that was, and of the one after it.
        self._cursor = self._following = ""
        self._read_at = 0.0
        self._lock = Lock()

    def is_worth_it(self, wanted: int) -> bool:
        """Whether another page may be read for so many numbers."""
        return self._in_vain < min(MAX_IN_VAIN, wanted // NUMBERS_A_PAGE)

    def give_up(self) -> None:
        """The list cannot be read."""
        self._in_vain = MAX_IN_VAIN

    def listed(self) -> set[str]:
        """The numbers that `take` would give."""
        with self._lock:
            return {number for number, entry in self._entries.items() if entry.is_fresh}

    def take(self, number: str) -> CarrierNumber | None:
        """What was read of a number a moment ago; each is given once."""
        with self._lock:
            self._missing.discard(number)
            entry = self._entries.pop(number, None)
        return entry.number if entry and entry.is_fresh else None

    def forget(self) -> None:
        with self._lock:
            self._entries.clear()
            self._following = self._cursor

    def read_on(self, wanted: Collection[str]) -> None:
        """Read the next page of the list, after its last the first, and keep what it shows of the wanted numbers.

        What is not fresh any more is forgotten; if it was on the page that was read last, that page is read again.
        Raises IntegrationError.
        """
        credentials = self.credentials
        with self._lock:
            stale = {number: entry for number, entry in self._entries.items() if not entry.is_fresh}
            again = any(number in stale and stale[number].asked_at == self._read_at for number in wanted)
            self._entries = {number: entry for number, entry in self._entries.items() if number not in stale}
            self._missing = set(wanted) - self._entries.keys()
        provider = connect(
            credentials.integration, credentials.account_id, credentials.auth_token, Deadline(SETTLE_BUDGET_S)
        )
        application, public_key = our_application(provider, credentials), provider.read_public_key()
        asked_at, cursor = time.monotonic(), self._cursor if again else self._following
        self._cursor = self._following = ""  # where to begin if this fails
        page, self._following = provider.list_numbers(cursor)
        self._cursor, self._read_at = cursor, asked_at
        kept = [self._keep(one, provider, application, public_key, asked_at) for one in page]
        self._in_vain = max(0, self._in_vain + 1 - sum(kept))

    def _keep(
        self,
        one: ListedNumber,
        provider: Provider,
        application: Application | None,
        public_key: str,
        asked_at: float,
    ) -> bool:
        route = provider.route_of(one.settings, application)
        with self._lock:
            if one.number not in self._missing:
                return False
            self._missing.discard(one.number)
            if not (one.voice and one.active and route is Route.NONE):
                return False
            number = CarrierNumber(one.id, one.settings, route, application, public_key=public_key)
            self._entries[one.number] = Entry(number, asked_at)
            return True


def our_application(provider: Provider, credentials: Credentials) -> Application | None:
    """The application to which an account's numbers are linked, if there is one."""
    if provider.applications is None:
        return None
    account = known_account(credentials)
    named = credentials.account_id if credentials.names_application else ""
    return provider.applications.find((account.application_id if account else "") or named)
