"""The cost of the database on each engine through Django, and for comparison that of the drivers alone.

Operations per second of wall-clock time, the median of three interleaved rounds. MongoDB is a single-member replica set
on this machine with majority writes and its journal; SQLite and PostgreSQL also flush each commit to disk. Then the
requests of bench.list on MongoDB and PostgreSQL, with 100,000 and with 1,000,000 calls.
"""

import argparse
import base64
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any
from urllib.parse import quote

from bench.list import calls, get, make_lines, requests_to_measure
from bench.report import Line, finish
from sandbox.postgresql import PostgreSQL
from sandbox.replica_set import ReplicaSet

FEW, MANY = 100_000, 1_000_000
ROUNDS, THREADS = 3, 8
INSERTS, READS, UNIQUE, LISTS, EVENTS = 300, 600, 100, 100, 60
GROWTH_ROUNDS, GROWTH_GOAL = 25, 1.5
DRIVERS = {"MongoDB": "pymongo", "PostgreSQL": "psycopg"}
# As created by bench.list.
FIELDS = ["id", "account_id", "line_id", "carrier_id", "direction", "caller", "callee", "status"]
FIELDS += ["started_at", "answered_at", "ended_at", "duration_s", "created_at"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is missed")
    parser.add_argument("--many", type=int, default=MANY, help="calls of the larger database")
    parser.add_argument("--side", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        serve(options.side)
        return
    with (
        tempfile.TemporaryDirectory() as directory,
        ReplicaSet(cache_gb=1) as replica_set,
        PostgreSQL(is_durable=True, settings={"shared_buffers": "1GB"}) as server,
    ):
        for name in ("few", "many"):
            server.create(name)
        sqlite = Side(f"sqlite:///{quote(directory)}/bench.sqlite3", FEW)
        few = {"MongoDB": Side(replica_set.url("few"), FEW), "PostgreSQL": Side(server.url("few"), FEW)}
        throughput({"SQLite": sqlite, **few})
        sqlite.end()
        lines = growth("MongoDB", few["MongoDB"], Side(replica_set.url("many"), options.many))
        lines += growth("PostgreSQL", few["PostgreSQL"], Side(server.url("many"), options.many))
    finish(lines, check=options.check)


class Side:
    """A process with a database of its own, which runs operations on request."""

    def __init__(self, url: str, count: int) -> None:
        settings = {
            **os.environ,
            "SECRET_KEY": "bench" * 12,
            "CREDENTIAL_KEYS": base64.urlsafe_b64encode(bytes(32)).decode(),
            "PUBLIC_URL": "https://phones.example.com",
            "DATABASE_URL": url,
            "ENV_FILE": os.devnull,
            "DJANGO_SETTINGS_MODULE": "workspace.settings",
            "LIMIT_REQUESTS": "off",
        }
        command = [sys.executable, "-m", "bench.database", "--side", str(count)]
        self.process = subprocess.Popen(command, env=settings, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.names: list[str] = self.read()

    def read(self) -> Any:
        assert self.process.stdout
        line = self.process.stdout.readline()
        return json.loads(line) if line else sys.exit("A side has ended before its time.")

    def ask(self, name: str) -> float:
        """Run the operation of this name once. Returns the seconds."""
        assert self.process.stdin
        self.process.stdin.write(f"{name}\n")
        self.process.stdin.flush()
        return self.read()

    def end(self) -> None:
        with suppress(BrokenPipeError):
            self.process.communicate()


def throughput(sides: dict[str, Side]) -> None:
    """Print operations per second, side by side, and in parentheses as a multiple of SQLite's."""
    columns = {**sides, **{driver: sides[engine] for engine, driver in DRIVERS.items()}}
    operations = [name for name in sides["SQLite"].names if not name.startswith("list: ")]
    print(f"{'operations per second':<32}" + "".join(f"{name:>18}" for name in columns))
    for name in operations:
        taken: dict[str, list[float]] = {column: [] for column in columns}
        for _ in range(ROUNDS):
            for column, side in columns.items():
                taken[column].append(side.ask(name if column in sides else f"raw {name}"))
        rates = {column: 1 / statistics.median(some) for column, some in taken.items()}
        told = (f"{rate:>9,.0f} ({rate / rates['SQLite']:5.2f})" for rate in rates.values())
        print(f"{name:<32}" + "".join(f"{one:>18}" for one in told), flush=True)


def growth(engine: str, few: Side, many: Side) -> list[Line]:
    lines = []
    for name in (one for one in few.names if one.startswith("list: ")):
        spent = {few: [few.ask(name)], many: [many.ask(name)]}
        for number in range(GROWTH_ROUNDS):
            for side in (few, many) if number % 2 else (many, few):
                spent[side].append(side.ask(name))
        few_s, many_s = (statistics.median(spent[side][1:]) for side in (few, many))
        told = f"{engine}, {name[6:]}"
        print(f"{told}: {many_s * 1000:.1f} ms with many calls, {few_s * 1000:.1f} ms with few", flush=True)
        lines.append(Line(f"{told}: with many calls / with few", many_s / few_s, GROWTH_GOAL))
    for side in (few, many):
        side.end()
    return lines


# -- one side ---------------------------------------------------------------------------------------------------------


def serve(count: int) -> None:
    """Create the database, print the names of the operations, and run those named on standard input."""
    import django
    from django.core.management import call_command
    from django.db import connection

    django.setup()
    from workspace.wsgi import application

    call_command("migrate", verbosity=0)
    token, numbers = make_lines()
    fill(count)
    operations = through_django()
    if connection.vendor == "mongodb":
        raw = with_pymongo(connection.database)  # type: ignore[attr-defined]
    else:
        raw = with_psycopg(os.environ["DATABASE_URL"]) if connection.vendor == "postgresql" else {}
    operations |= {f"raw {name}": act for name, act in raw.items()}
    requests = requests_to_measure(application, token, numbers)
    operations |= {
        f"list: {name}": partial(seconds, partial(get, application, path, token)) for name, path in requests.items()
    }
    print(json.dumps([name for name in operations if not name.startswith("raw ")]), flush=True)
    for line in sys.stdin:
        print(json.dumps(operations[line.strip()]()), flush=True)


def seconds(act: Callable[[], Any], times: int = 1) -> float:
    """The seconds per operation."""
    start = time.perf_counter()
    for _ in range(times):
        act()
    return (time.perf_counter() - start) / times


def fill(count: int) -> None:
    from django.db import connection

    from phones.models import Call
    from phones.models import Line as PhoneLine

    lines = list(PhoneLine.objects.values_list("pk", "account_id", "number"))
    made = (Call(**understood(row), version=2) for row in calls(count, lines))
    while some := list(islice(made, 5000)):
        for rows in (some, [recording_of(one) for one in some[::4]]):
            if connection.vendor == "mongodb":
                collection = connection.database[rows[0]._meta.db_table]  # type: ignore[attr-defined]
                collection.insert_many([document(row) for row in rows], ordered=False)
            else:
                type(rows[0])._base_manager.bulk_create(rows, batch_size=1000)
    if connection.vendor == "postgresql":  # as it would do itself, but in the middle of what is measured
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")


def recording_of(call: Any) -> Any:
    from phones.models import Recording

    return Recording(account_id=call.account_id, call_id=call.pk, carrier_id=f"RE{call.pk}", status="completed")


def understood(row: tuple[Any, ...]) -> dict[str, Any]:
    known = dict(zip(FIELDS, row, strict=True))
    for name in FIELDS:
        if name.endswith("_at") and known[name]:
            known[name] = datetime.fromisoformat(known[name]).replace(tzinfo=UTC)
    return known


def document(row: Any) -> dict[str, Any]:
    from django.db import connection

    return {
        field.column: field.get_db_prep_save(getattr(row, field.attname), connection)
        for field in row._meta.concrete_fields
    }


def of_threads(insert: Callable[[str], bool], leave: Callable[[], None] = lambda: None) -> float:
    """Eight threads insert the same keys; for each key exactly one must succeed. Returns the seconds per attempt.

    Each thread calls `leave` when it ends.
    """
    start = threading.Barrier(THREADS)
    series = f"{time.time_ns()}"

    def work(_: int) -> int:
        start.wait()
        try:
            return sum(insert(f"{series}-{number}") for number in range(UNIQUE))
        finally:
            leave()

    began = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        won = sum(pool.map(work, range(THREADS)))
    assert won == UNIQUE, f"{won} of {UNIQUE} keys were won"
    return (time.perf_counter() - began) / (THREADS * UNIQUE)


def event(number: int) -> str:
    parties = "From=%2B14155550000&To=%2B12125550000&Direction=inbound"
    return f"CallSid=CA{number}&CallStatus=completed&{parties}&CallDuration=7"


def through_django() -> dict[str, Callable[[], float]]:
    from django.db import IntegrityError, connections, transaction
    from django.utils import timezone

    from phones.models import Call
    from phones.models import Line as PhoneLine
    from phones.services.calls import record_event
    from users.models import LimitCounter, Workspace

    line, known = PhoneLine.objects.select_related("account").first(), Workspace.objects.first()
    assert known and line
    account = line.account

    def insert_unique(key: str) -> bool:
        try:
            with transaction.atomic():
                LimitCounter.objects.create(key=key, expires_at=timezone.now())
        except IntegrityError:
            return False
        return True

    busy = Call.objects.filter(line=line, status="busy").order_by("-started_at")

    def ingest() -> None:
        number = time.time_ns()
        record_event(account, "status", event(number), str(number))

    return {
        "insert": lambda: seconds(lambda: Workspace.objects.create(name="w"), INSERTS),
        "read by id": lambda: seconds(lambda: Workspace.objects.get(pk=known.pk), READS),
        "unique insert, 8 threads": lambda: of_threads(insert_unique, connections.close_all),
        "filtered list of 50": lambda: seconds(lambda: list(busy[:50]), LISTS),
        "webhook ingest": lambda: seconds(ingest, EVENTS),
    }


def with_pymongo(database: Any) -> dict[str, Callable[[], float]]:
    """The same operations with the driver: the stored data is identical, without validation or conversion."""
    from bson import ObjectId
    from pymongo import UpdateOne
    from pymongo.errors import DuplicateKeyError

    workspaces, counters = database["users_workspace"], database["users_limitcounter"]
    log, events = database["phones_call"], database["phones_callevent"]
    known, some = workspaces.find_one()["_id"], log.find_one()
    account, line = some["account_id"], some["line_id"]
    now = datetime.now(UTC)

    def workspace() -> dict[str, Any]:
        return {"_id": ObjectId(), "name": "w", "is_active": True, "created_at": now}

    def insert_unique(key: str) -> bool:
        try:
            counters.insert_one({"_id": ObjectId(), "key": key, "used": 0, "held": 0, "expires_at": now})
        except DuplicateKeyError:
            return False
        return True

    def ingest() -> None:
        number, made = time.time_ns(), ObjectId()
        kept = {"_id": made, "dedupe_key": str(number), "kind": "status", "payload": event(number), "merged_at": None}
        events.insert_one(kept)
        call = {"status": "completed", "duration_s": 7, "started_at": now, "line_id": line}
        log.update_one({"account_id": account, "carrier_id": f"CA{number}"}, {"$set": call}, upsert=True)
        events.bulk_write([UpdateOne({"_id": made}, {"$set": {"merged_at": now}})])

    return {
        "insert": lambda: seconds(
            lambda: workspaces.insert_one({"_id": ObjectId(), "name": "w", "is_active": True, "created_at": now}),
            INSERTS,
        ),
        "read by id": lambda: seconds(lambda: workspaces.find_one({"_id": known}), READS),
        "unique insert, 8 threads": lambda: of_threads(insert_unique),
        "filtered list of 50": lambda: seconds(
            lambda: list(log.find({"line_id": line, "status": "busy"}).sort("started_at", -1).limit(50)), LISTS
        ),
        "webhook ingest": lambda: seconds(ingest, EVENTS),
    }


def with_psycopg(url: str) -> dict[str, Callable[[], float]]:
    from psycopg.errors import UniqueViolation
    from psycopg_pool import ConnectionPool

    from core.fields import new_object_id

    pool = ConnectionPool(url, min_size=1, max_size=THREADS, kwargs={"autocommit": True}, open=True)
    now = datetime.now(UTC)

    def ask(query: str, *values: Any) -> list[Any]:
        with pool.connection() as connection:
            cursor = connection.execute(query.encode(), values)
            return cursor.fetchall() if cursor.description else []

    ((known, account, line),) = ask(
        "SELECT w._id, c.account_id, c.line_id FROM users_workspace w, phones_call c LIMIT 1"
    )
    insert = "INSERT INTO users_workspace (_id, name, is_active, created_at) VALUES (%s, 'w', true, %s)"
    insert_counter = "INSERT INTO users_limitcounter (_id, key, used, held, expires_at) VALUES (%s, %s, 0, 0, %s)"
    insert_event = (
        "INSERT INTO phones_callevent (_id, account_id, dedupe_key, kind, payload, received_at) "
        "VALUES (%s, %s, %s, 'status', %s, %s)"
    )
    insert_call = (
        "INSERT INTO phones_call (_id, account_id, line_id, carrier_id, direction, caller, callee, status, started_at, "
        "duration_s, hangup_cause, currency, version, created_at) "
        "VALUES (%s, %s, %s, %s, 'inbound', '', '', 'completed', %s, 7, '', '', 1, %s) "
        "ON CONFLICT (account_id, carrier_id) DO UPDATE SET status = excluded.status, duration_s = excluded.duration_s"
    )
    busy = "SELECT * FROM phones_call WHERE line_id = %s AND status = 'busy' ORDER BY started_at DESC LIMIT 50"

    def insert_unique(key: str) -> bool:
        try:
            ask(insert_counter, new_object_id(), key, now)
        except UniqueViolation:
            return False
        return True

    def ingest() -> None:
        number, made = time.time_ns(), new_object_id()
        ask(insert_event, made, account, str(number), event(number), now)
        ask(insert_call, new_object_id(), account, line, f"CA{number}", now, now)
        ask("UPDATE phones_callevent SET merged_at = %s WHERE _id = %s", now, made)

    return {
        "insert": lambda: seconds(lambda: ask(insert, new_object_id(), now), INSERTS),
        "read by id": lambda: seconds(lambda: ask("SELECT * FROM users_workspace WHERE _id = %s", known), READS),
        "unique insert, 8 threads": lambda: of_threads(insert_unique),
        "filtered list of 50": lambda: seconds(lambda: ask(busy, line), LISTS),
        "webhook ingest": lambda: seconds(ingest, EVENTS),
    }


if __name__ == "__main__":
    main()
