"""Delivers the requests of a call to the webhooks: signed, and repeated, delayed, lost or damaged as requested."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal
from urllib.parse import urldefrag, urlencode, urlsplit, urlunsplit

import requests

from .signing import signed
from .state import Account

if TYPE_CHECKING:
    from .sandbox import Sandbox

Kind = Literal["answer", "fallback", "action", "status", "recording", "leg", "stream"]
Form = list[tuple[str, str]]

TIMEOUT_S = 15


@dataclass
class Delivery:
    """A request of a call to a webhook. `url` is the configured URL, plus the fields if it is a GET."""

    kind: Kind
    url: str
    body: bytes
    headers: dict[str, str]
    method: str = "POST"
    reply_status: int | None = None
    """None if there was no reply."""
    failure: str = ""
    """Why there was no reply."""
    reply_body: str = ""
    reply_type: str = ""

    @property
    def accepted(self) -> bool:
        return self.reply_status is not None and 200 <= self.reply_status < 300


@dataclass(frozen=True)
class Options:
    """What the caller does and what happens to the carrier's requests; see Sandbox.place_call()."""

    caller_name: str = ""
    talk_s: int = 3
    forward_answers: bool = True
    duplicate: int = 1
    reorder: bool = False
    drop: bool | tuple[str, ...] = ()
    tamper: bool = False
    replay: bool = False

    def __post_init__(self) -> None:
        kinds = set() if isinstance(self.drop, bool) else set(self.drop)
        if kinds - {"status", "recording", "leg", "stream", "action"}:
            raise ValueError(
                f"Cannot drop all of {sorted(kinds)}: only status, recording, leg, stream and action can be dropped."
            )
        if self.talk_s < 0 or self.duplicate < 1:
            raise ValueError("talk_s must be at least 0 and duplicate at least 1.")

    def drops(self, kind: Kind) -> bool:
        if kind in ("answer", "fallback"):
            return False
        return self.drop if isinstance(self.drop, bool) else kind in self.drop


class Courier:
    """Sends the requests of a call. `sent` lists all of them. `on_sent` is called after each with its fields, its
    attempts and its start (Unix time). No HTTP request is sent while the sandbox's lock is held."""

    def __init__(
        self,
        sandbox: "Sandbox",
        account: Account,
        options: Options,
        on_sent: Callable[[Form, list[Delivery], float], None],
    ) -> None:
        self.sent: list[Delivery] = []
        self._sandbox = sandbox
        self._account = account
        self._options = options
        self._on_sent = on_sent
        self._queue: list[tuple[Kind, str, str, Form]] = []
        self._http = requests.Session()
        self._http.trust_env = False
        # Whoever tries the product behind TLS has made the certificate. The rest of the environment stays ignored.
        self._http.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True

    def ask(self, kind: Kind, url: str, method: str, form: Form) -> Delivery:
        """Request a document. If an action is duplicated, the first reply counts."""
        return self._deliver(kind, url, method, form, self._options.duplicate if kind == "action" else 1)

    def tell(self, kind: Kind, url: str, method: str, form: Form) -> None:
        """Send a callback whose reply is ignored; does nothing without a URL."""
        if not url or self._options.drops(kind):
            return
        if self._options.reorder:
            self._queue.append((kind, url, method, form))
        else:
            self._deliver(kind, url, method, form, self._options.duplicate)

    def finish(self) -> None:
        """Deliver the callbacks held back until the end of the call and, if `replay` is set, repeat every request."""
        for kind, url, method, form in reversed(self._queue):
            self._deliver(kind, url, method, form, self._options.duplicate)
        if self._options.replay:
            for old in list(self.sent):
                self._send(Delivery(old.kind, old.url, old.body, old.headers, old.method))
        self._http.close()

    def _deliver(self, kind: Kind, url: str, method: str, form: Form, times: int) -> Delivery:
        """Send a request `times` times, signed anew each time; returns the first."""
        url, method = urldefrag(url).url, method.upper()
        if method == "GET":
            url += ("&" if urlsplit(url).query else "?") + urlencode(form)
        attempts, began = [], time.time()
        for _ in range(times):
            body, headers = signed(self._account, url, [] if method == "GET" else form)
            delivery = Delivery(kind, url, body, headers, method)
            if self._options.tamper:
                delivery = _tampered(delivery)
            attempts.append(self._send(delivery))
        with self._sandbox.lock:
            self._on_sent(form, attempts, began)
        return attempts[0]

    def _send(self, delivery: Delivery) -> Delivery:
        self.sent.append(delivery)
        url = self._address(delivery.url)
        prepared = requests.Request(delivery.method, url, delivery.headers, data=delivery.body or None).prepare()
        prepared.url = url  # as it was signed, not as the library would normalise it
        try:
            reply = self._http.send(prepared, timeout=TIMEOUT_S, allow_redirects=False)
        except requests.RequestException as error:
            delivery.failure = _reason(error)
            return delivery
        delivery.reply_status, delivery.reply_body = reply.status_code, reply.content.decode("utf-8", "replace")
        delivery.reply_type = reply.headers.get("Content-Type", "")
        return delivery

    def _address(self, url: str) -> str:
        if self._sandbox.deliver_to is None:
            return url
        target = urlsplit(self._sandbox.deliver_to)
        return urlunsplit(urlsplit(url)._replace(scheme=target.scheme, netloc=target.netloc))


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted; start the sandbox with REQUESTS_CA_BUNDLE=FILE"
    if isinstance(error, requests.Timeout):
        return f"not within {TIMEOUT_S} s"
    if isinstance(error, requests.ConnectionError):
        return "it cannot be reached"
    return "the request failed"


def _tampered(delivery: Delivery) -> Delivery:
    """The request with the last byte changed: of the body, or of the URL if there is no body."""
    if delivery.body:
        last = b"1" if delivery.body.endswith(b"0") else b"0"
        return replace(delivery, body=delivery.body[:-1] + last)
    return replace(delivery, url=delivery.url[:-1] + ("1" if delivery.url.endswith("0") else "0"))
