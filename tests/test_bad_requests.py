"""Requests that must be refused, or just about must not: the shared samples, and siblings of each of them.

`samples/bad-requests.json` is a copy of the contract's own file; its keys are explained there. What only a real HTTP
server can show is sent to one by hand.
"""

import base64
import datetime
import hashlib
import http.server
import itertools
import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.apps import apps
from django.contrib.sessions.backends.db import SessionStore
from django.test import Client
from django.utils import timezone

from core.fields import new_object_id
from core.rates import Rate
from phones.reconciling import reconcile
from sandbox import state as seeds
from sandbox.sandbox import Sandbox
from tests.support import SAMPLES
from tests.support.api import ENVELOPE, add
from tests.support.carriers import PLIVO, TELNYX, TWILIO
from tests.support.people import Tenant, new_tenant
from tests.support.state import settle
from users.models import ApiToken, User

pytestmark = pytest.mark.django_db

PATH = "/api/call/add-phone"
BAD_REQUESTS = json.loads((SAMPLES / "bad-requests.json").read_text())
BODY = {
    "userId": "{{USER}}",
    "phoneNumber": TWILIO.number,
    "integration": "twilio",
    "authToken": "{{GOOD_AUTH}}",
    "accSId": "{{GOOD_SID}}",
}
MISSING = object()


# -- siblings of the samples ------------------------------------------------------------------------------------------


def case(name: str, status: int, error: str | None = None, /, **changes: Any) -> dict[str, Any]:
    """A case like those of the file; whatever is not given is that of a good request. `error` is its machine code."""
    return {
        "name": name,
        "method": "POST",
        "headers": {"Authorization": "Bearer {{TOKEN}}"} | changes.pop("headers", {}),
        "content_type": "application/json",
        "body": BODY,
        "body_encoding": "json",
        "expect_status": status,
        "expect_error_contains": None,
        "expect_code": error,
    } | changes


def with_field(name: str, value: Any) -> dict[str, Any]:
    return {key: item for key, item in (BODY | {name: value}).items() if item is not MISSING}


def text(member: str) -> str:
    """The good body with one more member, as it is written on the wire."""
    return json.dumps(BODY)[:-1] + "," + member + "}"


def nested(levels: int) -> str:
    """A good body that is this deep in all."""
    return text('"x":' + "[" * (levels - 1) + "]" * (levels - 1))


def raw(name: str, body: str | bytes, *, status: int = 400, error: str | None = "invalid_json", **more: Any) -> Any:
    if isinstance(body, bytes):
        return case(name, status, error, body=base64.b64encode(body).decode(), body_encoding="base64", **more)
    return case(name, status, error, body=body, body_encoding="raw", **more)


def sized(total: int) -> bytes:
    """A good body of exactly so many bytes. Its placeholders are of the size of what they stand for."""
    base = json.dumps(BODY | {"userId": "u" * 24, "accSId": TWILIO.acc_sid, "authToken": TWILIO.auth_token})
    padded = text('"x":"' + "a" * (total - len(base) - len(',"x":""')) + '"')
    return padded.encode()


