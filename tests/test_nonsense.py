"""What carriers send with one field that makes no sense: what is read of it is less, and never something else.

The vendors' published payloads, each field in turn of another JSON type, missing, null or huge. The replies to our own
requests: tests/proofs/test_nonsense.py.
"""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from integrations import provider_class
from integrations.events import CallReport, CallStatus, ParsedEvent, RecordingReport, RecordingStatus
from phones.models import Line, PhoneNumber
from phones.reconciling import reconcile
from sandbox.sandbox import Sandbox
from sandbox.signing import FORM
from tests.support import SAMPLES
from tests.support.api import add, send
from tests.support.carriers import CARRIERS, SUBJECTS
from tests.support.entries import entry, read_call
from tests.support.lines import remembered
from tests.support.nonsense import HUGE, MISSING, Change, changes
from tests.support.people import Tenant

READ = {path: json.loads(path.read_text()) for name in CARRIERS for path in sorted((SAMPLES / name).glob("*.json"))}
EMPTY = (None, "", CallStatus.UNKNOWN, RecordingStatus.UNKNOWN)
SOON = timedelta(seconds=5)
# In a form, all values are texts.
TEXTS = ["", "null", "[]", "{}", "true", "nonsense", "-7", "NaN", "1e999", "9" * 40, HUGE, "\x00", MISSING]


def named(path: Path) -> str:
    return f"{path.parent.name}-{path.stem}"


def changed(sample: dict[str, Any]) -> list[Change]:
    if sample["content_type"] == FORM:
        return [Change((name,), text) for name in sample["payload"] for text in TEXTS]
    return list(changes(sample["payload"]))


def read(path: Path, payload: Any) -> ParsedEvent:
    """What is read of a payload. An entry of a list that cannot be read says nothing, as no part of its page does."""
    carrier, kind = path.parent.name, READ[path]["kind"]
    if not kind.endswith("-entry"):
        return provider_class(carrier).parse_event(payload if isinstance(payload, dict) else {})
    events = import_module(f"integrations.{carrier}.events")
    try:
        one = entry(carrier, kind, payload)
        if kind == "call-entry":
            return ParsedEvent(call=read_call(carrier, one))
        return ParsedEvent(recording=events.recording_of(one))
    except Exception as error:
        # What provider.ask() takes for a malformed reply.
        assert isinstance(error, TypeError | ValueError | AttributeError | KeyError), error
        return ParsedEvent()


def is_other(found: CallReport | RecordingReport | None, right: Any, change: Change) -> list[str]:
    """The fields that say something else than they should."""
    if found is None:
        return []
    if right is None:
        return ["there is none"]
    told = zip(found._fields, found, right, strict=True)
    return [
        name for name, value, known in told if value not in (known, *EMPTY) and not may_be(name, value, known, change)
    ]


def may_be(name: str, value: Any, known: Any, change: Change) -> bool:
    """What is told so: another id, number or text in place of the right one. What is near: a time that only another field
    tells. What is later: of all starts, the earliest counts."""
    if name in ("duration_s", "cost", "channels", "currency"):
        return isinstance(change.value, int | float) or change.value == "-7"
    if isinstance(value, datetime):
        is_start = name in ("started_at", "answered_at")
        return (known is None and is_start) or (is_start and value >= known) or abs(value - known) < SOON
    return name in ("caller", "callee", "hangup_cause", "id", "call_id", "url")


@pytest.mark.parametrize("path", READ, ids=named)
def test_a_field_that_makes_no_sense_is_no_other_story(path: Path) -> None:
    sample = READ[path]
    right, wrong = read(path, sample["payload"]), []
    for change in changed(sample):
        if tells_of_a_leg(change):
            continue  # without it, a leg is like any other call
        found = read(path, change.apply(sample["payload"]))
        wrong += [f"{change}: {name}" for name in is_other(found.call, right.call, change)]
        wrong += [f"{change}: {name}" for name in is_other(found.recording, right.recording, change)]
    assert wrong == []


def tells_of_a_leg(change: Change) -> bool:
    return bool(change.path) and str(change.path[-1]).lower().startswith(("parentcallsid", "parent_call"))


# -- what a snapshot is made of ---------------------------------------------------------------------------------------

PLAIN = [4.5, True, ["x"], {"x": 1}, HUGE]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    "value", [*PLAIN, MISSING], ids=lambda value: "missing" if value is MISSING else repr(value)[:9]
)
def test_the_earlier_route_comes_back_whatever_was_said_of_it(
    sandbox: Sandbox, tenant: Tenant, carrier: Any, value: Any
) -> None:
    """A route in another form passed for none, and did not come back with the removal."""
    subject = SUBJECTS[carrier.integration]
    before = sandbox.snapshot()
    field = "trunk_sid" if carrier.integration == "twilio" else carrier.route_field
    change = strange(field, value)

    fault = sandbox.fault("rewrite", carrier.integration, method="GET", times=None, change=change)
    reply = add(tenant, carrier.body(tenant.user, phoneNumber=subject.number))
    assert (reply.status_code, reply.json()["data"]["error"]) == (500, "carrier_unavailable")
    assert not PhoneNumber.objects.exists() and not Line.objects.exists()
    assert sandbox.snapshot() == before

    fault.times = 0
    added = add(tenant, carrier.body(tenant.user, phoneNumber=subject.number))
    assert added.status_code == 201
    name, remembers = carrier.remembered
    assert remembered(Line.objects.get())[name] == remembers
    assert send("DELETE", f"phones/{added.json()['data']['_id']}", tenant).json()["data"]["restored"] is True


def strange(field: str, value: Any) -> Callable[[Any], Any]:
    """What makes this of a field of each number in a reply."""

    def change(body: Any) -> Any:
        entries = body.get("incoming_phone_numbers") or body.get("data") or [body]
        for one in entries if isinstance(entries, list) else [entries]:
            if field in one and value is MISSING:
                del one[field]
            elif field in one:
                one[field] = value
        return body

    return change


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("value", [MISSING, True], ids=["missing", "true"])
def test_the_earlier_route_comes_back_whatever_is_said_at_the_removal(
    sandbox: Sandbox, tenant: Tenant, carrier: Any, value: Any
) -> None:
    """A reply without the route passed for one of somebody else's, so nothing was restored."""
    subject = SUBJECTS[carrier.integration]
    before = sandbox.snapshot()
    added = add(tenant, carrier.body(tenant.user, phoneNumber=subject.number))
    assert added.status_code == 201
    change = strange(carrier.route_field, value)
    fault = sandbox.fault("rewrite", carrier.integration, method="GET", times=None, change=change)

    removed = send("DELETE", f"phones/{added.json()['data']['_id']}", tenant)

    assert removed.json()["data"]["restored"] is False
    fault.times = 0
    assert reconcile().failed == 0
    assert sandbox.snapshot() == before
