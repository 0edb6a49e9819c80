"""Scripted faults: what shall go wrong, for which requests, how often.

not applied   status, html, truncated, reset, hang, huge, redirect, empty
applied       delay, lost_reply, applied_hang, applied_status, drip, rewrite
"""

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .carrier import Carrier, Reply

NOT_APPLIED = {"status", "html", "truncated", "reset", "hang", "huge", "redirect", "empty"}
APPLIED = {"delay", "lost_reply", "applied_hang", "applied_status", "drip", "rewrite"}

HTML = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


@dataclass
class Fault:
    """One rule.

    Which requests: those of `carrier` and `method` whose path has the regular expression `path`; None is any. The
    first `skip` of them pass, the next `times` suffer (None: all the others).
    What they suffer: `kind`, with `status`, `body` and `headers` of the reply, `seconds` of a hang or a delay,
    `megabytes` of a huge reply, the `location` of a redirect, the `interval` in seconds between the bytes of a drip,
    and `change`, which gets the parsed reply of a rewrite and returns another.
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

    def __post_init__(self) -> None:
        if self.kind not in NOT_APPLIED | APPLIED:
            raise ValueError(f"There is no fault {self.kind!r}.")
        if (self.kind == "rewrite") != (self.change is not None):
            raise ValueError("A rewrite needs a Python function in `change`, and nothing else takes one.")
        try:
            re.compile(self.path or "")
        except re.error as error:
            raise ValueError(f"The path {self.path!r} is no regular expression: {error}") from None

    def concerns(self, carrier: str, method: str, path: str) -> bool:
        return (
            self.carrier in (None, carrier)
            and self.method in (None, method)
            and re.search(self.path or "", path) is not None
        )

    def forge(self, carrier: Carrier) -> Reply | None:
        """What the caller gets in place of the carrier's own reply; None is a connection that breaks."""
        match self.kind:
            case "status" | "applied_status":
                usual = carrier.error(self.status or 500)
                body = usual.body if self.body is None else self.body
                return Reply(usual.status, body, usual.headers | self.headers)
            case "html":
                return Reply(self.status or 502, HTML, {"Content-Type": "text/html"} | self.headers)
            case "truncated":
                return Reply(200, '{"data": [{"id": "12933842610757', {"Content-Type": "application/json"})
            case "redirect":
                return Reply(302, "", {"Location": self.location})
            case "empty" | "huge":  # the server makes a huge one while it sends it
                return Reply(200, "", {"Content-Type": "application/json"})
            case _:
                return None


class Faults:
    """The rules that are set. A request suffers the first one that concerns it. Thread safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[Fault] = []

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._rules.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()

    def take(self, carrier: str, method: str, path: str) -> Fault | None:
        """The fault of this request, which uses it up once."""
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
