"""How often something may happen. Counted in the database, or in Redis if REDIS_URL is set, so that processes agree.
Webhooks and `reconcile` need no Redis: what they count is in the database, whatever is set.

A limit is `count` in each window of the clock (settings.LIMITS). What is counted in advance and may turn out not to
count, such as credentials that may yet prove right, is held first and then settled.
"""

import hashlib
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Protocol

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F

from core import clock
from core.errors import Refusal
from core.rates import Rate
from users.models import LimitCounter

# Longer than a carrier may be asked; what is held longer belongs to a process that died.
HOLD_LASTS_S = 60
HOLD_WAIT_S = 5.0
HOLD_POLL_S = 0.05
IN_DATABASE = ("events", "reconciling")


class LimitReached(Refusal):
    code = "throttled"

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(headers={"Retry-After": str(retry_after_s)}, retry_after_s=retry_after_s)
        self.retry_after_s = retry_after_s


class LimitHeld(LimitReached):
    """Not used up: others, or a process that died, hold what is left of it for the moment."""


class Window:
    """The present window of one limit for one subject."""

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
        """What is taken in this block is written at once, where that saves time."""

    def take(self, window: Window, column: str) -> bool:
        """Add one to `used` or `held` unless the two together are at the limit. Says whether it did."""

    def settle(self, window: Window, used: bool) -> None:
        """Give back one held; keep it as used if it was."""

    def is_used_up(self, window: Window) -> bool:
        """Whether `used` alone is at the limit, so that waiting for what is held cannot help."""


class DatabaseStore:
    """One row for each window, changed by compare-and-set."""

    def together(self) -> AbstractContextManager[object]:
        # One disk flush. In a transaction that is open already there is nothing to be undone apart from it.
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
                # In a block of its own, so that losing the race does not spoil a transaction around it.
                with transaction.atomic():
                    expires_at = datetime.fromtimestamp(window.ends_at, UTC)
                    LimitCounter.objects.create(key=window.key, expires_at=expires_at, **{column: 1}, **until)
                return True
            except IntegrityError:
                pass
        # Either the row is full, or it was made since the first try.
        return bool(free.update(**one_more))

    def settle(self, window: Window, used: bool) -> None:
        row = LimitCounter.objects.filter(key=window.key)
        given_back = row.filter(held__gt=0).update(held=F("held") - 1, used=F("used") + int(used))
        if used and not given_back:
            row.update(used=F("used") + 1)

    def is_used_up(self, window: Window) -> bool:
        return LimitCounter.objects.filter(key=window.key, used__gte=window.limit).exists()


class RedisStore:
    """One hash for each window, which Redis drops when the window is over."""

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
    SETTLE = """
    local held = tonumber(redis.call('HGET', KEYS[1], 'held') or 0)
    if held > 0 then redis.call('HINCRBY', KEYS[1], 'held', -1) end
    redis.call('HINCRBY', KEYS[1], 'used', ARGV[1])
    redis.call('EXPIREAT', KEYS[1], ARGV[2])
    """

    def __init__(self, url: str) -> None:
        import redis  # 80 ms that a start without REDIS_URL need not wait for

        self.redis = redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2)
        self.take_script = self.redis.register_script(self.TAKE)
        self.settle_script = self.redis.register_script(self.SETTLE)

    def together(self) -> AbstractContextManager[object]:
        return nullcontext()

    def take(self, window: Window, column: str) -> bool:
        # Kept a minute longer than the window, for a hold that is settled after its end.
        times = [window.ends_at + HOLD_LASTS_S, int(clock.now().timestamp()), HOLD_LASTS_S]
        return bool(self.take_script(keys=[self.name(window)], args=[window.limit, column, *times]))

    def settle(self, window: Window, used: bool) -> None:
        self.settle_script(keys=[self.name(window)], args=[int(used), window.ends_at + HOLD_LASTS_S])

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
    """The windows of (limit name, subject) pairs, without those whose limit is off."""
    return [Window(name, rate, subject) for name, subject in subjects if (rate := settings.LIMITS[name])]


def spend(*subjects: tuple[str, str]) -> None:
    """Count one of each (limit name, subject). Raises LimitReached when a window is full."""
    counted = windows(*subjects)
    with store_of(counted[0]).together() if counted else nullcontext():
        full = next((window for window in counted if not store_of(window).take(window, "used")), None)
    if full:
        raise LimitReached(full.retry_after_s)


class Hold:
    """One held of each of several limits; `spend()` says that it counts."""

    spent = False

    def spend(self) -> None:
        self.spent = True


@contextmanager
def hold(*subjects: tuple[str, str], wait_s: float | None = None) -> Iterator[Hold]:
    """Hold one of each limit while the body finds out whether it counts; the rest of the limit stays exact meanwhile.

    When only what others hold is in the way, it waits for them for `wait_s`, by default some seconds. Raises
    LimitReached; LimitHeld when it has waited in vain.
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
            store_of(window).settle(window, result.spent)


def take_or_wait(window: Window, wait_s: float) -> None:
    give_up_at = time.monotonic() + wait_s
    while not store_of(window).take(window, "held"):
        if store_of(window).is_used_up(window):
            raise LimitReached(window.retry_after_s)
        if time.monotonic() >= give_up_at:
            raise LimitHeld(1)
        time.sleep(HOLD_POLL_S)


def is_used_up(*subjects: tuple[str, str]) -> bool:
    """Whether one of these limits is reached for the rest of its window."""
    return any(store_of(window).is_used_up(window) for window in windows(*subjects))


def forget_past_windows() -> None:
    """Delete the counters of windows that are over (`reconcile`)."""
    LimitCounter.objects.filter(expires_at__lt=clock.now()).delete()
