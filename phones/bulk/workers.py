"""The threads of a bulk add."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import copy_context
from queue import Empty, SimpleQueue
from threading import Thread

from django.db import connections

from core.waiting import give_back_connection
from integrations.gate import through
from phones.bulk.account_queues import AccountQueue, Result, Task


class Workers:
    """Threads that perform tasks, each behind the gate of its account.

    A context manager: the threads start when it is entered and have ended when it is left. Only `perform` runs in them;
    the queues of the accounts change in the caller's thread alone.
    """

    def __init__(self, count: int, perform: Callable[[AccountQueue, Task], Result]) -> None:
        self.count = count
        self.perform = perform
        self.in_flight = 0
        self._tasks: SimpleQueue[tuple[AccountQueue, Task] | None] = SimpleQueue()
        self._results: SimpleQueue[tuple[AccountQueue, Result]] = SimpleQueue()
        # Each with the caller's context: the audit trail and the log lines take the actor and the request from it.
        self._threads = [
            Thread(target=copy_context().run, args=(self._work,), name=f"bulk-{index}", daemon=True)
            for index in range(count)
        ]

    def __enter__(self) -> "Workers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    @property
    def are_busy(self) -> bool:
        return self.in_flight >= self.count

    def submit(self, queue: AccountQueue, task: Task) -> None:
        self.in_flight += 1
        queue.begin(task)
        self._tasks.put((queue, task))

    def results(self, wait_s: float) -> Iterator[Result]:
        """The results that are ready; if none is, wait up to `wait_s` seconds for the first."""
        give_back_connection()  # the threads may need it
        with suppress(Empty):
            queue, result = self._results.get(timeout=wait_s)
            while True:
                self.in_flight -= 1
                queue.end(result)
                yield result
                queue, result = self._results.get_nowait()

    def _work(self) -> None:
        try:
            while submitted := self._tasks.get():
                queue, task = submitted
                with through(queue.gate):
                    result = self.perform(queue, task)
                give_back_connection()  # others may need it while this one waits for a task
                self._results.put((queue, result))
        finally:
            connections.close_all()
