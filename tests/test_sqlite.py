"""SQLite's engine: who has the turn to write."""

import threading
from typing import Any

import pytest
from django.db import DatabaseError, connection, connections, transaction

from core.databases.sqlite.base import TURN
from users.models import Workspace

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.only("sqlite", reason="SQLite alone has one writer"),
]


def test_the_turn_ends_with_the_transaction_however_that_ends() -> None:
    with transaction.atomic():
        assert not TURN.locked(), "nobody waits before there is something to do"
        with transaction.atomic():
            Workspace.objects.create(name="kept")
        assert TURN.locked(), "a savepoint is no end"
    assert not TURN.locked()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        raise ZeroDivisionError
    assert not TURN.locked()
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("nonsense")
    assert not TURN.locked()
    assert Workspace.objects.filter(name="kept").exists()


def test_a_connection_that_is_closed_in_a_transaction_gives_its_turn_back() -> None:
    was_locked = []

    def leave() -> None:
        transaction.set_autocommit(False, using="default")
        database: Any = connections["default"]  # the stubs leave out what begins with an underscore
        database.ensure_connection()
        database._start_transaction_under_autocommit()
        database.cursor().execute("SELECT 1")
        was_locked.append(TURN.locked())
        connections.close_all()

    thread = threading.Thread(target=leave)
    thread.start()
    thread.join()
    assert was_locked == [True]
    assert not TURN.locked()


def test_threads_that_write_at_the_same_time_all_do() -> None:
    def write() -> None:
        for _ in range(20):
            with transaction.atomic():
                Workspace.objects.create(name="many")
        connections.close_all()

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Workspace.objects.filter(name="many").count() == 160
    assert not TURN.locked()


def test_a_transaction_without_a_statement_ends_like_any_other() -> None:
    with transaction.atomic():
        pass
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        raise ZeroDivisionError
    assert not TURN.locked()
    assert not connection.connection.in_transaction
    Workspace.objects.create(name="kept")  # on its own: no transaction is left to begin
    assert not connection.connection.in_transaction


def test_after_a_beginning_that_failed_nothing_stands_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    connection.ensure_connection()
    monkeypatch.setattr(connections["default"], "transaction_mode", "NOW")
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        with pytest.raises(DatabaseError), connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        monkeypatch.undo()
        Workspace.objects.create(name="undone")
        raise ZeroDivisionError
    assert not Workspace.objects.filter(name="undone").exists()
    assert not TURN.locked()
