"""What an account's list says about the numbers of a file: one page instead of a request for each number."""

import time
from collections.abc import Collection
from dataclasses import dataclass
from threading import Lock

from integrations.base import Provider
from integrations.transport import Deadline
from integrations.types import Application, CarrierNumber, ListedNumber, Route
from phones.services.accounts import Credentials, connect_with, known_account
from phones.services.carriers import ADD_BUDGET_S, ROLL_BACK_BUDGET_S

# The settings to restore one day are taken from the list. Older entries are not used, because somebody may have changed
# the number at the carrier since; a single add may take just as long between its read and its write.
FRESH_S = ADD_BUDGET_S
# Pages that may be read without finding a wanted number: one for so many waiting rows, and at most MAX_WASTED_PAGES.
ROWS_PER_WASTED_PAGE, MAX_WASTED_PAGES = 4, 50


@dataclass(frozen=True)
class Entry:
    """A number as it was listed, and when the list was read, in seconds on the monotonic clock."""

    number: CarrierNumber
    read_at: float

    @property
    def is_fresh(self) -> bool:
        return time.monotonic() - self.read_at < FRESH_S


class ListedNumbers:
    """The numbers of one account that its list shows as usable and routed nowhere. Thread-safe.

    About any other number it says nothing: one that is not listed, cannot take calls, is routed anywhere or was read
    too long ago. The carrier is then asked about that number alone, so a customer's route is never taken from a list.
    """

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials
        # Pages without a wanted number, less the wanted numbers that other pages had.
        self._wasted_pages = 0
        self._entries: dict[str, Entry] = {}
        # What the page being read may add. A number that is meanwhile asked for by itself is no longer wanted.
        self._wanted: set[str] = set()
        # Of the last page, of the page after it, and when the last page was read.
        self._cursor = self._next_cursor = ""
        self._page_read_at = 0.0
        self._lock = Lock()

    def may_read_page(self, waiting: int) -> bool:
        """Whether it still pays to read another page for this many waiting rows."""
        return self._wasted_pages < min(MAX_WASTED_PAGES, waiting // ROWS_PER_WASTED_PAGE)

    def stop_reading(self) -> None:
        """Read no more pages."""
        self._wasted_pages = MAX_WASTED_PAGES

    def fresh(self) -> set[str]:
        """The numbers that `pop` would return."""
        with self._lock:
            return {number for number, entry in self._entries.items() if entry.is_fresh}

    def pop(self, number: str) -> CarrierNumber | None:
        """Return a number as it was just listed and drop it; None if it is not among the fresh ones."""
        with self._lock:
            self._wanted.discard(number)
            entry = self._entries.pop(number, None)
        return entry.number if entry and entry.is_fresh else None

    def clear(self) -> None:
        """Drop all numbers; the last page will be read again."""
        with self._lock:
            self._entries.clear()
            self._next_cursor = self._cursor

    def read_page(self, wanted: Collection[str]) -> None:
        """Read the next page of the list, after the last page the first, and store the wanted numbers on it.

        Stale numbers are dropped. If a wanted one among them was on the last page, that page is read again.
        Raises IntegrationError.
        """
        credentials = self.credentials
        with self._lock:
            stale = {number: entry for number, entry in self._entries.items() if not entry.is_fresh}
            again = any(number in stale and stale[number].read_at == self._page_read_at for number in wanted)
            self._entries = {number: entry for number, entry in self._entries.items() if number not in stale}
            self._wanted = set(wanted) - self._entries.keys()
        provider = connect_with(credentials, Deadline(ROLL_BACK_BUDGET_S))
        application, public_key = our_application(provider, credentials), provider.read_public_key()
        read_at, cursor = time.monotonic(), self._cursor if again else self._next_cursor
        self._cursor = self._next_cursor = ""  # if this fails, start from the first page
        page, self._next_cursor = provider.list_numbers(cursor)
        self._cursor, self._page_read_at = cursor, read_at
        stored = 0
        for listed in page:
            number = usable_number(listed, provider, application, public_key)
            stored += self._store(listed.number, Entry(number, read_at) if number else None)
        self._wasted_pages = max(0, self._wasted_pages + 1 - stored)

    def _store(self, number: str, entry: Entry | None) -> bool:
        """Store the entry of a number that is still wanted. Returns whether it did."""
        with self._lock:
            if number not in self._wanted:
                return False
            self._wanted.discard(number)
            if entry:
                self._entries[number] = entry
            return entry is not None


def usable_number(
    listed: ListedNumber, provider: Provider, application: Application | None, public_key: str
) -> CarrierNumber | None:
    """A number as an add needs it; None if it cannot take calls or is routed anywhere."""
    route = provider.route_of(listed.settings, application)
    if not (listed.voice and listed.active and route is Route.NONE):
        return None
    return CarrierNumber(listed.id, listed.settings, route, application, public_key=public_key)


def our_application(provider: Provider, credentials: Credentials) -> Application | None:
    """The application to which an account's numbers are linked, if there is one."""
    if provider.applications is None:
        return None
    account = known_account(credentials)
    named = credentials.account_id if credentials.names_application else ""
    return provider.applications.find((account.application_id if account else "") or named)
