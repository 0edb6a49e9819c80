"""What a server in production writes: its log, its metrics, its database."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from sandbox.sandbox import Sandbox
from tests.support.canaries import CANARY, canary_account, found
from tests.support.carriers import TWILIO
from tests.support.live import serve
from tests.support.metrics import samples
from users.models import User

TOKEN = "a-token-for-metrics-0123456789-abcdef"
pytestmark = pytest.mark.django_db(transaction=True)


def test_every_line_of_a_server_is_an_object_with_the_request_it_belongs_to(sandbox: Sandbox, tmp_path: Path) -> None:
    """Also of requests that no view has seen. Two processes share the minute in which a kind is logged once."""
    secret = "not-a-token-but-as-secret"
    form = "POST /admin/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    with serve(tmp_path, sandbox, LOG_FORMAT="json", ACCESS_LOG="on", workers=2, REQUEST_READ_TIMEOUT_S="1") as live:
        live.send(
            f"POST /api/webhooks/twilio/{secret}/status HTTP/1.1\r\nHost: phones_backend\r\n"
            "X-Request-ID: forged\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx".encode()
        )
        for number in range(8):
            live.send(f"GET /admin/ HTTP/1.1\r\nHost: evil-{number}.example\r\nConnection: close\r\n\r\n".encode())
        live.send(f"{form}Content-Length: 99999999\r\nConnection: close\r\n\r\n".encode())
        live.send(f"{form}Content-Length: 9\r\nConnection: close\r\n\r\nx".encode())
    lines = [json.loads(line) for line in (tmp_path / "server.log").read_text().splitlines()]
    assert any(line["logger"] == "_granian" and "Listening at" in line["message"] for line in lines)
    (refused,) = [line for line in lines if "Webhook refused" in line["message"]]
    assert refused["requestId"] not in ("-", "")
    assert secret not in str(lines)
    asked = [line for line in lines if line["logger"] == "workspace.access_log" and line["path"] != "/readyz"]
    assert [(line["path"], line["status"]) for line in asked] == [
        ("/api/webhooks/twilio/***/status", 403), *[("/admin/", 400)] * 8, ("/admin/login/", 413), ("/admin/login/", 408),
    ]  # fmt: skip
    assert asked[0]["requestId"] == refused["requestId"] and asked[0]["address"] == "127.0.0.1"
    told = [line["message"] for line in lines if line["logger"] == "workspace.refusals"]
    assert [re.findall(r"\((\w+)\)", line)[0] for line in told] == ["bad_host", "body_too_large", "body_incomplete"]
    assert "evil-0.example" in told[0]


def test_all_workers_count_together_and_tell_nothing_of_customers(sandbox: Sandbox, tmp_path: Path) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    with serve(tmp_path, sandbox, workers=3, METRICS_TOKEN=TOKEN, TMPDIR=str(folder)) as live:
        headers = {"Authorization": f"Bearer {live.token}"}

        def knock(_: int) -> int:
            return requests.get(f"{live.url}/api/call/phones", headers=headers, timeout=20).status_code

        body = TWILIO.body(User(pk=live.user))
        assert (
            requests.post(f"{live.url}/api/call/add-phone", json=body, headers=headers, timeout=20).status_code == 201
        )
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(knock, range(60))) == {200}
        texts = [
            requests.get(f"{live.url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=20).text
            for _ in range(6)
        ]
        counted = [samples(text) for text in texts]
        workers = {file.name.rpartition("_")[2] for file in folder.glob("phones-metrics-*/counter_*.db")}
        rows = live.database.rows("phones_account", "account_id", "webhook_token")[0]
    assert len(workers) > 2, "several processes have counted"
    assert [one["phones_adds_total", "twilio", "added"] for one in counted] == [1] * 6
    replies = [one["phones_http_responses_total", "2xx"] for one in counted]
    # At least those sent here; each look at the page is one more.
    assert replies == [replies[0] + n for n in range(6)] and replies[0] >= 61
    for secret in (live.token, TOKEN, live.user, TWILIO.number, TWILIO.auth_token, *rows):
        assert secret not in texts[-1]
    assert not re.search(r"[0-9a-f]{24}", texts[-1])
    assert list(folder.glob("phones-metrics-*")) == [], "the server has cleaned up"


def test_a_server_tells_and_stores_no_secret_either(sandbox: Sandbox, tmp_path: Path) -> None:
    """What the log handlers of production write, the server's own lines included."""
    canary_account(sandbox, TWILIO)
    with serve(tmp_path, sandbox, LIMIT_FAILED_TOKENS="off") as live:
        answers = b""
        for token, secret in ((live.token, CANARY), (live.token, "wrong-" + CANARY), (CANARY, CANARY)):
            body = {"userId": live.user, "phoneNumber": TWILIO.number, "integration": "twilio"}
            body |= {"authToken": secret, "accSId": TWILIO.acc_sid}
            data = json.dumps(body).encode()
            head = f"POST /api/call/add-phone HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
            answers += live.send(f"{head}Content-Length: {len(data)}\r\nConnection: close\r\n\r\n".encode() + data)
        assert answers.startswith(b"HTTP/1.1 201")
        everything = b"".join(file.read_bytes() for file in tmp_path.iterdir()) + answers
        stored = live.database.written()
        assert live.user in stored, "the search would find nothing"
        assert not found([CANARY, live.token], everything.decode("latin-1") + stored)
        assert len(live.database.rows("phones_account", "_id")) == 1
