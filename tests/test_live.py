"""`make live`, on the simulated carriers: what it says, what it exits with, and that it changes nothing."""

import asyncio
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests

from integrations.transport import Timeouts
from sandbox.sandbox import Sandbox
from tests.live import run as program
from tests.live.account import Account
from tests.live.calling import place
from tests.live.configuration import Credentials, Installation
from tests.live.doors import DOORS
from tests.live.facts import FACTS
from tests.live.guard import ChangeStopped, Guard
from tests.support import PROJECT
from tests.support.canaries import CANARY, canary_account, found
from tests.support.carrier_contract import violations
from tests.support.carriers import CARRIERS, TWILIO, Good, api_urls, environment_of

STRANGER = "447700900123"
# What the carriers reply to the request for a call, each in its own field.
PLACED = {"sid": "CA" + "7" * 32, "request_uuid": "7" * 8, "call_sid": "v3:7"}

Live = Callable[..., tuple[int, str]]


def environment(*goods: Good, **more: str) -> dict[str, str]:
    fields = {"ACCOUNT_ID": "acc_sid", "AUTH_TOKEN": "auth_token", "NUMBER": "number"}
    named = {
        f"LIVE_{good.integration.upper()}_{name}": getattr(good, fields[name]) for good in goods for name in fields
    }
    return named | more


@pytest.fixture
def installed(sandbox: Sandbox) -> Installation:
    return Installation("", api_urls(sandbox), Timeouts(2.0, 5.0))


@pytest.fixture
def live(installed: Installation) -> Live:
    """Runs it. Returns the exit status and the report, in one line."""

    def run(environment: dict[str, str], installed: Installation = installed, **options: Any) -> tuple[int, str]:
        written: list[str] = []
        status = program.run(environment, installed, written.append, **{"pauses_s": (0, 0)} | options)
        return status, " ".join("".join(written).split())

    return run


@pytest.fixture(autouse=True)
def documented(sandbox: Sandbox) -> Iterator[None]:
    yield
    assert [problem for one in sandbox.ledger if not one.fault for problem in violations(one)] == []


def methods(sandbox: Sandbox) -> set[str]:
    return {exchange.method for exchange in sandbox.ledger}


def credentials(good: Good) -> Credentials:
    return Credentials(good.integration, good.acc_sid, good.auth_token, good.number)


# -- what it says -----------------------------------------------------------------------------------------------------


def test_all_accounts_are_read_and_nothing_is_changed(sandbox: Sandbox, live: Live) -> None:
    before = sandbox.snapshot()
    status, report = live(environment(*CARRIERS.values()))
    assert status == 0, report
    assert report.count("credentials accepted") == len(CARRIERS)
    assert report.count("is owned and can take calls; routed nowhere") == len(CARRIERS)
    assert all(re.search(rf"(confirmed|REFUTED|not reached) {fact.id}:", report) for fact in FACTS)
    assert "faults none" in report and "a call, which costs money: LIVE_CALL_TO" in report
    assert methods(sandbox) == {"GET"}
    assert sandbox.snapshot() == before


def test_one_account_is_enough(sandbox: Sandbox, live: Live, carrier: Good) -> None:
    status, report = live(environment(carrier))
    assert status == 0, report
    assert {exchange.carrier for exchange in sandbox.ledger} == {carrier.integration}
    others = [good.integration for good in CARRIERS.values() if good is not carrier]
    assert all(re.search(rf"not tried [^.]*{name}", report, re.IGNORECASE) for name in others)


def test_without_a_number_the_account_is_read_all_the_same(live: Live, carrier: Good) -> None:
    status, report = live(environment(carrier) | {f"LIVE_{carrier.integration.upper()}_NUMBER": ""})
    assert status == 0
    assert "not looked at: LIVE_" in report and "_NUMBER is not set" in report


