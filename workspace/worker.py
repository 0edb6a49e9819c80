"""The worker: does what is due beside the server, each task in a thread of its own, so that none delays another."""

import logging
import threading
import time
from collections.abc import Iterable
from queue import Empty, SimpleQueue

from django.db import connections

from core.databases.readiness import explain
from core.stopping import Stopped, stopped_by
from phones.due import Task
from users.actor import actor_context

# A task that failed is tried again after this time, or at its own pace if that is sooner.
RETRY_S = 300.0
# As the server. A step that takes longer is cut off, as by a crash, and done again later.
STOP_WITHIN_S = 30.0
# How often the log tells of a task that does not end.
LONG_S = 600.0

log = logging.getLogger(__name__)


class Worker:
    """Runs tasks until it is told to stop: all at once at first, then each at its own pace."""

    def __init__(self, tasks: Iterable[Task]) -> None:
        self.stopping = threading.Event()
        self.began: dict[str, float] = {}  # the tasks that are running, and since when
        # Daemons, because a task that hangs must not keep the process from ending.
        self.threads = [
            threading.Thread(target=self.repeat, args=[task], name=task.name, daemon=True) for task in tasks
        ]

    def run(self, signals: "SimpleQueue[int]") -> None:
        """Run the tasks until a signal comes, then finish the steps in progress, within STOP_WITHIN_S."""
        for thread in self.threads:
            thread.start()
        while True:
            try:
                signals.get(timeout=LONG_S)
                break
            except Empty:
                self.report_long()
        self.stopping.set()
        give_up_at = time.monotonic() + STOP_WITHIN_S
        for thread in self.threads:
            thread.join(max(0.0, give_up_at - time.monotonic()))
        for name in list(self.began):
            log.warning(
                "%s did not end within %.0f s; reconcile will finish what it left half done", name, STOP_WITHIN_S
            )

    def report_long(self) -> None:
        now = time.monotonic()
        for name, began in list(self.began.items()):
            if now - began >= LONG_S:
                log.error("%s has been running for %.0f minutes", name, (now - began) / 60)

    def repeat(self, task: Task) -> None:
        with actor_context("command", task.name), stopped_by(self.stopping):
            while not self.stopping.is_set():
                began = self.began[task.name] = time.monotonic()
                is_done = self.run_once(task)
                del self.began[task.name]
                pause_s = task.every_s if is_done else min(task.every_s, RETRY_S)
                self.stopping.wait(max(0.0, began + pause_s - time.monotonic()))

    def run_once(self, task: Task) -> bool:
        """Run a task. Returns whether it succeeded; never raises, so that it is tried again."""
        try:
            connections.close_all()  # one may have broken since the last run
            log.info("%s: %s", task.name, task.run())
        except Stopped:
            log.info("%s: stopped", task.name)
        except Exception as error:
            reason = explain(error)
            log.error(
                "%s failed and will be tried again%s",
                task.name,
                f": {reason}" if reason else "",
                exc_info=None if reason else error,
            )
            return False
        finally:
            connections.close_all()  # most tasks pause for long
        return True
