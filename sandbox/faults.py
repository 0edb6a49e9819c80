"""Scripted faults: what goes wrong, for which requests and how often.

not applied   status, html, truncated, reset, hang, huge, redirect, empty
applied       delay, lost_reply, applied_hang, applied_status, drip, rewrite
late          late
lagging read  stale
"""

import math
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .carrier import Carrier, Reply
from .state import Account, State

NOT_APPLIED = {"status", "html", "truncated", "reset", "hang", "huge", "redirect", "empty"}
APPLIED = {"delay", "lost_reply", "applied_hang", "applied_status", "drip", "rewrite", "stale"}

HTML = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


@dataclass
class Fault:
    """A fault rule.

    It matches requests by `carrier`, `method` and the regular expression `path`; None matches any. The first `skip`
    matching requests pass, the next `times` fail (None: all that follow).
    How they fail: `kind`, with the `status`, `body` and `headers` of the reply, the `seconds` of a hang or delay, the
    `megabytes` of a huge reply, the `location` of a redirect, the `interval` in seconds between the bytes of a drip, or
    `change`, which receives the parsed reply of a rewrite and returns the new one.
    A late request is carried out `seconds` after it arrived, whether or not the caller is still there. The caller never
    gets a reply or, with a `status`, gets that error at once.
    A stale read shows the state at the time when the rule was added. It counts only if the carrier's settings have
    changed since.
    """

    kind: str
    carrier: str | None = None
    method: str | None = None
    path: str | None = None
    times: int | None = 1
    skip: int = 0
    status: int | None = None
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 60.0
    megabytes: float = 50.0
    location: str = ""
    interval: float = 0.01
    change: Callable[[Any], Any] | None = None
    past: State | None = field(default=None, init=False, repr=False)
    """A stale fault's copy of the state."""

    def __post_init__(self) -> None:
        if self.kind not in NOT_APPLIED | APPLIED | {"late"}:
            raise ValueError(f"Unknown fault {self.kind!r}.")
        if (self.kind == "rewrite") != (self.change is not None):
            raise ValueError("A rewrite requires a Python function in `change`; no other fault accepts one.")
        if self.kind == "stale":
            if self.method not in (None, "GET"):
                raise ValueError("Only a GET can be stale.")
            self.method = "GET"
        try:
            re.compile(self.path or "")
        except re.error as error:
            raise ValueError(f"The path {self.path!r} is not a regular expression: {error}") from None

    def concerns(self, carrier: Carrier, method: str, path: str) -> bool:
        name = carrier.name
        return (
            self.carrier in (None, name)
            and self.method in (None, method)
            and re.search(self.path or "", path) is not None
            and (self.past is None or self.past.settings(name) != carrier.state.settings(name))
        )

    @property
    def hold_s(self) -> float:
        """How long the caller waits, in seconds, before the carrier carries out the request or replies."""
        if self.kind == "late" and self.status is None:
            return math.inf
        return self.seconds if self.kind in ("hang", "delay") else 0

    def as_seen(self, carrier: Carrier, account: Account | None) -> tuple[Carrier, Account | None]:
        """The carrier and the account as they appear to the request."""
        if self.past is None:
            return carrier, account
        past = type(carrier)(self.past)
        return past, account and past.accounts.get(account.id, account)

    def forge(self, carrier: Carrier) -> Reply | None:
        """The reply sent instead of the carrier's own; None breaks the connection."""
        match self.kind:
            case "late" if self.status is None:
                return None
            case "status" | "applied_status" | "late":
                usual = carrier.error(self.status or 500)
                body = usual.body if self.body is None else self.body
                return Reply(usual.status, body, usual.headers | self.headers)
            case "html":
                return Reply(self.status or 502, HTML, {"Content-Type": "text/html"} | self.headers)
            case "truncated":
                return Reply(200, '{"data": [{"id": "12933842610757', {"Content-Type": "application/json"})
            case "redirect":
                return Reply(302, "", {"Location": self.location})
            case "empty" | "huge":  # the server generates a huge body while sending it
                return Reply(200, "", {"Content-Type": "application/json"})
            case _:
                return None


class Faults:
    """The active rules. The first rule that matches a request applies to it. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[Fault] = []

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._rules.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()

    def take(self, carrier: Carrier, method: str, path: str) -> Fault | None:
        """The fault for this request, if any; counts as one use of its rule."""
        with self._lock:
            for fault in self._rules:
                if fault.times == 0 or not fault.concerns(carrier, method, path):
                    continue
                if fault.skip:
                    fault.skip -= 1
                    continue
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return None
