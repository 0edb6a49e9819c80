"""Rate limits, counted in the database, or in Redis if REDIS_URL is set, so that all processes share them.
Webhooks and `reconcile` must not depend on Redis: their limits are always counted in the database.

A limit is `count` per fixed window (settings.LIMITS). If an attempt may turn out not to count, such as an attempt with
credentials that the carrier may accept, one unit is held first and then either used or released.
"""

import hashlib
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from threading import Lock
from typing import Protocol

from django.conf import settings
from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import F

from core import clock, waiting
from core.errors import Refusal
from core.rates import Rate
from users.models import LimitCounter

# Longer than any carrier request may take: a hold that lasts longer belongs to a process that died.
HOLD_LASTS_S = 60
HOLD_WAIT_S = 5.0
HOLD_POLL_S = 0.05
# A limit that is never reached, so that each attempt is counted.
ENDLESS = Rate(10**9, 60)
IN_DATABASE = ("events", "reconciling")
_asking, _problem = Lock(), dict[str, str]()


class LimitReached(Refusal):
    code = "throttled"

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(headers={"Retry-After": str(retry_after_s)}, retry_after_s=retry_after_s)
        self.retry_after_s = retry_after_s


class LimitHeld(LimitReached):
    """The limit is not used up, but other requests, or a process that died, currently hold the rest of it."""


class Window:
    """The current window of one limit for one subject, such as a token or a client address."""

    def __init__(self, name: str, rate: Rate, subject: str) -> None:
        self.name = name
        now = clock.now().timestamp()
        start = int(now // rate.window_s) * rate.window_s
        self.limit = rate.count
        self.key = f"{name}:{subject}:{start}"
        self.ends_at = start + rate.window_s
        self.retry_after_s = max(1, int(self.ends_at - now) + 1)


class Store(Protocol):
    def together(self) -> AbstractContextManager[object]:
        """Combine the takes of this block in one write, where that saves time."""

    def take(self, window: Window, column: str) -> bool:
        """Add one to `used` or `held` unless their sum has reached the limit. Returns whether it did."""

    def release(self, window: Window, used: bool) -> None:
        """Release one hold, and count it as used if `used`."""

    def is_used_up(self, window: Window) -> bool:
        """Whether `used` alone has reached the limit, so that waiting for holds to be released cannot help."""


class DatabaseStore:
    """One row per window, changed by compare-and-set."""

    def together(self) -> AbstractContextManager[object]:
        # One disk flush. No savepoint: inside an open transaction, nothing has to be rolled back separately.
        return transaction.atomic(savepoint=False)

    def take(self, window: Window, column: str) -> bool:
        now = clock.now()
        row = LimitCounter.objects.filter(key=window.key)
        free = row.filter(used__lt=window.limit - F("held"))
        until = {"held_until": now + timedelta(seconds=HOLD_LASTS_S)} if column == "held" else {}
        one_more = {column: F(column) + 1, **until}
        if free.update(**one_more):
            return True
        row.filter(held__gt=0, held_until__lt=now).update(held=0)
        if not row.exists():
            try:
                # In a block of its own, so that losing the race does not break a surrounding transaction.
                with transaction.atomic():
                    expires_at = datetime.fromtimestamp(window.ends_at, UTC)
                    LimitCounter.objects.create(key=window.key, expires_at=expires_at, **{column: 1}, **until)
                return True
            except IntegrityError:
                pass
        # Either the limit is reached, or the row was created after the first attempt.
        return bool(free.update(**one_more))

    def release(self, window: Window, used: bool) -> None:
        row = LimitCounter.objects.filter(key=window.key)
        released = row.filter(held__gt=0).update(held=F("held") - 1, used=F("used") + int(used))
        if used and not released:
            row.update(used=F("used") + 1)

    def is_used_up(self, window: Window) -> bool:
        return LimitCounter.objects.filter(key=window.key, used__gte=window.limit).exists()


class RedisStore:
    """One hash per window, which Redis drops when the window is over."""

    TAKE = """
    local used = tonumber(redis.call('HGET', KEYS[1], 'used') or 0)
    local held = tonumber(redis.call('HGET', KEYS[1], 'held') or 0)
    if held > 0 and tonumber(redis.call('HGET', KEYS[1], 'held_until')) < tonumber(ARGV[4]) then
        redis.call('HSET', KEYS[1], 'held', 0)
        held = 0
    end
    if used + held >= tonumber(ARGV[1]) then return 0 end
    redis.call('HINCRBY', KEYS[1], ARGV[2], 1)
    if ARGV[2] == 'held' then redis.call('HSET', KEYS[1], 'held_until', ARGV[4] + ARGV[5]) end
    redis.call('EXPIREAT', KEYS[1], ARGV[3])
    return 1
    """
    RELEASE = """
    local held = tonumber(redis.call('HGET', KEYS[1], 'held') or 0)
    if held > 0 then redis.call('HINCRBY', KEYS[1], 'held', -1) end
    redis.call('HINCRBY', KEYS[1], 'used', ARGV[1])
    redis.call('EXPIREAT', KEYS[1], ARGV[2])
    """

    def __init__(self, url: str) -> None:
        import redis  # takes 80 ms, which an installation without REDIS_URL saves

        self.redis = redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2)
        self.take_script = self.redis.register_script(self.TAKE)
        self.release_script = self.redis.register_script(self.RELEASE)

    def together(self) -> AbstractContextManager[object]:
        return nullcontext()

    def take(self, window: Window, column: str) -> bool:
        # Kept a minute longer than the window, for a hold that is released after its end.
        times = [window.ends_at + HOLD_LASTS_S, int(clock.now().timestamp()), HOLD_LASTS_S]
        return bool(self.take_script(keys=[self.name(window)], args=[window.limit, column, *times]))

    def release(self, window: Window, used: bool) -> None:
        self.release_script(keys=[self.name(window)], args=[int(used), window.ends_at + HOLD_LASTS_S])

    def is_used_up(self, window: Window) -> bool:
        return int(self.redis.hget(self.name(window), "used") or 0) >= window.limit

    @staticmethod
    def name(window: Window) -> str:
        # Several installations may share a Redis.
        installation = hashlib.sha256(settings.PUBLIC_URL.encode()).hexdigest()[:8]
        return f"workspace-phones-{installation}:{window.key}"


