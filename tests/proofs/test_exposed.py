"""What anybody may try with a server that is reached from outside: the real one, over HTTP."""

import contextlib
import socket
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox.sandbox import Sandbox
from tests.support.carriers import TWILIO
from tests.support.knocking import send_add, send_webhook
from tests.support.live import Live, serve
from tests.support.state import asked_of_carrier, changes

pytestmark = pytest.mark.django_db(transaction=True)

NUMBERS = [f"1212556{last}" for last in range(7000, 7050)]
# Threads that a server has beside its carrier slots, as in workspace/asgi.py.
OTHER_THREADS = 32


def wait_until(is_so: Callable[[], bool], within_s: float = 30) -> None:
    give_up_at = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < give_up_at, "it did not come to that"
        time.sleep(0.05)


# -- carriers that do not answer --------------------------------------------------------------------------------------


def test_adds_that_wait_for_a_carrier_leave_threads_for_webhooks(sandbox: Sandbox, tmp_path: Path) -> None:
    slots, adds = 4, 4 + OTHER_THREADS + 4
    for number in NUMBERS:
        sandbox.add_number("twilio", TWILIO.acc_sid, number)
    variables: dict[str, Any] = {
        "CARRIER_SLOTS": str(slots),
        "CARRIER_READ_TIMEOUT_S": "30",
        "LIMIT_REFUSED_CREDENTIALS": "off",
    }
    with serve(tmp_path, sandbox, **variables) as live:
        assert send_add(live, TWILIO.number).status_code == 201
        before = sandbox.snapshot()
        sandbox.fault("hang", times=None, seconds=8)
        with ThreadPoolExecutor(adds) as pool:
            replies = {number: pool.submit(send_add, live, number, key=number) for number in NUMBERS[:adds]}
            wait_until(lambda: sum(one.done() for one in replies.values()) == adds - slots)
            refused = {number: one.result() for number, one in replies.items() if one.done()}
            webhooks = [send_webhook(live, sandbox, f"CA{number}") for number in range(20)]
            assert sum(not one.done() for one in replies.values()) == slots, "they still hang"
            sandbox.clear_faults()
        assert [status for status, _ in webhooks] == [200] * 20, "answered while the adds hang"
        for reply in refused.values():
            assert (reply.status_code, reply.json()["data"]["error"]) == (429, "throttled")
            assert int(reply.headers["Retry-After"]) > 0
        numbers = {number for (number,) in live.database.rows("phones_phonenumber", "number")}
        assert not numbers & refused.keys()
        changed = str(changes(before, sandbox.snapshot()))
        assert not [number for number in refused if number in changed]
        again = next(iter(refused))
        assert send_add(live, again, key=again).status_code == 201


def test_a_hundred_adds_at_once_are_all_taken_whichever_process_gets_them(sandbox: Sandbox, tmp_path: Path) -> None:
    numbers = [f"1212557{last}" for last in range(7000, 7100)]
    for number in numbers:
        sandbox.add_number("twilio", TWILIO.acc_sid, number)
    with serve(tmp_path, sandbox, workers=2) as live:
        assert send_add(live, TWILIO.number).status_code == 201
        sandbox.delay_s = 0.2
        with ThreadPoolExecutor(100) as pool:
            replies = list(pool.map(lambda number: send_add(live, number), numbers))
        assert Counter(reply.status_code for reply in replies) == {201: 100}


# -- clients that are slow --------------------------------------------------------------------------------------------


# How long a slow client goes on if nobody cuts it off.
GIVES_UP_AFTER_S = 30
HEAD = b"POST /api/call/add-phone HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


