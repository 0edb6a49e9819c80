"""Log-ins that come all at once, as somebody sends them who wants the machine to do nothing else."""

import json
import re
import selectors
import socket
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

import pytest
import requests

from integrations.sandbox import Sandbox
from tests.support.carriers import TWILIO
from tests.support.knocking import PATIENCE_S, send_add, send_webhook
from tests.support.live import Live, serve
from tests.support.strangers import Walls

pytestmark = pytest.mark.django_db(transaction=True)

AT_ONCE = 150
LEAST_WEBHOOKS = 60


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


def webhooks(live: Live, sandbox: Sandbox, enough: int, until: Future[Counter[int]]) -> Walls:
    """How long webhooks take, one after the other: so many, and on until this is done."""
    walls = Walls()
    while len(walls) < enough or not until.done():
        status, took_s = send_webhook(live, sandbox, f"CA-{len(walls)}")
        assert status == 200
        walls.append(took_s)
        time.sleep(0.01)
    return walls


@pytest.mark.parametrize("password", ["wrong", "right"])
def test_log_ins_all_at_once_do_not_keep_webhooks_waiting(sandbox: Sandbox, tmp_path: Path, password: str) -> None:
    with serve(tmp_path, sandbox, workers=2) as live:
        assert send_add(live, TWILIO.number).status_code == 201
        made = json.loads(live.manage("create_staff", "--email", "ann@example.com", "--group", "support"))
        post = login_post(live, "ann@example.com", made["password"] if password == "right" else "guess")
        with ThreadPoolExecutor(1) as pool:
            burst = pool.submit(send_at_once, live, [post] * AT_ONCE)
            walls = webhooks(live, sandbox, LEAST_WEBHOOKS, until=burst)
        statuses = burst.result()

        told = Counter(action for (action,) in live.database.rows("users_auditentry", "action"))
    assert statuses.total() == AT_ONCE, "each has its reply"
    assert set(statuses) <= {200, 302, 429}
    assert told["login.failed"] <= 5
    assert walls.p99 / PATIENCE_S < 1 / 3


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
