"""Log-ins that come all at once, as somebody sends them who wants the machine to do nothing else."""

import json
import re
import selectors
import socket
import statistics
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

import pytest
import requests

from integrations.sandbox import Sandbox
from tests.support.carriers import TWILIO
from tests.support.knocking import send_add, send_webhook
from tests.support.live import Live, serve

pytestmark = pytest.mark.django_db(transaction=True)

AT_ONCE = 150
QUIET_WEBHOOKS = 60
# What nobody who calls a customer may notice, whatever strangers do.
MOST_MEDIAN, MOST_P99_S = 2.0, 1.0  # a fifteenth of the 15 s that carriers wait for an answer


def login_post(live: Live, email: str, password: str) -> bytes:
    """A log-in as a browser sends it."""
    page = requests.get(f"{live.url}/admin/login/", timeout=20)
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
    assert token
    body = urlencode({"csrfmiddlewaretoken": token[1], "username": email, "password": password, "next": "/admin/"})
    return (
        f"POST /admin/login/ HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: csrftoken={page.cookies['csrftoken']}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
    ).encode()


def send_at_once(live: Live, posts: list[bytes]) -> Counter[int]:
    """Send them on a connection each. Returns how often each status came. One thread, so that it takes little time."""
    statuses: Counter[int] = Counter()
    answers: dict[socket.socket, bytes] = {}
    with selectors.DefaultSelector() as open_ones:
        for _ in posts:
            connection = socket.create_connection(("127.0.0.1", live.port), 30)
            open_ones.register(connection, selectors.EVENT_READ)
            answers[connection] = b""
        for connection, post in zip(answers, posts, strict=True):
            connection.sendall(post)
        give_up_at = time.monotonic() + 60
        while open_ones.get_map() and time.monotonic() < give_up_at:
            for key, _ in open_ones.select(1):
                connection = key.fileobj  # type: ignore[assignment]
                part = connection.recv(65536)
                answers[connection] += part
                if not part:
                    open_ones.unregister(connection)
                    connection.close()
                    statuses[int(answers[connection].split(b" ", 2)[1])] += 1
    return statuses


def webhook_times(live: Live, sandbox: Sandbox, name: str, enough: int, until: object = None) -> list[float]:
    """How long webhooks take, one after the other: so many, and on until this is done."""
    times: list[float] = []
    while len(times) < enough or (until and not until.done()):  # type: ignore[attr-defined]
        status, took_s = send_webhook(live, sandbox, f"CA-{name}-{len(times)}")
        assert status == 200
        times.append(took_s)
        time.sleep(0.01)
    return times


def p99(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.99)]


@pytest.mark.parametrize("password", ["wrong", "right"])
def test_log_ins_all_at_once_do_not_keep_webhooks_waiting(sandbox: Sandbox, tmp_path: Path, password: str) -> None:
    with serve(tmp_path, sandbox, workers=2) as live:
        assert send_add(live, TWILIO.number).status_code == 201
        made = json.loads(live.manage("create_staff", "--email", "ann@example.com", "--group", "support"))
        post = login_post(live, "ann@example.com", made["password"] if password == "right" else "guess")
        quiet = webhook_times(live, sandbox, "quiet", QUIET_WEBHOOKS)

        with ThreadPoolExecutor(1) as pool:
            burst = pool.submit(send_at_once, live, [post] * AT_ONCE)
            busy = webhook_times(live, sandbox, "busy", QUIET_WEBHOOKS, until=burst)
        statuses = burst.result()

        told = Counter(action for (action,) in live.database.rows("users_auditentry", "action"))
    assert statuses.total() == AT_ONCE, "each has its reply"
    assert set(statuses) <= {200, 302, 429}
    assert told["login.failed"] <= 5
    assert statistics.median(busy) / statistics.median(quiet) <= MOST_MEDIAN, (quiet, busy)
    assert p99(busy) < MOST_P99_S, (quiet, busy)


def test_whoever_goes_on_is_locked_out_and_costs_little(sandbox: Sandbox, tmp_path: Path) -> None:
    """One address goes on and on with other e-mail addresses: twenty are tried, and all others cost no hash."""
    with serve(tmp_path, sandbox, workers=2) as live:
        assert send_add(live, TWILIO.number).status_code == 201
        posts = [login_post(live, f"user{number}@example.com", "guess") for number in range(30)]
        statuses: Counter[int] = Counter()
        while statuses[200] < 20:
            statuses += send_at_once(live, posts)
        assert send_at_once(live, posts * 5) == {429: 150}
        told = Counter(action for (action,) in live.database.rows("users_auditentry", "action"))
    assert statuses[200] == told["login.failed"] == 20
