"""The sandbox for tests, benchmarks and the demo: start it, script it, inspect what happened."""

import copy
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
from .late import Late
from .ledger import Exchange, Ledger
from .plivo import Plivo
from .plivo_calls import PlivoCall
from .server import Server
from .state import Account, seeded
from .targets import Outcome, Target, key
from .telnyx import Telnyx
from .telnyx_calls import TelnyxCall
from .twilio import Twilio
from .twilio_calls import TwilioCall

CALLS: dict[str, type[PhoneCall]] = {"twilio": TwilioCall, "plivo": PlivoCall, "telnyx": TelnyxCall}


class Sandbox:
    """The three carriers on one port of 127.0.0.1.

    `delay_s` is added to every carrier request. When an account has more than `concurrency_limit` requests in flight,
    the excess ones get the carrier's 429. Both can be changed at any time and survive a reset.
    """

    def __init__(self, port: int = 0, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s
        self.concurrency_limit: int | None = None
        self.lock = threading.RLock()
        """Held during every access to the state."""
        self.faults = Faults()
        self.late = Late(self.lock)
        self.book = Ledger()
        self.released = threading.Event()
        """Set to release the requests held by faults."""
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
        """Where webhooks are delivered instead of their own host, as `http://127.0.0.1:8001`; a reset clears it."""
        self.hosts: dict[str, str] = {}
        """The addresses of voice systems, as `{"voice.example.com": "127.0.0.1:9001"}`, in place of a name server; a
        reset clears them."""
        self.targets: dict[str, Target] = {}
        """What happens at numbers and SIP addresses that are dialed; a reset clears them. See add_target()."""
        self.carriers: list[Carrier] = [Twilio(self.state), Plivo(self.state), Telnyx(self.state)]

    # Running

    def start(self) -> "Sandbox":
        """Serve in a background thread."""
        self._serving = True  # set here, so that a stop() before the thread runs waits for it
        threading.Thread(target=self.serve_forever, name="sandbox", daemon=True).start()
        return self

    def serve_forever(self) -> None:
        """Serve in this thread until it is interrupted or another thread calls stop()."""
        self._serving = True
        try:
            self._server.serve_forever(poll_interval=0.05)
        finally:
            self._serving = False

    def stop(self) -> None:
        """Stop listening, close every connection, including those held by a fault, and cancel late requests."""
        self.released.set()
        self.late.cancel()
        if self._serving:
            self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> "Sandbox":
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def reset(self) -> None:
        """Restore the seeds, clear the faults and the ledger, cancel late requests, and release held ones."""
        with self.lock:
            self.late.cancel()
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

    def transfer_number(
        self, carrier: str, number: str, to: str, *, account: str = "", keep_id: bool = False
    ) -> dict[str, Any]:
        """Move a number to the account `to` of the same carrier, as when it is sold or ported. It arrives unrouted.

        `account` is the present owner; if empty, any account that has the number. `keep_id`: whether the number keeps
        its Twilio SID or Telnyx id. Returns the number; raises KeyError if an account or the number does not exist.
        """
        with self.lock:
            return dict(self.state.transfer_number(carrier, number, to, account=account, keep_id=keep_id))

    def change_secret(self, carrier: str, account: str, secret: str) -> None:
        """Replace an account's auth token or API key. The old one is refused from now on."""
        with self.lock:
            self.state.change_secret(carrier, account, secret)

    def console(
        self, carrier: str, account: str, *, number: str = "", application: str = "", **fields: Any
    ) -> dict[str, Any]:
        """Edit the raw fields of a number or an application, as in the carrier's own console, bypassing the API and the
        ledger. Returns the edited resource; raises KeyError if it does not exist."""
        with self.lock:
            owner = self.state.account(carrier, account)
            resource = owner.applications[application] if application else owner.numbers[number.lstrip("+")]
            resource.update(fields)
            return dict(resource)

    def snapshot(self) -> dict[str, Any]:
        """Every setting at the three carriers; two snapshots are equal if nothing changed between them."""
        with self.lock:
            return self.state.snapshot()

    @property
    def refuse_in_use(self) -> bool:
        """Whether Plivo and Telnyx refuse to delete an application that numbers are linked to, instead of unlinking
        them. Neither documents which; a reset sets it to False."""
        return self.state.refuse_in_use

    @refuse_in_use.setter
    def refuse_in_use(self, refuse: bool) -> None:
        self.state.refuse_in_use = refuse

    # Calls

    def add_target(self, address: str, outcome: Outcome, rings_s: int = 5) -> None:
        """Set what happens when this number or SIP address is dialed.

        Args:
            address: digits, or `sip:user@host`; another scheme, and parameters, make no difference.
            rings_s: how long it rings before it answers, in seconds.
        """
        with self.lock:
            self.targets[key(address)] = Target(outcome, rings_s)

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
        """Call a number: the carrier requests the number's webhooks and executes their documents.

        Returns when the call is over; as time is simulated, nothing waits, except for what a voice system says at the
        other end of a stream. The call ends at the current time.

        Args:
            account: the account's id; if empty, any account that has the number.
            talk_s: how long the caller talks, in seconds; 0 to hang up without leaving a message.
            forward_answers: whether a dialed number answers that is no target; see add_target().
            duplicate: how many times each callback is delivered, signed anew each time.
            reorder: deliver callbacks that do not request a document after the call, in reverse order.
            drop: the kinds of callbacks to drop (status, recording, leg, stream, action); True drops all of them.
            tamper: change a byte of each request after signing it.
            replay: repeat every request after the call, byte for byte.

        Raises KeyError if no account has the number.
        """
        kinds = drop if isinstance(drop, bool) else tuple(drop)
        options = Options(caller_name, talk_s, forward_answers, duplicate, reorder, kinds, tamper, replay)
        digits, caller = number.lstrip("+"), f"+{caller}" if caller.isdigit() else caller
        with self.lock:
            owner = self.state.owner(carrier, digits, account)
        return CALLS[carrier](self, owner, digits, caller, options).run()

    def expire_links(self) -> None:
        """Invalidate all links to Telnyx files issued so far."""
        with self.lock:
            self.state.link_key = secrets.token_bytes()

    @property
    def media_not_ready(self) -> int:
        """How many of the next requests for a file get a 404; a reset sets it to 0."""
        return self.state.media_not_ready

    @media_not_ready.setter
    def media_not_ready(self, count: int) -> None:
        self.state.media_not_ready = count

    @property
    def media_redirect(self) -> str | None:
        """Where requests for a file are redirected; a reset sets it to None."""
        return self.state.media_redirect

    @media_redirect.setter
    def media_redirect(self, url: str | None) -> None:
        self.state.media_redirect = url

    # The ledger and the faults

    @property
    def ledger(self) -> list[Exchange]:
        return self.book.exchanges()

    def clear_ledger(self) -> None:
        self.book.clear()

    def fault(self, kind: str, carrier: str | None = None, **options: Any) -> Fault:
        """Add a fault; the options are those of Fault."""
        fault = Fault(kind, carrier, **options)
        with self.lock:
            if kind == "stale":
                fault.past = copy.deepcopy(self.state)
            self.faults.add(fault)
        return fault

    def clear_faults(self) -> None:
        """Remove all faults. Late requests that have already arrived remain pending."""
        self.faults.clear()

    def land_late(self) -> int:
        """Carry out the pending late requests now, in order of arrival. Returns how many there were."""
        return self.late.land()

    @contextmanager
    def in_flight(self, carrier: str, account: str | None) -> Iterator[bool]:
        """Count a request while it is served. Yields whether it is within the account's concurrency limit."""
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
