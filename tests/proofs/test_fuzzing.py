"""Bad input of every kind at every address: never a 5xx, never a reply outside the envelope, never a secret sent back.

First what the API's own schema can think of (schemathesis), then good requests that were changed at random places.
"""

import json
import os
import random
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import hypothesis
import pytest
import schemathesis
from django.http import HttpResponse, JsonResponse
from django.test import Client
from hypothesis import HealthCheck
from schemathesis import GenerationMode
from schemathesis.core import NotSet
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation

from phones.models import Account, Call, PhoneNumber, Recording
from sandbox.sandbox import Sandbox
from tests.support import EVERY_CASE
from tests.support.api import ENVELOPE, add
from tests.support.carriers import CARRIERS, Good
from tests.support.people import Tenant, sign_in
from tests.support.tally import Tally
from users.models import User
from workspace.wsgi import application

pytestmark = [pytest.mark.engine, pytest.mark.django_db]

SCHEMA_EXAMPLES = 250 if EVERY_CASE else 4
PARTS = 48 if EVERY_CASE else 4
CHANGED_IN_A_PART = 1_250 if EVERY_CASE else 60
CANARY = "canary-3b1f0c9d7e5a2468"


@pytest.fixture(autouse=True)
def without_limits(settings: Any) -> None:
    settings.LIMITS = dict.fromkeys(settings.LIMITS)


def judge(reply: Any, tenant: Tenant, tally: Tally, *, method: str = "GET", is_api: bool = True) -> None:
    body = b"".join(reply.streaming_content) if reply.streaming else reply.content
    if reply.status_code >= 400:
        tally("bad inputs tried")
    tally("bad inputs answered with 5xx", int(reply.status_code >= 500))
    is_outside = is_api and reply.status_code >= 400 and method != "HEAD" and not is_enveloped(reply, body)
    tally("bad inputs answered outside the envelope", int(is_outside))
    told = body.decode("utf-8", "replace") + str(dict(reply.headers))
    assert reply.status_code < 500, told
    assert not is_outside, told
    assert CANARY not in told and tenant.token not in told


def is_enveloped(reply: Any, body: bytes) -> bool:
    try:
        said = json.loads(body)
    except ValueError:
        return False
    return (
        list(said) == ENVELOPE and said["code"] == reply.status_code and said["status"] is False and bool(said["errorMessage"])
    )  # fmt: skip


# -- what the schema can think of -------------------------------------------------------------------------------------

SCHEMA = schemathesis.openapi.from_wsgi("/api/schema", application)


def operations() -> Iterator[APIOperation]:
    for found in SCHEMA.get_all_operations():
        assert isinstance(found, Ok), found
        yield found.ok()


