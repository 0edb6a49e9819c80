"""What carriers send, as they publish it, passes the door and is understood."""

import json
import re
from datetime import date, datetime
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.http.request import HttpHeaders

from integrations import provider_class
from integrations.errors import BadSignature
from integrations.events import (
    CallReport,
    CallStatus,
    Direction,
    ParsedEvent,
    RecordingReport,
    RecordingStatus,
    read_payload,
)
from integrations.plivo import events as plivo_events
from integrations.webhooks import KINDS, Webhook
from sandbox import state as seeds
from sandbox.signing import FORM, signed
from tests.support import SAMPLES
from tests.support.carriers import CARRIERS
from tests.support.entries import entry, read_call

JSON = "application/json"
ENTRIES = frozenset({"call-entry", "recording-entry"})

Sample = dict[str, Any]


def named(path: Path) -> str:
    return f"{path.parent.name}-{path.stem}"


PATHS = sorted(path for carrier in CARRIERS for path in (SAMPLES / carrier).glob("*.json"))
READ = {path: json.loads(path.read_text()) for path in PATHS}
WEBHOOKS = [path for path in PATHS if READ[path]["kind"] not in ENTRIES]
LISTED = [path for path in PATHS if READ[path]["kind"] in ENTRIES]
GAPS = json.loads((SAMPLES / "gaps.json").read_text())


# -- the files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS, ids=named)
def test_a_sample_names_its_source_at_the_vendor(path: Path) -> None:
    sample, carrier = READ[path], path.parent.name
    assert set(sample) == {"source", "about", "kind", "content_type", "payload", "expected"}
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", path.stem)
    assert sample["about"].endswith(".")
    assert sample["kind"] in KINDS | ENTRIES
    sources = sample["source"] if isinstance(sample["source"], list) else [sample["source"]]
    assert sources
    for source in sources:
        if "page" in source:
            assert set(source) == {"page", "read"}
            assert (urlsplit(source["page"]).hostname or "").endswith(f"{carrier}.com")
            assert date.fromisoformat(source["read"])
        else:
            assert set(source) == {"repository", "path", "commit"}
            assert source["repository"].partition("/")[0] in CARRIERS[carrier].publishers
            assert re.fullmatch("[0-9a-f]{40}", source["commit"])


@pytest.mark.parametrize("path", PATHS, ids=named)
def test_a_sample_has_the_form_of_its_content_type(path: Path) -> None:
    sample = READ[path]
    assert sample["content_type"] in (FORM, JSON)
    if sample["content_type"] == FORM:
        assert all(isinstance(value, str) for value in sample["payload"].values())


@pytest.mark.parametrize("carrier", CARRIERS)
def test_each_kind_has_a_sample_or_is_a_gap(carrier: str) -> None:
    seen = {READ[path]["kind"] for path in PATHS if path.parent.name == carrier}
    assert all(set(gap) <= {"kind", "what", "whole"} and gap["what"] for gap in GAPS[carrier])
    assert {gap["kind"] for gap in GAPS[carrier]} <= KINDS | ENTRIES
    missing = {gap["kind"] for gap in GAPS[carrier] if gap.get("whole")}
    assert seen | missing == KINDS | ENTRIES
    assert not seen & missing


# -- the door ---------------------------------------------------------------------------------------------------------


def encoded(sample: Sample) -> list[tuple[str, str]] | bytes:
    payload = sample["payload"]
    return json.dumps(payload).encode() if sample["content_type"] == JSON else list(payload.items())


def knock(path: Path) -> Webhook:
    """The sample as its carrier sends it, signed now for an account of the sandbox."""
    sample, carrier = READ[path], path.parent.name
    url = f"https://phones.example.com/api/webhooks/{carrier}/token/{sample['kind']}"
    account = seeds.seeded().account(carrier, CARRIERS[carrier].owner)
    body, headers = signed(account, url, encoded(sample))
    return Webhook(url, HttpHeaders({HttpHeaders.to_wsgi_name(name): value for name, value in headers.items()}), body)


def check(carrier: str, webhook: Webhook) -> str:
    account = seeds.seeded().account(carrier, CARRIERS[carrier].owner)
    provider = provider_class(carrier)
    return provider.check_signature(
        webhook,
        auth_tokens=[account.secret],
        public_key=account.public_key() if provider.signs_with_public_key else "",
    )


