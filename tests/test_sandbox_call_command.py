"""`manage.py sandbox call`: a test call at a running sandbox."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from phones.models import Call, PhoneNumber
from sandbox import caller
from sandbox.ports import free_port
from sandbox.sandbox import Sandbox
from tests.support.carriers import TWILIO, Good
from tests.support.numbers import added
from tests.support.people import Tenant

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def phone(sandbox: Sandbox, live_server: Any, settings: Any, tenant: Tenant, carrier: Good) -> PhoneNumber:
    settings.PUBLIC_URL = live_server.url
    return added(tenant, carrier, action="voicemail", greeting="Good morning from Acme")


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """The exit status, and what it prints."""
    try:
        call_command("sandbox", "call", *arguments)
    except SystemExit as ended:
        return int(str(ended.code)), capsys.readouterr().out
    return 0, capsys.readouterr().out


@pytest.mark.parametrize(
    "written", ["{}", "+{}", "+1 ({0[1]}{0[2]}{0[3]}) {0[4]}{0[5]}{0[6]}-{0[7]}{0[8]}{0[9]}{0[10]}"]
)
def test_it_says_what_was_heard(phone: PhoneNumber, written: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = call(capsys, written.format(phone.number), "--from", "12025550123", "--carrier", phone.integration)
    assert status == 0, said
    assert f"+12025550123 called {phone.number} at {phone.integration}: completed" in said
    assert 'Heard: "Good morning from Acme' in said and "Recorded: 1" in said and ": 200\n" in said
    assert Call.objects.get().caller == "12025550123"


def test_it_fails_if_the_server_does_not_answer(
    phone: PhoneNumber, settings: Any, sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    sandbox.deliver_to = f"http://127.0.0.1:{free_port()}"
    status, said = call(capsys, phone.number, "--carrier", phone.integration)
    assert (status, "no answer: it cannot be reached" in said) == (1, True), said


def test_a_number_without_a_route_is_told(sandbox: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = call(capsys, TWILIO.number)
    assert (status, "has no route at the carrier" in said) == (1, True), said


@pytest.mark.parametrize(("arguments", "said"), [
    (["12025550100"], "No simulated account has 12025550100"), (["soon"], "No simulated account has soon"),
    ([TWILIO.number, "--carrier", "plivo"], f"{TWILIO.number} is a number at twilio"),
    ([TWILIO.number, "--url", "http://127.0.0.1:1/"], "No sandbox answers at http://127.0.0.1:1"),
])  # fmt: skip
def test_a_number_that_nobody_has_is_told(sandbox: Sandbox, arguments: list[str], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        call_command("sandbox", "call", *arguments)


def test_of_two_accounts_that_have_the_number_the_one_that_is_routed_is_called(
    phone: PhoneNumber, sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    accounts = sandbox.state.accounts[phone.integration]
    accounts["first"] = replace(next(iter(accounts.values())), id="first", numbers={}, numbers_by_id={})
    sandbox.add_number(phone.integration, "first", phone.number)
    for id in [id for id in accounts if id != "first"]:
        accounts[id] = accounts.pop(id)  # behind it
    status, said = call(capsys, phone.number, "--carrier", phone.integration)
    assert (status, "Heard:" in said) == (0, True), said


def test_a_number_at_two_carriers_needs_the_carrier(sandbox: Sandbox) -> None:
    sandbox.add_number("plivo", "MASANDBOX00000000001", TWILIO.number)
    with pytest.raises(CommandError, match=r"plivo and twilio.*--carrier"):
        call_command("sandbox", "call", TWILIO.number)


def test_without_a_sandbox_it_says_how_to_start_one(
    sandbox: Sandbox, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither at the settings, which name the real carrier, nor where `manage.py sandbox` or the demo would be."""
    settings.CARRIER_API_URLS = settings.CARRIER_API_URLS | {"twilio": "https://api.twilio.com"}
    monkeypatch.setattr(caller, "DEFAULT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setattr(caller, "DEMO_ENV", tmp_path / "env")
    with pytest.raises(CommandError, match=r"manage\.py sandbox or make demo"):
        call_command("sandbox", "call", TWILIO.number)
    (tmp_path / "env").write_text(f"SECRET_KEY=x\nTWILIO_API_URL={sandbox.twilio_url}\n")
    with pytest.raises(SystemExit):
        call_command("sandbox", "call", TWILIO.number)
