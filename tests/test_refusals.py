"""Requests that are refused before a view leave a trace: they are counted, and logged once a minute."""

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from core import quiet
from core.logs import TextLines
from phones import webhooks
from tests.support.metrics import samples
from tests.support.people import Tenant
from tests.support.webhooks import Party, event
from workspace import health, refusals

TOKEN = "a-token-for-metrics-0123456789-abcdef"
pytestmark = pytest.mark.django_db
CLIENT = Client(raise_request_exception=False)


@pytest.fixture
def minutes(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A clock that stands still until it is put forward; nothing was logged before."""
    now = [1_000_000.0]
    monkeypatch.setattr(quiet, "time", SimpleNamespace(monotonic=lambda: now[0]))
    for module, kinds in ((refusals, refusals.KINDS), (webhooks, ["unknown"]), (health, ["not ready"])):
        monkeypatch.setattr(module, "quiet", quiet.Quiet(kinds))

    monkeypatch.setattr(health, "told", [])

    def pass_(minutes: float) -> None:
        now[0] += 60 * minutes

    return pass_


@pytest.fixture
def lines(minutes: Callable[[float], None], caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The lines of the log as they are written, since the last look."""

    def read() -> list[str]:
        told = [record for record in caplog.records if record.name != "django.server"]
        caplog.clear()
        assert {record.levelname for record in told} <= {"WARNING"}
        for record in told:
            record.request_id = "-"
        return [TextLines().format(record).partition("] ")[2] for record in told]

    return read


@pytest.fixture
def counted(settings: Any) -> Callable[..., float]:
    settings.METRICS_TOKEN = TOKEN
    before: dict[Any, float] = {}

    def read() -> dict[Any, float]:
        return samples(Client(headers={"Authorization": f"Bearer {TOKEN}"}).get("/metrics").content.decode())

    before |= read()
    return lambda *key: read().get(key, 0) - before.get(key, 0)


def many_fields() -> Any:
    return CLIENT.post("/admin/login/", {f"f{number}": "x" for number in range(1100)})


def large_form() -> Any:
    return CLIENT.post("/admin/login/", {"username": "x" * 1_100_000})


def many_files() -> Any:
    return CLIENT.post("/admin/login/", {f"f{number}": SimpleUploadedFile("a", b"a") for number in range(110)})


def broken_form() -> Any:
    kind = "multipart/form-data; boundary=" + "é" * 3
    return CLIENT.generic("POST", "/admin/login/", b"--x", content_type=kind)


def send(method: str, path: str, **headers: str) -> Callable[[], Any]:
    return lambda: CLIENT.generic(
        method, path, headers={name.replace("_", "-"): text for name, text in headers.items()}
    )


# kind: what is refused, its status, and a part of the line
CASES: dict[str, tuple[str, Callable[[], Any], int, str]] = {
    "host of the API": ("bad_host", send("GET", "/api/call/phones", Host="phones_backend"), 400, "phones_backend"),
    "host of a page": ("bad_host", send("GET", "/admin/", Host="10.0.0.5:8000"), 400, "10.0.0.5:8000"),
    "host of a file": ("bad_host", send("GET", "/favicon.ico", Host="a b c"), 400, "a b c"),
    "no host": ("bad_host", send("GET", "/api/docs", Host=""), 400, "ALLOWED_HOSTS"),
    "large for the API": (
        "body_too_large",
        lambda: CLIENT.post("/api/call/add-phone", b"x" * 16_385, content_type="application/json"), 413, "16385 bytes",
    ),
    "nonsense of a length": (
        "body_too_large", lambda: CLIENT.post("/api/call/add-phone", b"", "text/plain", CONTENT_LENGTH="1e9"), 413, "1e9",
    ),
    "type": (
        "unsupported_media_type",
        lambda: CLIENT.post("/api/call/add-phone", b"{}", content_type="text/xml", headers=AUTHORIZED), 415, "text/xml",
    ),
    "fields": ("bad_request", many_fields, 400, "DATA_UPLOAD_MAX_NUMBER_FIELDS"),
    "form": ("body_too_large", large_form, 400, "DATA_UPLOAD_MAX_MEMORY_SIZE"),
    "files": ("bad_request", many_files, 400, "DATA_UPLOAD_MAX_NUMBER_FILES"),
    "multipart": ("bad_request", broken_form, 400, "boundary"),
}  # fmt: skip
AUTHORIZED: dict[str, str] = {}


@pytest.mark.parametrize("name", CASES)
def test_a_refused_request_is_counted_and_logged(
    name: str, tenant: Tenant, lines: Callable[[], list[str]], counted: Callable[..., float]
) -> None:
    AUTHORIZED["Authorization"] = f"Bearer {tenant.token}"
    kind, ask, status, told = CASES[name]
    assert ask().status_code == status
    (line,) = lines()
    assert line.startswith(f"Refused a request ({kind}): ") and told in line
    assert counted("phones_refused_requests_total", kind) == 1


def test_each_kind_is_logged_once_a_minute(lines: Callable[[], list[str]], minutes: Callable[[float], None]) -> None:
    for host in ("one.example", "two.example", "three.example"):
        send("GET", "/api/call/phones", Host=host)()
        send("GET", "/admin/", Host=host)()
    large_form()
    (host, size) = lines()
    assert "one.example" in host and "body_too_large" in size
    minutes(0.9)
    assert send("GET", "/", Host="four.example")().status_code == 400
    assert lines() == []
    minutes(0.1)
    send("GET", "/", Host="five.example")()
    (line,) = lines()
    assert "five.example" in line and line.endswith(" 6 more of this kind were not logged since the last such line.")
    minutes(1)
    send("GET", "/", Host="six.example")()
    assert "more of this kind" not in lines()[0]


@pytest.mark.parametrize(
    "host", ["x\r\nCRITICAL all numbers deleted", "\x1b[2K\u202e", "a" * 5000, "%s %d", "wp_" + "a" * 43]
)
def test_what_a_client_sends_cannot_harm_the_log(host: str, lines: Callable[[], list[str]]) -> None:
    send("GET", "/api/x\u2028y" + "z" * 500, Host=host)()
    (line,) = lines()
    assert line.isascii() and line.isprintable() and len(line) < 900
    assert "wp_a" not in line


def test_a_webhook_that_no_view_sees_counts_as_one(
    party: Party, lines: Callable[[], list[str]], counted: Callable[..., float]
) -> None:
    knock = party.knock("answer", event(party.row.integration))
    lines()
    requests = [
        ("body_too_large", 413, "POST", knock.path, b"x" * 65_537), ("wrong_method", 405, "GET", knock.path, b""),
        ("unknown_address", 404, "POST", knock.path + "/", knock.body),
        ("unknown_address", 404, "POST", knock.path.replace("/answer", ""), knock.body),
    ]  # fmt: skip
    for _, status, method, path, body in requests:
        reply = CLIENT.generic(method, path, body, headers={"Host": "phones_backend"})
        assert (reply.status_code, reply.content) == (status, b"")
    told = lines()
    assert [re.findall(r"\((\w+)\)", line)[0] for line in told] == ["body_too_large", "wrong_method", "unknown_address"]
    assert not [line for line in told if party.row.webhook_token in line]
    kinds = {"body_too_large": 1, "wrong_method": 1, "unknown_address": 2, "bad_host": 0}
    carrier = party.row.integration
    assert {kind: counted("phones_webhooks_total", carrier, kind) for kind in kinds} == kinds
    assert not any(counted("phones_refused_requests_total", kind) for kind in kinds)


def test_a_page_tells_people_what_to_do() -> None:
    page = send("GET", "/admin/", Host="evil.example")()
    assert "Refused a request" in page.content.decode() and "evil.example" not in page.content.decode()
    assert page.headers["Content-Security-Policy"] and page.headers["X-Request-ID"]


def test_forms_from_elsewhere_are_counted_and_logged_once(
    lines: Callable[[], list[str]], counted: Callable[..., float]
) -> None:
    strict = Client(enforce_csrf_checks=True)
    for _ in range(3):
        reply = strict.post("/admin/login/", headers={"Origin": "https://" + "e" * 10_000})
        assert reply.status_code == 403 and "This form has expired" in reply.content.decode()
    (line,) = lines()
    assert line.startswith("Refused a request (csrf)") and len(line) < 1000
    assert counted("phones_refused_requests_total", "csrf") == 3


def test_made_up_webhooks_are_logged_once_and_never_at_length(lines: Callable[[], list[str]]) -> None:
    for _ in range(3):
        for path in (f"/api/webhooks/{'r' * 8000}/x/answer", f"/api/webhooks/twilio/x/{'r' * 8000}"):
            assert CLIENT.post(path).status_code == 403
        assert CLIENT.post("/api/webhooks/twilio/made-up/answer").status_code == 403
    (line,) = lines()
    assert line.startswith("Webhook refused: no such URL") and len(line) < 200


@pytest.mark.parametrize(
    "path", ["/twilio/TOKEN/answer", "//api/webhooks/plivo/TOKEN/status", "/phones/api/webhooks/telnyx/TOKEN/done/"]
)
def test_a_webhook_whose_path_a_proxy_has_changed_leaves_a_trace(lines: Callable[[], list[str]], path: str) -> None:
    token = "s3cr3t-" * 6
    assert CLIENT.post(path.replace("TOKEN", token)).status_code == 404
    (line,) = lines()
    assert "unknown_address" in line and "passes the path on unchanged" in line
    assert "s3cr3t" not in line


def test_a_server_that_is_not_ready_says_so_once_a_minute(
    settings: Any, caplog: pytest.LogCaptureFixture, minutes: Callable[[float], None]
) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    for _ in range(5):
        assert CLIENT.get("/readyz").status_code == 503
    told = [record for record in caplog.records if record.levelname == "ERROR" and record.name.startswith("workspace")]
    assert len(told) == 1 and "Redis" in told[0].getMessage()
    minutes(1.1)
    assert CLIENT.get("/readyz").status_code == 503
    assert len([record for record in caplog.records if record.name.startswith("workspace")]) == 2