WRONG_TYPES = [None, True, False, 0, 12125551234, 1.5, [], ["x"], {}, {"$ne": None}, {"$oid": "x"}]
BLANKS = ["", " ", "\t", "\n", "\u00a0", "\u2003", " \r\n "]
BAD_IDS = [
    "64e5f12345abcdef1234567", "64e5f12345abcdef123456789", "64e5f12345abcdef1234567g", " 64e5f12345abcdef12345678",
    "64e5f12345abcdef12345678 ", "64e5f12345abcdef12345678\n", "0x64e5f12345abcdef123456", "６4e5f12345abcdef12345678",
    "64e5f12345abcdef1234567٣", "-4e5f12345abcdef12345678", "64e5f123-45abcdef12345678", "ObjectId(64e5f12345abcde)",
    "64e5f12345abcdef1234567\u0000", "64e5f12345abcdef1234567\ud800", "%36%34e5f12345abcdef12345", "' OR 1=1 --",
    "{{USER}}\n", " {{USER}}", "{{USER}} ", "{{USER}}\u0000", "{{USER}},{{USER2}}", "../{{USER}}", "a" * 5000,
]  # fmt: skip
BAD_NUMBERS = [
    "1.2125551234e10", "12125551234.0", ".12125551234", "1/212/555/1234", "1,212,555,1234", "1;2125551234", "12125551234x1",
    "12125551234;ext=1", "tel:+12125551234", "tel:12125551234", "+", "-", "()", "+ ", "2125551234", "5551234", "15551234",
    "0012125551234", "01112125551234", "+012125551234", "1212555123", "121255512345", "12125551234,12125551235",
    "１２１２５５５１２３４", "१२१२५५५१२३४", "۱۲۱۲۵۵۵۱۲۳۴", "𝟏𝟐𝟏𝟐𝟓𝟓𝟓𝟏𝟐𝟑𝟒", "1212555123④", "1212555123½", "1212555123Ⅳ",
    "\u200b12125551234", "12125551234\u200f", "\ufeff12125551234", "1\u00a02125551234", "1\u20112125551234", "1–2125551234",
    "12125551234\r", "12125551234\r\nX: y", "1\t2125551234", "1\x0b2125551234", "12125551234\x7f", "\x0012125551234",
    "+1+2125551234", "12125551234+", "=12125551234", "'12125551234", "1e10", "0x2D2C9A5D2", "1_2125551234", "Infinity",
    "%2B12125551234", "12125551234?x=1", "12125551234%00", "112", "999", "000", "1" * 16, "4" * 41, "12125551234 " * 4,
    "12125551234\ud83d", "{{TOKEN}}", "null", "nan", "-12125551234", "1 2 1 2 5 5 5 1 2 3 4 5 6 7 8 9 0",
]  # fmt: skip
BAD_SIDS = [
    "AC1/..", "AC1?x", "AC1#x", "AC1%00", "AC1\u0000", "AC1\n", "\nAC1", "AC1\r\nX: y", "AC1@evil.example", "AC1\\", "AC1'",
    'AC1"', "AC1;", "AC1,", "AC1 ", " AC1", "AC1\t", "A" * 65, "AС1", "AC①", "AC\u0661", "AC1\ud800", "{{GOOD_SID}}/",
    "{{GOOD_SID}}\n", "{{GOOD_SID}} ", "*", "$where", "AC1|x", "<AC1>", "é",
]  # fmt: skip
BAD_TOKENS = [
    "a b", " {{GOOD_AUTH}}", "{{GOOD_AUTH}} ", "{{GOOD_AUTH}}\n", "{{GOOD_AUTH}}\r\nHost: evil", "\u0000", "abc\u0000",
    "é", "Ключ", "\u00a0abc", "abc\u200b", "a" * 513, "\x7f", "\x1b[31m", "ab\udfff", "🔑", "a\tb", "ａｂｃ",
]  # fmt: skip
BAD_INTEGRATIONS = [
    "Twilio", "TWILIO", " twilio", "twilio\n", "twilio\u0000", "ｔｗｉｌｉｏ", "twílio", "telnyx,twilio", "bandwidth",
    "__class__", "integrations.twilio", "sandbox", "twilio\ud800", "0", "null", "t" * 5000,
]  # fmt: skip
METHODS = ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "FOO", "PROPFIND", "TRACE"]
OTHER_PATHS = [
    "/api", "/api/", "/api/call", "/api/call/", "/api/call/add-phone/", "/api/call/add-phone//", "/api/call/Add-Phone",
    "/api/call//add-phone", "/api/./call/add-phone", "/api/call/../call/add-phone", "/api/call/add-phone.json", "/api/v1/x",
    "/api/call/add-phone%00", "/api/call/add-phone%0a", "/api/call/add-phone%20", "/api/call/add-phone;x=1", "/api/%ff",
    "/api/webhook", "/api/call/add_phone", "/api/" + "a" * 2000, "/api/call/phone\u0435s", "/api/schema/", "/api/docs/",
]  # fmt: skip
MEDIA_TYPES = [
    "text/plain", "text/json", "application/json+x", "application/jsonp", "application/ld+json", "application/x-json",
    "application/json-patch+json", "application/octet-stream", "*/*", "application/*", "json", ";", "application/xml",
    "application/json, text/plain", "application/json; charset=utf-16", "application/json; charset=latin-1",
    "application/json; charset=utf-7", "application/json; charset=unknown-9", "application/json; charset=zlib",
    "application/json; charset=base64", "application/json; charset=idna", "application/json; charset=utf-8-sig",
    "multipart/form-data", "application/json; charset=''", "applicаtion/json", "application/graphql",
]  # fmt: skip
GOOD_MEDIA_TYPES = [
    "application/json", "Application/JSON", "application/json;charset=UTF-8", 'application/json; charset="utf-8"',
    "application/json; charset=utf8", "application/json;", "application/json; version=1", " application/json",
]  # fmt: skip
BAD_AUTHORIZATIONS = [
    "", " ", "Bearer", "bearer", "Bearer  {{TOKEN}}", "Bearer\t{{TOKEN}}", "{{TOKEN}}", "Basic {{TOKEN}}", "JWT {{TOKEN}}",
    "Bearer {{TOKEN}}x", "Bearer {{TOKEN}}=", "Bearer {{TOKEN}},{{TOKEN}}", "Bearer {{TOKEN}}, Bearer {{TOKEN}}",
    "Bearer {{TOKEN_SWAPCASE}}", "Bearer {{TOKEN_SHA256_HEX}}", "Bearer {{EXPIRED_TOKEN}}", "Bearer {{REVOKED_TOKEN}}",
    "Bearer {{INACTIVE_WS_TOKEN}}", "Bearer {{STAFF_SESSION}}", 'Bearer "{{TOKEN}}"', "Bearer: {{TOKEN}}", "Bearer={{TOKEN}}",
    "Bearer null", "Bearer undefined", "Bearer *", "Bearer é", "Bearer \xff\xfe", "Bearer " + "a" * 512, "Bearer %00",
    "xBearer {{TOKEN}}", "Bearer{{TOKEN}}", "Basic dXNlcjpwYXNz", "Digest x", "Bearer {{GOOD_AUTH}}", "Bearer {{USER}}",
]  # fmt: skip
BAD_JSON: dict[str, str | bytes] = {
    "empty": "", "blank-line": "\n", "word": "hello", "single-quotes": str(BODY), "trailing-comma": text('"x":1,'),
    "comment": json.dumps(BODY) + "// x", "block-comment": "/* x */" + json.dumps(BODY), "nan": text('"x":NaN'),
    "minus-infinity": text('"x":-Infinity'), "nan-deep": text('"x":[[NaN]]'), "plus-number": text('"x":+1'),
    "hex": text('"x":0x10'), "point-first": text('"x":.5'), "point-last": text('"x":1.'), "exponent": text('"x":1e'),
    "minus-zero-one": text('"x":-01'), "python-true": text('"x":True'), "python-none": text('"x":None'),
    "undefined": text('"x":undefined'), "bad-escape": text('"x":"\\q"'), "short-u": text('"x":"\\u12"'),
    "raw-tab": text('"x":"\t"'), "raw-nul": text('"x":"\x00"'), "escaped-newline": text('"x":"\\\n"'), "unclosed": text('"x":"')[:-1],
    "missing-colon": '{"userId" "x"}', "missing-value": '{"userId":}', "only-brace": "{", "only-bracket": "[", "close": "}",
    "duplicate-user": text('"userId":"{{USER}}"'), "duplicate-same": text('"x":1,"x":1'), "duplicate-empty": text('"":1,"":2'),
    "duplicate-deep": text('"x":{"a":1,"a":2}'), "duplicate-in-list": text('"x":[{"a":[{"b":1,"b":1}]}]'),
    "duplicate-escaped": text('"user\\u0049d":"{{USER}}"'), "duplicate-unknown": text('"x":1,"y":2,"x":3'),
    "lone-surrogate-twice": text('"\\ud800":1,"\\ud800":2'), "bom": b"\xef\xbb\xbf" + json.dumps(BODY).encode(),
    "utf-16": json.dumps(BODY).encode("utf-16"), "utf-16-le": json.dumps(BODY).encode("utf-16-le"),
    "utf-32": json.dumps(BODY).encode("utf-32"), "latin-1": text('"x":"é"').encode("latin-1"), "cut-utf-8": b'{"x":"\xc3"}',
    "overlong": b'{"x":"\xc0\xaf"}', "surrogate-bytes": b'{"x":"\xed\xa0\x80"}', "ff": b"\xff\xfe", "nul-only": b"\x00" * 10,
    "gzip": b"\x1f\x8b\x08\x00", "trailing-nul": json.dumps(BODY).encode() + b"\x00", "form-feed": json.dumps(BODY) + "\f",
    "nbsp": json.dumps(BODY) + "\u00a0", "line-separator": "\u2028" + json.dumps(BODY), "two": "{} {}", "lines": "{}\n{}",
    "array": "[]", "array-of-bodies": json.dumps([BODY]), "string": '"x"', "number": "1", "null": "null", "false": "false",
    "deep-arrays": "[" * 8000 + "]" * 8000, "deep-unclosed": "[" * 16000, "deep-objects": '{"a":' * 3000, "deep-17": nested(17),
    "deep-18": nested(18), "deep-in-field": '{"userId":' + "[" * 16 + "]" * 16 + "}", "deep-after-quote": '{"a":"\\\\",' + '"b":' + "[" * 20,
    "quotes": '"' + '\\"' * 8000, "brackets-and-quotes": '["' * 4000, "big-int": text('"x":' + "9" * 4301),
    "big-negative": text('"x":-' + "9" * 5000), "dup-500": "{" + ",".join('"a":1' for _ in range(500)) + "}",
}  # fmt: skip
GOOD_JSON = {
    "spaces-around": "\r\n\t " + json.dumps(BODY) + " \r\n", "exactly-16-deep": nested(16), "unknown-null": text('"x":null'),
    "minus-zero": text('"x":-0'), "huge-exponent": text('"x":1e999'), "tiny": text('"x":1e-999'),
    "long-int": text('"x":' + "9" * 4000), "lone-surrogate-in-unknown": text('"x":"\\ud800"'), "emoji-key": text('"🔑":1'),
    "surrogate-key": text('"\\ud800":1'), "nul-escape": text('"x":"\\u0000"'), "same-key-apart": text('"x":{"a":1},"y":{"a":1}'),
    "brackets-in-text": text('"x":"' + "[{" * 100 + '"'), "proto": text('"__proto__":{"isAdmin":true}'), "empty-key": text('"":1'),
    "escaped-names": json.dumps(BODY).replace('"userId"', '"\\u0075serId"'), "dollar": text('"$where":"sleep(1)"'),
    "case-twin": text('"userid":"x","PhoneNumber":"y"'), "normal-form-twin": text('"\u212b":1,"\u00c5":2'), "state": text('"state":"active"'),
    "id": text('"_id":"ffffffffffffffffffffffff","id":"x","pk":1'), "line": text('"line":1,"user":2,"workspace":"{{WS2}}"'),
}  # fmt: skip

