"""The facts that `make live` checks: where they are written, and that each can be confirmed and refuted."""

import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from integrations.transport import Timeouts
from phones.models import PhoneNumber
from sandbox.sandbox import Sandbox
from tests.live import run as program
from tests.live.account import Account
from tests.live.configuration import Credentials, Installation
from tests.live.facts import FACTS, Fact, Verdict, confirmed, only_shown_by
from tests.support import PROJECT
from tests.support.api import add
from tests.support.carriers import CARRIERS, NO_PROFILE, Good, api_urls
from tests.support.people import Tenant

PAGE = "docs/carriers.md"
ROW = re.compile(r"^\| `([a-z]+-[a-z-]+)` \| (.+) \|$", re.MULTILINE)
MARK = re.compile(r"\[U: ([a-z-]+)\]")

Alter = Callable[[Sandbox, Any], object]


# -- one list, and the documents that agree with it -------------------------------------------------------------------


def test_the_page_has_the_same_list() -> None:
    rows = ROW.findall((PROJECT / PAGE).read_text())
    assert rows == [(fact.id, fact.sentence) for fact in FACTS]


@pytest.mark.skipif(not (PROJECT / ".git").exists(), reason="walks the tracked files")
def test_what_relies_on_a_fact_is_marked_and_nothing_else_is() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "*.py", "*.md"], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout
    marks = [
        (path, id)
        for path in filter(None, listed.split("\0"))
        if (PROJECT / path).exists()
        for id in MARK.findall((PROJECT / path).read_text())
    ]
    assert sorted(marks) == sorted((fact.relied_on_in, fact.id) for fact in FACTS)


def test_ids_are_of_carriers_and_differ() -> None:
    assert {fact.carrier for fact in FACTS} == {*CARRIERS}
    assert len({fact.id for fact in FACTS}) == len(FACTS)


# -- each fact, confirmed and refuted ---------------------------------------------------------------------------------


def account_of(sandbox: Sandbox, good: Good) -> Account:
    installed = Installation("", api_urls(sandbox), Timeouts(2.0, 5.0))
    return Account(Credentials(good.integration, good.acc_sid, good.auth_token, good.number), installed)


def nothing(sandbox: Sandbox, good: Good) -> None:
    """The sandbox as it is."""


def after_a_call(sandbox: Sandbox, good: Good) -> None:
    """A call that nobody answers, because no webhook can be delivered."""
    sandbox.deliver_to = "http://127.0.0.1:1"
    sandbox.place_call(good.integration, good.routed_elsewhere)


def rewriting(path: str, change: Callable[[Any], Any], *, skip: int = 0, prepare: Alter = nothing) -> Alter:
    """From its `skip`th reply on, the carrier says something else there."""

    def alter(sandbox: Sandbox, good: Good) -> None:
        prepare(sandbox, good)
        sandbox.fault("rewrite", good.integration, method="GET", path=path, skip=skip, times=None, change=change)

    return alter


def answering(path: str, status: int, *, prepare: Alter = nothing) -> Alter:
    def alter(sandbox: Sandbox, good: Good) -> None:
        prepare(sandbox, good)
        sandbox.fault("status", good.integration, method="GET", path=path, status=status, times=None)

    return alter


def setting_calls(**fields: Any) -> Alter:
    def alter(sandbox: Sandbox, good: Good) -> None:
        after_a_call(sandbox, good)
        for call in sandbox.state.account(good.integration, good.owner).calls.values():
            call.update(fields)

    return alter


def numbers_with(name: str, value: Any) -> Callable[[Any], Any]:
    """A list of numbers, each with another value of this field."""
    return lambda body: (
        body | {"incoming_phone_numbers": [entry | {name: value} for entry in body["incoming_phone_numbers"]]}
    )


def numbers_without(name: str) -> Callable[[Any], Any]:
    """A list of numbers, each without this field."""
    return lambda body: (
        body
        | {
            "incoming_phone_numbers": [
                {field: value for field, value in entry.items() if field != name}
                for entry in body["incoming_phone_numbers"]
            ]
        }
    )