def trickle(live: Live, start: bytes) -> float:
    """Send this at once and then a byte now and then. Returns how many seconds the server put up with it."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", live.port), 10) as connection, contextlib.suppress(OSError):
        connection.sendall(start)
        connection.settimeout(0.25)
        while time.monotonic() - began < GIVES_UP_AFTER_S:
            with contextlib.suppress(TimeoutError):
                if not connection.recv(4096):
                    break
            connection.sendall(b"x")
    return time.monotonic() - began


def test_clients_that_send_a_byte_now_and_then_are_cut_off(sandbox: Sandbox, tmp_path: Path) -> None:
    """Eighty of them: those with a body alone would fill all threads."""
    slow = [
        b"P",
        HEAD + b"X-Slow: ",
        HEAD + b"Authorization: Bearer TOKEN\r\nContent-Length: 9000\r\n\r\n{",
        HEAD + b"Content-Length: 9000\r\n\r\n{",
    ]
    variables: dict[str, Any] = {"REQUEST_READ_TIMEOUT_S": "1", "CARRIER_SLOTS": "1"}
    with serve(tmp_path, sandbox, **variables) as live, ThreadPoolExecutor(80) as pool:
        assert send_add(live, TWILIO.number).status_code == 201
        starts = [one.replace(b"TOKEN", live.token.encode()) for one in slow] * 20
        trickling = [pool.submit(trickle, live, start) for start in starts]
        time.sleep(0.5)
        status, took_s = send_webhook(live, sandbox, "CA1")
        assert status == 200
        assert took_s / GIVES_UP_AFTER_S < 1 / 10, "none of them has a thread"
        assert max(one.result() for one in trickling) / GIVES_UP_AFTER_S < 1 / 2
        assert "Traceback" not in (tmp_path / "server.log").read_text(), "it is the client's news"


def test_a_body_that_comes_too_slowly_is_refused(sandbox: Sandbox, tmp_path: Path) -> None:
    with serve(tmp_path, sandbox, REQUEST_READ_TIMEOUT_S="1") as live:
        assert send_add(live, TWILIO.number).status_code == 201
        ((token,),) = live.database.rows("phones_account", "webhook_token")
        webhook = f"POST /api/webhooks/twilio/{token}/answer HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode()
        bearer = f"Authorization: Bearer {live.token}\r\n".encode()
        for head, status in [(HEAD + bearer, b"400"), (webhook, b"403")]:
            with socket.create_connection(("127.0.0.1", live.port), 10) as connection:
                connection.sendall(head + b"Content-Length: 900\r\n\r\n{")
                assert connection.recv(65536).startswith(b"HTTP/1.1 " + status)
        assert "Traceback" not in (tmp_path / "server.log").read_text()


def test_clients_that_send_nothing_have_no_thread(sandbox: Sandbox, tmp_path: Path) -> None:
    with serve(tmp_path, sandbox, CARRIER_SLOTS="1") as live, contextlib.ExitStack() as stack:
        assert send_add(live, TWILIO.number).status_code == 201
        for _ in range(40):
            stack.enter_context(socket.create_connection(("127.0.0.1", live.port), 10))
        time.sleep(0.2)
        assert send_webhook(live, sandbox, "CA1")[0] == 200, "answered while forty are silent"


def test_who_sends_at_an_honest_pace_is_not_cut_off(sandbox: Sandbox, tmp_path: Path) -> None:
    """A large body that takes longer than the time for a small one, and a connection that is idle between requests."""
    with serve(tmp_path, sandbox, REQUEST_READ_TIMEOUT_S="1") as live:
        part, parts = b"x" * 8192, 20
        head = (
            "POST /admin/login/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            f"Cookie: csrftoken={'x' * 32}\r\nContent-Length: {len(part) * parts}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", live.port), 10) as connection:
            connection.sendall(head.encode())
            for _ in range(parts):
                connection.sendall(part)
                time.sleep(0.15)
            assert connection.recv(65536).startswith(b"HTTP/1.1 403"), (
                "read to its end for a CSRF token, which it has not"
            )
        with socket.create_connection(("127.0.0.1", live.port), 10) as connection:
            for pause_s in (0.3, 0.0):
                for piece in (b"GET /healthz HTTP/1.1\r\nHo", b"st: 127.0.0.1\r\n\r\n"):
                    connection.sendall(piece)
                    time.sleep(0.3)
                assert connection.recv(65536).startswith(b"HTTP/1.1 200")
                time.sleep(pause_s)


# -- who guesses ------------------------------------------------------------------------------------------------------


@pytest.fixture
def not_at_the_turn_of_the_hour() -> None:
    while 3600 - time.time() % 3600 < 60:
        time.sleep(1)


@pytest.mark.engine
@pytest.mark.parametrize("store", ["database", "redis"])
@pytest.mark.usefixtures("not_at_the_turn_of_the_hour")
def test_fifty_guess_at_once_and_the_carrier_is_asked_as_often_as_allowed(
    sandbox: Sandbox, tmp_path: Path, request: pytest.FixtureRequest, store: str
) -> None:
    """One workspace guesses at many accounts; two processes count together."""
    variables: dict[str, Any] = {"LIMIT_REFUSED_CREDENTIALS": "20/hour", "PUBLIC_URL": "https://phones.example.com"}
    if store == "redis":
        variables["REDIS_URL"] = request.getfixturevalue("redis_url")
    with serve(tmp_path, sandbox, workers=2, **variables) as live:

        def guess(number: int) -> int:
            fields = {"userId": live.user, "accSId": f"AC{number:032x}", "authToken": f"guess-{number}"}
            return send_add(live, NUMBERS[number], token=live.token, **fields).status_code

        with ThreadPoolExecutor(50) as pool:
            statuses = list(pool.map(guess, range(50)))
        assert Counter(statuses) == {400: 20, 429: 30}
        assert asked_of_carrier(sandbox) == 20
        assert {guess(number) for number in range(5)} == {429}
        assert asked_of_carrier(sandbox) == 20


# -- what replies say -------------------------------------------------------------------------------------------------


def test_every_reply_tells_browsers_to_be_careful(sandbox: Sandbox, tmp_path: Path) -> None:
    with serve(tmp_path, sandbox, TRUSTED_PROXY_COUNT="1") as live:
        for method, path, status in [
            ("GET", "/admin/login/", 200), ("GET", "/admin/", 302), ("GET", "/nothing", 404), ("GET", "/healthz", 200),
            ("GET", "/api/docs", 200), ("GET", "/api/call/phones", 401), ("GET", "/api/nothing", 404),
            ("POST", "/api/webhooks/twilio/x/answer", 403), ("GET", "/static/workspace/admin.css", 200),
        ]:  # fmt: skip
            headers = {"X-Forwarded-Proto": "https"}
            reply = requests.request(method, live.url + path, headers=headers, allow_redirects=False, timeout=10)
            assert reply.status_code == status, path
            assert reply.headers["Strict-Transport-Security"] == "max-age=31536000", path
            assert reply.headers["X-Content-Type-Options"] == "nosniff", path
            assert reply.headers["Referrer-Policy"] == "same-origin", path
            assert reply.headers["Cross-Origin-Opener-Policy"] == "same-origin", path
            if path == "/admin/login/":
                assert reply.headers["X-Frame-Options"] == "DENY"
                assert all(word in reply.headers["Set-Cookie"] for word in ("csrftoken=", "; Secure", "; HttpOnly"))
        silent = requests.get(f"{live.url}/healthz", headers={"Host": "phones.example.com:443"}, timeout=10)
        assert silent.headers["Strict-Transport-Security"] == "max-age=31536000", (
            "at PUBLIC_URL, whatever the proxy says"
        )
        bad_host = requests.get(
            f"{live.url}/api/call/phones", headers={"Host": "evil.example", "X-Forwarded-Proto": "https"}, timeout=10
        )
        assert (bad_host.status_code, bad_host.headers["X-Content-Type-Options"]) == (400, "nosniff")
