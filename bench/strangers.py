"""Whether webhooks are answered while clients without an account attack the server.

Ten webhooks per second, each over its own connection as carriers send them: first undisturbed, then during each attack
of sandbox/strangers.py, at the server itself and behind each installed proxy of deploy/. Then events per second over 32
connections, and the memory of all server processes.
"""

import argparse
import base64
import http.client
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.report import Line, finish
from bench.webhook import PUBLIC_URL, Carrier, Request, database_url, make_database, post_all, requests_of_call
from sandbox.demo import BASE_DIR, SERVE, free_address, wait_until_ready
from sandbox.proxies import PROXIES, behind, found
from sandbox.strangers import ATTACKS, Walls, steadily

PER_SECOND, SECONDS = 10, 8
CONNECTIONS, CALLS = 32, 500
# A carrier waits 15 s for a response; meanwhile the caller hears silence.
GOAL_S = 1


@dataclass
class Kind:
    """A server to measure: its command, and the proxy in front of it, if any."""

    name: str
    command: list[str] = field(default_factory=lambda: SERVE)
    directory: Path = BASE_DIR
    proxy: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is missed")
    parser.add_argument(
        "--also", nargs=4, action="append", default=[], metavar=("NAME", "DIRECTORY", "COMMAND", "PROXY"),
        help="another server with the same environment, behind a proxy or none (an empty word); it has no goals",
    )  # fmt: skip
    options = parser.parse_args()
    kinds = [Kind("serve"), *(Kind(f"serve, {name}", proxy=name) for name in PROXIES if found(name))]
    others = [Kind(name, shlex.split(command), Path(at), proxy) for name, at, command, proxy in options.also]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        os.environ.update(
            DJANGO_SETTINGS_MODULE="workspace.settings",
            SECRET_KEY="bench" * 12,
            CREDENTIAL_KEYS=base64.urlsafe_b64encode(bytes(32)).decode(),
            PUBLIC_URL=PUBLIC_URL,
            ALLOWED_HOSTS="localhost,127.0.0.1,phones.example.com",
            DATABASE_URL=database_url(directory / "strangers.sqlite3"),
            ENV_FILE=os.devnull,
            DEBUG="off",
            TRUSTED_PROXY_COUNT="1",
            LIMIT_EVENTS="off",
            # So that partial requests time out while webhooks arrive.
            REQUEST_READ_TIMEOUT_S="3",
        )
        carriers = make_database()
        lines = [line for kind in kinds for line in measure(kind, carriers, directory)]
        for kind in others:
            measure(kind, carriers, directory)
    finish(lines, check=options.check)


def measure(kind: Kind, carriers: list[Carrier], directory: Path) -> list[Line]:
    calls = [requests_of_call(carriers[index % len(carriers)]) for index in range(CALLS)]
    with ExitStack() as stack:
        address, server = stack.enter_context(running(kind, directory))
        if kind.proxy:
            port = stack.enter_context(behind(kind.proxy, int(address.rpartition(":")[2]), directory))
            address = f"127.0.0.1:{port}"
        place = ("127.0.0.1", int(address.rpartition(":")[2]))
        webhooks(address, carriers)  # all processes open their connections
        before = set(children(server.pid))
        quiet, none_lost = webhooks(address, carriers)
        print(f"\n{kind.name}")
        show("quiet", quiet, none_lost)
        lines = []
        for attack, start in ATTACKS.items():
            with start(place):
                walls, lost = webhooks(address, carriers)
            show(attack, walls, lost)
            lines += [
                Line(f"{kind.name}: {attack}, median / quiet", walls.median / quiet.median, 2),
                Line(f"{kind.name}: {attack}, p99 in seconds", walls.p99, GOAL_S),
                Line(f"{kind.name}: {attack}, not answered", lost, 0, exact=True),
            ]
            time.sleep(3)
        died = len(before - set(children(server.pid)))
        start_s = time.perf_counter()
        replies = post_all(address, [request for call in calls for request in call], CONNECTIONS)
        rate = len(replies) / (time.perf_counter() - start_s)
        print(f"  workers that died {died}; {rate:.0f} events per second; memory {memory_mb(server.pid):.0f} MB")
        return [*lines, Line(f"{kind.name}: workers that died", died, 0, exact=True)]


@contextmanager
def running(kind: Kind, directory: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    address = free_address()
    log = directory / "server.log"
    with log.open("wb") as out:
        env = os.environ | {"BIND": address}
        server = subprocess.Popen(kind.command, cwd=kind.directory, env=env, stdout=out, stderr=out)
    try:
        wait_until_ready(server, f"http://{address}", log)
        yield address, server
    finally:
        server.terminate()
        server.wait()


def webhooks(address: str, carriers: list[Carrier]) -> tuple[Walls, int]:
    """The seconds of each webhook, sent at the rate of incoming calls; and how many got no 200."""
    number = PER_SECOND * SECONDS
    waiting = [requests_of_call(carriers[index % len(carriers)])[0] for index in range(number)]
    statuses: list[int] = []

    def send(index: int) -> float:
        began = time.perf_counter()
        statuses.append(post(address, waiting[index]))
        return time.perf_counter() - began

    walls = steadily(send, per_second=PER_SECOND, seconds=SECONDS)
    return walls, number - statuses.count(200)


def post(address: str, request: Request) -> int:
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        connection.request("POST", request.path, request.body, request.headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def show(what: str, walls: Walls, lost: int) -> None:
    print(f"  {what:<34} median {walls.median:.3f} s   p99 {walls.p99:.2f} s   worst {max(walls):.2f} s   lost {lost}")
    sys.stdout.flush()


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in tasks for child in file.read_text().split()]


def memory_mb(pid: int) -> float:
    """The memory of a process and its children, in MB; shared memory counts once (PSS)."""
    rollups = [Path(f"/proc/{one}/smaps_rollup").read_text() for one in (pid, *children(pid))]
    return sum(int(line.split()[1]) for text in rollups for line in text.splitlines() if line.startswith("Pss:")) / 1024


if __name__ == "__main__":
    main()
