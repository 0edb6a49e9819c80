"""The sandbox as tests, benchmarks and the demo use it: start it, script it, look at what happened."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .carrier import Carrier
from .faults import Fault, Faults
from .ledger import Exchange, Ledger
from .plivo import Plivo
from .server import Server
from .state import Account, seeded
from .telnyx import Telnyx
from .twilio import Twilio


class Sandbox:
    """The three carriers on one port of 127.0.0.1.

    `delay_s` is added to every carrier request. More than `concurrency_limit` requests of one account at a time get
    the carrier's 429. Both may be changed at any time and outlive a reset.
    """

    def __init__(self, port: int = 0, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s
        self.concurrency_limit: int | None = None
        self.lock = threading.RLock()
        """Held around every use of the state."""
        self.faults = Faults()
        self.book = Ledger()
        self.released = threading.Event()
        """Set when the requests that are held by faults shall be let go."""
        self._in_flight: Counter[tuple[str, str]] = Counter()
        self._serving = False
        self._begin()
        self._server = Server(port, self)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.twilio_url, self.plivo_url, self.telnyx_url = (self.url + kind.prefix for kind in (Twilio, Plivo, Telnyx))

    def _begin(self) -> None:
        self.state = seeded()
        self.carriers: list[Carrier] = [Twilio(self.state), Plivo(self.state), Telnyx(self.state)]

    # Running

    def start(self) -> "Sandbox":
        """Serve in a thread of its own."""
        self._serving = True  # at once, so that a stop() that comes before the thread runs waits for it
        threading.Thread(target=self.serve_forever, name="sandbox", daemon=True).start()
        return self

    def serve_forever(self) -> None:
        """Serve in this thread until it is interrupted or another one calls stop()."""
        self._serving = True
        try:
            self._server.serve_forever(poll_interval=0.05)
        finally:
            self._serving = False

    def stop(self) -> None:
        """Stop listening and close every connection, also those that a fault holds."""
        self.released.set()
        if self._serving:
            self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> "Sandbox":
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def reset(self) -> None:
        """Back to the seeds; no faults, an empty ledger; what was held is let go."""
        with self.lock:
            self._begin()
            self.faults.clear()
            self.book.clear()
            self.released.set()
            self.released = threading.Event()

    # The carriers' state

    def add_account(self, carrier: str, id: str, secret: str, **fields: Any) -> Account:
        with self.lock:
            return self.state.add_account(carrier, id, secret, **fields)

    def add_number(self, carrier: str, account: str, number: str, **fields: Any) -> dict[str, Any]:
        with self.lock:
            return self.state.add_number(carrier, account, number, **fields)

    def console(
        self, carrier: str, account: str, *, number: str = "", application: str = "", **fields: Any
    ) -> dict[str, Any]:
        """Somebody edits a number or an application in the carrier's own console: its raw fields, past the API and the
        ledger. Returns the edited resource; raises KeyError if there is none."""
        with self.lock:
            owner = self.state.account(carrier, account)
            resource = owner.applications[application] if application else owner.numbers[number.lstrip("+")]
            resource.update(fields)
            return dict(resource)

    def snapshot(self) -> dict[str, Any]:
        """Every setting at the three carriers; two snapshots are equal if nothing was changed between them."""
        with self.lock:
            return self.state.snapshot()

    # What was asked, and what shall go wrong

    @property
    def ledger(self) -> list[Exchange]:
        return self.book.exchanges()

    def clear_ledger(self) -> None:
        self.book.clear()

    def fault(self, kind: str, carrier: str | None = None, **options: Any) -> Fault:
        """Script a fault; the options are those of Fault."""
        fault = Fault(kind, carrier, **options)
        self.faults.add(fault)
        return fault

    def clear_faults(self) -> None:
        self.faults.clear()

    @contextmanager
    def in_flight(self, carrier: str, account: str | None) -> Iterator[bool]:
        """Counts a request while it is served; says whether its account may have one more."""
        if account is None:
            yield True
            return
        key = (carrier, account)
        with self.lock:
            self._in_flight[key] += 1
            admitted = self.concurrency_limit is None or self._in_flight[key] <= self.concurrency_limit
        try:
            yield admitted
        finally:
            with self.lock:
                self._in_flight[key] -= 1