SIBLINGS = [
    *[case(f"type-{name}-{json.dumps(value)}", 400, "invalid_field", body=with_field(name, value), field=name)
      for name in BODY for value in WRONG_TYPES],
    *[case(f"blank-{name}-{value!r}", 400, "invalid_field", body=with_field(name, value), field=name)
      for name in BODY for value in BLANKS],
    *[case(f"missing-{name}", 400, "invalid_field", body=with_field(name, MISSING), field=name) for name in BODY],
    *[case(f"id-{value[:30]!a}", 400, "invalid_user_id", body=with_field("userId", value), field="userId")
      for value in BAD_IDS],
    *[case(f"number-{value[:40]!a}", 400, "invalid_phone_number", body=with_field("phoneNumber", value), field="phoneNumber")
      for value in BAD_NUMBERS],
    *[case(f"sid-{value[:30]!a}", 400, "invalid_field", body=with_field("accSId", value), field="accSId")
      for value in BAD_SIDS],
    *[case(f"secret-{value[:30]!a}", 400, "invalid_field", body=with_field("authToken", value), field="authToken")
      for value in BAD_TOKENS],
    *[case(f"integration-{value[:30]!a}", 400, "invalid_field", body=with_field("integration", value), field="integration")
      for value in BAD_INTEGRATIONS],
    *[case(f"conflict-{value!r}", 400, "invalid_field", body=BODY | {"onConflict": value}, field="onConflict")
      for value in ["", "Replace", "keep", None, True, ["refuse"], "refuse "]],
    *[case(f"public-key-{str(value)[40:]!a}-{value!r:.5}", 400, "invalid_field", body=BODY | {"publicKey": value}, field="publicKey")
      for value in ["", "x", None, 1, "A" * 43, "A" * 43 + "-", "A" * 44 + "=", "A" * 43 + "=\n"]],
    *[case(f"method-{method}-body", 405, "method_not_allowed", method=method) for method in METHODS],
    *[case(f"method-{method}-bare", 405, "method_not_allowed", method=method, body=None, body_encoding="none")
      for method in METHODS],
    *[case(f"method-{method}-no-token", 401, "not_authenticated", method=method, headers={"Authorization": ""})
      for method in METHODS],
    *[case(f"path-{path[:40]}", 404, "not_found", path=path) for path in OTHER_PATHS],
    *[case(f"path-{path[:40]}-no-token", 404, "not_found", path=path, method="GET", headers={"Authorization": ""})
      for path in OTHER_PATHS],
    *[case(f"media-{media}", 415, "unsupported_media_type", content_type=media) for media in MEDIA_TYPES],
    *[case(f"media-ok-{media}", 201, content_type=media) for media in GOOD_MEDIA_TYPES],
    *[case(f"auth-{value[:30]!a}", 401, "not_authenticated", headers={"Authorization": value})
      for value in BAD_AUTHORIZATIONS],
    *[case(f"scheme-{scheme}", 201, headers={"Authorization": f"{scheme} {{{{TOKEN}}}}"})
      for scheme in ["Bearer", "BEARER", "bEaReR"]],
    *[raw(f"json-bad-{name}", body) for name, body in BAD_JSON.items()],
    *[raw(f"json-ok-{name}", body, status=201, error=None) for name, body in GOOD_JSON.items()],
    raw("size-16384", sized(16384), status=201, error=None),
    raw("size-16385", sized(16385), status=413, error="body_too_large"),
    raw("size-16385-no-token", sized(16385), status=413, error="body_too_large", headers={"Authorization": ""}),
    raw("size-16385-get", sized(16385), status=413, error="body_too_large", method="GET"),
    raw("size-16385-elsewhere", sized(16385), status=413, error="body_too_large", path="/api/nothing"),
    *[case(f"length-{value[:20]}-{len(value)}", 413, "body_too_large", headers={"Content-Length": value})
      for value in ["16385", "10737418240", "9" * 30, "9" * 5000, "-1", "abc", "1e3", "0x10", "0" * 20 + "99999", "+5"]],
    *[case(f"accept-{accept}", 201, headers={"Accept": accept})
      for accept in ["text/html", "application/xml", "*/*;q=0", "", "image/png", "application/json; version=9", "é"]],
    *[case(f"accept-refused-{accept}", 400, "invalid_field", headers={"Accept": accept}, body={})
      for accept in ["text/html", "application/xml", ""]],
    *[case(f"query-{query}", 201, path=f"{PATH}?{query}")
      for query in ["format=xml", "format=", "userId=x", "%00", "%ff=%fe", "a=" + "b" * 3000, "_method=DELETE"]],
    *[case(f"override-{header}", 201, headers={header: "GET"})
      for header in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"]],
    *[case(f"host-{host}", 400, "bad_host", headers={"Host": host})
      for host in ["evil.example", "localhost.evil.example", "localhost:abc", "localhost, evil", "[::2]", "lo calhost", "é"]],
    case("host-evil-no-token", 400, "bad_host", headers={"Host": "evil.example", "Authorization": ""}),
    case("forwarded-host", 201, headers={"X-Forwarded-Host": "evil.example"}),
    *[case(f"idempotency-key-{key!r:.20}", 400, "invalid_field", headers={"Idempotency-Key": key}, field="Idempotency-Key")
      for key in ["", " ", "a b", "é", "a" * 256, "\x00", "a\x7f"]],
    *[case(f"idempotency-ok-{key!r:.20}", 201, headers={"Idempotency-Key": key}) for key in ["a", "!~", "a" * 255]],
    case("userId-upper", 201, body=with_field("userId", "{{USER_UPPER}}")),
    *[case(f"number-ok-{number}", 201, body=with_field("phoneNumber", number))
      for number in ["+12125551234", "+1 (212) 555-1234", "1-212-555-1234", "(1)2125551234", " 12125551234 ", "1  212 555 1234",
                     "1.212.555.1234", "+1.212.555.1234", "(+1) 212 555 1234", " +12125551234", "+1-(212)-555.1234."]],
    *[case(f"user-{name}", 404, "user_not_found", body=with_field("userId", value), same_reply_as="userId-unknown", field="userId")
      for name, value in [("deleted", "{{DELETED_USER}}"), ("workspace-id", "{{WS2}}"), ("zero", "0" * 24), ("inactive", "{{INACTIVE_USER}}"),
                          ("staff", "{{STAFF_USER}}"), ("other-upper", "{{USER_WS2_UPPER}}")]],
    case("other-token-own-user", 404, "user_not_found", headers={"Authorization": "Bearer {{TOKEN_WS2}}"}, same_reply_as="userId-unknown"),
    case("cookie-only", 401, "not_authenticated", headers={"Authorization": "", "Cookie": "sessionid={{STAFF_SESSION}}"}),
    case("token-in-query", 401, "not_authenticated", headers={"Authorization": ""}, path=PATH + "?access_token={{TOKEN}}"),
    case("token-in-body", 401, "not_authenticated", headers={"Authorization": ""}, body=BODY | {"access_token": "{{TOKEN}}"}),
    case("telnyx-key-to-twilio", 400, "invalid_credentials", body=with_field("authToken", "{{GOOD_TELNYX}}"), field="authToken"),
    case("accSId-64", 400, "invalid_credentials", body=with_field("accSId", "A" * 64), field="authToken"),
    case("authToken-512", 400, "invalid_credentials", body=with_field("authToken", "!" * 512), field="authToken"),
    case("not-owned", 400, "number_not_owned", body=with_field("phoneNumber", TWILIO.not_owned), field="phoneNumber"),
    case("no-voice", 400, "number_not_usable", body=with_field("phoneNumber", "12125550004"), field="phoneNumber"),
    case("dup-spaced", 400, "phone_exists", body=with_field("phoneNumber", "+1 (212) 555-1234"), setup="number already active for {{USER}}"),
    case("dup-other-carrier", 400, "phone_exists", setup="number already active for {{USER}}",
         body=BODY | {"integration": "plivo", "accSId": PLIVO.acc_sid, "authToken": PLIVO.auth_token}),
    *[case(f"provider-{name}", status, error, setup=f"stub:{name}") for name, status, error in [
        ("401", 400, "invalid_credentials"), ("403", 400, "invalid_credentials"), ("404", 400, "invalid_credentials"),
        ("429", 500, "carrier_unavailable"), ("503", 500, "carrier_unavailable"), ("html", 500, "carrier_unavailable"),
        ("empty", 500, "carrier_unavailable"), ("truncated", 500, "carrier_unavailable"), ("slow", 500, "carrier_unavailable"),
        ("redirect", 500, "carrier_unavailable"), ("down", 500, "carrier_unavailable"), ("nonsense", 500, "carrier_unavailable"),
        ("closed-account", 400, "invalid_credentials"), ("config-400", 500, "webhook_setup_failed"), ("null-list", 500, "carrier_unavailable"),
        ("config-ignored", 500, "webhook_setup_failed"), ("config-reset", 500, "webhook_setup_failed"), ("no-numbers", 400, "number_not_owned"),
    ]],
    case("userId-unknown", 404, "user_not_found", body=with_field("userId", "{{UNKNOWN_USER}}"), field="userId"),
]  # fmt: skip
CASES = [one for one in BAD_REQUESTS if not one.get("raw_socket")] + SIBLINGS
BY_NAME = {one["name"]: one for one in CASES}


# -- how a case is sent and judged ------------------------------------------------------------------------------------


class Values(dict[str, str]):
    """Placeholders and what they stand for, made when a case first asks: most need few."""

    def __init__(self, makers: dict[str, Callable[[], str]]) -> None:
        super().__init__()
        self.makers = makers

    def __missing__(self, name: str) -> str:
        self[name] = self.makers[name]()
        return self[name]

    def of(self, placeholder: re.Match[str]) -> str:
        """What is not one of ours stays."""
        return self[placeholder[1]] if placeholder[1] in self.makers else placeholder[0]


@dataclass
class World:
    """What the placeholders stand for, and the state that a case needs."""

    sandbox: Sandbox
    settings: Any
    tenant: Tenant
    other: Tenant
    values: "Values"
    calls: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    closing: list[Callable[[], None]] = field(default_factory=list)

    def fill(self, value: Any) -> Any:
        """The value with its placeholders replaced; what is not one of ours stays."""
        if isinstance(value, str):
            number = str(next(self.calls)) if "{{N}}" in value else ""
            return re.sub(r"{{(\w+)}}", lambda match: number if match[1] == "N" else self.values.of(match), value)
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        if isinstance(value, dict):
            return {key: self.fill(item) for key, item in value.items()}
        return value

    def body(self, one: dict[str, Any]) -> bytes:
        body = self.fill(one["body"])
        match one["body_encoding"]:
            case "json":
                return json.dumps(body, ensure_ascii=True).encode()
            case "raw":
                return body.encode()
            case "base64":
                return self.fill(base64.b64decode(body).decode("latin-1")).encode("latin-1")
            case "repeat":
                items = [body["repeat"].replace("%d", str(index)) for index in range(body["count"])]
                close = body.get("close", "") * body["count"]
                return (
                    body["prefix"] + "".join(items) + body.get("suffix", "") + close + body.get("tail", "")
                ).encode()
            case "none":
                return b""
        raise AssertionError(one["body_encoding"])

    def send(self, one: dict[str, Any]) -> Any:
        client = Client(raise_request_exception=False)
        headers = {name: self.fill(value) for name, value in one["headers"].items()}
        body = self.body(one)
        # The test client writes no header at all for an empty body; a real client does.
        environ = {"CONTENT_TYPE": one["content_type"], "CONTENT_LENGTH": headers.pop("Content-Length", str(len(body)))}
        path = self.fill(one.get("path", PATH))
        return client.generic(one["method"], path, body, one["content_type"], headers=headers, **environ)

    def rows(self) -> dict[str, int]:
        """How many there are of everything but the figures, which `reconcile` counts."""
        counts = {
            model.__name__: model._default_manager.count() for model in apps.get_app_config("phones").get_models()
        }
        return {name: count for name, count in counts.items() if name != "Figure"}

    def calls_made(self) -> list[tuple[str, str]]:
        return sorted((call.method, call.path) for call in self.sandbox.ledger)

    def secrets(self) -> list[str]:
        names = (
            "TOKEN",
            "TOKEN_WS2",
            "REVOKED_TOKEN",
            "EXPIRED_TOKEN",
            "INACTIVE_WS_TOKEN",
            "GOOD_AUTH",
            "GOOD_TELNYX",
        )
        return [self.values[name] for name in names if name in self.values] + [
            seeds.TWILIO_ACCOUNT_AUTH_TOKEN,
            PLIVO.auth_token,
        ]

    def fault(self, kind: str, **options: Any) -> None:
        self.sandbox.fault(kind, carrier="twilio", **({"times": None} | options))

    def prepare(self, setup: str) -> None:
        """Bring about the state or the carrier's behaviour that a case asks for."""
        if setup.startswith("stub:"):
            return self.prepare_carrier(setup.removeprefix("stub:"))
        match setup:
            case "number already active for {{USER}}":
                assert add(self.tenant, TWILIO.body(self.tenant.user)).status_code == 201
            case "number active for {{USER_WS2}}":
                assert add(self.other, TWILIO.body(self.other.user)).status_code == 201
            case "reservation row pending, lease live":
                self.reserve()
            case "cap+1 404 replies in the window":
                self.limit("unknown_users", 3)
                unknown = TWILIO.body(self.tenant.user, userId=self.values["UNKNOWN_USER"])
                assert [add(self.tenant, unknown).status_code for _ in range(3)] == [404, 404, 404]
            case "cap reached; X-Forwarded-For varied per call":
                self.limit("refused_credentials", 3)
                for _ in range(3):
                    forwarded = self.fill("203.0.113.{{N}}")
                    guess = TWILIO.body(self.tenant.user, authToken="wrong")
                    assert add(self.tenant, guess, **{"X-Forwarded-For": forwarded}).status_code == 400
            case "{{TOKEN_WS2}} used key k1 before":
                body = TWILIO.body(self.other.user, phoneNumber=TWILIO.another)
                assert add(self.other, body, **{"Idempotency-Key": "k1"}).status_code == 201
            case _:
                raise AssertionError(f"nobody knows how to bring about: {setup}")
        return None

    def limit(self, name: str, count: int) -> None:
        self.settings.LIMITS = self.settings.LIMITS | {name: Rate(count, 86400)}

    def reserve(self) -> None:
        """What an add leaves in the table while it asks the carrier."""
        soon = timezone.now() + datetime.timedelta(seconds=30)
        self.tenant.user.phone_numbers.create(
            number=TWILIO.number, integration="twilio", lease_id=new_object_id(), lease_until=soon
        )

    def prepare_carrier(self, name: str) -> None:  # noqa: PLR0912  a table
        account = self.sandbox.state.account("twilio", TWILIO.acc_sid)
        match name:
            case "suspended-account":
                account.status = "suspended"
            case "closed-account":
                account.status = "closed"
            case "other-number-returned":
                self.sandbox.state.add_number("twilio", TWILIO.acc_sid, TWILIO.number + "5")
                del account.numbers[TWILIO.number]
            case "no-numbers":
                account.numbers.clear()
            case "tls":
                self.settings.CARRIER_API_URLS = self.settings.CARRIER_API_URLS | {"twilio": self.self_signed_server()}
            case "down":
                self.settings.CARRIER_API_URLS = self.settings.CARRIER_API_URLS | {"twilio": "http://127.0.0.1:9"}
            case "slow":
                self.settings.CARRIER_READ_TIMEOUT_S = 0.3
                self.fault("hang")
            case "redirect":
                self.fault("redirect", location="https://evil.example/")
            case "nonsense":
                self.fault("rewrite", change=lambda body: {"status": 42, "incoming_phone_numbers": "many"})
            case "null-list":
                self.fault(
                    "rewrite", path="IncomingPhoneNumbers", change=lambda body: body | {"incoming_phone_numbers": None}
                )
            case "config-ignored":
                # Twilio says yes and changes nothing.
                number = dict(self.sandbox.state.account("twilio", TWILIO.acc_sid).numbers[TWILIO.number])
                self.fault("status", method="POST", status=200, body=number)
            case "config-5xx":
                self.fault("status", method="POST", status=500)
            case "config-400":
                self.fault("status", method="POST", status=400)
            case "config-reset":
                self.fault("reset", method="POST")
            case "config-lost-reply-unreadable":
                self.fault("lost_reply", method="POST")
                self.fault("status", method="GET", path=r"IncomingPhoneNumbers/PN", status=503)
            case "reset" | "huge" | "html" | "empty" | "truncated":
                self.fault(name)
            case _ if name.isdigit():
                self.fault("status", status=int(name))
            case _:
                raise AssertionError(f"nobody knows the carrier scenario {name}")

    def self_signed_server(self) -> str:
        """A TLS server that nobody vouches for. Whoever talks to it all the same gets its number accepted."""
        relay = type("RelayToTheSandbox", (Relay,), {"target": self.sandbox.twilio_url})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), relay)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self_signed_certificate(self.values["FOLDER"]))
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *about: None  # type: ignore[method-assign]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        self.closing += [server.shutdown, server.server_close]
        return f"https://127.0.0.1:{server.server_address[1]}"