OPERATIONS = {one.label: one for one in operations()}


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=str)
@pytest.mark.parametrize("label", OPERATIONS)
def test_what_the_schema_can_think_of(
    sandbox: Sandbox, tenant: Tenant, tally: Tally, label: str, mode: GenerationMode
) -> None:
    operation = OPERATIONS[label]

    @hypothesis.settings(
        max_examples=SCHEMA_EXAMPLES, deadline=None, database=None, phases=[hypothesis.Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        headers = {
            name: value for name, value in (case.headers or {}).items() if value.isascii() and value.isprintable()
        }
        body = "" if isinstance(case.body, NotSet) else json.dumps(case.body, default=str)
        reply = Client(raise_request_exception=False).generic(
            case.method, case.formatted_path, body, content_type=case.media_type or "application/json",
            query_params=case.query or {}, headers=headers | {"Authorization": f"Bearer {tenant.token}"},
        )  # fmt: skip
        judge(reply, tenant, tally, method=case.method)

    ask()


# -- good requests, changed -------------------------------------------------------------------------------------------

NASTY: list[Any] = [
    None, True, 0, -1, 1e308, 10**400, "", " ", "\0", "\ud800", "\u202e", "a" * 5000, "١٢٣", "ﬁ", "%00", "../..", "{{7*7}}",
    "' OR 1=1 --", '{"$gt": ""}', {"$ne": None}, {"$where": "1"}, [], [[]], {}, {"a": {"b": {}}}, "<script>", "${jndi:x}",
    "null", "NaN", "2026-02-30T25:61:61Z", "9" * 40, "f" * 24, "0" * 24, "+", "tel:+1", "1;2", "\r\nSet-Cookie: a=b",
]  # fmt: skip
TYPES = [
    "application/json", "application/json; charset=utf-16", "text/plain", "", "multipart/form-data; boundary=x",
    "application/x-www-form-urlencoded", "application/xml", "application/json;" * 50, "a/b/c", "\xff",
]  # fmt: skip
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "get", "X" * 30]
ODD_HEADERS = [
    ("Authorization", "Bearer"), ("Authorization", "Basic eDp5"), ("Authorization", "Bearer a b"), ("Authorization", "é"),
    ("Authorization", "Bearer " + "x" * 5000), ("Idempotency-Key", ""), ("Idempotency-Key", "x" * 5000),
    ("Idempotency-Key", "\x01"), ("Range", "bytes=9-1"), ("Range", "bytes=" + "9" * 99 + "-"), ("Range", "lines=1"),
    ("Accept", "text/html"), ("Accept", "*/*;q=x"), ("Host", "evil.example"), ("Host", "localhost:99999"), ("Host", "["),
    ("X-Forwarded-For", "' OR 1"), ("X-HTTP-Method-Override", "DELETE"), ("X-Request-ID", "a\tb" * 99),
    ("Content-Encoding", "gzip"), ("Transfer-Encoding", "chunked"), ("Expect", "100-continue"), ("Cookie", "sessionid=\x7f"),
    ("If-None-Match", "*"), ("Content-Length", "-1"), ("Content-Length", "999999999999"),
]  # fmt: skip


class Request:
    """A request in parts that can be changed."""

    def __init__(self, method: str, path: str, body: Any, token: str) -> None:
        self.method, self.path, self.query = method, path, ""
        self.body = b"" if body is None else json.dumps(body).encode()
        self.content_type = "application/json"
        self.headers = {"Authorization": f"Bearer {token}"}

    def send(self, client: Client) -> Any:
        path = self.path + (f"?{self.query}" if self.query else "")
        return client.generic(self.method, path, self.body, content_type=self.content_type, headers=self.headers)


def change_value(chance: random.Random, request: Request) -> None:
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):  # changed before
        return
    if not isinstance(body, dict):
        return
    name = chance.choice([*body, "unknown", "$set", "__proto__"])
    how = chance.randrange(5)
    if how == 0:
        body.pop(name, None)
    elif how == 1:
        body[name] = [body.get(name)]
    elif how == 2:
        text = str(body.get(name))
        at = chance.randrange(len(text) + 1)
        body[name] = text[:at] + chance.choice(["\0", "é", " ", "0", "\u200b", "'", "\ud800"]) + text[at:]
    else:
        body[name] = chance.choice(NASTY)
    try:
        request.body = json.dumps(body).encode()
    except (ValueError, RecursionError):
        return


def change_bytes(chance: random.Random, request: Request) -> None:
    body = bytearray(request.body or b"{}")
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(body) + 1)
        body[at : at + chance.randrange(3)] = bytes(chance.randrange(256) for _ in range(chance.randrange(3)))
    request.body = bytes(body)


