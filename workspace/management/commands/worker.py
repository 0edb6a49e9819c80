import os
import signal
import sys
from queue import SimpleQueue
from typing import Any

from django.db import connections

from core import keys
from core.garbage import collect_in_own_thread
from core.management.base import DatabaseCommand
from phones.due import TASKS
from workspace.health import find_problems
from workspace.worker import Worker


class Command(DatabaseCommand):
    help = (
        "Do what is due beside the server until SIGTERM or SIGINT: reconcile every minute, check_phones every hour, "
        "purge once a day, and all of them at the start. What is in progress is finished then, within 30 s. Several "
        "workers may run at the same time."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        for problem in find_problems():
            self.stderr.write(problem)
        keys.admit_newest()
        connections.close_all()
        # SimpleQueue.put is reentrant, so a handler may call it whatever it interrupts; an Event could deadlock.
        signals: SimpleQueue[int] = SimpleQueue()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, frame: signals.put(number))
        collect_in_own_thread()
        worker = Worker(TASKS.values())
        worker.run(signals)
        if worker.began:  # a task that hangs would keep the interpreter from ending
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)