class Relay(http.server.BaseHTTPRequestHandler):
    """Passes a request on to `target`, and the reply back."""

    target: str

    def relay(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        reply = requests.request(
            self.command,
            self.target + self.path,
            data=body,
            headers=dict(self.headers) | {"Host": "127.0.0.1"},
            timeout=5,
        )
        self.send_response(reply.status_code)
        self.send_header("Content-Length", str(len(reply.content)))
        self.end_headers()
        self.wfile.write(reply.content)

    do_GET = do_POST = relay

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""


def self_signed_certificate(folder: str) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), now, now.replace(year=now.year + 1)
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    path = Path(folder) / "self-signed.pem"
    path.write_bytes(pem)
    return str(path)


@pytest.fixture
def world(sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, settings: Any, tmp_path: Path) -> Iterator[World]:
    workspace = tenant.workspace

    def user(name: str, **fields: Any) -> User:
        return User.objects.create_user(f"{name}@one.example.com", workspace=workspace, **fields)

    def deleted_user() -> str:
        deleted = user("deleted")
        id = deleted.pk
        deleted.delete()
        return id

    def token_of_closed_workspace() -> str:
        closed = new_tenant("closed")
        closed.workspace.is_active = False
        closed.workspace.save()
        return closed.token

    def revoked_token() -> str:
        revoked, text = ApiToken.issue(workspace)
        revoked.revoked_at = timezone.now()
        revoked.save()
        return text

    def staff_session() -> str:
        client = Client()
        client.force_login(User.objects.get(pk=values["STAFF_USER"]))
        return SessionStore(client.cookies["sessionid"].value).session_key or ""

    values = Values(
        {
            "TOKEN": lambda: tenant.token,
            "TOKEN_MINUS_1": lambda: tenant.token[:-1],
            "TOKEN_SWAPCASE": tenant.token.swapcase,
            "TOKEN_SHA256_HEX": lambda: hashlib.sha256(tenant.token.encode()).hexdigest(),
            "TOKEN_WS2": lambda: other_tenant.token,
            "REVOKED_TOKEN": revoked_token,
            "EXPIRED_TOKEN": lambda: ApiToken.issue(workspace, timezone.now() - datetime.timedelta(seconds=1))[1],
            "INACTIVE_WS_TOKEN": token_of_closed_workspace,
            "STAFF_SESSION": staff_session,
            "USER": lambda: tenant.user.pk,
            "USER2": lambda: user("second").pk,
            "USER_UPPER": tenant.user.pk.upper,
            "USER_WS2": lambda: other_tenant.user.pk,
            "USER_WS2_UPPER": other_tenant.user.pk.upper,
            "DELETED_USER": deleted_user,
            "INACTIVE_USER": lambda: user("inactive", is_active=False).pk,
            "STAFF_USER": lambda: User.objects.create_user("staff@example.com", is_staff=True, is_superuser=True).pk,
            "UNKNOWN_USER": new_object_id,
            "WS2": lambda: other_tenant.workspace.pk,
            "GOOD_AUTH": lambda: TWILIO.auth_token,
            "GOOD_SID": lambda: TWILIO.acc_sid,
            "GOOD_TELNYX": lambda: TELNYX.auth_token,
            "FOLDER": lambda: str(tmp_path),
        }
    )
    world = World(sandbox, settings, tenant, other_tenant, values)
    yield world
    for close in world.closing:
        close()


