"""The files for proxies in deploy/: what the server is told through them, and what their logs do not contain."""

import http.client
import http.server
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sandbox.proxies import PROXIES, behind, found
from sandbox.sandbox import Sandbox
from tests.support.carriers import TWILIO
from tests.support.knocking import send_add, signed_webhook
from tests.support.live import serve

HOST = "phones.example.com"
LOGGED_WITHIN_S = 10


@dataclass
class Door:
    """A proxy that terminates TLS."""

    port: int
    tls: ssl.SSLContext

    @contextmanager
    def connected(self) -> Iterator[ssl.SSLSocket]:
        plain = socket.create_connection(("127.0.0.1", self.port), 20)
        with self.tls.wrap_socket(plain, server_hostname=HOST) as secure:
            yield secure

    def send(self, data: bytes) -> http.client.HTTPResponse:
        """The reply to this request, read to its end."""
        with self.connected() as secure:
            secure.sendall(data)
            reply = http.client.HTTPResponse(secure)
            reply.begin()
            reply.body = reply.read()  # type: ignore[attr-defined]
            return reply

    def ask(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> http.client.HTTPResponse:
        given = {"Host": f"{HOST}:{self.port}", "Connection": "close", "Content-Length": str(len(body))} | headers
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
        return self.send("\r\n".join([*lines, "", ""]).encode() + body)


@pytest.fixture(params=PROXIES)
def proxy(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if not found(name):
        pytest.skip(f"there is no {name} here")
    return name


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    """Trusts only the certificate that the proxy gets."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, private = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (tmp_path / "fullchain.pem").write_bytes(certificate.public_bytes(pem))
    (tmp_path / "privkey.pem").write_bytes(key.private_bytes(pem, private, serialization.NoEncryption()))
    return ssl.create_default_context(cafile=str(tmp_path / "fullchain.pem"))


class Echo(http.server.BaseHTTPRequestHandler):
    """Replies with the headers that it gets."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = json.dumps(dict(self.headers)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def echo() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_the_server_is_told_the_host_and_who_really_asks(
    proxy: str, tls: ssl.SSLContext, echo: int, tmp_path: Path
) -> None:
    """Host with its port: goauthentik/authentik#8947. Without one: home-assistant/addons#4701."""
    with behind(proxy, echo, tmp_path, is_tls=True) as port:
        door = Door(port, tls)
        forged = {
            "X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "evil.example",
            "Forwarded": "for=6.6.6.6;proto=http",
        }  # fmt: skip
        for headers in ({}, forged):
            told = json.loads(door.ask("GET", "/", headers).body)  # type: ignore[attr-defined]
            assert told["Host"] == f"{HOST}:{port}"
            assert told["X-Forwarded-For"].split(", ")[-1] == "127.0.0.1", "TRUSTED_PROXY_COUNT=1 reads the last"
            assert told["X-Forwarded-Proto"] == "https"
        if proxy == "nginx":  # Caddy has no site for a request without a host
            reply = door.send(b"GET / HTTP/1.0\r\n\r\n")
            assert json.loads(reply.body)["Host"] == HOST  # type: ignore[attr-defined]


def test_staff_sign_in_and_webhooks_arrive_through_it_and_its_logs_have_no_secret(
    sandbox: Sandbox, proxy: str, tls: ssl.SSLContext, tmp_path: Path
) -> None:
    variables: dict[str, Any] = {"ALLOWED_HOSTS": f"{HOST},127.0.0.1", "REQUEST_READ_TIMEOUT_S": "2"}
    with ExitStack() as stack:
        live = stack.enter_context(serve(tmp_path, sandbox, TRUSTED_PROXY_COUNT="1", **variables))
        door = Door(stack.enter_context(behind(proxy, live.port, tmp_path, is_tls=True)), tls)
        assert send_add(live, TWILIO.number).status_code == 201
        path, body, headers = signed_webhook(live, sandbox, "CA1")
        secret = path.split("/")[-2]
        assert len(secret) >= 32
        assert door.ask("POST", path, headers, body).status == 200

        form = door.ask("GET", "/admin/login/", {})
        assert form.headers["Strict-Transport-Security"]
        cookie = form.headers["Set-Cookie"].partition(";")[0]
        entered = f"username=nobody&password=wrong-0123&csrfmiddlewaretoken={cookie.partition('=')[2]}".encode()
        origin = f"https://{HOST}:{door.port}"
        sent = {
            "Cookie": cookie, "Origin": origin, "Referer": f"{origin}/admin/login/?next={secret}",
            "Content-Type": "application/x-www-form-urlencoded", "X_Forwarded_For": "6.6.6.6",
        }  # fmt: skip
        assert door.ask("POST", "/admin/login/", sent, entered).status == 200, "refused for the password only"
        addresses = [address for (address,) in live.database.rows("users_auditentry", "address") if address]
        assert set(addresses) == {"127.0.0.1"}

        for unusual in unusual_forms(path, secret):
            assert 400 <= door.ask("POST", unusual, headers, body).status < 500, unusual
        assert door.ask("POST", path, headers | {"Content-Length": "99000000"}, b"x").status == 413
        bearer = {"Authorization": f"Bearer {live.token}"}
        assert door.ask("GET", "/api/call/phones", bearer).status == 200
        with door.connected() as secure:  # goes away before the reply
            secure.sendall(f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 9\r\n\r\nx".encode())

        live.server.terminate()
        live.server.wait()
        for gone in (path, *unusual_forms(path, secret)):
            assert door.ask("POST", gone, headers, body).status == 502, gone
        logged = wait_for_line(tmp_path, " 502 " if proxy == "nginx" else '"status":502')
    assert "/api/webhooks/twilio/REDACTED/answer" in logged
    for each in (secret, live.token, "wrong-0123", cookie.partition("=")[2]):
        assert each not in logged


def unusual_forms(path: str, secret: str) -> list[str]:
    """Addresses with the secret that are no webhook, or might be one for somebody else."""
    return [
        path.replace("/", "//"),
        path.replace("webhooks", "%77ebhooks") + "x",
        path.upper().replace(secret.upper(), secret),
        path.rpartition("/")[0],
        f"{path}x?token={secret}",
        f"https://{HOST}{path}x",
    ]


def wait_for_line(folder: Path, part: str) -> str:
    """All that the proxy has logged, once it contains this."""
    give_up_at = time.monotonic() + LOGGED_WITHIN_S
    while True:
        logs = [folder / name for name in ("phones.log", "nginx.log", "nginx.out", "caddy.out")]
        logged = "".join(log.read_text() for log in logs if log.exists())
        if part in logged:
            return logged
        assert time.monotonic() < give_up_at, logged
        time.sleep(0.05)