def without(name: str) -> Callable[[Any], Any]:
    """A list without entries."""
    return lambda body: body | {name: []}


def always_the_first(sandbox: Sandbox, good: Good) -> None:
    """The filter is ignored."""
    after_a_call(sandbox, good)
    seen: list[Any] = []

    def change(body: Any) -> Any:
        seen.append(body)
        return seen[0]

    sandbox.fault("rewrite", good.integration, method="GET", path="Calls?/?$", times=None, change=change)


def with_another_key(sandbox: Sandbox, good: Good) -> Good:
    sandbox.change_secret(good.integration, good.owner, "another-key")
    return replace(good, auth_token="another-key")


class Case(NamedTuple):
    fact_id: str
    alter: Alter
    verdict: Verdict


YES, NO, OPEN = Verdict.CONFIRMED, Verdict.REFUTED, Verdict.NOT_REACHED
CASES = {
    "null": Case("twilio-empty-settings", nothing, YES),
    "empty": Case("twilio-empty-settings", rewriting("Numbers", numbers_with("voice_url", "")), YES),
    "false": Case("twilio-empty-settings", rewriting("Numbers", numbers_with("trunk_sid", False)), NO),
    "an object": Case("twilio-empty-settings", rewriting("Numbers", numbers_with("voice_url", {})), NO),
    "left out": Case("twilio-empty-settings", rewriting("Numbers", numbers_without("voice_url")), NO),
    "no call": Case("twilio-since", nothing, OPEN),
    "a call": Case("twilio-since", after_a_call, YES),
    "its day is left out": Case(
        "twilio-since", rewriting("Calls.json", without("calls"), skip=1, prepare=after_a_call), NO
    ),
    "no recording": Case("twilio-late-audio", nothing, OPEN),
    "found by its name": Case("plivo-name-filter", nothing, YES),
    "not found by its name": Case("plivo-name-filter", rewriting("Application/$", without("objects"), skip=2), NO),
    "no application": Case("plivo-name-filter", rewriting("Application/$", without("objects")), OPEN),
    "a trunk": Case("plivo-links-elsewhere", nothing, YES),
    "an unlisted application": Case("plivo-links-elsewhere", rewriting("Application/$", without("objects")), NO),
    "no unanswered call": Case("plivo-hangup-causes", nothing, OPEN),
    "a known cause": Case("plivo-hangup-causes", setting_calls(answer_time=None, hangup_cause_name="No Answer"), YES),
    "an unknown cause": Case("plivo-hangup-causes", setting_calls(answer_time=None, hangup_cause_name="Loop"), NO),
    "in UTC": Case("plivo-since", after_a_call, YES),
    "hours ahead": Case("plivo-since", rewriting("Call/$", without("objects"), skip=1, prepare=after_a_call), NO),
    "filter ignored": Case("plivo-since", always_the_first, NO),
    "a key": Case("telnyx-public-key", nothing, YES),
    "no such page": Case("telnyx-public-key", answering("public_key", 404), NO),
    "KEY": Case("telnyx-key-prefix", nothing, YES),
    "not KEY": Case("telnyx-key-prefix", with_another_key, NO),
    "all take calls": Case("telnyx-takes-calls", nothing, YES),
    "none takes calls": Case("telnyx-takes-calls", rewriting("phone_numbers/voice", without("data")), NO),
    "no list of them": Case("telnyx-takes-calls", answering("phone_numbers/voice", 404), OPEN),
    "no webhook yet": Case("telnyx-user-id", nothing, OPEN),
    "a user's id": Case("telnyx-user-id", after_a_call, YES),
    "another id": Case("telnyx-user-id", answering("/Calls$", 404, prepare=after_a_call), NO),
    "no answer": Case("telnyx-user-id", answering("/Calls$", 503, prepare=after_a_call), OPEN),
    "whole days": Case("telnyx-since", after_a_call, YES),
    "the day excluded": Case("telnyx-since", rewriting("/Calls$", without("calls"), skip=1, prepare=after_a_call), NO),
    "all days": Case("telnyx-since", always_the_first, NO),
}


