"""Attacks on the server that anyone can make without an account. Each lasts as long as its `with` block."""

import contextlib
import re
import selectors
import socket
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import requests

Address = tuple[str, int]
Attack = Callable[[Address], contextlib.AbstractContextManager[None]]

# The largest public file.
LARGE_FILE = "/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js"
CLOSING = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@contextlib.contextmanager
def repeating(act: Callable[[], object], pause_s: float) -> Iterator[None]:
    """Call `act` repeatedly in a thread, with a pause after each call, until the block ends."""
    over = threading.Event()

    def repeat() -> None:
        while True:
            act()
            if over.wait(pause_s):
                return

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextlib.contextmanager
def lingering(address: Address, per_second: float) -> Iterator[None]:
    """Open this many connections per second that ask the server to close them but stay open at our end."""
    with contextlib.ExitStack() as stack:

        def linger() -> None:
            with contextlib.suppress(OSError):
                connection = stack.enter_context(socket.create_connection(address, 5))
                connection.sendall(CLOSING)

        with repeating(linger, 1 / per_second):
            yield


@contextlib.contextmanager
def holding(
    address: Address, number: int, data: bytes, *, receive_buffer: int = 0, apart_s: float = 0
) -> Iterator[None]:
    """Open this many connections that send `data`, at once or `apart_s` apart, then neither send, read nor close."""
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(socket.socket()) for _ in range(number)]
        for connection in connections:
            if receive_buffer:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            connection.settimeout(5)
            connection.connect(address)
        for connection in connections:
            connection.sendall(data)
            time.sleep(apart_s)
        yield


def half_heads(address: Address, number: int) -> contextlib.AbstractContextManager[None]:
    return holding(address, number, b"GET /he")


def half_bodies(address: Address, number: int) -> contextlib.AbstractContextManager[None]:
    """Each announces more than it sends, of a form that the server reads before it authenticates the sender."""
    head = b"POST /admin/login/ HTTP/1.1\r\nHost: localhost\r\nCookie: csrftoken=" + b"x" * 32
    kind = b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 9000"
    return holding(address, number, head + b"\r\n" + kind + b"\r\n\r\na=")


def deaf(address: Address, number: int) -> contextlib.AbstractContextManager[None]:
    """Each requests a large file and reads none of it. Staggered, so as not to measure file reading instead."""
    head = f"GET {LARGE_FILE} HTTP/1.1\r\nHost: localhost\r\n\r\n"
    return holding(address, number, head.encode(), receive_buffer=4096, apart_s=0.03)


def login_post(address: Address, email: str, password: str) -> bytes:
    """The bytes of a desk sign-in request, as a browser sends it."""
    page = requests.get(f"http://{address[0]}:{address[1]}/admin/login/", timeout=20)
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
    assert token
    body = urlencode({"csrfmiddlewaretoken": token[1], "username": email, "password": password, "next": "/admin/"})
    return (
        f"POST /admin/login/ HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: csrftoken={page.cookies['csrftoken']}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
    ).encode()


def send_at_once(address: Address, posts: list[bytes]) -> Counter[int]:
    """Send each post on its own connection and count the reply statuses. Uses a single thread to save CPU time."""
    statuses: Counter[int] = Counter()
    answers: dict[socket.socket, bytes] = {}
    with selectors.DefaultSelector() as open_ones:
        for _ in posts:
            connection = socket.create_connection(address, 30)
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


def log_ins(address: Address, number: int, pause_s: float) -> contextlib.AbstractContextManager[None]:
    """Repeatedly send this many sign-ins with a wrong password at once."""
    posts = [login_post(address, "ann@example.com", "guess")] * number
    return repeating(lambda: send_at_once(address, posts), pause_s)


ATTACKS: dict[str, Attack] = {
    "4 lingering connections a second": lambda address: lingering(address, 4),
    "20 lingering connections a second": lambda address: lingering(address, 20),
    "120 half heads at once": lambda address: half_heads(address, 120),
    "400 half bodies at once": lambda address: half_bodies(address, 400),
    "150 that take no reply": lambda address: deaf(address, 150),
    "150 log-ins at once, every 2 s": lambda address: log_ins(address, 150, 2),
}


class Walls(list[float]):
    """The wall-clock seconds of each of many requests."""

    @property
    def median(self) -> float:
        return statistics.median(self)

    @property
    def p99(self) -> float:
        return statistics.quantiles(self, n=100, method="inclusive")[98]


def steadily(send: Callable[[int], float], *, per_second: float, seconds: float) -> Walls:
    """Call `send`, which returns seconds, at a steady rate without waiting for earlier ones, as calls come in."""
    with ThreadPoolExecutor(200) as pool:
        sent = []
        first = time.monotonic()
        for index in range(int(per_second * seconds)):
            time.sleep(max(0.0, first + index / per_second - time.monotonic()))
            sent.append(pool.submit(send, index))
        return Walls(request.result() for request in sent)
