"""The ledger: the requests to the carriers and what they did, in order of arrival."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass
class Exchange:
    """A request and its reply. Times are from `time.monotonic()`; `ended` is just before the reply is sent.

    `applied`: whether the carrier carried out the request, whatever it replied. `account` is an id, never a secret.
    """

    seq: int
    carrier: str
    method: str
    path: str
    query: dict[str, list[str]]
    body: Any
    account: str | None
    started: float
    ended: float | None = None
    status: int | None = None
    response: Any = None
    applied: bool = False
    fault: str | None = None


class Ledger:
    """A thread-safe list of exchanges."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._exchanges: list[Exchange] = []
        self._seq = 0

    def open(self, **fields: Any) -> Exchange:
        with self._lock:
            self._seq += 1
            exchange = Exchange(seq=self._seq, **fields)
            self._exchanges.append(exchange)
            return exchange

    def exchanges(self) -> list[Exchange]:
        with self._lock:
            return list(self._exchanges)

    def clear(self) -> None:
        with self._lock:
            self._exchanges.clear()


def rounds(exchanges: Iterable[Exchange]) -> int:
    """Count the sequential round trips in these exchanges.

    An exchange that starts after every earlier one has ended begins a new round. An exchange that a fault still holds
    keeps its round open.
    """
    count, busy_until = 0, float("-inf")
    for exchange in sorted(exchanges, key=lambda exchange: exchange.started):
        if exchange.started > busy_until:
            count += 1
        busy_until = max(busy_until, float("inf") if exchange.ended is None else exchange.ended)
    return count