redis_store = cache(RedisStore)


def store_of(window: Window) -> Store:
    in_redis = settings.REDIS_URL and window.name not in IN_DATABASE
    return redis_store(settings.REDIS_URL) if in_redis else DatabaseStore()


def windows(*subjects: tuple[str, str]) -> list[Window]:
    """The current windows of (limit name, subject) pairs, except those whose limit is off."""
    return [Window(name, rate, subject) for name, subject in subjects if (rate := settings.LIMITS[name])]


def spend(*subjects: tuple[str, str]) -> None:
    """Count one use of each (limit name, subject). Raises LimitReached if a limit is reached."""
    counted = windows(*subjects)
    with store_of(counted[0]).together() if counted else nullcontext():
        full = next((window for window in counted if not store_of(window).take(window, "used")), None)
    if full:
        raise LimitReached(full.retry_after_s)


def spend_if_possible(*subjects: tuple[str, str]) -> None:
    """Like `spend`, but counts nothing if the database cannot be written, so that what only reads goes on."""
    with suppress(DatabaseError):
        spend(*subjects)


class Hold:
    """A hold on one unit of each of several limits. Call `spend()` if the attempt counts."""

    spent = False

    def spend(self) -> None:
        self.spent = True


@contextmanager
def hold(*subjects: tuple[str, str], wait_s: float | None = None) -> Iterator[Hold]:
    """Hold one unit of each limit while the body finds out whether it counts. The limits stay exact meanwhile.

    If only the holds of other requests are in the way, it waits for them for up to `wait_s` seconds, 5 by default.
    Raises LimitReached if a limit is used up, and LimitHeld if the wait was in vain.
    """
    result = Hold()
    held: list[Window] = []
    try:
        for window in windows(*subjects):
            take_or_wait(window, HOLD_WAIT_S if wait_s is None else wait_s)
            held.append(window)
        yield result
    finally:
        for window in held:
            store_of(window).release(window, result.spent)


def take_or_wait(window: Window, wait_s: float) -> None:
    give_up_at = time.monotonic() + wait_s
    while not store_of(window).take(window, "held"):
        if store_of(window).is_used_up(window):
            raise LimitReached(window.retry_after_s)
        if time.monotonic() >= give_up_at:
            raise LimitHeld(1)
        waiting.pause(HOLD_POLL_S)


def is_used_up(*subjects: tuple[str, str]) -> bool:
    """Whether one of these limits is used up for the rest of its window."""
    return any(store_of(window).is_used_up(window) for window in windows(*subjects))


def find_problem() -> str:
    """Why limits cannot be counted in Redis, in a sentence; empty if they can, or if they are not counted there.

    One thread of a process asks at a time, and the others get its last result: Redis may not answer for seconds,
    anybody can call /readyz, and webhooks need the threads.
    """
    if settings.REDIS_URL and _asking.acquire(blocking=False):
        try:
            _problem[settings.REDIS_URL] = ask_redis()
        finally:
            _asking.release()
    return _problem.get(settings.REDIS_URL, "")


def ask_redis() -> str:
    """Counts something, because a Redis that answers may still refuse writes: a replica, or one whose disk is full."""
    try:
        redis_store(settings.REDIS_URL).take(Window("probe", ENDLESS, "readyz"), "used")
    except Exception as error:  # also TypeError and others, for options in REDIS_URL that redis-py uses without a check
        return (
            f"Limits cannot be counted in Redis ({type(error).__name__}), so the API answers with errors. Check "
            "REDIS_URL, and whether Redis runs, is the primary, and has memory and disk space left."
        )
    return ""


def delete_past_windows() -> None:
    """Delete the counters of past windows (called by `reconcile`)."""
    LimitCounter.objects.filter(expires_at__lt=clock.now()).delete()
