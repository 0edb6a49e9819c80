"""The worker: each task at its own pace, none in another's way, and nothing cut off when it ends."""

import re
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from queue import SimpleQueue

import pytest
from django.db import OperationalError
from django.utils import timezone

from core.stopping import raise_if_stopping
from phones.due import TASKS, Task
from phones.models import Line
from sandbox.sandbox import Sandbox
from tests.support.api import add
from tests.support.carriers import CARRIERS
from tests.support.people import Tenant
from users.actor import current_actor
from users.models import LimitCounter
from workspace import worker as module
from workspace.worker import Worker

SOON_S = 0.01
LATER_S = 3600.0


@contextmanager
def working(*tasks: Task) -> Iterator[Callable[[], None]]:
    """A worker with these tasks. Yields what tells it to end and waits for that."""
    signals: SimpleQueue[int] = SimpleQueue()
    worker = Worker(tasks)
    thread = threading.Thread(target=worker.run, args=[signals])
    thread.start()

    def end() -> None:
        signals.put(signal.SIGTERM)
        thread.join(20)
        assert not thread.is_alive()

    try:
        yield end
    finally:
        end()


def wait_until(is_so: Callable[[], object]) -> None:
    give_up_at = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < give_up_at, "it did not come to that"
        time.sleep(0.01)


def test_a_slow_task_delays_no_other() -> None:
    may_end, runs = threading.Event(), []
    slow = Task("slow", LATER_S, may_end.wait)
    with working(slow, Task("quick", SOON_S, lambda: runs.append(1))):
        wait_until(lambda: len(runs) >= 3)
        may_end.set()


def test_everything_is_done_once_at_the_start_and_then_at_its_own_pace() -> None:
    often, seldom = [], []
    tasks = Task("often", SOON_S, lambda: often.append(1)), Task("seldom", LATER_S, lambda: seldom.append(1))
    with working(*tasks):
        wait_until(lambda: len(often) >= 5 and seldom)
    assert len(seldom) == 1


@pytest.mark.parametrize("error", [RuntimeError("broken"), OperationalError("database is locked"), TypeError()])
def test_a_task_that_fails_is_tried_again_soon_and_ends_no_other(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "RETRY_S", SOON_S)
    tried, done = [], []

    def fail() -> None:
        tried.append(1)
        raise error

    with working(Task("failing", LATER_S, fail), Task("working", SOON_S, lambda: done.append(1))):
        wait_until(lambda: len(tried) >= 3 and len(done) >= 3)
    assert "failing failed" in caplog.text and "working failed" not in caplog.text


def test_a_database_that_fails_is_told_in_a_sentence(caplog: pytest.LogCaptureFixture) -> None:
    def query() -> None:
        with closing(sqlite3.connect("/nowhere/db.sqlite3")):
            pass

    def fail() -> None:
        try:
            query()
        except sqlite3.Error as error:
            raise OperationalError(str(error)) from error

    with working(Task("failing", LATER_S, fail)):
        wait_until(lambda: "failing failed" in caplog.text)
    assert "tried again: The database file cannot be opened" in caplog.text and "Traceback" not in caplog.text


def test_the_step_in_progress_is_finished_and_no_other_is_begun() -> None:
    begun, ended, may_end = [], [], threading.Event()

    def steps() -> None:
        for step in range(1000):
            raise_if_stopping()
            begun.append(step)
            may_end.wait(20)
            ended.append(step)

    with working(Task("long", LATER_S, steps)) as end:
        wait_until(lambda: begun)
        threading.Timer(0.2, may_end.set).start()
        end()
    assert begun == ended == [0]


def test_a_task_that_does_not_end_is_told_of_and_does_not_keep_the_worker(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "LONG_S", 0.05)
    monkeypatch.setattr(module, "STOP_WITHIN_S", 0.1)
    may_end = threading.Event()
    try:
        with working(Task("hanging", LATER_S, may_end.wait)) as end:
            wait_until(lambda: "hanging has been running" in caplog.text)
            end()
    finally:
        may_end.set()
    assert "hanging did not end" in caplog.text


def test_its_tasks_are_the_commands() -> None:
    paces = {name: task.every_s for name, task in TASKS.items()}
    assert paces == {"reconcile": 60, "check_phones": 3600, "purge": 86400}


@pytest.mark.engine
@pytest.mark.django_db(transaction=True)
def test_two_purges_at_a_time_delete_each_row_once(caplog: pytest.LogCaptureFixture) -> None:
    over = timezone.now() - timedelta(days=1)
    LimitCounter.objects.bulk_create(LimitCounter(key=f"key {n}", expires_at=over) for n in range(1200))
    with working(TASKS["purge"]), working(TASKS["purge"]):
        wait_until(lambda: caplog.text.count("purge: deleted") == 2)
    counts = [int(count) for count in re.findall(r"(\d+) limit counters", caplog.text)]
    assert sum(counts) == 1200 and not LimitCounter.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_its_tasks_do_the_work_in_the_name_of_their_commands(
    sandbox: Sandbox, tenant: Tenant, caplog: pytest.LogCaptureFixture
) -> None:
    for good in CARRIERS.values():
        assert add(tenant, good.body(tenant.user)).status_code == 201
    actors = []

    def noting(task: Task) -> Task:
        def run() -> object:
            actors.append(current_actor().name)
            return task.run()

        return task._replace(run=run)

    tasks = map(noting, TASKS.values())
    with working(*tasks):
        wait_until(lambda: all(f"{name}: " in caplog.text for name in TASKS))
    assert sorted(actors) == sorted(TASKS)
    assert "check_phones: ok 3" in caplog.text
    assert "asked 3 accounts for missed calls" in caplog.text
    assert not Line.objects.filter(checked_at=None).exists()
