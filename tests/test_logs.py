"""Log lines: whole, in one piece each, and without a secret, whoever writes them and however deep it lies."""

import base64
import json
import logging
import sys
import time
from typing import Any

import pytest

from core import redaction
from core.json_logs import JsonLines
from core.logs import RequestIdFilter, TextLines, request_id
from core.redaction import redact, redact_all

TOKEN = 'kJ8/x+token"of=an&account'


@pytest.fixture(autouse=True)
def token_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one of the settings is."""
    monkeypatch.setattr(redaction, "_hidden", list(redaction._hidden))
    redaction.hide(TOKEN)


def line_of(
    formatter: logging.Formatter, message: str, *args: Any, error: Exception | None = None, **extra: Any
) -> str:
    told = (type(error), error, error.__traceback__) if error else None
    record = logging.getLogger("some.library").makeRecord(
        "some.library", logging.WARNING, __file__, 1, message, args, told, extra=extra
    )
    RequestIdFilter().filter(record)
    return formatter.format(record)


def raised(text: str) -> Exception:
    try:
        raise ValueError(text)
    except ValueError as error:
        return error


# -- redaction --------------------------------------------------------------------------------------------------------


def test_a_secret_that_is_known_is_not_shown_in_any_spelling() -> None:
    for spelling in redaction.spellings(TOKEN):
        assert redact(f"before {spelling} after") == "before *** after"


def test_secrets_of_the_settings_are_not_shown(settings: Any) -> None:
    for secret in (settings.SECRET_KEY, *settings.CREDENTIAL_KEYS):
        assert redact(f"({secret})") == "(***)"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Basic QUMxOnNlY3JldA==", "Authorization: Basic ***"),
        ("{'Authorization': 'Bearer wp_abc-DEF_0123456789xyz'}", "{'Authorization': 'Bearer ***'}"),
        ("token wp_abc-DEF_0123456789xyz of", "token *** of"),
        ("POST /api/webhooks/twilio/Zm9vYmFy-_/status 200", "POST /api/webhooks/twilio/***/status 200"),
        ("mongodb://phones:hunter22@db1,db2/phones", "mongodb://***@db1,db2/phones"),
        ("https://user:p%40ss@example.com/voice", "https://***@example.com/voice"),
        ('{"authToken": "abc", "accSId": "AC1"}', '{"authToken": "***", "accSId": "AC1"}'),
        ("auth_token=abc&x=1", "auth_token=***&x=1"),
        (r'"{\"password\": \"abc\"}"', r'"{\"password\": \"***\"}"'),
        ("Cookie: sessionid=abc; csrftoken=def", "Cookie: ***; csrftoken=***"),
        ("X-Twilio-Signature: abc=", "X-Twilio-Signature: ***"),
        ("https://s3.example.com/a.mp3?X-Amz-Signature=abc&b=1", "https://s3.example.com/a.mp3?X-Amz-Signature=***&b=1"),
        ("headers={b'authorization': b'Basic QUMxOnNlY3JldA=='}", "headers={b'authorization': b'Basic ***'}"),
    ],
)  # fmt: skip
def test_what_looks_like_a_secret_is_not_shown(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    ["CREDENTIAL_KEYS lacks a key.", "The carrier refuses the auth token.", "https://example.com:8443/voice?x=1",
     "The basic plan", "Twilio AC1: +15550100 added", "bearer of news"],
)  # fmt: skip
def test_other_words_stay(text: str) -> None:
    assert redact(text) == text


def test_depth_does_not_help() -> None:
    hidden = redact_all({"a": [{"b": ({TOKEN: 1}, f"x{TOKEN}", {TOKEN})}], "password": "p", "n": 5, "none": None})
    assert hidden == {"a": [{"b": [{"***": 1}, "x***", ["***"]]}], "password": "***", "n": 5, "none": None}


# -- lines ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("formatter", [TextLines(), JsonLines()], ids=["text", "json"])
def test_no_line_shows_a_secret(formatter: logging.Formatter) -> None:
    basic = base64.b64encode(f"AC1:{TOKEN}".encode()).decode()
    error = raised(f"GET https://AC1:{TOKEN}@api.example.com failed: {TOKEN}")
    line = line_of(
        formatter, "%s and %r, Authorization: Basic %s", TOKEN, {"x": [TOKEN]}, basic, error=error, reply={"a": [TOKEN]}
    )
    assert "***" in line and "ValueError" in line
    assert not [one for one in (*redaction.spellings(TOKEN), basic, repr(TOKEN)[1:-1]) if one in line]


FORGED = "x\r\n2026-01-01 00:00:00,000 CRITICAL root [-] all numbers deleted\x1b[2K\u2028\x85\u202e"


def test_a_line_of_text_cannot_be_forged() -> None:
    token = request_id.set("r-1")
    try:
        line = line_of(TextLines(), "Said: %s", FORGED)
        assert len(line.splitlines()) == 1
        assert line.isprintable() and "WARNING some.library [r-1] Said: x\\r\\n2026" in line
        traceback = line_of(TextLines(), "Failed", error=raised(FORGED)).splitlines()
        assert len(traceback) > 4 and traceback[0].endswith("Failed")
        assert all(line.startswith("    ") for line in traceback[1:])
    finally:
        request_id.reset(token)


def test_a_line_of_json_is_one_object_with_all_there_is_to_know() -> None:
    token = request_id.set("r-1")
    try:
        line = line_of(JsonLines(), "Said: %s", FORGED, error=raised("why"), carrier="twilio", request=object())
    finally:
        request_id.reset(token)
    assert line.isascii() and "\n" not in line
    told = json.loads(line)
    assert told.pop("time").startswith("20") and told.pop("traceback").endswith("ValueError: why")
    assert told == {
        "level": "WARNING", "logger": "some.library", "requestId": "r-1", "message": f"Said: {FORGED}", "carrier": "twilio"
    }  # fmt: skip


def test_a_traceback_that_another_handler_wrote_is_not_taken_over() -> None:
    try:
        raise ValueError(TOKEN)
    except ValueError:
        record = logging.getLogger("x").makeRecord("x", logging.ERROR, __file__, 1, "Failed", (), sys.exc_info())
    assert TOKEN in logging.Formatter().format(record)
    RequestIdFilter().filter(record)
    assert TOKEN not in TextLines().format(record)


HOSTILE = {
    "a word": "r", "names of secrets": "secret", "names and dashes": "auth-token-", "colons": ":", "schemes": "x://",
    "a scheme and colons": "x://" + ":" * 50, "bearers": "Bearer ", "blanks": "password   ", "quotes": "token\\\"'",
    "prefixes": "wp_", "paths": "/api/webhooks/",
}  # fmt: skip


@pytest.mark.parametrize("shape", HOSTILE)
def test_a_line_takes_time_in_proportion_to_its_length(shape: str) -> None:
    """A client may send 64 KB of anything that is logged, and all threads of the process wait meanwhile."""

    def seconds(length: int) -> float:
        text = "x://" * (shape == "colons") + (HOSTILE[shape] * length)[:length]
        times = []
        for _ in range(5):
            began = time.process_time()
            redact(text)
            times.append(time.process_time() - began)
        return min(times)

    assert seconds(32_000) < 4 * seconds(8_000) * 2.5 + 0.001


def test_a_message_is_cut_off_after_it_was_redacted() -> None:
    record = logging.LogRecord(
        "x", logging.INFO, "", 0, "a" * 4090 + " password=hunter2hunter2 " + "b" * 9000, None, None
    )
    record.request_id = "-"
    line = TextLines().format(record)
    assert len(line) < 4100 and line.endswith("…") and "hunter2" not in line
