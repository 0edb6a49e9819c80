"""Requests of our API, as a client makes them."""

import json
from typing import Any

from django.test import Client

from phones.models import PhoneNumber
from tests.support.documented import documented
from tests.support.people import Tenant

# What `inbound` of a number shows if nothing is said of it.
UNSAID = {"language": "en-US", "connectTo": None, "ringSeconds": 30, "ifUnanswered": "voicemail"}


def post(path: str, body: Any, token: str | None, **headers: str) -> Any:
    """POST JSON as a client does and return the response."""
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = body if isinstance(body, bytes | str) else json.dumps(body)
    client = Client(raise_request_exception=False)
    return documented(client.post(path, data, content_type="application/json", headers=headers))


def add(tenant: Tenant, body: dict[str, Any] | str, **headers: str) -> Any:
    return post("/api/call/add-phone", body, tenant.token, **headers)


def send(method: str, path: str, tenant: Tenant, body: Any = None) -> Any:
    headers = {"Authorization": f"Bearer {tenant.token}"}
    client = Client(raise_request_exception=False)
    data = "" if body is None else json.dumps(body)
    return documented(
        client.generic(method, f"/api/call/{path}", data, content_type="application/json", headers=headers)
    )


def data_of(reply: Any) -> Any:
    assert reply.status_code == 200, reply.content
    return reply.json()["data"]


def check(phone: PhoneNumber, tenant: Tenant, *, repair: bool = False) -> dict[str, Any]:
    return data_of(send("POST", f"phones/{phone.pk}/check", tenant, {"repair": repair}))


def reasons(checked: dict[str, Any]) -> set[str]:
    return {one["reason"] for one in checked["reasons"]}


def get(path: str, tenant: Tenant, **headers: str) -> Any:
    headers = {"Authorization": f"Bearer {tenant.token}", **headers}
    return documented(Client(raise_request_exception=False).get(path, headers=headers))


# The keys of each reply, in this order.
ENVELOPE = ["message", "status", "code", "errorMessage", "data"]
DAY_S = 86400


def assert_throttled(reply: Any) -> None:
    assert reply.status_code == 429, reply.content
    assert reply.json()["data"] == {"error": "throttled", "field": None}
    assert "too many" in reply.json()["errorMessage"].lower()
    assert 1 <= int(reply.headers["Retry-After"]) <= DAY_S + 1
