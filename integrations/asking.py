"""How a request is sent to a carrier: deadline, retry, the account's gate and metrics."""

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
    ChangeRefused,
    InvalidCredentials,
    RateLimited,
    Refused,
    RequestFailed,
    RequestRefused,
    Unanswered,
    WebhookSetupFailed,
)
from integrations.gate import gate
from integrations.transport import Deadline, Timeouts, retry_after_s
from integrations.types import Site

T = TypeVar("T")

# Limit for listing calls; no account has this many pages in the hours we ask for.
MAX_PAGES = 10_000
RETRY_PAUSE_S = (0.05, 0.25)

REQUESTS = Histogram(
    "phones_carrier_request_seconds",
    "Requests to carriers: answered, refused (4xx), rate_limited, or unanswered (silence, 5xx, nonsense).",
    ["carrier", "outcome"],
)


class Asking(ABC):
    """Sends requests to one carrier until a deadline.

    `in_doubt`: whether the carrier may still carry out a change later: it did not answer a request for one, or the
    change that it confirmed is not there. A later look is needed to know how the carrier is configured.
    """

    carrier: ClassVar[Carrier]
    site: Site
    deadline: Deadline
    in_doubt: bool = False
    # Whether the carrier did not take the last change, because there were too many requests.
    _is_last_change_declined: bool = False

    @abstractmethod
    def status_of(self, error: Exception) -> int | None:
        """The HTTP status behind an SDK exception; None if there was no reply."""

    def headers_of(self, error: Exception) -> Mapping[str, str]:
        """The headers of that reply, with names in any letter case; empty if there was no reply."""
        return {}

    def timeouts(self) -> Timeouts:
        """Timeouts for the request about to be sent. Raises Unanswered when no time is left for it."""
        return self.deadline.limit(self.site.timeouts)

    def ask(self, send: Callable[[], T], *, attempts: int = 2, is_change: bool = False) -> T:
        """Send a request; retry once if there is no usable reply, which is safe for reads and absolute writes.

        `send` creates a client, makes the SDK call and converts the reply to our types, so that a malformed reply
        counts as no reply. Each client's timeouts are limited to the time left when it is created.
        After a 429, waits at the account's gate (if any) until the deadline, then retries.

        Args:
            attempts: how often it is sent, not counting 429s.
            is_change: sets `in_doubt` if an attempt is not answered, even if a later one is: the carrier may carry out
                each of them, at any time.

        Raises:
            Refused, Unanswered.
        """
        self.site.before_waiting()
        barrier = gate.get()
        while True:
            with barrier.admitted(self.deadline) as began:
                sent_at = time.monotonic()
                try:
                    answer = send()
                    self.measure("answered", sent_at)
                    return answer
                except RequestFailed:
                    raise  # out of time before anything was sent
                except Exception as error:
                    # SDKs let anything escape: errors of requests and httpx, JSONDecodeError, AttributeError.
                    failure = self.describe(error)
                    self.measure(failure.outcome, sent_at)
            if is_change and isinstance(failure, Unanswered) and not isinstance(failure, RateLimited):
                self.in_doubt = True
            if isinstance(failure, RateLimited) and barrier.slow_down(began, failure.retry_after_s, self.deadline):
                continue
            attempts -= 1
            if isinstance(failure, Refused) or not attempts:
                raise failure
            time.sleep(min(random.uniform(*RETRY_PAUSE_S), self.deadline.remaining_s()))

    def find(self, send: Callable[[], T], *, missing: tuple[int, ...] = (404,)) -> T | None:
        """Like ask(), but returns None when the carrier replies with one of the `missing` statuses."""
        try:
            return self.ask(send)
        except Refused as failure:
            if failure.status in missing:
                return None
            raise

    def write(self, send: Callable[[], T]) -> T | None:
        """Like ask(), for a change. Returns None if the outcome is unknown, so the caller must read it back.

        Raises WebhookSetupFailed when the carrier refuses the change.
        """
        self._is_last_change_declined = False
        try:
            return self.ask(send, is_change=True)
        except Refused as failure:
            raise self.change_failed(failure) from None
        except Unanswered as failure:
            self._is_last_change_declined = isinstance(failure, RateLimited)
            return None

    def change_failed(self, failure: RequestFailed) -> WebhookSetupFailed:
        """The error for a change that was not carried out, or of which nothing is known."""
        # 404: what was created a moment ago may not be known to all of the carrier's servers yet.
        is_refused = failure.is_final and failure.status != 404
        return (ChangeRefused if is_refused else WebhookSetupFailed)(self.carrier, failure.detail)

    def not_changed(self, detail: str) -> WebhookSetupFailed:
        """The error for a change that is not there. If the carrier has taken it, it may still come: `in_doubt`."""
        self.in_doubt |= not self._is_last_change_declined
        return WebhookSetupFailed(self.carrier, detail)

    @contextmanager
    def reading(self, *, refusals: tuple[int, ...] = (401, 403)) -> Iterator[None]:
        """Wrap requests that read: translates RequestFailed to InvalidCredentials or CarrierUnavailable.

        Args:
            refusals: the HTTP statuses with which the carrier rejects the credentials.
        """
        try:
            yield
        except RequestFailed as failure:
            if isinstance(failure, Refused) and failure.status in refusals:
                raise InvalidCredentials(self.carrier, failure.detail) from None
            raise (RequestRefused if failure.is_final else CarrierUnavailable)(self.carrier, failure.detail) from None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Wrap requests that write: translates RequestFailed to WebhookSetupFailed."""
        try:
            yield
        except RequestFailed as failure:
            raise self.change_failed(failure) from None

    def measure(self, outcome: str, sent_at: float) -> None:
        REQUESTS.labels(self.carrier.label.lower(), outcome).observe(time.monotonic() - sent_at)

    def describe(self, error: Exception) -> Refused | Unanswered:
        """Describe the failure by its type and status only: an SDK's message may contain the request."""
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