def change_whole_body(chance: random.Random, request: Request) -> None:
    deep = chance.choice([20, 200, 5000])
    request.body = chance.choice(
        [b"", b"[]", b"null", b'"x"', b"1" * 5000, b"[" * deep, b'{"a":' * deep + b"1" + b"}" * deep, b"\xff\xfe{}",
         b"\xef\xbb\xbf{}", request.body + request.body, request.body[: len(request.body) // 2],
         request.body[:-1] + b', "userId": "x"}', chance.randbytes(200), b" " * 70_000 + request.body]
    )  # fmt: skip


def change_type(chance: random.Random, request: Request) -> None:
    request.content_type = chance.choice(TYPES)


def change_method(chance: random.Random, request: Request) -> None:
    request.method = chance.choice(METHODS)


def change_headers(chance: random.Random, request: Request) -> None:
    name, value = chance.choice(ODD_HEADERS)
    request.headers[name] = value


def change_path(chance: random.Random, request: Request) -> None:
    how = chance.randrange(4)
    parts = request.path.split("/")
    at = min(chance.randrange(3, 7), len(parts) - 1)
    if how == 0:
        parts[at] = chance.choice(
            ["%00", "%2e%2e", "%ff", "x" * 300, "f" * 24, "F" * 24, "é", " ", "'", "%", "{}", "*"]
        )
    elif how == 1:
        parts.insert(at, chance.choice(["", ".", "..", "calls", "%2f"]))
    elif how == 2:
        parts[at] += chance.choice(["/", ".json", "%0a", ";x=1", "0"])
    else:
        parts = parts[:at]
    request.path = "/".join(parts)


def change_query(chance: random.Random, request: Request) -> None:
    names = ["cursor", "limit", "status", "direction", "from", "to", "userId", "integration", "health", "q", "", "a[]"]
    pairs = (f"{chance.choice(names)}={chance.choice([*map(quoted, NASTY), '%', '%zz', '&', '='])}" for _ in range(3))
    request.query = "&".join(pairs)


def quoted(value: Any) -> str:
    return quote(str(value)[:300].encode("utf-8", "replace"))


CHANGES: list[Callable[[random.Random, Request], None]] = [
    change_value, change_value, change_value, change_bytes, change_whole_body, change_type, change_method,
    change_headers, change_path, change_query,
]  # fmt: skip


def good_requests(tenant: Tenant, good: Good) -> list[tuple[str, str, Any]]:
    """One of each kind that would be answered with 2xx; credentials are the canary, which the carrier refuses."""
    phone, call, recording = PhoneNumber.objects.get(), Call.objects.get(), Recording.objects.get()
    new = good.body(tenant.user, phoneNumber=good.another, authToken=CANARY, onConflict="replace")
    listed = {"integration": good.integration, "authToken": CANARY, "accSId": good.acc_sid}
    changes = {
        "label": "x",
        "inbound": {"action": "forward", "forwardTo": "12125550001", "greeting": "", "record": True},
    }
    return [
        ("POST", "/api/call/add-phone", new),
        ("POST", "/api/call/add-phone", new | {"phoneNumber": good.not_owned, "publicKey": "x"}),
        ("POST", "/api/call/available-phones", listed),
        ("GET", "/api/call/phones", None),
        ("GET", f"/api/call/phones/{phone.pk}", None),
        ("PATCH", f"/api/call/phones/{phone.pk}", changes),
        ("PATCH", f"/api/call/phones/{phone.pk}", {"authToken": CANARY}),
        ("POST", f"/api/call/phones/{phone.pk}/check", {"repair": False}),
        ("GET", f"/api/call/phones/{phone.pk}/calls", None),
        ("DELETE", f"/api/call/phones/{'0' * 24}", None),
        ("GET", "/api/call/calls", None),
        ("GET", f"/api/call/calls/{call.pk}", None),
        ("GET", f"/api/call/recordings/{recording.pk}/media", None),
    ]


@pytest.fixture
def known(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> list[tuple[str, str, Any]]:
    """A workspace with a number, a call and a recording."""
    assert add(tenant, carrier.body(tenant.user)).status_code == 201
    account, line = Account.objects.get(), PhoneNumber.objects.get().line
    call = Call.objects.create(account=account, line=line, carrier_id="CA-1", started_at="2026-01-01T00:00Z")
    Recording.objects.create(account=account, call=call, carrier_id="RE-1", created_at="2026-01-01T00:00Z")
    return good_requests(tenant, carrier)


@pytest.mark.parametrize("part", range(PARTS))
def test_good_requests_that_were_changed(
    known: list[tuple[str, str, Any]], tenant: Tenant, carrier: Good, tally: Tally, part: int
) -> None:
    seed = f"{os.environ.get('SEED', '')}{carrier.integration}{part}"
    chance, client = random.Random(seed), Client(raise_request_exception=False)
    for number in range(CHANGED_IN_A_PART // len(CARRIERS)):
        method, path, body = chance.choice(known)
        request = Request(method, path, body, tenant.token)
        for change in chance.choices(CHANGES, k=chance.randint(1, 3)):
            change(chance, request)
        try:
            is_api = request.path.startswith("/api/")
            judge(request.send(client), tenant, tally, method=request.method, is_api=is_api)
        except BaseException as error:
            error.add_note(f"SEED={seed!r}, number {number}: {vars(request)}")
            raise


@pytest.mark.parametrize("part", range(PARTS // 4))
def test_pages_of_the_desk_whatever_is_typed(
    sandbox: Sandbox, tenant: Tenant, supervisor: User, tally: Tally, part: int
) -> None:
    """What staff and their browsers may send: any field, any address, any query."""
    chance, client = random.Random(part), sign_in(supervisor)
    client.raise_request_exception = False
    pages = [
        "/admin/", "/admin/phones/phonenumber/", "/admin/phones/phonenumber/add/", "/admin/phones/import/",
        "/admin/phones/import/add/", "/admin/users/auditentry/", "/admin/users/user/", "/admin/users/workspace/",
        "/admin/users/apitoken/", "/admin/users/apitoken/add/", f"/admin/phones/phonenumber/{'0' * 24}/change/",
    ]  # fmt: skip
    fields = ["user", "number", "integration", "auth_token", "account_id", "action", "label", "forward_to", "q", "p", "o",
              "health", "workspace", "expires_at", "created_at__gte", "e", "all", "_selected_action", "index"]  # fmt: skip
    words = [one for one in NASTY if isinstance(one, str) and "\ud800" not in one]
    for _ in range(CHANGED_IN_A_PART // 4):
        sent = {name: chance.choice([*words, CANARY]) for name in chance.sample(fields, 5)}
        sent["auth_token"] = CANARY
        page = chance.choice(pages)
        if chance.random() < 0.5:
            sent.pop("auth_token")
            reply = client.get(page, {name: value for name, value in sent.items() if value != CANARY})
        else:
            reply = client.post(page, sent | ({"label": ""} if sent.get("label") == CANARY else {}))
        tally("bad inputs tried")
        body = reply.content.decode("utf-8", "replace")
        tally("bad inputs answered with 5xx", int(reply.status_code >= 500))
        assert reply.status_code < 500, (page, sent)
        assert f'name="auth_token" value="{CANARY}"' not in body


def test_the_judge_finds_what_is_wrong(tenant: Tenant) -> None:
    """Each rule once, with a reply that breaks it."""
    envelope = dict(zip(ENVELOPE, ["m", False, 400, "Because.", {"error": "x", "field": None}], strict=True))
    judge(JsonResponse(envelope, status=400), tenant, lambda *_: None)
    for bad in (
        JsonResponse(envelope, status=404),
        JsonResponse(envelope | {"code": 500}, status=500),
        JsonResponse({"detail": "no"}, status=400),
        HttpResponse("<h1>no</h1>", status=404),
        JsonResponse(envelope | {"errorMessage": f"{CANARY} is wrong."}, status=400),
        JsonResponse(envelope, status=400, headers={"X": tenant.token}),
    ):
        with pytest.raises(AssertionError):
            judge(bad, tenant, lambda *_: None)
