"""Connections to the carriers: one keep-alive pool for each SDK, shared by all tenants; deadlines; bounded answers.

Made when first used, so that a server which forks after loading shares no socket between processes.
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
# The longest honest answer is a page of a thousand numbers, about 2 MB.
MAX_ANSWER_BYTES = 4 * 1024 * 1024
PARALLEL_READS = 128
SECONDS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")


class Timeouts(NamedTuple):
    """Seconds: to connect, and to wait for an answer with all of its body."""

    connect_s: float
    read_s: float


class Deadline:
    """The moment by which a whole piece of work must be done."""

    def __init__(self, seconds: float) -> None:
        self.ends_at = time.monotonic() + seconds

    def remaining_s(self) -> float:
        return max(0.0, self.ends_at - time.monotonic())

    def limit(self, timeouts: Timeouts) -> Timeouts:
        """The timeouts for one more request. Raises Unanswered when there is no time for it."""
        remaining_s = self.remaining_s()
        if remaining_s <= 0:
            raise Unanswered("out of time")
        return Timeouts(min(timeouts.connect_s, remaining_s), min(timeouts.read_s, remaining_s))


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """How long a carrier asks to wait, if it does: Retry-After, or when its window begins anew (Telnyx)."""
    told = headers.get("retry-after") or headers.get("x-ratelimit-reset") or ""
    if SECONDS.fullmatch(told):
        return float(told)
    try:
        return max(0.0, (parsedate_to_datetime(told) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):  # neither seconds nor a date with its zone
        return None


def no_cookies() -> CookieJar:
    """Tenants share the connections; nothing that one tenant's answer sets may ride on another's request."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=[]))


def read_environment(base_url: str) -> Any:
    """What HTTPS_PROXY, NO_PROXY and REQUESTS_CA_BUNDLE say of an address. They hold for every carrier; of the SDKs
    only Twilio's heeds them all."""
    return requests.Session().merge_environment_settings(base_url, {}, True, None, None)


class CarrierAdapter(HTTPAdapter):
    """Sends what is meant for `official` to `base_url`, reads a bounded body in bounded time, follows no redirect."""

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
            raise requests.exceptions.TooManyRedirects("a carrier's API does not redirect")
        return response


def read_bounded(read_chunk: Callable[[], bytes], deadline: Deadline) -> bytes:
    """All chunks until an empty one. Raises a requests exception when they are too many or too slow."""
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
    """The session through which Twilio is spoken to, for every tenant."""
    session = requests.Session()
    session.cookies = no_cookies()  # type: ignore[assignment]
    session.trust_env = False  # the adapter has read it, once
    session.mount(official, shared_adapter(official, base_url))
    return session


@cache
def _readers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(PARALLEL_READS, thread_name_prefix="carrier-read")


def in_parallel(*reads: Callable[[], Any]) -> list[Any]:
    """The results of independent reads, made at the same time.

    Raises the failure that tells most: a no before silence.
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