@pytest.mark.parametrize("is_suspended", [False, True])
def test_refused_credentials_are_a_fault_and_are_not_tried_again(
    sandbox: Sandbox, live: Live, carrier: Good, is_suspended: bool
) -> None:
    id, token, _ = carrier.refused[0] if is_suspended else (carrier.acc_sid, "another-token", "")
    id_name, token_name = (f"LIVE_{carrier.integration.upper()}_{name}" for name in ("ACCOUNT_ID", "AUTH_TOKEN"))
    status, report = live({id_name: id, token_name: token})
    assert status == 1
    assert f"FAULT: refused; check {f'{id_name} and ' if id else ''}{token_name}" in report
    assert f"confirmed {carrier.integration}-refusals:" in report
    assert report.count("no access to the account") == sum(fact.carrier == carrier.integration for fact in FACTS) - 1
    # One page of numbers, and what is read along with it.
    assert len({exchange.path for exchange in sandbox.ledger}) == len(sandbox.ledger) <= 2
    assert token not in report


@pytest.mark.parametrize(("kind", "status"), [("reset", None), ("status", 503), ("status", 429), ("html", None)])
def test_a_carrier_that_is_down_is_a_fault_and_the_others_are_read(
    sandbox: Sandbox, live: Live, carrier: Good, kind: str, status: int | None
) -> None:
    sandbox.fault(kind, carrier=carrier.integration, times=None, status=status)
    exit_status, report = live(environment(*CARRIERS.values()))
    assert exit_status == 1
    assert report.count("did not answer") == 1 and report.count("credentials accepted") == len(CARRIERS) - 1
    assert "REFUTED" not in report


@pytest.mark.parametrize("refused_with", [400, 409, 410])
def test_another_refusal_than_expected_refutes_the_fact(
    sandbox: Sandbox, live: Live, carrier: Good, refused_with: int
) -> None:
    sandbox.fault("status", carrier=carrier.integration, times=None, status=refused_with)
    status, report = live(environment(carrier))
    assert status == 1
    assert f"REFUTED {carrier.integration}-refusals:" in report and f"status {refused_with}" in report


def test_a_number_of_another_account_is_a_fault(live: Live, carrier: Good) -> None:
    status, report = live(environment(carrier) | {f"LIVE_{carrier.integration.upper()}_NUMBER": carrier.not_owned})
    assert status == 1
    assert f"…{carrier.not_owned[-4:]} is not a number of this account" in report


def test_no_secret_and_no_number_is_reported(
    sandbox: Sandbox, live: Live, carrier: Good, every_log_line: Callable[[], str]
) -> None:
    good = canary_account(sandbox, carrier)
    sandbox.place_call(carrier.integration, carrier.number, caller=STRANGER)
    _, report = live(environment(good))
    assert found([CANARY], report + every_log_line()) == []
    assert not re.search(r"\d{8,}", report)


def test_what_a_carrier_says_is_not_printed_as_it_is(sandbox: Sandbox, live: Live) -> None:
    """A token in a text of the carrier's, and what moves the cursor of a terminal."""
    plivo = next(good for good in CARRIERS.values() if good.id_pattern.startswith("MA"))
    sandbox.deliver_to = "http://127.0.0.1:1"
    sandbox.place_call(plivo.integration, plivo.number)
    for call in sandbox.state.account(plivo.integration, plivo.owner).calls.values():
        call |= {"answer_time": None, "hangup_cause_name": f"Bad \x1b[2J {plivo.auth_token} {plivo.acc_sid}"}
    status, report = live(environment(plivo))
    assert status == 1 and "also: Bad ?[2J *** ***" in report
    assert plivo.auth_token not in report and plivo.acc_sid not in report


