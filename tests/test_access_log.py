"""ACCESS_LOG=on: a line for each request, and no secret in it."""

import json
import logging
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from core.json_logs import JsonLines
from core.logs import TextLines
from sandbox.sandbox import Sandbox
from tests.support.api import add
from tests.support.carriers import TWILIO
from tests.support.people import Tenant, sign_in
from tests.support.webhooks import Party, event, send
from users.models import ApiToken, User

pytestmark = pytest.mark.django_db


@pytest.fixture
def lines(settings: Any, caplog: pytest.LogCaptureFixture) -> Callable[..., list[str]]:
    settings.ACCESS_LOG = True
    caplog.set_level(logging.INFO, "workspace.access_log")
    caplog.clear()

    def read(formatter: logging.Formatter | None = None) -> list[str]:
        told = [record for record in caplog.records if record.name == "workspace.access_log"]
        caplog.clear()
        for record in told:
            record.request_id = "r-1"
        return [(formatter or TextLines()).format(record) for record in told]

    return read


def told(line: str) -> str:
    """The line without its time and with no figures but the status."""
    return re.sub(r"\d+ ms", "N ms", line.partition("[r-1] ")[2])


def test_a_line_says_what_was_asked_by_whom_and_how_it_ended(
    tenant: Tenant, staff: User, lines: Callable[..., list[str]], settings: Any
) -> None:
    settings.TRUSTED_PROXY_COUNT = 1
    prefix = ApiToken.objects.get().prefix
    desk = sign_in(staff)
    lines()
    proxied = {"X-Forwarded-For": "203.0.113.5"}
    good = {"Authorization": f"Bearer {tenant.token}"}
    Client(headers=proxied).get(f"/api/call/phones?userId={tenant.user.pk}", headers=good)
    Client(headers=proxied).get("/api/call/phones", headers={"Authorization": "Bearer a-wrong-token"})
    Client(headers=proxied).get("/api/call/phones", headers={"Host": "evil.example"})
    Client().head("/healthz")
    desk.get("/admin/?q=secret")
    assert [told(line) for line in lines()] == [
        f"GET /api/call/phones 200 N ms token:{prefix} 203.0.113.5",
        "GET /api/call/phones 401 N ms - 203.0.113.5",
        "GET /api/call/phones 400 N ms - 203.0.113.5",
        "HEAD /healthz 200 N ms - 127.0.0.1",
        f"GET /admin/ 200 N ms staff:{staff.pk} 127.0.0.1",
    ]


def test_in_json_each_part_is_a_field(tenant: Tenant, lines: Callable[..., list[str]]) -> None:
    reply = Client().get("/api/call/phones", headers={"Authorization": f"Bearer {tenant.token}"})
    assert reply.status_code == 200
    (line,) = lines(JsonLines())
    fields = json.loads(line)
    assert isinstance(fields["ms"], int) and 0 <= fields["ms"] < 60_000
    assert {name: fields[name] for name in ("requestId", "method", "path", "status", "client", "address")} == {
        "requestId": "r-1", "method": "GET", "path": "/api/call/phones", "status": 200,
        "client": f"token:{ApiToken.objects.get().prefix}", "address": "127.0.0.1",
    }  # fmt: skip


def test_off_is_the_default(tenant: Tenant, lines: Callable[..., list[str]], settings: Any) -> None:
    settings.ACCESS_LOG = False
    Client().get("/healthz")
    assert lines() == []


def test_the_secret_in_a_webhook_address_is_in_no_line(
    party: Party, clock: None, lines: Callable[..., list[str]]
) -> None:
    knock = party.knock("answer", event(party.row.integration))
    assert send(knock).status_code == 200
    (line,) = lines()
    assert f"POST /api/webhooks/{party.row.integration}/***/answer 200 " in line
    token = party.row.webhook_token
    misspelt = [
        f"/api/webhooks/other-one/{token}/answer", f"/api//webhooks//twilio//{token}", f"/API/Webhooks/twilio/{token}",
        f"/api/webhooks/{token}/answer", f"/base/api/webhooks/twilio/x/{token}", f"/api/webhooks%2Ftwilio%2F{token}",
        f"/api/webhooks%252Ftwilio%252F{token}", f"/api/webhooks/twilio/{token};x/answer", f"/webhooks?{token}",
    ]  # fmt: skip
    for path in misspelt:
        Client().post(path, data={"x": token}, query_params={"signature": token}, headers={"Referer": token})
    for formatter in (TextLines(), JsonLines()):
        told = lines(formatter)
        assert not [line for line in told if token in line]
    assert len(misspelt) == 9


def test_no_line_shows_a_token_or_can_be_forged(
    sandbox: Sandbox, tenant: Tenant, lines: Callable[..., list[str]]
) -> None:
    assert add(tenant, TWILIO.body(tenant.user)).status_code == 201
    assert not [line for line in lines() if TWILIO.auth_token in line]
    client = Client(raise_request_exception=False)
    client.get(f"/api/call/{tenant.token}", headers={"Authorization": f"Bearer {tenant.token}"})
    client.get("/" + "x" * 185 + tenant.token)
    client.get("/x\r\n2026-01-01 CRITICAL\x1b\u2028" + "y" * 5000)
    client.generic("BR\u00c9W" * 100, "/")
    told = lines()
    assert len(told) == 4
    for line in told:
        assert line.isascii() and line.isprintable() and len(line) < 900
        assert tenant.token[:15] not in line
