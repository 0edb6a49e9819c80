"""Measures the bulk add: the speed-up from its workers, its time at a carrier that admits ten requests, its memory.

The sandbox runs in its own process and answers after 500 ms, as a carrier's API does across an ocean. One worker on a
sample and 32 workers on 2,000 numbers of five accounts run in one process with the SDKs loaded, on one database. Each
account has a number already, so its application exists.
"""

import argparse
import base64
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import requests

from bench.report import Line, finish
from sandbox import state as seeds
from sandbox.sandbox import Sandbox

DELAY_S = 0.5
WORKERS, SAMPLE, NUMBERS = 32, 50, 2000
ADMITTED, CROWD = 10, 600
MIN_LISTED = 12
DJANGO = [sys.executable, "manage.py"]
COLUMNS = "userId,phoneNumber,integration,authToken,accSId"


@dataclass(frozen=True)
class Carrier:
    """An account in the sandbox, and its share of the numbers in percent.

    Plivo needs two rounds of requests for each number and the others one, so its account has half as many.
    """

    name: str
    account: str
    token: str
    account_id: str
    prefix: str
    share: int

    def numbers(self, first: int, count: int) -> list[str]:
        """This account's share of `count` numbers, starting with its number `first`."""
        return [f"{self.prefix}{first + index:06}" for index in range(count * self.share // 100)]

    def rows(self, user_id: str, numbers: list[str]) -> list[str]:
        return [f"{user_id},{number},{self.name},{self.token},{self.account_id}" for number in numbers]


CARRIERS = [
    Carrier("twilio", seeds.TWILIO_SID, seeds.TWILIO_TOKEN, seeds.TWILIO_SID, "12125", 22),
    Carrier("twilio", seeds.TWILIO_OTHER_SID, seeds.TWILIO_OTHER_TOKEN, seeds.TWILIO_OTHER_SID, "12135", 22),
    Carrier("plivo", seeds.PLIVO_ID, seeds.PLIVO_TOKEN, seeds.PLIVO_ID, "14155", 12),
    Carrier("telnyx", seeds.TELNYX_ACCOUNT, seeds.TELNYX_KEY, "", "13125", 22),
    Carrier("telnyx", seeds.TELNYX_OTHER_ACCOUNT, seeds.TELNYX_OTHER_KEY, "", "13135", 22),
]


# -- the carriers -----------------------------------------------------------------------------------------------------


def serve(count: int) -> None:
    """Run the sandbox with this many numbers until stdin ends.

    Prints its URL, and for each line of stdin the counts since the last one. The ledger is cleared each time, as it
    would grow with every page of a list.
    """
    with Sandbox() as sandbox:
        for carrier in CARRIERS:
            for number in carrier.numbers(0, count):
                sandbox.add_number(carrier.name, carrier.account, number)
        print(sandbox.url, flush=True)
        for _ in sys.stdin:
            print(json.dumps(told_of(sandbox)), flush=True)


def told_of(sandbox: Sandbox) -> dict[str, int]:
    """The number of requests, and of 429s among them, since the last call."""
    asked = sandbox.ledger
    sandbox.clear_ledger()
    return {"requests": len(asked), "refused": sum(one.status == 429 for one in asked)}


class Asked(Protocol):
    def asked(self) -> dict[str, int]: ...


class Carriers:
    """The sandbox in its own process. A context manager."""

    def __init__(self, count: int) -> None:
        command = [sys.executable, "-m", "bench.bulk", "--serve", str(count)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = self.read()

    def __enter__(self) -> "Carriers":
        return self

    def __exit__(self, *exc: object) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()

    def read(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def asked(self) -> dict[str, int]:
        """The number of requests, and of 429s among them, since the last call."""
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.read())

    def set(self, **settings: Any) -> None:
        requests.post(f"{self.url}/_sandbox/settings", json=settings, timeout=10)


# -- our side ---------------------------------------------------------------------------------------------------------


def environment(directory: Path, url: str) -> dict[str, str]:
    return {
        **os.environ,
        "SECRET_KEY": "bench" * 12,
        "CREDENTIAL_KEYS": base64.urlsafe_b64encode(bytes(32)).decode(),
        "PUBLIC_URL": "https://phones.example.com",
        "DATABASE_URL": f"sqlite:///{quote(str(directory / 'bench.sqlite3'))}",
        "ENV_FILE": os.devnull,
        "DJANGO_SETTINGS_MODULE": "workspace.settings",
        "TWILIO_API_URL": f"{url}/twilio",
        "PLIVO_API_URL": f"{url}/plivo",
        "TELNYX_API_URL": f"{url}/telnyx/v2",
    }


def make_user(settings: dict[str, str]) -> str:
    """Make a database with one user. Returns the user's id."""
    subprocess.run([*DJANGO, "migrate", "--verbosity", "0"], env=settings, check=True)
    command = [*DJANGO, "create_workspace", "Bench", "--email", "bench@example.com"]
    made = subprocess.run(command, env=settings, check=True, capture_output=True)
    return json.loads(made.stdout)["userId"]


def csv_file(rows: list[str]) -> bytes:
    return "\n".join([COLUMNS, *rows, ""]).encode()


def mixed(user_id: str, first: int, count: int, carriers: list[Carrier] = CARRIERS) -> list[str]:
    """Rows of all accounts, evenly mixed."""
    lists = [carrier.rows(user_id, carrier.numbers(first, count)) for carrier in carriers]
    return [row for _, row in sorted((place / len(rows), row) for rows in lists for place, row in enumerate(rows))]


def run(carriers: Asked, rows: list[str], workers: int, per_account: int = 8, lists: bool = True) -> dict[str, float]:
    """Add these numbers in this process, reading the accounts' lists or not. Exits if a number is not added.

    Returns the rows, wall and CPU seconds, requests and 429s.
    """
    from phones.bulk import account_queues
    from phones.bulk.files import read_rows
    from phones.bulk.run import add_rows

    carriers.asked()
    account_queues.MIN_LISTED = MIN_LISTED if lists else len(rows) + 1
    cpu, start = time.process_time(), time.perf_counter()
    outcomes = list(add_rows(read_rows(BytesIO(csv_file(rows))), workers=workers, per_account=per_account))
    wall_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu
    bad = [outcome for outcome in outcomes if outcome.outcome != "added"]
    if bad or len(outcomes) != len(rows):
        sys.exit(f"{len(bad)} of {len(rows)} were not added: {bad[:3]}")
    measured = {"rows": len(rows), "wall_s": wall_s, "cpu_s": cpu_s, **carriers.asked()}
    print(", ".join(f"{name} {value:.4g}" for name, value in measured.items()), flush=True)
    return measured


def peak_kib(settings: dict[str, str], file: Path, rows: list[str]) -> int:
    """The peak memory in KiB of the command on a file with these rows."""
    file.write_bytes(csv_file(rows))
    with (file.parent / "out").open("wb") as out:
        command = subprocess.Popen([*DJANGO, "add_phones", str(file)], env=settings, stdout=out, stderr=out)
        _, status, used = os.wait4(command.pid, 0)
    if status:
        sys.exit(f"add_phones: {(file.parent / 'out').read_text()[-2000:]}")
    return used.ru_maxrss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is missed")
    parser.add_argument("--only", choices=["speed", "memory"], help="measure only this")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        serve(options.serve)
        return
    lines = [] if options.only == "memory" else speed()
    lines += [] if options.only == "speed" else memory()
    finish(lines, check=options.check)


def speed() -> list[Line]:
    with tempfile.TemporaryDirectory() as name, Carriers(10_000) as carriers:
        settings = environment(Path(name), carriers.url)
        user_id = make_user(settings)
        os.environ.update(settings)
        import django

        django.setup()
        from integrations import PROVIDERS, load

        load(PROVIDERS)  # as the command does
        run(carriers, mixed(user_id, 0, 10), 5)  # makes the applications
        carriers.set(delay_s=DELAY_S)
        # With one worker, listed numbers go stale before they are used. To compare like with like, neither run reads
        # lists, and no account's limit holds workers up.
        print("one worker, then all of them, then all of them with the accounts' lists:")
        one = run(carriers, mixed(user_id, 10, SAMPLE), 1, WORKERS, lists=False)
        many = run(carriers, mixed(user_id, 100, NUMBERS), WORKERS, WORKERS, lists=False)
        listed = run(carriers, mixed(user_id, 600, NUMBERS // 2), WORKERS)
        print("a carrier that admits ten requests at a time, with a limit of 8 for the account, then of 32:")
        carriers.set(concurrency_limit=ADMITTED)
        twilio = CARRIERS[0]
        crowds = [
            run(carriers, twilio.rows(user_id, [f"{twilio.prefix}{first + index:06}" for index in range(CROWD)]),
                WORKERS, per_account)
            for first, per_account in ((1000, 8), (1000 + CROWD, WORKERS))
        ]  # fmt: skip

    def rate(of: dict[str, float]) -> float:
        return of["requests"] / of["rows"]

    speed_up = (one["wall_s"] / one["rows"]) / (many["wall_s"] / many["rows"])
    print(f"speed-up at {WORKERS} workers: {speed_up:.1f}")
    # Ideal: one request for each number, the write.
    calm, eager = (crowd["wall_s"] / (CROWD * DELAY_S / ADMITTED) for crowd in crowds)
    return [
        Line(f"{WORKERS} workers / their speed-up", WORKERS / speed_up, 1 / 0.9),
        Line("with lists: requests for a number / without", rate(listed) / rate(many), 0.6),
        Line("ten admitted, 8 at a time: wall / ideal", calm, 1.5),
        Line("ten admitted, 8 at a time: 429s", crowds[0]["refused"], 0),
        Line("ten admitted, 32 at a time at first: wall / ideal", eager, 1.5),
        Line("ten admitted, 32 at a time at first: 429s / workers", crowds[1]["refused"] / WORKERS, 1.5),
    ]


def memory() -> list[Line]:
    with tempfile.TemporaryDirectory() as name, Carriers(12_000) as carriers:
        directory = Path(name)
        settings = environment(directory, carriers.url)
        user_id = make_user(settings)
        few = peak_kib(settings, directory / "few.csv", mixed(user_id, 0, 1000))
        many = peak_kib(settings, directory / "many.csv", mixed(user_id, 240, 10_000))
    print(f"peak memory: {few / 1024:.0f} MiB at 1,000 rows, {many / 1024:.0f} MiB at 10,000")
    return [Line("peak memory, 10,000 rows / 1,000 rows", many / few, 1.1)]


if __name__ == "__main__":
    main()
