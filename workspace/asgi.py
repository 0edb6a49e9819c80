"""The ASGI application that the server calls: it runs Django's WSGI application in a thread of a pool.

A client may send its request and receive the response slowly. It occupies a thread only in between, once the whole
request has arrived, so slow clients do not delay others.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, closing, suppress
from errno import ECONNRESET
from io import BytesIO
from typing import Any, NoReturn
from urllib.parse import unquote_to_bytes

from django.conf import settings
from django.http import StreamingHttpResponse

from core.waiting import give_back_connection
from workspace.access_log import ARRIVED_AT, log_request
from workspace.middleware import is_api, max_body_bytes
from workspace.refusals import note_refused
from workspace.wsgi import Request
from workspace.wsgi import application as django

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# For requests that call no carrier: webhooks, lists, pages.
OTHER_THREADS = 32
# Received bytes extend the time limit: a large file over a slow connection is fine, a byte a second is not.
LEAST_BYTES_PER_S = 4096
# Larger bodies are import files. At most this many are in memory at a time; others wait.
SMALL_BODY_BYTES, LARGE_BODIES = 64 * 1024, 8
# The size of a part of a streamed response, and how long a client may take to receive one.
PART_BYTES, REPLY_TIMEOUT_S = 64 * 1024, 30

threads = ThreadPoolExecutor(settings.CARRIER_SLOTS + OTHER_THREADS, "request")
large_bodies = asyncio.Semaphore(LARGE_BODIES)


class MissingBody(BytesIO):
    """The body of a request that did not arrive completely. Reading it fails as if the client had disconnected."""

    def read(self, *args: object) -> NoReturn:
        raise ConnectionResetError(ECONNRESET, "the request body did not arrive")

    readline = read


async def application(scope: Message, receive: Receive, send: Send) -> None:
    environ = environ_of(scope)
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as held:
        await read_body(environ, receive, held)
        path, length = environ["PATH_INFO"], int(environ["CONTENT_LENGTH"])
        if isinstance(environ["wsgi.input"], MissingBody) and not is_api(path):
            # The API explains the error. Rendering a page for each of hundreds of partial requests would delay others.
            status = 413 if length > max_body_bytes(path) else 408
            request = Request(environ)
            kind = "body_too_large" if status == 413 else "body_incomplete"
            note_refused(kind, request, detail=f"{length} bytes")
            log_request(request, status)
            await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return
        start, reply = await loop.run_in_executor(threads, answer, environ)
    await send(start)
    if isinstance(reply, bytes):
        await send({"type": "http.response.body", "body": reply})
        return
    gone = asyncio.ensure_future(receive())
    parts = iter(reply)
    try:
        while not gone.done() and (part := await loop.run_in_executor(threads, next_part, parts)):
            message = {"type": "http.response.body", "body": part, "more_body": True}
            await asyncio.wait_for(send(message), REPLY_TIMEOUT_S)
        await send({"type": "http.response.body", "body": b""})
    except TimeoutError:
        pass  # the body is shorter than its Content-Length, so the client notices
    finally:
        gone.cancel()
        await loop.run_in_executor(threads, reply.close)


def environ_of(scope: Message) -> dict[str, Any]:
    """The request as a PEP 3333 environ, without its body."""
    headers: dict[str, str] = {}
    for raw, value in scope["headers"]:
        # A header with an underscore would impersonate the one with a hyphen, which a proxy may have set.
        if b"_" not in raw:
            name = raw.decode("latin-1").upper().replace("-", "_")
            joint = "; " if name == "COOKIE" else ","
            text = value.decode("latin-1")
            headers[name] = f"{headers[name]}{joint}{text}" if name in headers else text
    own: dict[str, Any] = {name: headers.pop(name) for name in ("CONTENT_TYPE", "CONTENT_LENGTH") if name in headers}
    return {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(scope["raw_path"]).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": scope["server"][0],
        "SERVER_PORT": str(scope["server"][1] or ""),
        "REMOTE_ADDR": scope["client"][0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        **own,
        **{f"HTTP_{name}": text for name, text in headers.items()},
    }


async def read_body(environ: dict[str, Any], receive: Receive, held: AsyncExitStack) -> None:
    """Put the complete body into the environ, or `MissingBody` if it is too large, too slow or truncated.

    Args:
        held: receives the semaphore to release when the body is no longer needed.
    """
    declared, most = int(environ.get("CONTENT_LENGTH") or 0), max_body_bytes(environ["PATH_INFO"])
    body, is_whole, is_large = bytearray(), False, False
    with suppress(TimeoutError):
        async with asyncio.timeout(settings.REQUEST_READ_TIMEOUT_S) as limit:
            while max(declared, len(body)) <= most and not is_whole:
                if len(body) > SMALL_BODY_BYTES and not is_large:  # an announced size alone takes no slot
                    is_large = True
                    await held.enter_async_context(large_bodies)
                message = await receive()
                if message["type"] == "http.disconnect":
                    break
                part = message.get("body", b"")
                body += part
                limit.reschedule((limit.when() or 0) + len(part) / LEAST_BYTES_PER_S)
                is_whole = not message.get("more_body")
    # Django reads CONTENT_LENGTH bytes, and a chunked body has no such header.
    environ["CONTENT_LENGTH"] = str(len(body) if is_whole else max(declared, len(body), 1))
    environ["wsgi.input"] = BytesIO(body) if is_whole else MissingBody()
    environ[ARRIVED_AT] = time.monotonic()


def answer(environ: dict[str, Any]) -> tuple[Message, bytes | StreamingHttpResponse]:
    """Runs in a thread: the start of Django's response, and its body or the response to stream."""
    start: Message = {"type": "http.response.start"}

    def start_response(status: str, headers: list[tuple[str, str]]) -> None:
        start["status"] = int(status.partition(" ")[0])
        start["headers"] = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]

    reply = django(environ, start_response)  # type: ignore[arg-type]  # Django uses no more of PEP 3333
    if isinstance(reply, StreamingHttpResponse):
        give_back_connection()  # Django does so when the reply is closed, perhaps in another thread
        return start, reply
    with closing(reply):
        return start, b"".join(reply)


def next_part(pieces: Iterator[bytes]) -> bytes:
    """Runs in a thread: the next part of a streamed response, empty at its end."""
    part = bytearray()
    while len(part) < PART_BYTES and (piece := next(pieces, b"")):
        part += piece
    return bytes(part)
