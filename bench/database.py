"""The cost of the database on each engine: SQLite, MongoDB through our engine, and for comparison pymongo alone.

Operations per second of wall-clock time, the median of three interleaved rounds. MongoDB is a single-member replica set
on this machine with majority writes and its journal; SQLite also flushes each commit to disk. Then the requests of
bench.list on MongoDB, with 100,000 and with 1,000,000 calls.
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
from sandbox.replica_set import ReplicaSet

FEW, MANY = 100_000, 1_000_000
ROUNDS, THREADS = 3, 8
INSERTS, READS, UNIQUE, LISTS, EVENTS = 300, 600, 100, 100, 60
GROWTH_ROUNDS, GROWTH_GOAL = 25, 1.5
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
    with tempfile.TemporaryDirectory() as directory, ReplicaSet(cache_gb=1) as replica_set:
        few_url, many_url = replica_set.url("few"), replica_set.url("many")
        throughput(Side(f"sqlite:///{quote(directory)}/bench.sqlite3", FEW), few := Side(few_url, FEW))
        lines = growth(few, Side(many_url, options.many))
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


def throughput(sqlite: Side, mongodb: Side) -> None:
    """Print operations per second, side by side."""
    columns = {"SQLite": sqlite, "MongoDB": mongodb, "pymongo": mongodb}
    operations = [name for name in sqlite.names if not name.startswith("list: ")]
    print(f"{'operations per second':<32}" + "".join(f"{name:>18}" for name in columns))
    for name in operations:
        taken: dict[str, list[float]] = {column: [] for column in columns}
        for _ in range(ROUNDS):
            for column, side in columns.items():
                taken[column].append(side.ask(f"raw {name}" if column == "pymongo" else name))
        rates = {column: 1 / statistics.median(some) for column, some in taken.items()}
        told = (f"{rate:>9,.0f} ({rate / rates['MongoDB']:5.2f})" for rate in rates.values())
        print(f"{name:<32}" + "".join(f"{one:>18}" for one in told), flush=True)
    sqlite.end()


def growth(few: Side, many: Side) -> list[Line]:
    lines = []
    for name in (one for one in few.names if one.startswith("list: ")):
        spent = {few: [few.ask(name)], many: [many.ask(name)]}
        for number in range(GROWTH_ROUNDS):
            for side in (few, many) if number % 2 else (many, few):
                spent[side].append(side.ask(name))
        few_s, many_s = (statistics.median(spent[side][1:]) for side in (few, many))
        print(f"{name[6:]}: {many_s * 1000:.1f} ms with many calls, {few_s * 1000:.1f} ms with few", flush=True)
        lines.append(Line(f"{name[6:]}: with many calls / with few", many_s / few_s, GROWTH_GOAL))
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
        operations |= {f"raw {name}": act for name, act in without_django(connection.database).items()}  # type: ignore[attr-defined]
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
    if connection.vendor != "mongodb":
        Call.objects.bulk_create(made, batch_size=1000)
        return
    database = connection.database  # type: ignore[attr-defined]
    while some := list(islice(made, 5000)):
        recordings = [recording_of(one) for one in some[::4]]
        for rows in (some, recordings):
            database[rows[0]._meta.db_table].insert_many([document(row) for row in rows], ordered=False)


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


def of_threads(insert: Callable[[str], bool]) -> float:
    """Eight threads insert the same keys; for each key exactly one must succeed. Returns the seconds per attempt."""
    start = threading.Barrier(THREADS)
    series = f"{time.time_ns()}"

    def work(_: int) -> int:
        start.wait()
        return sum(insert(f"{series}-{number}") for number in range(UNIQUE))

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

    def unique() -> float:
        try:
            return of_threads(insert_unique)
        finally:
            connections.close_all()

    busy = Call.objects.filter(line=line, status="busy").order_by("-started_at")

    def ingest() -> None:
        number = time.time_ns()
        record_event(account, "status", event(number), str(number))

    return {
        "insert": lambda: seconds(lambda: Workspace.objects.create(name="w"), INSERTS),
        "read by id": lambda: seconds(lambda: Workspace.objects.get(pk=known.pk), READS),
        "unique insert, 8 threads": unique,
        "filtered list of 50": lambda: seconds(lambda: list(busy[:50]), LISTS),
        "webhook ingest": lambda: seconds(ingest, EVENTS),
    }


def without_django(database: Any) -> dict[str, Callable[[], float]]:
    """The same operations with pymongo: the stored data is identical, without validation or conversion."""
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


if __name__ == "__main__":
    main()
