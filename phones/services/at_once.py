"""Process many rows concurrently, a few per account, because each waits for a carrier."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from threading import Semaphore
from typing import TypeVar

from django.db import connection

from core.stopping import raise_if_stopping
from core.waiting import give_back_connection

Row = TypeVar("Row")
Result = TypeVar("Result")

# Threads in all, rows of an account at the same time, and rows submitted ahead.
WORKERS, PER_ACCOUNT, CHUNK = 32, 4, 200


def each(
    rows: Iterable[Row], act: Callable[[Row], Result], *, account_of: Callable[[Row], str]
) -> Iterator[tuple[Row, Result]]:
    """Call `act` for each row in a pool of threads, and yield each row with its result, in order. Memory use does not
    grow with the number of rows.

    Args:
        act: must not raise.
        account_of: the id of the account whose carrier is asked about the row.

    Raises core.stopping.Stopped once the rows in progress are done.
    """
    accounts: dict[str, Semaphore] = defaultdict(lambda: Semaphore(PER_ACCOUNT))

    def work(row: Row) -> tuple[Row, Result]:
        try:
            with accounts[account_of(row)]:
                raise_if_stopping()
                return row, act(row)
        finally:
            connection.close()

    context = copy_context()

    def enter() -> None:
        """Give each thread the caller's context: who acts, and in which request."""
        for variable, value in context.items():
            variable.set(value)

    with ThreadPoolExecutor(WORKERS, thread_name_prefix="at-once", initializer=enter) as pool:
        waiting: deque[Future[tuple[Row, Result]]] = deque()
        for row in rows:
            waiting.append(pool.submit(work, row))
            if len(waiting) >= CHUNK:
                yield result_of(waiting.popleft())
        while waiting:
            yield result_of(waiting.popleft())


def result_of(row: "Future[tuple[Row, Result]]") -> tuple[Row, Result]:
    """Wait for a row, without the connection that its thread may need."""
    give_back_connection()
    return row.result()
