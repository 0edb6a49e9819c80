"""Stops every HTTP request but GET, below all clients, so that no mistake in a client or in an SDK changes anything."""

import threading
from collections.abc import Callable
from http.client import HTTPConnection
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import httpcore


class ChangeStopped(BaseException):
    """A request that is not a GET was about to be sent. Not an Exception: nothing may take it for a carrier's error."""


class Guard:
    """For the process, while it is entered: lets GET pass, and each change for which there is a permit.

    It sits in `http.client`, through which requests, urllib3 and urllib send, and in httpcore, through which httpx
    sends. Nothing has been sent when it raises ChangeStopped.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._permit: tuple[str, str] | None = None

    def permit_one(self, method: str, path_end: str) -> None:
        """Let one request with this method pass whose path ends so."""
        with self._lock:
            self._permit = (method, path_end)

    def withdraw(self) -> None:
        """Withdraw the permit if it was not used."""
        with self._lock:
            self._permit = None

    def check(self, method: str, target: str) -> None:
        """Raise ChangeStopped unless this request may be sent. `target` is a path, or a URL if sent through a proxy."""
        path = urlsplit(target).path
        with self._lock:
            if method == "GET":
                return
            if self._permit and method == self._permit[0] and path.endswith(self._permit[1]):
                self._permit = None
                return
        raise ChangeStopped(f"{method} request")

    def __enter__(self) -> "Guard":
        self._undo = [
            self._put_before(HTTPConnection, "putrequest", lambda method, url, *_, **__: (method, url)),
            *(
                self._put_before(pool, name, lambda request: (request.method.decode(), request.url.target.decode()))
                for pool, name in (
                    (httpcore.ConnectionPool, "handle_request"),
                    (httpcore.AsyncConnectionPool, "handle_async_request"),
                )
            ),
        ]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for undo in self._undo:
            undo()

    def _put_before(self, owner: type, name: str, read: Callable[..., tuple[str, str]]) -> Callable[[], None]:
        """Check each call of a method before it is made. `read` takes the method and the target from its arguments.
        Returns what undoes this."""
        original = getattr(owner, name)

        def checked(one: Any, *args: Any, **kwargs: Any) -> Any:
            self.check(*read(*args, **kwargs))
            return original(one, *args, **kwargs)

        setattr(owner, name, checked)
        return lambda: setattr(owner, name, original)
