"""What the three simulated carriers share: requests, replies and routing."""

import base64
import binascii
import operator
import re
from collections.abc import Callable
from datetime import datetime
from email.message import Message
from typing import Any, ClassVar, NamedTuple
from urllib.parse import urlsplit

from . import media
from .resources import instant
from .state import Account, State


class Request(NamedTuple):
    """A request to a carrier; `path` is the carrier's own, without the sandbox's prefix."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: Message
    body: Any

    def param(self, name: str, default: str = "") -> str:
        """The first value of a query parameter."""
        return self.query.get(name, [default])[0]

    def number(self, name: str, default: int, low: int, high: int) -> int | None:
        """A whole number in the query; None if it is invalid or out of bounds."""
        text = self.param(name, str(default))
        return int(text) if text.isascii() and text.isdigit() and low <= int(text) <= high else None


class Reply(NamedTuple):
    """A dict is sent as JSON, a string or bytes as they are, None without a body."""

    status: int
    body: dict[str, Any] | str | bytes | None = None
    headers: dict[str, str] = {}


class CarrierError(Exception):
    """Raised by a handler to send the carrier's error reply."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


class Carrier:
    """A carrier's API over the accounts in `state`.

    A subclass defines `routes`, tuples of (method, path pattern, handler name). A handler receives the account, the
    request and the groups of the pattern. It changes the state only after all checks have passed.
    """

    name: ClassVar[str]
    prefix: ClassVar[str]
    media_prefix: ClassVar[str]
    media_path: ClassVar[str]
    """The path of a recording's file, with groups for the account and the recording. If it is not below `prefix`, this
    is the full path."""
    media_type: ClassVar[str] = "audio/wav"
    routes: ClassVar[list[tuple[str, str, str]]]

    def __init__(self, state: State) -> None:
        self.state = state
        self.accounts = state.accounts[self.name]

    def authenticate(self, headers: Message) -> Account | None:
        """The account for the credentials, or None. HTTP Basic with id and secret, unless overridden."""
        scheme, _, value = headers.get("Authorization", "").partition(" ")
        try:
            user, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        account = self.accounts.get(user)
        good = account and secret and secret in (account.secret, account.secondary)
        return account if scheme.lower() == "basic" and good else None

    def error(self, status: int, detail: str = "", code: int | None = None) -> Reply:
        """The carrier's own error body for a status."""
        raise NotImplementedError

    def handle(self, account: Account | None, request: Request) -> Reply:
        """Carry out the request."""
        try:
            if file := re.fullmatch(self.media_path, request.path):
                return self._serve_file(account, request, *file.groups())
            if account is None:
                return self.error(401)
            self.admit(account, request)
            return self._route(account, request)
        except CarrierError as error:
            return error.reply

    def admit(self, account: Account, request: Request) -> None:
        """Reject requests that this account is not allowed to make."""

    def admit_to_file(self, caller: Account | None, owner: Account, request: Request) -> None:
        """Reject a request for a file that is not allowed; `caller` is the authenticated account, if any."""
        if owner.media_auth and (caller is None or caller.id not in (owner.id, owner.owner)):
            raise self.refuse(401)

    def _serve_file(self, caller: Account | None, request: Request, name: str, recording: str) -> Reply:
        if request.method != "GET":
            return self.error(405)
        owner = next((account for account in self.accounts.values() if name in (account.id, account.user_id)), None)
        if owner is None or recording not in owner.files:
            return self.error(404)
        self.admit_to_file(caller, owner, request)
        if self.state.media_redirect:
            return Reply(302, "", {"Location": self.state.media_redirect})
        if self.state.media_not_ready:
            self.state.media_not_ready -= 1
            return self.error(404)
        content = media.wav(*owner.files[recording])
        status, part, headers = media.cut(content, request.headers.get("Range", ""))
        return Reply(status, part, {"Content-Type": self.media_type} | headers)

    def _route(self, account: Account, request: Request) -> Reply:
        methods = set()
        for method, pattern, handler in self.routes:
            if match := re.fullmatch(pattern, request.path):
                if method == request.method:
                    return getattr(self, handler)(account, request, *match.groups())
                methods.add(method)
        return self.error(405 if methods else 404)

    def refuse(self, status: int, detail: str = "", code: int | None = None) -> CarrierError:
        return CarrierError(self.error(status, detail, code))

    def within(self, text: str | None, request: Request, **bounds: str) -> bool:
        """Whether a time of a resource is within the bounds in the query.

        `bounds` maps `after` and `before` (exclusive), `since` and `until` (inclusive) and `day` to the names of query
        parameters.
        """
        compare: dict[str, Callable[[datetime, datetime], bool]] = {
            "after": operator.gt,
            "since": operator.ge,
            "until": operator.le,
            "before": operator.lt,
            "day": lambda moment, day: moment.date() == day.date(),
        }
        for bound, name in bounds.items():
            if not (given := request.param(name)):
                continue
            try:
                limit = instant(given)
            except ValueError:
                raise self.refuse(400, f"{name} is not a date: {given}") from None
            if not (text and compare[bound](instant(text), limit)):
                return False
        return True

    def fields(self, request: Request) -> dict[str, Any]:
        """The body as a dict. Raises the carrier's 400 if it is not one."""
        if request.body is None:
            return {}
        if not isinstance(request.body, dict):
            raise self.refuse(400, "The body is malformed.")
        return request.body


def is_web_url(text: Any) -> bool:
    """Whether a carrier would accept this webhook URL: absolute http(s), no underscores in the host, no whitespace."""
    try:
        url = urlsplit(text if isinstance(text, str) else "")
        return (
            url.scheme in ("http", "https")
            and bool(url.hostname)
            and not re.search(r"\s", text)
            and "_" not in url.netloc
        )
    except ValueError:
        return False