# -- what is configured -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dotenv", ["", "SECRET_KEY=short\nDATABASE_URL=sqlite:////nowhere/db.sqlite3\nDEBUG=maybe\n"])
def test_without_credentials_it_explains_itself(sandbox: Sandbox, tmp_path: Path, dotenv: str) -> None:
    (tmp_path / ".env").write_text(dotenv)
    env = {name: value for name, value in os.environ.items() if not name.startswith("LIVE_")}
    command = [sys.executable, "-m", "tests.live"]
    # Nothing of an installation is needed either.
    env = {name: value for name, value in env.items() if name not in ("SECRET_KEY", "CREDENTIAL_KEYS", "PUBLIC_URL")}
    done = subprocess.run(
        command,
        cwd=PROJECT,
        env=env | {"ENV_FILE": str(tmp_path / ".env")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (2, "")
    assert all(f"LIVE_{name.upper()}_AUTH_TOKEN" in done.stdout for name in CARRIERS)
    assert "Nothing is changed" in done.stdout and "docs/live.md" in done.stdout


def test_settings_that_cannot_work_are_a_sentence(sandbox: Sandbox) -> None:
    env = os.environ | {"CARRIER_READ_TIMEOUT_S": "never", "ENV_FILE": "/dev/null"}
    command = [sys.executable, "-m", "tests.live"]
    done = subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (2, "") and "CARRIER_READ_TIMEOUT_S" in done.stdout


def test_the_command_reads_an_account(sandbox: Sandbox) -> None:
    env = os.environ | environment_of(sandbox) | environment(TWILIO)
    command = [sys.executable, "-m", "tests.live"]
    done = subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert "credentials   accepted" in done.stdout
    # The tests' PUBLIC_URL has no server.
    assert (done.returncode, done.stderr) == (1, "") and "FAULT: " in done.stdout
    assert methods(sandbox) == {"GET"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"AUTH_TOKEN": ""}, "{}_AUTH_TOKEN must be set as well"),
        ({"AUTH_TOKEN": "  "}, "{}_AUTH_TOKEN must be set as well"),
        ({"AUTH_TOKEN": "two words"}, "{}_AUTH_TOKEN contains a blank"),
        ({"AUTH_TOKEN": "tok\u200ben"}, "{}_AUTH_TOKEN contains a blank"),
        ({"AUTH_TOKEN": "a\nb"}, "{}_AUTH_TOKEN contains a blank"),
        # docker run --env-file keeps quotation marks: moby/moby#46773, docker/cli#3630
        ({"AUTH_TOKEN": '"abcdef0123456789"'}, "{}_AUTH_TOKEN contains a blank, a quotation mark"),
        # A variable of a variable, not expanded: twilio/twilio-cli#166
        ({"ACCOUNT_ID": "${TWILIO_ACCOUNT_SID}"}, "{}_ACCOUNT_ID contains a blank, a quotation mark, a placeholder"),
        # The placeholder of an example: TwilioDevEd/video-access-token-server-python#2
        ({"AUTH_TOKEN": "<your-auth-token>"}, "{}_AUTH_TOKEN contains a blank, a quotation mark, a placeholder"),
        # The account's id for both: twilio/twilio-node#559
        ({"ACCOUNT_ID": "0123456789", "AUTH_TOKEN": "0123456789"}, "{0}_ACCOUNT_ID and {0}_AUTH_TOKEN are the same"),
        ({"NUMBER": "0171 555"}, "{}_NUMBER must be a number with its country code"),
        ({"NUMBER": "+1212555123a"}, "{}_NUMBER must be a number with its country code"),
    ],
)
def test_what_is_configured_badly_is_named_and_nothing_is_sent(
    sandbox: Sandbox, live: Live, carrier: Good, changes: dict[str, str], sentence: str
) -> None:
    name = f"LIVE_{carrier.integration.upper()}"
    status, report = live(environment(carrier) | {f"{name}_{end}": value for end, value in changes.items()})
    assert status == 2
    assert sentence.format(name) in report
    assert not sandbox.ledger
    assert not any(value in report for value in changes.values() if value.strip())