def assert_enveloped(one: dict[str, Any], status: int, content: bytes) -> dict[str, Any]:
    """Exactly the envelope, and what this case says of it."""
    envelope = json.loads(content)
    assert list(envelope) == ENVELOPE
    assert envelope["code"] == status
    if status == 201:
        assert envelope["status"] is True and envelope["errorMessage"] == ""
        return envelope
    assert envelope["status"] is False
    assert envelope["message"] and envelope["errorMessage"]
    assert list(envelope["data"]) == ["error", "field"]
    assert (one["expect_error_contains"] or "").lower() in envelope["errorMessage"].lower()
    if one.get("expect_code"):
        assert envelope["data"]["error"] == one["expect_code"]
    if "field" in one:
        assert envelope["data"]["field"] == one["field"]
    if status >= 500:
        assert envelope["data"]["field"] is None
    return envelope


@pytest.mark.parametrize("name", BY_NAME)
def test_a_bad_request_gets_its_reply_and_changes_nothing(world: World, name: str) -> None:
    one = BY_NAME[name]
    if "setup" in one:
        world.prepare(one["setup"])
    rows, settings_there = world.rows(), world.sandbox.snapshot()
    world.sandbox.clear_ledger()

    reply = world.send(one)

    content = reply.content
    assert reply.status_code in [one["expect_status"], *one.get("also_ok", [])], content
    assert_headers(reply)
    if one["method"] != "HEAD":
        assert_enveloped(one, reply.status_code, content)
    for secret in world.secrets():
        assert secret not in content.decode() and secret not in str(reply.headers)
    if "same_reply_as" in one:
        calls = world.calls_made()
        world.sandbox.clear_ledger()
        twin = world.send(BY_NAME[one["same_reply_as"]])
        assert (twin.status_code, twin.content) == (reply.status_code, content)
        assert world.calls_made() == calls == []
    if reply.status_code == 201:
        return
    if "config" not in name:
        assert not [call for call in world.sandbox.ledger if call.applied and call.method != "GET"]
    world.sandbox.clear_faults()
    if reply.status_code >= 500:
        reconcile()  # what an outage kept from being put back at once
        assert world.sandbox.snapshot() == settings_there
        settle()
    assert world.rows() == rows
    assert world.sandbox.snapshot() == settings_there


def assert_headers(reply: Any) -> None:
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.headers["Cache-Control"] == "no-store"
    assert re.fullmatch(r"[0-9a-f]{32}", reply.headers["X-Request-ID"])
    if reply.status_code == 401:
        assert reply.headers["WWW-Authenticate"] == "Bearer"
    if reply.status_code == 405:
        assert reply.headers["Allow"] == "POST"
    if reply.status_code == 429:
        assert int(reply.headers["Retry-After"]) > 0


def test_the_samples_are_those_of_the_contract() -> None:
    assert len(BAD_REQUESTS) == 125
    assert len({one["name"] for one in [*BAD_REQUESTS, *SIBLINGS]}) == len(BAD_REQUESTS) + len(SIBLINGS)
    assert all(32 < len(sized(total)) <= total for total in (16384, 16385))