@pytest.mark.parametrize("name", CASES)
def test_a_fact_is_confirmed_or_refuted_by_what_the_carrier_says(sandbox: Sandbox, name: str) -> None:
    fact_id, alter, verdict = CASES[name]
    fact = next(fact for fact in FACTS if fact.id == fact_id)
    altered = alter(sandbox, CARRIERS[fact.carrier])
    good = altered if isinstance(altered, Good) else CARRIERS[fact.carrier]
    found, seen = fact.check(account_of(sandbox, good))
    assert found is verdict, seen
    assert seen and not re.search(r"\d{8,}", seen)
    assert {exchange.method for exchange in sandbox.ledger} == {"GET"}


def test_the_product_does_not_know_a_number_without_a_public_key(sandbox: Sandbox) -> None:
    fact = next(fact for fact in FACTS if fact.id == "telnyx-public-key")
    assert fact.check(account_of(sandbox, NO_PROFILE)).verdict is NO


def is_shown(fact: Fact) -> bool:
    """Whether reading can show it."""
    return fact.look.__code__ is not only_shown_by("").__code__


def test_each_fact_that_reading_shows_has_cases_for_both() -> None:
    """Of those below with recordings and of refused credentials, tests of their own."""
    elsewhere = {"audio", "refusals"}
    shown = {fact.id for fact in FACTS if is_shown(fact) and fact.id.rpartition("-")[2] not in elsewhere}
    for verdict in (YES, NO):
        assert {case.fact_id for case in CASES.values() if case.verdict is verdict} == shown


def test_what_only_a_change_or_a_webhook_shows_is_never_claimed(sandbox: Sandbox, carrier: Good) -> None:
    account = account_of(sandbox, carrier)
    found = {fact.id: fact.check(account) for fact in FACTS if fact.carrier == carrier.integration}
    hidden = {fact.id for fact in FACTS if fact.id in found and not is_shown(fact)}
    assert {id for id, (_, seen) in found.items() if seen.startswith("only a")} == hidden
    assert all(found[id].verdict is OPEN for id in hidden)


def test_a_carrier_that_fails_while_a_fact_is_checked_leaves_it_open(sandbox: Sandbox, carrier: Good) -> None:
    account = account_of(sandbox, carrier)
    assert account.access is None
    sandbox.fault("reset", carrier.integration, times=None)
    fact = Fact("x-y", "", "", lambda one: confirmed(str(one.calls)))
    verdict, seen = fact.check(account)
    assert verdict is OPEN and "could not be asked" in seen


# -- with calls that this installation answers ------------------------------------------------------------------------


@pytest.fixture
def answered(sandbox: Sandbox, live_server: Any, settings: Any, tenant: Tenant, carrier: Good) -> Good:
    """A number that was added, and a call to it that left a message."""
    settings.PUBLIC_URL = sandbox.deliver_to = live_server.url
    assert add(tenant, carrier.body(tenant.user)).status_code == 201
    assert sandbox.place_call(carrier.integration, carrier.number, talk_s=7).status == "completed"
    assert PhoneNumber.objects.count() == 1
    sandbox.clear_ledger()
    return carrier


def report_on(sandbox: Sandbox, good: Good, public_url: str) -> tuple[int, str]:
    name = f"LIVE_{good.integration.upper()}"
    values = {"ACCOUNT_ID": good.acc_sid, "AUTH_TOKEN": good.auth_token, "NUMBER": good.number}
    written: list[str] = []
    status = program.run(
        {f"{name}_{end}": value for end, value in values.items()},
        Installation(public_url, api_urls(sandbox), Timeouts(2.0, 5.0)),
        written.append,
    )
    return status, " ".join("".join(written).split())


