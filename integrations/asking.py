"""How one request is sent to a carrier: its deadline, a second attempt, the account's gate, what is measured."""

import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import ClassVar, TypeVar

from prometheus_client import Histogram

from integrations import Carrier
from integrations.errors import (
    CarrierUnavailable,
    InvalidCredentials,
    RateLimited,
    Refused,
    RequestFailed,
    Unanswered,
    WebhookSetupFailed,
)
from integrations.gate import gate
from integrations.transport import Deadline, Timeouts, retry_after_s
from integrations.types import Site

T = TypeVar("T")

# Of a list of calls: more than any account has in the hours that are asked for.
MAX_PAGES = 10_000
RETRY_PAUSE_S = (0.05, 0.25)

REQUESTS = Histogram(
    "phones_carrier_request_seconds",
    "Requests to carriers: answered, refused (4xx), rate_limited, or unanswered (silence, 5xx, nonsense).",
    ["carrier", "outcome"],
)


class Asking(ABC):
    """Sends requests to one carrier, up to a deadline."""

    carrier: ClassVar[Carrier]
    site: Site
    deadline: Deadline

    @abstractmethod
    def status_of(self, error: Exception) -> int | None:
        """The HTTP status behind an exception of the SDK, if there was a reply."""

    def headers_of(self, error: Exception) -> Mapping[str, str]:
        """The headers of that reply, their names in any case; empty if there was none."""
        return {}

    def timeouts(self) -> Timeouts:
        """For the request that is about to be sent. Raises Unanswered when there is no time for it."""
        return self.deadline.limit(self.site.timeouts)

    def ask(self, send: Callable[[], T], *, attempts: int = 2) -> T:
        """Send one request; once more after silence, since a read or a write of absolute values may be repeated.

        `send` makes a client and the SDK's call, and turns the reply into ours, so that a reply without sense counts
        as none. Each client has the time that is left when it is made.
        After a 429 it waits at the account's gate (if any) until the deadline, then tries again.
        Raises Refused or Unanswered.
        """
        barrier = gate.get()
        while True:
            with barrier.admitted(self.deadline) as began:
                sent_at = time.monotonic()
                try:
                    answer = send()
                    self.measure("answered", sent_at)
                    return answer
                except RequestFailed:
                    raise
                except Exception as error:
                    # SDKs leak whatever they trip over: requests' and httpx' errors, JSONDecodeError, AttributeError.
                    failure = self.describe(error)
                    self.measure(failure.outcome, sent_at)
            if isinstance(failure, RateLimited) and barrier.slow_down(began, failure.retry_after_s, self.deadline):
                continue
            attempts -= 1
            if isinstance(failure, Refused) or not attempts:
                raise failure
            time.sleep(min(random.uniform(*RETRY_PAUSE_S), self.deadline.remaining_s()))

    def find(self, send: Callable[[], T], *, missing: tuple[int, ...] = (404,)) -> T | None:
        """As ask(); None when the carrier says that there is no such thing, with one of the `missing` statuses."""
        try:
            return self.ask(send)
        except Refused as failure:
            if failure.status in missing:
                return None
            raise

    def write(self, send: Callable[[], T]) -> T | None:
        """As ask(), for a change; None when it may or may not have happened, so that it has to be read back.

        Raises WebhookSetupFailed when the carrier refused it.
        """
        try:
            return self.ask(send)
        except Refused as failure:
            raise WebhookSetupFailed(self.carrier, failure.detail) from None
        except Unanswered:
            return None

    @contextmanager
    def reading(self, *, refusals: tuple[int, ...] = (401, 403)) -> Iterator[None]:
        """Around requests that read: raises what the failure of one means.

        Args:
            refusals: the statuses with which the carrier refuses the credentials.
        """
        try:
            yield
        except RequestFailed as failure:
            if isinstance(failure, Refused) and failure.status in refusals:
                raise InvalidCredentials(self.carrier, failure.detail) from None
            raise CarrierUnavailable(self.carrier, failure.detail) from None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Around requests that change something: raises what the failure of one means."""
        try:
            yield
        except RequestFailed as failure:
            raise WebhookSetupFailed(self.carrier, failure.detail) from None

    def measure(self, outcome: str, sent_at: float) -> None:
        REQUESTS.labels(self.carrier.label.lower(), outcome).observe(time.monotonic() - sent_at)

    def describe(self, error: Exception) -> Refused | Unanswered:
        """Name the failure by its type and status alone: an SDK's text may hold the request."""
        status = self.status_of(error)
        detail = f"{self.carrier.label}: {type(error).__name__}, status {status}"
        if status is not None and 400 <= status < 500 and status not in (408, 429):
            return Refused(status, detail)
        if status == 429:
            return RateLimited(detail, retry_after_s(self.headers_of(error)))
        return Unanswered(detail)

    def all_pages(self, read_page: Callable[[str], tuple[list[T], str]]) -> Iterator[T]:
        cursor = ""
        for _ in range(MAX_PAGES):
            with self.reading():
                page, cursor = self.ask(partial(read_page, cursor))
            yield from page
            if not cursor:
                return
        raise CarrierUnavailable(self.carrier, "a list without end")