def test_an_account_id_is_asked_for_where_it_is_needed(live: Live, carrier: Good) -> None:
    name = f"LIVE_{carrier.integration.upper()}_ACCOUNT_ID"
    status, report = live(environment(carrier) | {name: ""})
    assert (status, f"{name} must be set as well" in report) == ((2, True) if carrier.acc_sid else (0, False))


def test_blanks_around_a_value_and_within_a_number_do_no_harm(live: Live, carrier: Good) -> None:
    name, number = f"LIVE_{carrier.integration.upper()}", carrier.number
    spaced = f" +{number[0]} ({number[1:4]}) {number[4:7]}-{number[7:]} "
    status, report = live(
        environment(carrier) | {f"{name}_NUMBER": spaced, f"{name}_AUTH_TOKEN": f"{carrier.auth_token}\n"}
    )
    assert status == 0, report
    assert "is owned and can take calls" in report


# -- that nothing is changed ------------------------------------------------------------------------------------------

SENDERS: dict[str, Callable[[str, str], object]] = {
    "requests": lambda method, url: requests.request(method, url, timeout=5),
    "httpx": httpx.request,
    "a client of httpx": lambda method, url: httpx.Client().request(method, url),
    "urllib": lambda method, url: urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=5),  # noqa: S310  our own
}


@pytest.mark.parametrize("send", SENDERS)
def test_the_guard_stops_whatever_is_not_a_get(sandbox: Sandbox, send: str) -> None:
    health = f"{sandbox.url}/_sandbox/health"
    with Guard():
        for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "MKCOL"):
            with pytest.raises(ChangeStopped):
                SENDERS[send](method, health)
        assert SENDERS[send]("GET", health)


def test_the_guard_stops_asynchronous_requests_too(sandbox: Sandbox) -> None:
    async def post() -> None:
        async with httpx.AsyncClient() as client:
            await client.post(f"{sandbox.url}/_sandbox/reset")

    with Guard(), pytest.raises(ChangeStopped):
        asyncio.run(post())


def test_the_guard_stops_each_change_of_a_provider(sandbox: Sandbox, installed: Installation, carrier: Good) -> None:
    before, account = sandbox.snapshot(), Account(credentials(carrier), installed)
    number_id = account.verified.id
    settings = account.verified.settings | account.provider().blank
    with Guard():
        changes: list[Callable[[], object]] = [
            lambda: account.provider()._update(number_id, settings),
            lambda: account.provider().write(lambda: account.provider()._update(number_id, settings)),
            lambda: DOORS[carrier.integration].place(account.provider(), carrier.number, STRANGER, "1"),
        ]
        for change in changes:
            with pytest.raises(ChangeStopped):
                change()
    assert sandbox.snapshot() == before
    assert methods(sandbox) == {"GET"}


def test_a_stopped_change_ends_the_run_and_says_so(
    sandbox: Sandbox, live: Live, carrier: Good, monkeypatch: pytest.MonkeyPatch
) -> None:
    def careless(report: Any, name: str, account: Account) -> None:
        requests.delete(f"{account.site.api_url}/anything", timeout=5)

    monkeypatch.setattr(program, "calls", careless)
    status, report = live(environment(carrier))
    assert status == 1
    assert "STOPPED: a DELETE request was about to be sent" in report and "It was not sent" in report
    assert methods(sandbox) == {"GET"}


def test_a_permit_is_for_one_request_to_one_path(sandbox: Sandbox) -> None:
    def post(path: str) -> int:
        return requests.post(f"{sandbox.url}{path}", json={}, timeout=5).status_code

    with Guard() as guard:
        guard.permit_one("POST", "/late")
        with pytest.raises(ChangeStopped):
            post("/_sandbox/reset")
        assert post("/_sandbox/late") == 200
        with pytest.raises(ChangeStopped):
            post("/_sandbox/late")
        guard.permit_one("POST", "/late")
        guard.withdraw()
        with pytest.raises(ChangeStopped):
            post("/_sandbox/late")
    assert post("/_sandbox/late") == 200


