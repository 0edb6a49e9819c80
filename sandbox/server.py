"""The HTTP server of the sandbox: a thread per connection, keep-alive, loopback only."""

import copy
import ipaddress
import json
import re
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from . import control
from .carrier import Carrier, Reply, Request
from .faults import APPLIED, Fault
from .ledger import Exchange

if TYPE_CHECKING:
    from .sandbox import Sandbox

LOCAL_HOSTS = ("localhost", "127.0.0.1")
CHUNK = b"x" * 65536


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "Server"

    def serve(self) -> None:
        """Reply to a request to the control API or a carrier."""
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit() or "Transfer-Encoding" in self.headers:
            self.close_connection = True
            self._send(Reply(411, {"error": "The sandbox requires a Content-Length header."}))
            return
        raw = self.rfile.read(int(length))
        if len(raw) < int(length):  # the caller has disconnected before sending the whole request
            self.close_connection = True
            return
        url = urlsplit(self.path)
        body = _parsed(raw, self.headers.get("Content-Type", ""))
        carriers = self.server.sandbox.carriers
        carrier = next(
            (known for known in carriers if url.path.startswith((f"{known.prefix}/", known.media_prefix))), None
        )
        if not self._is_local():
            self._send(Reply(403, {"error": "The sandbox accepts only local requests."}))
        elif url.path.startswith(control.PREFIX):
            self._send(control.handle(self.server.sandbox, self.command, url.path, body))
        elif carrier:
            path = unquote(re.sub(f"^{carrier.prefix}(?=/)", "", url.path))
            query = parse_qs(url.query, keep_blank_values=True)
            self._serve_carrier(carrier, Request(self.command, path, query, self.headers, body))
        else:
            self._send(Reply(404, {"error": "The sandbox serves only /twilio, /plivo, /telnyx/v2 and /_sandbox."}))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = serve

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: the ledger is the log."""

    def _is_local(self) -> bool:
        """Also check the Host header, so that no web page gets in through a name that resolves to 127.0.0.1."""
        host = self.headers.get("Host", "").partition(":")[0].lower()
        return ipaddress.ip_address(self.client_address[0]).is_loopback and host in LOCAL_HOSTS

    def _serve_carrier(self, carrier: Carrier, request: Request) -> None:
        """Serve and record a request. The ledger is complete before the reply is sent, as callers may read it then."""
        sandbox = self.server.sandbox
        account = carrier.authenticate(request.headers)
        exchange = sandbox.book.open(
            carrier=carrier.name,
            method=request.method,
            path=request.path,
            query=request.query,
            body=request.body,
            account=account.id if account else None,
            started=time.monotonic(),
        )
        fault = None
        with sandbox.in_flight(carrier.name, exchange.account) as admitted:
            if admitted:
                sandbox.released.wait(sandbox.delay_s)
                with sandbox.lock:  # whether a stale fault applies depends on the state
                    fault = sandbox.faults.take(carrier, request.method, request.path)
                seen, owner = fault.as_seen(carrier, account) if fault else (carrier, account)
                reply = self._play(fault, exchange, carrier, lambda: seen.handle(owner, request))
            else:
                reply = carrier.error(429)
            if reply:
                exchange.status, exchange.response = reply.status, _shown(reply.body)
            exchange.ended = time.monotonic()
        if reply is None:
            self._break()
        elif fault and fault.kind == "huge":
            self._send_huge(reply, fault.megabytes)
        else:
            self._send(reply, fault.interval if fault and fault.kind == "drip" else None)

    def _play(
        self, fault: Fault | None, exchange: Exchange, carrier: Carrier, handle: Callable[[], Reply]
    ) -> Reply | None:
        """The reply, or None to break the connection. The fault decides whether the carrier carries out the request."""
        if fault:
            exchange.fault = fault.kind
            if fault.kind == "late":
                self.server.sandbox.late.add(fault.seconds, lambda: self._carry_out(exchange, handle))
            self._hold(fault.hold_s)
            if fault.kind not in APPLIED:
                return fault.forge(carrier)
        reply = self._carry_out(exchange, handle)
        if fault is None or fault.kind in ("delay", "drip", "stale"):
            return reply
        if fault.change:
            return reply._replace(body=fault.change(copy.deepcopy(reply.body)))
        if fault.kind == "applied_hang":
            self._hold(fault.seconds)
        return fault.forge(carrier)

    def _carry_out(self, exchange: Exchange, handle: Callable[[], Reply]) -> Reply:
        with self.server.sandbox.lock:
            reply = handle()
            exchange.applied = reply.status < 400
        return reply

    def _hold(self, seconds: float) -> None:
        """Make the caller wait, at most until it disconnects or the sandbox is reset or stopped."""
        released, until = self.server.sandbox.released, time.monotonic() + seconds
        while time.monotonic() < until and not self._caller_gone():
            if released.wait(min(0.05, max(until - time.monotonic(), 0))):
                return

    def _caller_gone(self) -> bool:
        try:
            readable = select.select([self.connection], [], [], 0)[0]
            return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def _break(self) -> None:
        """Close with a TCP reset (RST) instead of an orderly shutdown."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def _send(self, reply: Reply, interval: float | None = None) -> None:
        """Send head and body in a single write; with an interval, send the body byte by byte."""
        body = _encoded(reply.body)
        length = {} if reply.status == 204 else {"Content-Length": str(len(body))}
        head = self._head(reply, length)
        if interval is None:
            self.wfile.write(head + body)
            return
        self.wfile.write(head)
        for byte in body:
            if self.server.sandbox.released.wait(interval):
                self._break()
                return
            self.wfile.write(bytes([byte]))

    def _send_huge(self, reply: Reply, megabytes: float) -> None:
        """Send valid JSON of this size in chunks, so that the caller cannot know its length in advance."""
        self.wfile.write(self._head(reply, {"Transfer-Encoding": "chunked"}))
        for part in (b'{"padding": "', *[CHUNK] * int(megabytes * 16), b'"}', b""):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))

    def _head(self, reply: Reply, more: dict[str, str]) -> bytes:
        kind = "text/plain; charset=utf-8" if isinstance(reply.body, str) else "application/json"
        headers = ({} if reply.body is None else {"Content-Type": kind}) | reply.headers | more
        if self.close_connection:
            headers["Connection"] = "close"
        phrase = HTTPStatus(reply.status).phrase if reply.status in HTTPStatus._value2member_map_ else ""
        lines = [f"HTTP/1.1 {reply.status} {phrase}", *(f"{name}: {value}" for name, value in headers.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, port: int, sandbox: "Sandbox") -> None:
        self.sandbox = sandbox
        self._connections: set[socket.socket] = set()
        self._connections_lock = threading.Lock()
        super().__init__(("127.0.0.1", port), Handler)

    def server_bind(self) -> None:
        """Bind without HTTPServer's host name lookup, which may query a DNS server."""
        TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._connections_lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close without the usual shutdown(), which would turn a reset into an orderly shutdown."""
        with self._connections_lock:
            self._connections.discard(request)
        self.close_request(request)

    def server_close(self) -> None:
        """Also close keep-alive connections: a stopped sandbox must not reply."""
        super().server_close()
        with self._connections_lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore callers that disconnect."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _parsed(raw: bytes, content_type: str) -> Any:
    """A form as a dict (repeated fields as a list), JSON parsed, anything else as text; None if there is no body."""
    if not raw:
        return None
    text = raw.decode("utf-8", "replace")
    if content_type.startswith("application/x-www-form-urlencoded"):
        form = parse_qs(text, keep_blank_values=True)
        return {name: values if len(values) > 1 else values[0] for name, values in form.items()}
    try:
        return json.loads(text)
    except ValueError:
        return text


def _shown(body: Any) -> Any:
    """A body as shown in the ledger: bytes are replaced by their size."""
    return f"<{len(body)} bytes>" if isinstance(body, bytes) else body


def _encoded(body: Any) -> bytes:
    if body is None:
        return b""
    if isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()
