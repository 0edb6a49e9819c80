"""What anybody who reaches the server may do to it without an account, each as long as its block lasts."""

import contextlib
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

Address = tuple[str, int]
Attack = Callable[[Address], contextlib.AbstractContextManager[None]]

# The largest file that is there for everybody.
LARGE_FILE = "/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js"
CLOSING = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@contextlib.contextmanager
def lingering(address: Address, per_second: float) -> Iterator[None]:
    """So many connections a second that the server shall close, and that stay open at the other end."""
    over = threading.Event()
    with contextlib.ExitStack() as stack:

        def linger() -> None:
            while not over.wait(1 / per_second):
                with contextlib.suppress(OSError):
                    connection = stack.enter_context(socket.create_connection(address, 5))
                    connection.sendall(CLOSING)

        thread = threading.Thread(target=linger)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@contextlib.contextmanager
def holding(
    address: Address, number: int, data: bytes, *, receive_buffer: int = 0, apart_s: float = 0
) -> Iterator[None]:
    """So many connections that send this, together or a time apart, and then neither send nor read nor close."""
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
    """Each promises more than it sends, of a form that is read before anything is known of who sends it."""
    head = b"POST /admin/login/ HTTP/1.1\r\nHost: localhost\r\nCookie: csrftoken=" + b"x" * 32
    kind = b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 9000"
    return holding(address, number, head + b"\r\n" + kind + b"\r\n\r\na=")


def deaf(address: Address, number: int) -> contextlib.AbstractContextManager[None]:
    """Each asks for a large file and takes nothing of it. Not together: that would be about how fast files are read."""
    head = f"GET {LARGE_FILE} HTTP/1.1\r\nHost: localhost\r\n\r\n"
    return holding(address, number, head.encode(), receive_buffer=4096, apart_s=0.03)


ATTACKS: dict[str, Attack] = {
    "4 lingering connections a second": lambda address: lingering(address, 4),
    "20 lingering connections a second": lambda address: lingering(address, 20),
    "120 half heads at once": lambda address: half_heads(address, 120),
    "400 half bodies at once": lambda address: half_bodies(address, 400),
    "150 that take no reply": lambda address: deaf(address, 150),
}


class Walls(list[float]):
    """Seconds that each of many requests took."""

    @property
    def median(self) -> float:
        return statistics.median(self)

    @property
    def p99(self) -> float:
        return statistics.quantiles(self, n=100, method="inclusive")[98]


def steadily(send: Callable[[int], float], *, per_second: float, seconds: float) -> Walls:
    """Call `send`, which says how long it took, at this pace, whether or not those before have ended: as calls come in."""
    with ThreadPoolExecutor(200) as pool:
        sent = []
        first = time.monotonic()
        for index in range(int(per_second * seconds)):
            time.sleep(max(0.0, first + index / per_second - time.monotonic()))
            sent.append(pool.submit(send, index))
        return Walls(one.result() for one in sent)
