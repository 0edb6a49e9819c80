"""Requests sent byte by byte to a real server: what the HTTP server makes of them, and what reaches us."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.sandbox import Sandbox
from tests.support import SAMPLES
from tests.support.api import ENVELOPE
from tests.support.carriers import TWILIO
from tests.support.live import Live, serve

PATH = "/api/call/add-phone"
BY_HAND_OF_THE_CONTRACT = [
    one for one in json.loads((SAMPLES / "bad-requests.json").read_text()) if one.get("raw_socket")
]


@pytest.fixture(scope="module")
def live(running_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with serve(tmp_path_factory.mktemp("live"), running_sandbox, REQUEST_READ_TIMEOUT_S="1") as server:
        yield server


def request(
    live: Live,
    body: bytes,
    *lines: str,
    method: str = "POST",
    path: str = PATH,
    version: str = "1.1",
    length: bool = True,
) -> tuple[int, dict[str, str], bytes]:
    """Send a request by hand, `lines` besides the usual headers. Returns status, headers and body; 0 if just closed."""
    given = {line.partition(":")[0].lower() for line in lines}
    usual = {"Host": "localhost", "Authorization": f"Bearer {live.token}", "Content-Type": "application/json"}
    usual |= {"Content-Length": str(len(body))} if length else {}
    head = [f"{name}: {value}" for name, value in usual.items() if name.lower() not in given]
    head += [line for line in lines if not line.endswith(":-")] + ["Connection: close"]
    data = f"{method} {path} HTTP/{version}\r\n".encode() + "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body
    return parse_reply(live.send(data))


def parse_reply(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    if not answer:
        return 0, {}, b""
    head, _, body = answer.partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 100"):
        head, _, body = body.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        size, _, rest = body.partition(b"\r\n")
        body = rest[: int(size, 16)]
    return int(first.split()[1]), headers, body


def good_body(live: Live, **changes: Any) -> bytes:
    good = {"userId": live.user, "phoneNumber": TWILIO.number, "integration": "twilio", "authToken": TWILIO.auth_token}
    return json.dumps(good | {"accSId": TWILIO.acc_sid} | changes).encode()


def chunked(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (*parts, b""))


@pytest.mark.parametrize("one", BY_HAND_OF_THE_CONTRACT, ids=lambda one: one["name"])
def test_a_request_sent_by_hand_is_refused(live: Live, sandbox: Sandbox, one: dict[str, Any]) -> None:
    lines = [f"{name}: {value}" for name, value in one["headers"].items() if name != "Authorization"]
    status, _, body = request(live, good_body(live), *lines)
    assert status in [one["expect_status"], *one.get("also_ok", [])], body
    assert TWILIO.auth_token.encode() not in body and live.token.encode() not in body
    assert sandbox.ledger == []


BY_HAND: dict[str, tuple[int, dict[str, Any]]] = {
    "no-host-http-1.0": (400, {"lines": ["Host:-"], "version": "1.0"}),
    "no-length": (400, {"length": False}),
    "expect-continue": (400, {"lines": ["Expect: 100-continue"]}),
    "many-headers": (400, {"lines": [f"X-{number}: y" for number in range(50)]}),
    "long-header": (400, {"lines": ["X-Long: " + "a" * 8000]}),
    "zero-led-length": (413, {"lines": ["Content-Length: " + "0" * 25 + "99999"]}),
    "unknown-rfc2231-charset": (415, {"lines": ["Content-Type: application/json; charset*=nonsense''%41"]}),
    "rfc2231-utf-8": (400, {"lines": ["Content-Type: application/json; charset*=utf-8''utf-8"]}),
    "latin-1-type": (415, {"lines": ["Content-Type: application/json; charset=\xff"]}),
    "many-parameters": (400, {"lines": ["Content-Type: application/json" + ";a=b" * 1900]}),
    "chunked-broken": (
        400,
        {"lines": ["Transfer-Encoding: chunked"], "length": False, "body": b"zz\r\n{}\r\n0\r\n\r\n"},
    ),
    "chunked-cut": (400, {"lines": ["Transfer-Encoding: chunked"], "length": False, "body": b"20\r\n{}"}),
    "chunked-16385": (
        413,
        {"lines": ["Transfer-Encoding: chunked"], "length": False, "body": chunked(b" " * 16000, b" " * 385)},
    ),
    "chunked-endless": (
        413,
        {"lines": ["Transfer-Encoding: chunked"], "length": False, "body": chunked(*[b" " * 60000] * 40)},
    ),
    "short-body": (400, {"lines": ["Content-Length: 9000"]}),
    "encoded-path": (400, {"path": "/api%2Fcall%2Fadd-phone"}),
    "nul-path": (404, {"path": "/api/%00"}),
    "bad-utf-8-path": (404, {"path": "/api/%ff%fe"}),
    "nul-id": (405, {"path": "/api/call/phones/%00"}),
    "slashes-before": (404, {"path": "//api/call/phones"}),
    "slashes-between": (404, {"path": "/api//call/phones"}),
    "dots": (404, {"path": "/x/../api/call/phones", "method": "HEAD"}),
    "documentation-by-post": (405, {"path": "/api/docs"}),
    "two-tokens": (401, {"lines": ["Authorization: Bearer a", "Authorization: Bearer b"]}),
    "head": (405, {"method": "HEAD"}),
    "head-elsewhere": (404, {"method": "HEAD", "path": "/api/nothing"}),
    "options": (405, {"method": "OPTIONS"}),
    "connect": (405, {"method": "CONNECT"}),
    "trace": (405, {"method": "TRACE"}),
    "unknown-method": (405, {"method": "BREW"}),
    "bad-host": (400, {"lines": ["Host: evil.example"]}),
    "userinfo-host": (400, {"lines": ["Host: a@evil.example"]}),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_what_reaches_us_over_http_is_answered_in_the_envelope(live: Live, sandbox: Sandbox, name: str) -> None:
    status, options = BY_HAND[name]
    options = {"body": b"{}" if name != "short-body" else b'{"userId": "6', **options}
    body, lines = options.pop("body"), options.pop("lines", [])
    got, headers, content = request(live, body, *lines, **options)
    assert got == status, content
    assert headers["cache-control"] == "no-store" and headers["x-request-id"]
    assert headers["content-type"] == "application/json"
    if options.get("method") == "HEAD":
        assert content == b""
    else:
        assert list(json.loads(content)) == ENVELOPE
    assert sandbox.ledger == []


def test_a_body_in_chunks_is_read_like_any_other(live: Live, sandbox: Sandbox) -> None:
    body = good_body(live, phoneNumber=TWILIO.another)
    status, _, content = request(live, chunked(body[:50], body[50:]), "Transfer-Encoding: chunked", length=False)
    assert status == 201, content
    assert json.loads(content)["data"]["phoneNumber"] == TWILIO.another


def test_a_connection_is_kept_in_step_after_a_refusal(live: Live) -> None:
    """A refused body must not be read as the next request."""
    smuggled = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(smuggled)}\r\n\r\n"
    after = b"GET /api/nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answers = re.findall(rb"HTTP/1.1 (\d+)", live.send(head.encode() + smuggled + after))
    assert answers == [b"401", b"404"]


@pytest.mark.parametrize("given", ["my.id-1_A", "a" * 32, "0123456789abcdef" * 2, "a b", "é"])
def test_a_request_id_is_ours_whatever_a_client_sends(live: Live, given: str) -> None:
    _, headers, _ = request(live, b"{}", f"X-Request-ID: {given}")
    assert re.fullmatch("[0-9a-f]{32}", headers["x-request-id"]) and headers["x-request-id"] != given


def test_a_header_with_an_underscore_is_left_out(live: Live) -> None:
    """It would pass for the one with a hyphen."""
    body = good_body(live)
    for name, status in (("Content-Type", 415), ("Content_Type", 400)):
        assert request(live, body[:-1], f"{name}: text/plain")[0] == status
