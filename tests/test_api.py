"""The HTTP surface: replies to the letter, headers, crashes, and which of two faults is told."""

import json
import re
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from django.urls import get_resolver
from django.utils import timezone

from core.envelope import ERRORS
from core.rates import Rate
from phones.api.urls import urlpatterns as phone_urls
from phones.models import PhoneNumber
from sandbox.sandbox import Sandbox
from tests.support.api import ENVELOPE, add, post
from tests.support.carriers import TWILIO, Good
from tests.support.people import Tenant
from users.models import ApiToken

pytestmark = pytest.mark.django_db

PATH = "/api/call/add-phone"
OID = "[0-9a-f]{24}"


def error(reply: Any) -> str:
    return reply.json()["data"]["error"]


# -- the public page --------------------------------------------------------------------------------------------------


def test_an_added_number_is_told_to_the_letter(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> None:
    before = timezone.now()
    reply = add(tenant, carrier.body(tenant.user, phoneNumber=f"+{carrier.number}"))
    assert reply.status_code == 201, reply.content
    assert re.fullmatch(
        rf'{{"message": "Phone number added successfully", "status": true, "code": 201, "errorMessage": "", "data": '
        rf'{{"_id": "{OID}", "userId": "{tenant.user.pk}", "phoneNumber": "{carrier.number}", '
        rf'"integration": "{carrier.integration}", "createdAt": "\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}Z"}}}}',
        reply.content.decode(),
    )
    created_at = datetime.fromisoformat(reply.json()["data"]["createdAt"])
    assert before.timestamp() - 0.001 <= created_at.timestamp() <= timezone.now().timestamp()
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.headers["Cache-Control"] == "no-store"
    assert re.fullmatch("[0-9a-f]{32}", reply.headers["X-Request-ID"])


def test_the_same_number_again_is_refused_and_another_user_may_add_it(
    sandbox: Sandbox, tenant: Tenant, colleague: Tenant, carrier: Good
) -> None:
    assert add(tenant, carrier.body(tenant.user)).status_code == 201
    again = add(tenant, carrier.body(tenant.user, phoneNumber=f"+{carrier.number}"))
    assert (again.status_code, again.json()["data"]) == (400, {"error": "phone_exists", "field": "phoneNumber"})
    assert add(colleague, carrier.body(colleague.user)).status_code == 201


def test_no_token_is_told_how_to_send_one(sandbox: Sandbox, tenant: Tenant) -> None:
    reply = post(PATH, TWILIO.body(tenant.user), None)
    assert reply.status_code == 401
    assert reply.headers["WWW-Authenticate"] == "Bearer"
    assert reply.json()["data"] == {"error": "not_authenticated", "field": None}
    assert sandbox.ledger == []


def test_another_workspaces_user_is_as_unknown_as_one_that_does_not_exist(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant
) -> None:
    replies = [add(tenant, TWILIO.body(tenant.user, userId=pk)) for pk in (other_tenant.user.pk, "f" * 24)]
    assert [reply.status_code for reply in replies] == [404, 404]
    assert replies[0].content == replies[1].content
    assert sandbox.ledger == []


def test_an_id_in_upper_case_is_answered_in_lower_case(sandbox: Sandbox, tenant: Tenant) -> None:
    reply = add(tenant, TWILIO.body(tenant.user, userId=tenant.user.pk.upper()))
    assert reply.json()["data"]["userId"] == tenant.user.pk


# -- when something breaks --------------------------------------------------------------------------------------------


def broken(error: BaseException) -> Callable[..., Any]:
    def breaks(*args: Any, **kwargs: Any) -> Any:
        raise error

    return breaks


@pytest.mark.parametrize(
    "error_raised",
    [RuntimeError("secret-detail"), KeyError("x"), RecursionError(), MemoryError(), OperationalError("disk")],
)
def test_a_crash_is_an_envelope_and_a_log_line(
    sandbox: Sandbox,
    tenant: Tenant,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error_raised: Exception,
) -> None:
    monkeypatch.setattr("phones.api.views.add_phone", broken(error_raised))
    reply = add(tenant, TWILIO.body(tenant.user))
    assert reply.status_code == 500
    assert reply.json()["data"] == {"error": "internal_error", "field": None}
    assert reply.json()["message"] == "Internal error"
    assert "secret-detail" not in reply.content.decode()
    assert "X-Request-ID" in reply.json()["errorMessage"] and reply.headers["X-Request-ID"]
    (record,) = [one for one in caplog.records if one.levelname == "ERROR"]
    assert record.exc_info and record.exc_info[1] is error_raised


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize(
    "where",
    ["users.authentication.find_token", "users.limits.spend", "rest_framework.views.APIView.initialize_request"],
)
def test_whatever_breaks_the_reply_is_an_envelope(
    tenant: Tenant, settings: Any, monkeypatch: pytest.MonkeyPatch, where: str, debug: bool
) -> None:
    settings.DEBUG = debug
    monkeypatch.setattr(where, broken(OperationalError("unable to open database file")))
    reply = add(tenant, {})
    assert reply.status_code == 500
    assert reply.json()["data"] == {"error": "internal_error", "field": None}
    assert "unable" not in reply.content.decode()


def test_every_code_has_a_status_and_a_sentence() -> None:
    assert {status for status, _ in ERRORS.values()} == {400, 401, 404, 405, 409, 413, 415, 416, 422, 429, 500}
    assert all(sentence and sentence[0].isupper() for _, sentence in ERRORS.values())


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"])
def test_every_address_under_the_api_answers_in_the_envelope(tenant: Tenant, method: str) -> None:
    """Also those that are added later."""
    client = Client(raise_request_exception=False, headers={"Authorization": f"Bearer {tenant.token}"})
    routes = [str(one.pattern) for one in get_resolver().url_patterns if str(one.pattern).startswith("api")]
    assert routes
    paths = [f"/{route}" for route in routes if "<" not in route]
    for path in [*paths, PATH, *(f"{path}/nothing" for path in paths), "/api", "/api/"]:
        if "webhooks" in path:
            continue  # they speak the carriers' language
        reply = client.generic(method, path, "{}", "application/json")
        if reply.status_code < 400:
            continue
        assert list(json.loads(reply.content)) == ["message", "status", "code", "errorMessage", "data"], path
        assert reply.headers["Cache-Control"] == "no-store" and reply.headers["X-Request-ID"]


METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW"]
# As bytes of a path: characters that no id has, and bytes that are no characters. Python's own normpath() ended at a
# NUL: https://github.com/python/cpython/issues/106242
ODD_IDS = [
    b"\x00", b"64e5f12345abcdef12345678\x00", b"\x01", b"\t", b"\r\nX-A: b", b"64e5f12345abcdef12345678\n", b"\x7f", b" ",
    b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\x80", b"\xc2\x85", "\u200b".encode(), "\u0660".encode() * 24, b"..", b"%00", b"a" * 5000,
]  # fmt: skip
ODD_PATHS = [
    b"//api", b"//api/", b"///api/call/phones", b"//api//call/phones", b"/api//call/phones", b"/api/call//phones",
    b"//api/call/add-phone", b"//api/schema", b"//api/docs", b"/./api/call/phones", b"/x/../api/call/phones", b"/api/./call/phones",
    b"/api/../api/call/phones", b"/api/call/phones/", b"/api/call/", b"/api", b"/api/", b"/api/webhooks", b"/api/..", b"/api/\x00",
    b"/api/call\x00/phones", b"/api/\xff", b"/api/docs/", b"/api/call/phones;x=1", b"/api/call/phones\\", b"/api/CALL/phones",
    b"/admin/../api/call/phones", b"/admin/../api/call/add-phone", b"/admin/./../api", b"/admin/login/../../api/docs",
    b"/healthz/../api/call/phones", b"/metrics/../api/schema", b"/admin//../api/call/me",
]  # fmt: skip


def ask(path: bytes, method: str, token: str) -> Any:
    client = Client(raise_request_exception=False, enforce_csrf_checks=True)
    return client.generic(
        method, "/", "{}", "application/json",
        headers={"Authorization": f"Bearer {token}"}, PATH_INFO=path.decode("latin-1"),
    )  # fmt: skip


def assert_envelope(reply: Any, *statuses: int, method: str) -> None:
    assert reply.status_code in statuses, reply.content
    assert reply.headers["Content-Type"] == "application/json" and "Location" not in reply.headers
    assert reply.headers["Cache-Control"] == "no-store" and reply.headers["X-Request-ID"]
    if method != "HEAD":
        envelope = reply.json()
        assert list(envelope) == ENVELOPE and envelope["code"] == reply.status_code
        assert envelope["data"]["error"] == {404: "not_found", 405: "method_not_allowed"}[reply.status_code]


@pytest.mark.parametrize("path", ODD_PATHS)
def test_a_path_that_is_almost_the_apis_is_not_found_in_the_envelope(tenant: Tenant, path: bytes) -> None:
    for method in METHODS:
        assert_envelope(ask(path, method, tenant.token), 404, method=method)


@pytest.mark.parametrize("id", ODD_IDS)
def test_what_is_no_id_is_not_found_in_the_envelope(tenant: Tenant, unlimited: None, id: bytes) -> None:
    for route in (str(one.pattern) for one in phone_urls):
        if "<str:id>" in route:
            path = b"/api/call/" + route.encode().replace(b"<str:id>", id)
            replies = {method: ask(path, method, tenant.token) for method in METHODS}
            for method, reply in replies.items():
                assert_envelope(reply, 404, 405, method=method)
            assert 404 in {reply.status_code for reply in replies.values()}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", ["/api/schema", "/api/docs"])
def test_the_documentation_is_only_read(path: str, method: str) -> None:
    reply = ask(path.encode(), method, "")
    if method in ("GET", "HEAD"):
        assert reply.status_code == 200
    else:
        assert_envelope(reply, 405, method=method)


def test_a_name_that_an_address_does_not_know_is_refused(
    sandbox: Sandbox, tenant: Tenant, phone: PhoneNumber, unlimited: None
) -> None:
    """In the query string of every address and in each body; but add-phone's public page lets clients send more."""
    client = Client(raise_request_exception=False, headers={"Authorization": f"Bearer {tenant.token}"})
    for route in phone_urls:
        path = f"/api/call/{route.pattern}".replace("<str:id>", phone.pk)
        if path == PATH:
            continue
        for method in route.callback.view_class.http_method_names:  # type: ignore[attr-defined]
            asked = {f"{path}?nonsense=1": "{}"}
            if method not in ("get", "delete"):
                asked[path] = '{"nonsense": 1}'
            for address, body in asked.items():
                reply = client.generic(method, address, body, "application/json")
                assert reply.status_code == 400, (method, address, reply.content)
                assert reply.json()["data"] == {"error": "invalid_field", "field": "nonsense"}
                assert "nonsense: this name is not known here." in reply.json()["errorMessage"]
    assert PhoneNumber.objects.get().state == PhoneNumber.State.ACTIVE


def test_a_query_string_is_judged_after_media_type_and_json(sandbox: Sandbox, tenant: Tenant, unlimited: None) -> None:
    assert add(tenant, TWILIO.body(tenant.user)).status_code == 201
    client = Client(raise_request_exception=False, headers={"Authorization": f"Bearer {tenant.token}"})
    number = f"/api/call/phones/{PhoneNumber.objects.get().pk}"
    for media_type, body, code in (
        ("text/plain", "{}", "unsupported_media_type"),
        ("application/json", "{", "invalid_json"),
        ("application/json", "{}", "invalid_field"),
    ):
        for method, address in (
            ("POST", "/api/call/available-phones"),
            ("POST", f"{number}/check"),
            ("PATCH", number),
        ):
            reply = client.generic(method, f"{address}?x=1", body, media_type)
            assert error(reply) == code, (method, address, reply.content)
    for method, address in (("GET", number), ("DELETE", number), ("POST", f"{number}/check")):
        reply = client.generic(method, f"{address}?x=1")
        assert reply.json()["data"] == {"error": "invalid_field", "field": "x"}, method
        assert "This address takes no query parameters." in reply.json()["errorMessage"]
    assert "A name is empty." in client.get(f"{number}?=1").json()["errorMessage"]
    assert PhoneNumber.objects.get().state == PhoneNumber.State.ACTIVE


def test_add_phone_ignores_names_that_it_does_not_know(sandbox: Sandbox, tenant: Tenant) -> None:
    body = TWILIO.body(tenant.user, nonsense=1, Label="x", _id="64e5f12345abcdef12345678")
    reply = post(f"{PATH}?nonsense=1", body, tenant.token)
    assert reply.status_code == 201, reply.content
    assert reply.json()["data"]["_id"] != body["_id"]


@pytest.mark.parametrize("path", ["/nothing", "/API", "/apis", "/api-docs", "/x/api/call/phones", "//"])
def test_what_is_outside_the_api_has_no_envelope(tenant: Tenant, path: str) -> None:
    reply = ask(path.encode(), "GET", "")
    assert reply.status_code == 404
    assert "html" in reply.headers["Content-Type"]
    assert reply.headers["X-Request-ID"]


@pytest.mark.parametrize("path", [PATH, "/api/nothing", "/api/schema"])
def test_a_host_that_is_not_ours_is_refused(path: str) -> None:
    reply = Client(raise_request_exception=False).get(path, headers={"Host": "evil.example"})
    assert reply.status_code == 400
    assert error(reply) == "bad_host"


def test_the_last_use_of_a_token_is_noted_to_the_minute(tenant: Tenant) -> None:
    add(tenant, {})
    first = ApiToken.objects.get().last_used_at
    assert first is not None
    add(tenant, {})
    assert ApiToken.objects.get().last_used_at == first


# -- the order of the checks ------------------------------------------------------------------------------------------

# Each is one fault in a request; the first of a pair must be the one that is told.
FAULTS: dict[str, dict[str, Any]] = {
    "body_too_large": {"environ": {"CONTENT_LENGTH": "99999"}},
    "not_authenticated": {"token": "nonsense"},
    "throttled": {"limits": {"requests": 1}},
    "method_not_allowed": {"method": "PUT"},
    "unsupported_media_type": {"media": "text/plain"},
    "invalid_json": {"raw": "{"},
    "invalid_user_id userId": {"fields": {"userId": "x"}},
    "invalid_phone_number phoneNumber": {"fields": {"phoneNumber": "x"}},
    "invalid_field integration": {"fields": {"integration": "x"}},
    "invalid_field authToken": {"fields": {"authToken": "a b"}},
    "invalid_field accSId": {"fields": {"accSId": "a b"}},
    "user_not_found userId": {"fields": {"userId": "f" * 24}},
    "phone_exists phoneNumber": {"added": True},
    "throttled ": {"limits": {"refused_credentials": 1}, "refused": True},
    "invalid_credentials authToken": {"fields": {"authToken": "wrong"}},
}
NAMES = list(FAULTS)


def send_with(tenant: Tenant, settings: Any, *names: str) -> Any:
    """Send one request that has all these faults, the state that they need brought about before."""
    faults = [FAULTS[name] for name in names]
    if any("added" in fault for fault in faults):
        assert add(tenant, TWILIO.body(tenant.user)).status_code == 201
    counts = {name: count for fault in faults for name, count in fault.get("limits", {}).items()}
    settings.LIMITS = settings.LIMITS | {name: Rate(count, 86400) for name, count in counts.items()}
    if any("refused" in fault for fault in faults):
        guess = TWILIO.body(tenant.user, phoneNumber=TWILIO.another, authToken="another-guess")
        assert error(add(tenant, guess)) == "invalid_credentials"
    if "requests" in counts:
        add(tenant, {})
    body = TWILIO.body(tenant.user)
    merged: dict[str, Any] = {}
    for fault in reversed(faults):
        body |= fault.get("fields", {})
        merged |= fault
    if len(faults) > 1 and faults[0].get("fields", {}).keys() & faults[1].get("fields", {}).keys():
        body |= faults[0]["fields"]
    return Client(raise_request_exception=False).generic(
        merged.get("method", "POST"),
        PATH,
        merged.get("raw", json.dumps(body)),
        merged.get("media", "application/json"),
        headers={"Authorization": f"Bearer {merged.get('token', tenant.token)}"},
        **merged.get("environ", {}),
    )


def told(reply: Any) -> str:
    data = reply.json()["data"]
    return f"{data['error']} {data['field'] or ''}"


@pytest.mark.parametrize("name", NAMES)
def test_each_fault_alone_is_told(sandbox: Sandbox, tenant: Tenant, settings: Any, name: str) -> None:
    assert told(send_with(tenant, settings, name)).strip() == name.strip()


PAIRS = [pair for pair in pairwise(NAMES) if pair != ("phone_exists phoneNumber", "throttled ")]  # has its own test


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_of_two_faults_the_earlier_check_is_told(
    sandbox: Sandbox, tenant: Tenant, settings: Any, first: str, second: str
) -> None:
    assert told(send_with(tenant, settings, first, second)).strip() == first.strip()


def test_a_number_that_exists_is_told_before_the_limit_of_guesses(
    sandbox: Sandbox, tenant: Tenant, settings: Any
) -> None:
    assert add(tenant, TWILIO.body(tenant.user)).status_code == 201
    settings.LIMITS = settings.LIMITS | {"refused_credentials": Rate(1, 86400)}
    guess = TWILIO.body(tenant.user, phoneNumber=TWILIO.another, authToken="guess")
    assert error(add(tenant, guess)) == "invalid_credentials"
    assert error(add(tenant, guess)) == "throttled"
    assert error(add(tenant, guess | {"phoneNumber": TWILIO.number})) == "phone_exists"


def test_a_missing_account_id_is_told_before_the_optional_fields(tenant: Tenant) -> None:
    reply = add(tenant, TWILIO.body(tenant.user, accSId=None, onConflict="x", publicKey="x"))
    assert told(reply) == "invalid_field accSId"


def test_with_everything_wrong_the_faults_are_told_one_after_the_other(sandbox: Sandbox, tenant: Tenant) -> None:
    """Mend one field after the other, as a client would."""
    body: dict[str, Any] = {
        "userId": 1,
        "phoneNumber": 1,
        "integration": 1,
        "authToken": 1,
        "accSId": 1,
        "onConflict": 1,
    }
    seen = []
    for name, good in TWILIO.body(tenant.user, onConflict="replace").items():
        seen.append(add(tenant, body).json()["data"]["field"])
        body[name] = good
    assert seen == ["userId", "phoneNumber", "integration", "authToken", "accSId", "onConflict"]
    assert add(tenant, body).status_code == 201
