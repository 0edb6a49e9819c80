"""The cost of a page of the call log with 1,000,000 calls compared with 100,000, by filter; and its plans.

Ratio of CPU seconds from the WSGI environ to the response: medians of interleaved runs, one process per database. Half
of the calls are on the fifty lines of the requesting workspace. No plan may scan all calls.
"""

import argparse
import base64
import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from bench.counting import scans, sent
from bench.report import Line, finish

FEW, MANY = 100_000, 1_000_000
ROUNDS = 25
WORKSPACES, LINES_OF_OURS, LINES_OF_OTHERS = 11, 50, 5
SPAN = timedelta(days=90)
PAGE_SIZE = 50
GOAL = 1.5
CALLS = "phones_call|phones_recording"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is missed")
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.count:
        serve(options.count)
        return
    with tempfile.TemporaryDirectory() as directory:
        lines = compare(Path(directory))
    finish(lines, check=options.check)


def compare(directory: Path) -> list[Line]:
    few, many = sides = [Side(directory, count) for count in (FEW, MANY)]
    try:
        names, _ = [side.result() for side in sides]
        spent: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
        for round_number in range(ROUNDS):
            for name in names:
                took = {side: side.ask("time", name) for side in (sides if round_number % 2 else sides[::-1])}
                spent[name].append((took[few], took[many]))
        plans = {name: [side.ask("plans", name) for side in sides] for name in names}
    finally:
        for side in sides:
            side.end()
    lines, scans = [], set()
    for name, runs in spent.items():
        few_s, many_s = (statistics.median(one) for one in zip(*runs, strict=True))
        told = plans[name][-1]
        print(
            f"{name}: {many_s * 1000:.1f} ms of CPU among {MANY:,} calls, {few_s * 1000:.1f} ms among {FEW:,};"
            f" {told['calls']} calls by {told['queries']} queries"
        )
        lines.append(Line(f"{name}: with {MANY:,} calls / with {FEW:,}", many_s / few_s, GOAL))
        scans |= {f"{name}: {scan}" for plan in plans[name] for scan in plan["scans"]}
    for scan in sorted(scans):
        print(scan)
    return [*lines, Line("plans that scan all calls", len(scans), 0, exact=True)]


class Side:
    """A process with one database, which makes requests to itself on demand."""

    def __init__(self, directory: Path, count: int) -> None:
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "workspace.settings",
            "SECRET_KEY": "bench" * 12,
            "CREDENTIAL_KEYS": base64.urlsafe_b64encode(bytes(32)).decode(),
            "PUBLIC_URL": "https://phones.example.com",
            "DATABASE_URL": f"sqlite:///{quote(str(directory / f'{count}.sqlite3'))}",
            "ENV_FILE": os.devnull,
            "DEBUG": "off",
            "LIMIT_REQUESTS": "off",
        }
        command = [sys.executable, "-m", "bench.list", "--count", str(count)]
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, what: str, name: str) -> Any:
        """The CPU seconds of the request of this name, or its plans, as requested."""
        assert self.process.stdin
        self.process.stdin.write(f"{what} {name}\n")
        self.process.stdin.flush()
        return self.result()

    def result(self) -> Any:
        assert self.process.stdout
        line = self.process.stdout.readline()
        return json.loads(line) if line else sys.exit("A side has ended before its time.")

    def end(self) -> None:
        with suppress(BrokenPipeError):
            self.process.communicate()


# -- one side ---------------------------------------------------------------------------------------------------------


def serve(count: int) -> None:
    """Create the database and print the names of the requests; then make each request named on standard input."""
    import django
    from django.core.management import call_command
    from django.db import connections

    django.setup()
    from workspace.wsgi import application

    call_command("migrate", verbosity=0)
    token, numbers = make_lines()
    connections.close_all()
    fill(count)
    requests = requests_to_measure(application, token, numbers)
    answers = {
        "time": lambda path: get(application, path, token)[0],
        "plans": lambda path: plans(application, path, token),
    }
    for path in requests.values():
        get(application, path, token)
    print(json.dumps(list(requests)), flush=True)
    for line in sys.stdin:
        what, _, name = line.strip().partition(" ")
        print(json.dumps(answers[what](requests[name])), flush=True)


def make_lines() -> tuple[str, dict[str, str]]:
    """Create the workspaces and their lines. Returns a token of the requesting workspace, and its numbers by id."""
    from core.secrets import Secret
    from phones.models import Account, Line, PhoneNumber
    from users.models import ApiToken, User, Workspace

    token, numbers = "", {}
    for index in range(WORKSPACES):
        workspace = Workspace.objects.create(name=f"Workspace {index}")
        user = User.objects.create_user(f"user@{index}.example.com", workspace=workspace)
        account = Account.objects.create(
            workspace=workspace, integration="twilio", account_id="AC", auth_token=Secret.seal("token")
        )
        for number in range(LINES_OF_OTHERS if index else LINES_OF_OURS):
            e164 = f"1212{5550000 + 100 * index + number}"
            line = Line.objects.create(
                account=account, integration="twilio", number=e164, carrier_id=e164, snapshot=Secret.seal("{}")
            )
            active = PhoneNumber.State.ACTIVE
            phone = PhoneNumber.objects.create(user=user, line=line, integration="twilio", number=e164, state=active)
            if not index:
                numbers[phone.pk] = e164
        token = token or ApiToken.issue(workspace)[1]
    return token, numbers