@pytest.mark.django_db(transaction=True)
def test_after_an_answered_call_nothing_is_refuted(sandbox: Sandbox, answered: Good, live_server: Any) -> None:
    before = sandbox.snapshot()
    status, report = report_on(sandbox, answered, live_server.url)
    # The address of the tests' own server is a fault, which is of no interest here.
    assert status == 1 and "is not https" in report
    assert "REFUTED" not in report
    assert f"confirmed {answered.integration}-since:" in report
    assert "routed to this installation" in report and "calls 1 in the last 30 days: 1 completed" in report
    assert re.search(r"recordings 1 in the last 30 days; the audio of the newest: status 206, audio/(x-)?wav", report)
    assert "PUBLIC_URL ready, as seen from here" in report
    assert sandbox.snapshot() == before and {exchange.method for exchange in sandbox.ledger} == {"GET"}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("refused_with", "verdict"), [(None, YES), (401, NO), (404, NO), (500, OPEN)])
@pytest.mark.parametrize("carrier", [CARRIERS["plivo"]], ids=["plivo"])
def test_the_audio_is_fetched(sandbox: Sandbox, answered: Good, refused_with: int | None, verdict: Verdict) -> None:
    if refused_with:
        sandbox.fault("status", answered.integration, path=r"\.wav$", status=refused_with, times=None)
    fact = next(fact for fact in FACTS if fact.id == "plivo-audio")
    found, seen = fact.check(account_of(sandbox, answered))
    assert found is verdict, seen


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("not_ready", "verdict"), [(0, OPEN), (9, YES)])
@pytest.mark.parametrize("carrier", [CARRIERS["twilio"]], ids=["twilio"])
def test_audio_that_is_late_is_seen(sandbox: Sandbox, answered: Good, not_ready: int, verdict: Verdict) -> None:
    sandbox.media_not_ready = not_ready
    fact = next(fact for fact in FACTS if fact.id == "twilio-late-audio")
    found, seen = fact.check(account_of(sandbox, answered))
    assert found is verdict, seen


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("carrier", [CARRIERS["telnyx"]], ids=["telnyx"])
def test_what_the_carrier_recorded_of_its_webhooks_is_shown(sandbox: Sandbox, answered: Good, live_server: Any) -> None:
    _, report = report_on(sandbox, answered, live_server.url)
    arrived = re.search(r"by Telnyx (\d+) of (\d+) webhooks arrived", report)
    assert arrived and arrived[1] == arrived[2] != "0"
    for delivery in sandbox.state.account(answered.integration, answered.owner).webhook_deliveries:
        for attempt in delivery["attempts"]:
            attempt["http"]["response"]["status"] = 502
    _, report = report_on(sandbox, answered, live_server.url)
    assert f"FAULT: 0 of {arrived[2]} webhooks arrived; the others: 502" in report
    assert "none of the newest webhooks went to it" in report_on(sandbox, answered, "https://127.0.0.1:1")[1]


@pytest.mark.parametrize(
    ("statuses", "sentence"),
    [
        ([200, 200], "2 of 2 webhooks arrived"),
        ([], "none of the newest"),
        ([None, 403, 200], "1 of 3 webhooks arrived; the others: no reply, 403"),
        ([500], "FAULT: 0 of 1 webhooks arrived"),
    ],
)
def test_twilio_tells_of_webhooks_by_call(sandbox: Sandbox, statuses: list[int | None], sentence: str) -> None:
    """As in the example of https://www.twilio.com/docs/voice/api/call-event-resource (read 2026-11-30)."""
    good, public_url = CARRIERS["twilio"], "https://127.0.0.1:1"
    after_a_call(sandbox, good)
    urls = [f"{public_url}/api/webhooks/twilio/secret/answer"] * len(statuses) + [f"{sandbox.twilio_url}/Calls.json"]
    events = [
        {"request": {"method": "POST", "url": url}, "response": {"response_code": status}}
        for url, status in zip(urls, [*statuses, 201], strict=True)
    ]
    sandbox.fault("status", "twilio", method="GET", path="/Events.json", status=200, body={"events": events})
    _, report = report_on(sandbox, good, public_url)
    assert f"by Twilio {sentence}" in report
    assert "secret" not in report
