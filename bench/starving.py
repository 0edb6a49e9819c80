"""Whether webhooks are answered while a carrier hangs and more adds wait for it than there are slots.

The carrier accepts connections and never responds. Measures the seconds from a signed webhook to its response, over 4
connections, before the adds arrive and while they wait; and the responses to adds that find no free slot.
"""

import argparse
import base64
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench.report import Line, finish
from bench.webhook import PUBLIC_URL, Carrier, database_url, make_database, post_all, requests_of_call
from sandbox import state as seeds
from sandbox.demo import SERVE, free_address, wait_until_ready

# SLOTS: two workers with 100 slots each.
ADDS, SLOTS = 300, 200
CONNECTIONS, CALLS = 4, 300
READ_TIMEOUT_S = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is missed")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as name,
        socket.create_server(("127.0.0.1", 0), backlog=2 * ADDS) as silent,
    ):
        directory = Path(name)
        os.environ.update(
            DJANGO_SETTINGS_MODULE="workspace.settings",
            SECRET_KEY="bench" * 12,
            CREDENTIAL_KEYS=base64.urlsafe_b64encode(bytes(32)).decode(),
            PUBLIC_URL=PUBLIC_URL,
            DATABASE_URL=database_url(directory / "starving.sqlite3"),
            ENV_FILE=os.devnull,
            DEBUG="off",
            BIND=free_address(),
            TWILIO_API_URL=f"http://127.0.0.1:{silent.getsockname()[1]}",
            CARRIER_READ_TIMEOUT_S=str(READ_TIMEOUT_S),
            CARRIER_SLOTS=str(SLOTS // 2),
            LIMIT_REQUESTS="off",
            LIMIT_ADDS="off",
            LIMIT_REFUSED_CREDENTIALS="off",
            LIMIT_REFUSED_CREDENTIALS_TOTAL="off",
        )
        carriers = make_database()
        lines = measure(directory, carriers)
    finish(lines, check=options.check)


def measure(directory: Path, carriers: list[Carrier]) -> list[Line]:
    address, tenant = os.environ["BIND"], make_token()
    with (directory / "server.log").open("wb") as log:
        server = subprocess.Popen(SERVE, stdout=log, stderr=log)
    try:
        wait_until_ready(server, f"http://{address}", directory / "server.log")
        post_webhooks(address, carriers)  # both workers open their connections
        calm = post_webhooks(address, carriers)
        with ThreadPoolExecutor(ADDS) as pool:
            adds = [pool.submit(add, address, tenant, index) for index in range(ADDS)]
            wait_until_settled(adds)
            turned_away = [one.result() for one in adds if one.done()]
            waiting = ADDS - len(turned_away)
            starved = post_webhooks(address, carriers)
            still_waiting = sum(not one.done() for one in adds)
    finally:
        server.terminate()
        server.wait()
    for what, walls in (("before", calm), (f"while {waiting} adds wait", starved)):
        half, slow = statistics.median(walls) * 1000, slowest(walls) * 1000
        print(f"webhooks {what}: median {half:.0f} ms, p99 {slow:.0f} ms")
    not_told = len(turned_away) - turned_away.count((429, True))
    return [
        Line("adds that waited throughout / slots", waiting / SLOTS, 1),
        Line("adds answered meanwhile", waiting - still_waiting, 0, exact=True),
        Line("adds without a slot and without a 429", not_told, 0, exact=True),
        Line("webhooks while adds wait, p99 in seconds", slowest(starved), 1),
        Line("webhooks while adds wait / before, median", statistics.median(starved) / statistics.median(calm), 2),
    ]


def make_token() -> dict[str, str]:
    from django.db import connections

    from users.models import ApiToken, User, Workspace

    tenant = {"userId": User.objects.get().pk, "token": ApiToken.issue(Workspace.objects.get())[1]}
    connections.close_all()
    return tenant


def add(address: str, tenant: dict[str, str], index: int) -> tuple[int, bool]:
    """Send an add. Returns the status of the response, and whether it has a Retry-After header."""
    body = {
        "userId": tenant["userId"], "phoneNumber": f"1212556{1000 + index}", "integration": "twilio",
        "authToken": seeds.TWILIO_TOKEN, "accSId": seeds.TWILIO_SID,
    }  # fmt: skip
    headers = {"Authorization": f"Bearer {tenant['token']}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection(address, timeout=2 * READ_TIMEOUT_S)
    connection.request("POST", "/api/call/add-phone", json.dumps(body), headers)
    reply = connection.getresponse()
    reply.read()
    connection.close()
    return reply.status, bool(reply.headers["Retry-After"])


def wait_until_settled(adds: list[Any]) -> None:
    """Wait until all immediate responses have arrived: no further one for a second."""
    count, since = 0, time.monotonic()
    while count == 0 or time.monotonic() - since < 1:
        done = sum(one.done() for one in adds)
        if done != count:
            count, since = done, time.monotonic()
        if time.monotonic() - since > READ_TIMEOUT_S:
            sys.exit("no add was turned away")
        time.sleep(0.05)


def post_webhooks(address: str, carriers: list[Carrier]) -> list[float]:
    """The seconds of each of many webhooks. Exits if one is not accepted."""
    calls = [requests_of_call(carriers[index % len(carriers)]) for index in range(CALLS)]
    requests = [request for call in calls for request in call]
    replies = post_all(address, requests, CONNECTIONS)
    if [status for status, _ in replies].count(200) < len(requests):
        sys.exit("not all webhooks were taken")
    return [seconds for _, seconds in replies]


def slowest(walls: list[float]) -> float:
    """The 99th percentile, in seconds."""
    return statistics.quantiles(walls, n=100)[98]


if __name__ == "__main__":
    main()
