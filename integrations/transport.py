"""Connections to the carriers: a keep-alive pool per SDK, shared by all tenants; deadlines; bounded replies.

Pools are created on first use, so that a server that forks after loading shares no sockets between processes.
"""

import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, NamedTuple

import requests
from requests.adapters import HTTPAdapter

from integrations.errors import Refused, RequestFailed, Unanswered

POOL_SIZE = 128
CHUNK_BYTES = 64 * 1024
# The longest legitimate reply is a page of a thousand numbers, about 2 MB.
MAX_ANSWER_BYTES = 4 * 1024 * 1024
PARALLEL_READS = 128
SECONDS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")


class Timeouts(NamedTuple):
    """Seconds to connect, and to wait for a reply with its complete body."""

    connect_s: float
    read_s: float


class Deadline:
    """The time by which a whole operation must be done."""

    def __init__(self, seconds: float) -> None:
        self.ends_at = time.monotonic() + seconds

    def remaining_s(self) -> float:
        return max(0.0, self.ends_at - time.monotonic())

    def limit(self, timeouts: Timeouts) -> Timeouts:
        """The timeouts for another request. Raises Unanswered when no time is left for it."""
        remaining_s = self.remaining_s()
        if remaining_s <= 0:
            raise Unanswered("out of time")
        return Timeouts(min(timeouts.connect_s, remaining_s), min(timeouts.read_s, remaining_s))


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The delay that a carrier asks for, if any: Retry-After, or the reset of its rate-limit window (Telnyx)."""
    delay = headers.get("retry-after") or headers.get("x-ratelimit-reset") or ""
    if SECONDS.fullmatch(delay):
        return float(delay)
    try:
        return max(0.0, (parsedate_to_datetime(delay) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):  # neither seconds nor a date with a time zone
        return None


def no_cookies() -> CookieJar:
    """A jar that accepts no cookies: tenants share connections, so no cookie may reach another tenant's request."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=[]))


def read_environment(base_url: str) -> Any:
    """What HTTPS_PROXY, NO_PROXY and REQUESTS_CA_BUNDLE mean for a URL. They apply to every carrier; of the SDKs, only
    Twilio's honours them all."""
    return requests.Session().merge_environment_settings(base_url, {}, True, None, None)


class CarrierAdapter(HTTPAdapter):
    """Sends requests for `official` to `base_url`; limits the size and time of each reply; follows no redirects."""

    def __init__(self, official: str, base_url: str) -> None:
        self.official, self.base_url = official, base_url
        super().__init__(pool_maxsize=POOL_SIZE)
        self.environment = read_environment(base_url)

    def send(self, request: Any, *args: Any, **kwargs: Any) -> requests.Response:
        request.url = self.base_url + request.url.removeprefix(self.official)
        deadline = Deadline(kwargs["timeout"][1])
        response = super().send(request, *args, **kwargs | self.environment)
        try:
            response._content = read_bounded(lambda: response.raw.read1(CHUNK_BYTES, decode_content=True), deadline)
        except BaseException:
            response.close()
            raise
        response.raw.release_conn()
        if response.is_redirect:
            raise requests.exceptions.TooManyRedirects("unexpected redirect from a carrier's API")
        return response


def read_bounded(read_chunk: Callable[[], bytes], deadline: Deadline) -> bytes:
    """Read chunks until an empty one. Raises a requests exception when the reply is too large or too slow."""
    body = bytearray()
    while chunk := read_chunk():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise requests.exceptions.ContentDecodingError("the answer is too large")
        if not deadline.remaining_s():
            raise requests.exceptions.ReadTimeout("the answer came too slowly")
    return bytes(body)


@cache
def shared_adapter(official: str, base_url: str) -> CarrierAdapter:
    return CarrierAdapter(official, base_url)


@cache
def shared_session(official: str, base_url: str) -> requests.Session:
    """The session for all requests to Twilio, shared by all tenants."""
    session = requests.Session()
    session.cookies = no_cookies()  # type: ignore[assignment]
    session.trust_env = False  # the adapter has read it already
    session.mount(official, shared_adapter(official, base_url))
    return session


@cache
def _readers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(PARALLEL_READS, thread_name_prefix="carrier-read")


def in_parallel(*reads: Callable[[], Any]) -> list[Any]:
    """Run independent reads in parallel and return their results.

    If any fail, raises the most informative failure: Refused before Unanswered.
    """
    others = [_readers().submit(copy_context().run, read) for read in reads[1:]]
    results: list[Any] = []
    failures: list[RequestFailed] = []
    for result in (reads[0], *(future.result for future in others)):
        try:
            results.append(result())
        except RequestFailed as failure:
            failures.append(failure)
    wait(others)
    if failures:
        raise min(failures, key=lambda failure: not isinstance(failure, Refused))
    return results