@pytest.mark.parametrize("path", WEBHOOKS, ids=named)
def test_a_signed_sample_is_let_in(path: Path) -> None:
    assert check(path.parent.name, knock(path))


@pytest.mark.parametrize("path", WEBHOOKS, ids=named)
def test_a_sample_with_one_byte_changed_is_turned_away(path: Path) -> None:
    webhook = knock(path)
    for changed in (bytes([webhook.body[0] ^ 1]) + webhook.body[1:], webhook.body[:-1] + bytes([webhook.body[-1] ^ 1])):
        with pytest.raises(BadSignature):
            check(path.parent.name, Webhook(webhook.url, webhook.headers, changed))


# -- what they say ----------------------------------------------------------------------------------------------------

TYPED = {
    "direction": Direction,
    "started_at": datetime.fromisoformat,
    "answered_at": datetime.fromisoformat,
    "ended_at": datetime.fromisoformat,
    "cost": Decimal,
    "forwarding": CallStatus,
}


def typed(fields: dict[str, Any], status: type[CallStatus] | type[RecordingStatus]) -> dict[str, Any]:
    types = TYPED | {"status": status}
    return {name: types[name](value) if name in types else value for name, value in fields.items()}


def expected(sample: Sample) -> ParsedEvent:
    told = sample["expected"] or {}
    assert set(told) <= {"call", "recording"}
    call, recording = told.get("call"), told.get("recording")
    return ParsedEvent(
        CallReport(**typed(call, CallStatus)) if call else None,
        RecordingReport(**typed(recording, RecordingStatus)) if recording else None,
    )


@pytest.mark.parametrize("path", WEBHOOKS, ids=named)
def test_a_webhook_says_what_the_vendor_documents(path: Path) -> None:
    payload = read_payload(knock(path).body.decode())
    assert provider_class(path.parent.name).parse_event(payload) == expected(READ[path])


@pytest.mark.parametrize("path", LISTED, ids=named)
def test_a_list_entry_says_what_the_vendor_documents(path: Path) -> None:
    sample, carrier = READ[path], path.parent.name
    one, events = entry(carrier, sample["kind"], sample["payload"]), import_module(f"integrations.{carrier}.events")
    if sample["kind"] == "call-entry":
        assert read_call(carrier, one) == expected(sample).call
    else:
        assert events.recording_of(one) == expected(sample).recording


LASTED = [
    ({"RecordingDuration": "700", "RecordingDurationMs": "700000"}, 700, "completed"),
    ({"RecordingDurationMs": "700000"}, 700, "completed"),  # more than a week, if it were seconds
    ({"RecordingDurationMs": "14400000"}, 14400, "completed"),
    ({"RecordingDuration": "", "RecordingDurationMs": "1499"}, 1, "completed"),
    ({"RecordingDuration": "0"}, 0, "completed"),
    ({"RecordingDuration": "-1", "RecordingDurationMs": "-1"}, None, "in-progress"),
    ({"RecordingDurationMs": "-1"}, None, "in-progress"),
    ({"RecordingDurationMs": "-400"}, None, "unknown"),
    ({"RecordingDurationMs": "604801000"}, None, "unknown"),
    ({}, None, "unknown"),
]


@pytest.mark.parametrize(("fields", "duration_s", "status"), LASTED)
def test_how_long_a_plivo_recording_lasted(fields: dict[str, str], duration_s: int | None, status: str) -> None:
    said = plivo_events.parse_event({"CallUUID": "one", "RecordingID": "two", **fields})

    assert said.recording and (said.recording.duration_s, said.recording.status) == (duration_s, status)


@pytest.mark.parametrize("theirs", ["soon", "", "inf", "1e15", "1e20", "1e22"])
def test_a_time_that_no_clock_shows_is_left_out(theirs: str) -> None:
    recorded = {"CallUUID": "one", "RecordingID": "two", "RecordingStartMs": theirs}

    said = plivo_events.parse_event(recorded)

    assert said.recording and (said.recording.id, said.recording.started_at) == ("two", None)
