"""The sandbox as tests, benchmarks and the demo use it: start it, script it, look at what happened."""

import secrets
import threading
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from .calls import PhoneCall, PlacedCall
from .carrier import Carrier
from .deliveries import Options
from .faults import Fault, Faults
from .ledger import Exchange, Ledger
from .plivo import Plivo
from .plivo_calls import PlivoCall
from .server import Server
from .state import Account, seeded
from .telnyx import Telnyx
from .telnyx_calls import TelnyxCall
from .twilio import Twilio
from .twilio_calls import TwilioCall

CALLS: dict[str, type[PhoneCall]] = {"twilio": TwilioCall, "plivo": PlivoCall, "telnyx": TelnyxCall}


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
        self._server = Server(port, self)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._begin()
        self.twilio_url, self.plivo_url, self.telnyx_url = (self.url + kind.prefix for kind in (Twilio, Plivo, Telnyx))

    def _begin(self) -> None:
        self.state = seeded()
        self.state.origin = self.url
        self.deliver_to: str | None = None
        """Where webhooks are delivered, `http://127.0.0.1:8001`, in place of their own host; a reset forgets it."""
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

    # Calls

    def place_call(
        self,
        carrier: str,
        number: str,
        *,
        account: str = "",
        caller: str = "+441632960083",
        caller_name: str = "",
        talk_s: int = 3,
        forward_answers: bool = True,
        duplicate: int = 1,
        reorder: bool = False,
        drop: bool | Collection[str] = (),
        tamper: bool = False,
        replay: bool = False,
    ) -> PlacedCall:
        """Somebody calls a number: the carrier asks the number's webhooks and obeys them. Returns when all is over,
        at once, for time is simulated; the call ends now.

        `account`: the account's id, if not whoever has the number; KeyError if nobody has. `talk_s`: how long the
        caller talks, 0 to hang up without a message. `forward_answers`: whether somebody answers a dialed number.
        `duplicate`: how often each callback is delivered, each time signed anew. `reorder`: callbacks that are asked
        for no document come after the call, the last first. `drop`: kinds of callbacks that never come (status,
        recording, leg, action), True is all. `tamper`: a byte of each request is changed after it was signed.
        `replay`: every request is made again after the call, the same to the byte.
        """
        kinds = drop if isinstance(drop, bool) else tuple(drop)
        options = Options(caller_name, talk_s, forward_answers, duplicate, reorder, kinds, tamper, replay)
        digits, caller = number.lstrip("+"), f"+{caller}" if caller.isdigit() else caller
        with self.lock:
            owner = self.state.owner(carrier, digits, account)
        return CALLS[carrier](self, owner, digits, caller, options).run()

    def expire_links(self) -> None:
        """The links to Telnyx' files that were given so far are good no more."""
        with self.lock:
            self.state.link_key = secrets.token_bytes()

    @property
    def media_not_ready(self) -> int:
        """How many of the next requests for a file get 404; a reset makes it 0."""
        return self.state.media_not_ready

    @media_not_ready.setter
    def media_not_ready(self, count: int) -> None:
        self.state.media_not_ready = count

    @property
    def media_redirect(self) -> str | None:
        """Where requests for a file are redirected to; a reset makes it None."""
        return self.state.media_redirect

    @media_redirect.setter
    def media_redirect(self, url: str | None) -> None:
        self.state.media_redirect = url

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