def fill(count: int) -> None:
    """Create the calls, with a recording for every fourth, and recreate the indexes at the end."""
    from django.conf import settings

    connection = sqlite3.connect(settings.DATABASES["default"]["NAME"], isolation_level=None)
    execute = connection.execute
    indexes = execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        " AND tbl_name IN ('phones_call', 'phones_recording')"
    ).fetchall()
    for name, _ in indexes:
        execute(f"DROP INDEX {name}")
    lines = execute("SELECT _id, account_id, number FROM phones_line").fetchall()
    execute("PRAGMA synchronous = OFF")
    execute("BEGIN")
    connection.executemany(
        "INSERT INTO phones_call (_id, account_id, line_id, carrier_id, direction, caller, callee, status, started_at,"
        " answered_at, ended_at, duration_s, hangup_cause, currency, version, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', '', 2, ?)",
        calls(count, lines),
    )
    execute(
        "INSERT INTO phones_recording (_id, account_id, call_id, carrier_id, status, duration_s, channels, url,"
        " version, created_at) SELECT _id, account_id, _id, 'RE' || _id, 'completed', 12, 1, '', 0, created_at"
        " FROM phones_call WHERE rowid % 4 = 0"
    )
    execute("COMMIT")
    for _, sql in indexes:
        execute(sql)
    connection.close()


def calls(count: int, lines: list[tuple[str, str, str]]) -> Iterator[tuple[Any, ...]]:
    """The rows of the calls, oldest first, so that ids and times rise together as in production."""
    draw = random.Random(1).random
    since = time.time() - SPAN.total_seconds()
    step = SPAN.total_seconds() / count
    for index in range(count):
        began = since + (index + draw()) * step
        moment = f"{datetime.fromtimestamp(began, UTC):%Y-%m-%d %H:%M:%S}.{1 + index % 999:03d}000"
        line, account, number = lines[int(draw() * len(lines))]
        chance = draw()
        status = "busy" if chance < 0.01 else "no-answer" if chance < 0.2 else "completed"
        answered, duration_s = (moment, 60) if status == "completed" else (None, None)
        id = f"{int(began):08x}{index:016x}"
        other = f"1415{index % 10_000_000:07d}"
        if draw() < 0.1:
            direction, caller, callee = "outbound", number, other
        else:
            direction, caller, callee = "inbound", other, number
        yield (
            id, account, line, f"CA{index:032x}", direction, caller, callee, status, moment, answered, moment,
            duration_s, moment,
        )  # fmt: skip


def requests_to_measure(application: Any, token: str, numbers: dict[str, str]) -> dict[str, str]:
    """Name and path of each request."""
    phone, number = next(iter(numbers.items()))
    middle = datetime.now(UTC) - SPAN / 2
    day = {"after": (middle - timedelta(days=1)).isoformat(), "before": middle.isoformat()}
    back = get(application, f"/api/call/calls?{urlencode({'before': day['before'], 'limit': 1})}", token)[1]
    queries: dict[str, dict[str, str]] = {
        "newest": {},
        "next page, 45 days back": {"cursor": json.loads(back)["data"]["nextCursor"]},
        "status": {"status": "busy"},
        "direction": {"direction": "outbound"},
        "number": {"phoneNumber": number},
        "a day": day,
        "a day, status and direction": day | {"status": "busy", "direction": "outbound"},
    }
    paths = {name: f"/api/call/calls?{urlencode(query)}" for name, query in queries.items()}
    one = json.loads(get(application, paths["a day"], token)[1])["data"]["items"][0]["_id"]
    return paths | {"one number's": f"/api/call/phones/{phone}/calls", "one call": f"/api/call/calls/{one}"}


def plans(application: Any, target: str, token: str) -> dict[str, Any]:
    """The number of calls that a request returns, its number of queries, and the scans in their plans."""
    with sent() as statements:
        _, body = get(application, target, token)
    shown = len(json.loads(body)["data"].get("items", [body]))
    return {
        "calls": shown,
        "queries": len(statements),
        "scans": sorted(scans(statements) | scans(statements, CALLS, even_limited=True)),
    }


def get(application: Any, target: str, token: str) -> tuple[float, bytes]:
    """The CPU seconds of one request, and the body of its response."""
    path, _, query = target.partition("?")
    environ = {
        "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": query,
        "SERVER_PROTOCOL": "HTTP/1.1", "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "8000", "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "127.0.0.1:8000", "HTTP_AUTHORIZATION": f"Bearer {token}",
        "wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.input": BytesIO(), "wsgi.errors": sys.stderr,
        "wsgi.multithread": True, "wsgi.multiprocess": True, "wsgi.run_once": False,
    }  # fmt: skip
    statuses: list[str] = []
    start = time.process_time()
    reply = application(environ, lambda status, headers, *_: statuses.append(status))
    body = b"".join(reply)
    reply.close()
    spent = time.process_time() - start
    if statuses != ["200 OK"]:
        sys.exit(f"{target}: {statuses} {body!r}")
    return spent, body


if __name__ == "__main__":
    main()
