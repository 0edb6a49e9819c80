"""What `manage.py worker` does beside the server (workspace/worker.py). Apps register their tasks in `ready()`."""

from collections.abc import Callable
from typing import NamedTuple


class Task(NamedTuple):
    """Work that is repeated for as long as the worker runs.

    Args:
        name: for the log and the audit trail; the name of the command that does the same once, if there is one.
        every_s: seconds from one start to the next.
        run: does all that is due now and returns a summary for the log. Two workers may run it at the same time. If it
            takes long, it calls `core.stopping.raise_if_stopping` between its steps; a step should take less than 30 s.
    """

    name: str
    every_s: float
    run: Callable[[], object]


TASKS: dict[str, Task] = {}


def register(name: str, *, every_s: float, run: Callable[[], object]) -> None:
    TASKS[name] = Task(name, every_s, run)
