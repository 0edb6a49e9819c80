"""Asking carriers about many rows at the same time, a few of each account."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from threading import Semaphore
from typing import TypeVar

from django.db import connection

Row = TypeVar("Row")
Result = TypeVar("Result")

# At the same time, of one account of them, and waiting for their turn.
WORKERS, PER_ACCOUNT, CHUNK = 32, 4, 200


def each(
    rows: Iterable[Row], act: Callable[[Row], Result], *, account_of: Callable[[Row], str]
) -> Iterator[tuple[Row, Result]]:
    """Do something with each row, and yield each with its result. The memory does not grow with their number.

    Args:
        act: must not raise.
    """
    accounts: dict[str, Semaphore] = defaultdict(lambda: Semaphore(PER_ACCOUNT))

    def work(row: Row) -> tuple[Row, Result]:
        try:
            with accounts[account_of(row)]:
                return row, act(row)
        finally:
            connection.close()

    context = copy_context()

    def enter() -> None:
        """In each thread as in the caller's: who acts, and in which request."""
        for variable, value in context.items():
            variable.set(value)

    with ThreadPoolExecutor(WORKERS, thread_name_prefix="at-once", initializer=enter) as pool:
        waiting: deque[Future[tuple[Row, Result]]] = deque()
        for row in rows:
            waiting.append(pool.submit(work, row))
            if len(waiting) >= CHUNK:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