# -- the call ---------------------------------------------------------------------------------------------------------


def calling(good: Good) -> Good:
    """With a number that can call: at a carrier that needs it, one that has an application."""
    return replace(good, number=good.routed_elsewhere)


def answers(sandbox: Sandbox, good: Good, *, status: int = 201) -> None:
    """The carrier takes the request for a call, and says later that it is over."""
    name = good.integration
    sandbox.fault(
        "status",
        name,
        method="POST",
        path="(Calls.json|Call/|/texml/calls/)",
        times=None,
        status=status,
        body=PLACED,
    )
    ended = {
        "sid": "CA" + "7" * 32,
        "status": "no-answer",
        "hangup_cause_name": "No Answer",
        "data": {"is_alive": False},
    }
    sandbox.fault("status", name, method="GET", path="/[Cc]alls?/(CA|7|v3)", status=200, body=ended)


def posts(sandbox: Sandbox) -> list[Any]:
    return [exchange for exchange in sandbox.ledger if exchange.method != "GET"]


def test_a_call_is_announced_and_placed_once(sandbox: Sandbox, live: Live, carrier: Good) -> None:
    good = calling(carrier)
    answers(sandbox, good)
    status, report = live(environment(good, LIVE_CALL_TO=f"+{STRANGER}"))
    assert status == 0, report
    (post,) = posts(sandbox)
    sent = {key.lower(): value[0] if isinstance(value, list) else value for key, value in post.body.items()}
    assert (sent["from"].lstrip("+"), sent["to"].lstrip("+")) == (good.number, STRANGER)
    announced = report.index("what it costs what")
    assert announced < report.index("has taken the request") < report.index("its end")
    assert "The request is sent once and never repeated." in report[:announced]
    assert re.search("its end (no-answer|No Answer|ended)", report)
    assert STRANGER not in report and "LIVE_CALL_TO" not in report


@pytest.mark.parametrize(
    ("kind", "status", "sentence"),
    [
        ("reset", None, "it may still ring"),
        ("lost_reply", None, "it may still ring"),
        ("status", 500, "it may still ring"),
        ("status", 503, "it may still ring"),
        ("html", None, "it may still ring"),
        ("status", 429, "no call was placed"),
        ("status", 403, "no call was placed"),
        ("status", 400, "no call was placed"),
    ],
)
def test_a_call_that_fails_is_never_tried_again(
    sandbox: Sandbox, live: Live, carrier: Good, kind: str, status: int | None, sentence: str
) -> None:
    sandbox.fault(kind, carrier.integration, method="POST", times=None, status=status)
    exit_status, report = live(environment(calling(carrier), LIVE_CALL_TO=STRANGER))
    assert exit_status == 1
    assert len(posts(sandbox)) == 1
    assert sentence in report


@pytest.mark.parametrize("reply", ["", "y"])
def test_only_yes_places_a_call(sandbox: Sandbox, live: Live, carrier: Good, reply: str) -> None:
    asked: list[str] = []

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return reply

    status, report = live(environment(calling(carrier), LIVE_CALL_TO=STRANGER), ask=ask)
    assert (status, len(asked), posts(sandbox)) == (0, 1, [])
    assert "call not placed" in report


def test_yes_places_it(sandbox: Sandbox, live: Live, carrier: Good) -> None:
    answers(sandbox, carrier)
    live(environment(calling(carrier), LIVE_CALL_TO=STRANGER), ask=lambda _: " Yes ")
    assert len(posts(sandbox)) == 1


def test_among_several_numbers_one_must_be_named(sandbox: Sandbox, live: Live, carrier: Good) -> None:
    goods = [calling(good) for good in CARRIERS.values()]
    status, report = live(environment(*goods, LIVE_CALL_TO=STRANGER))
    assert status == 2 and "LIVE_CALL_FROM must be the number of one of these variables" in report
    assert not sandbox.ledger
    answers(sandbox, carrier)
    live(environment(*goods, LIVE_CALL_TO=STRANGER, LIVE_CALL_FROM=calling(carrier).number))
    assert [post.carrier for post in posts(sandbox)] == [carrier.integration]


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"LIVE_CALL_TO": "112"}, "LIVE_CALL_TO must be a number with its country code"),
        ({"LIVE_CALL_TO": STRANGER, "LIVE_CALL_FROM": STRANGER}, "LIVE_CALL_FROM must be the number of one"),
        ({"LIVE_CALL_FROM": "+12125551234"}, "LIVE_CALL_FROM is used only with LIVE_CALL_TO"),
        ({"LIVE_CALL_TO": "its own"}, "is the calling number itself"),
        ({"LIVE_CALL_TO": STRANGER, "no number": ""}, "LIVE_CALL_TO needs one of your numbers to call from"),
    ],
)
def test_a_call_that_makes_no_sense_is_refused_before_anything_is_sent(
    sandbox: Sandbox, live: Live, carrier: Good, variables: dict[str, str], sentence: str
) -> None:
    env = environment(carrier) | variables
    if env.pop("no number", None) is not None:
        env[f"LIVE_{carrier.integration.upper()}_NUMBER"] = ""
    if env.get("LIVE_CALL_TO") == "its own":
        env["LIVE_CALL_TO"] = carrier.number
    status, report = live(env)
    assert status == 2 and sentence in report
    assert not sandbox.ledger


def test_a_number_of_another_account_does_not_call(sandbox: Sandbox, live: Live, carrier: Good) -> None:
    name = f"LIVE_{carrier.integration.upper()}_NUMBER"
    status, report = live(environment(carrier) | {name: carrier.not_owned, "LIVE_CALL_TO": STRANGER})
    assert status == 1 and "The calling number is not one of this account." in report
    assert posts(sandbox) == []


def test_a_call_needs_access_to_the_account(sandbox: Sandbox, live: Live, carrier: Good) -> None:
    name = f"LIVE_{carrier.integration.upper()}_AUTH_TOKEN"
    status, report = live(environment(carrier) | {name: "another", "LIVE_CALL_TO": STRANGER})
    assert status == 1 and "not placed: no access to the account" in report
    assert posts(sandbox) == []


def test_telnyx_calls_only_with_a_texml_application(sandbox: Sandbox, live: Live) -> None:
    telnyx = next(good for good in CARRIERS.values() if "{}" in DOORS[good.integration].path_end)
    status, report = live(environment(telnyx, LIVE_CALL_TO=STRANGER))
    assert status == 1 and "not assigned to one" in report
    assert posts(sandbox) == []


def test_without_a_permit_no_call_is_placed(installed: Installation, carrier: Good, monkeypatch: Any) -> None:
    monkeypatch.setattr(Guard, "permit_one", lambda *_: None)
    with Guard() as guard, pytest.raises(ChangeStopped):
        place(Account(credentials(calling(carrier)), installed), STRANGER, guard)


# -- the installation -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("public_url", "sentence"),
    [
        ("http://127.0.0.1:1", "is not https"),
        ("https://127.0.0.1:1", "leads to 127.0.0.1, where no carrier can reach it"),
        ("https://127.0.0.1:1", "does not answer here (ConnectionError)"),
        ("https://nothing.invalid", "its host name is unknown to this machine"),
    ],
)
def test_a_public_url_that_cannot_work_is_a_fault(
    live: Live, installed: Installation, public_url: str, sentence: str
) -> None:
    status, report = live(environment(TWILIO), Installation(public_url, installed.api_urls, installed.timeouts))
    assert status == 1 and f"FAULT: {sentence}" in report


def test_without_an_installation_it_is_not_looked_at(live: Live, carrier: Good) -> None:
    assert "PUBLIC_URL not looked at: there are no valid settings here" in live(environment(carrier))[1]
