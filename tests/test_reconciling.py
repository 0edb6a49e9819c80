"""`manage.py reconcile`: what it says of what it could not do, and when it ends with 1."""

from typing import Any

import pytest
from django.core.management import call_command

from core import clock
from core.leased import LEASE
from phones.models import Figure, Line, PhoneNumber
from sandbox.sandbox import Sandbox
from tests.support.api import add
from tests.support.carriers import CARRIERS
from tests.support.database import failing
from tests.support.people import Tenant

pytestmark = pytest.mark.django_db(transaction=True)

REFUSES = [{"status": 401}, {"status": 403}]
DOES_NOT_ANSWER = [{"status": 500}, {"status": 503}, {"status": 429}, {}]


def run(capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit status of a run, and what it prints."""
    try:
        call_command("reconcile")
    except SystemExit as ended:
        return int(str(ended.code)), capsys.readouterr().out
    return 0, capsys.readouterr().out


def fail(sandbox: Sandbox, carrier: str, **options: Any) -> None:
    sandbox.fault("status" if options else "reset", carrier=carrier, times=None, **options)


@pytest.mark.parametrize("how", REFUSES, ids=str)
def test_refused_credentials_are_not_called_a_missing_answer(
    sandbox: Sandbox, phone: PhoneNumber, how: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    fail(sandbox, phone.integration, **how)
    for _ in range(5):  # the last ones do not ask the carrier any more, and say the same
        assert run(capsys) == (
            0, "finished 0, still pending 0; merged 0 events; asked 0 accounts for missed calls: "
            "credentials refused for 1\n"
        )  # fmt: skip


@pytest.mark.parametrize("how", DOES_NOT_ANSWER, ids=str)
def test_a_carrier_that_does_not_answer_is_a_failure(
    sandbox: Sandbox, phone: PhoneNumber, how: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    fail(sandbox, phone.integration, **how)
    status, said = run(capsys)
    assert (status, "asked 0 accounts for missed calls: no answer for 1\n" in said) == (1, True), said


def test_operations_and_accounts_are_told_apart_by_what_keeps_them(
    sandbox: Sandbox, tenant: Tenant, capsys: pytest.CaptureFixture[str]
) -> None:
    for good in CARRIERS.values():
        assert add(tenant, good.body(tenant.user)).status_code == 201
    PhoneNumber.objects.exclude(integration="telnyx").delete()
    fail(sandbox, "twilio", status=401)
    fail(sandbox, "plivo")
    status, said = run(capsys)
    why = "no answer for 1, credentials refused for 1"
    assert (status, said) == (
        1, f"finished 0, still pending 2: {why}; merged 0 events; asked 1 accounts for missed calls: {why}\n"
    )  # fmt: skip


def test_a_lost_key_is_named(phone: PhoneNumber, settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    settings.CREDENTIAL_KEYS = ["QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="]
    status, said = run(capsys)
    assert (status, "credentials unreadable for 1, because CREDENTIAL_KEYS lacks their key" in said) == (0, True), said


def test_what_another_process_is_doing_is_no_failure(
    sandbox: Sandbox, phone: PhoneNumber, capsys: pytest.CaptureFixture[str]
) -> None:
    PhoneNumber.objects.all().delete()
    Line.objects.update(lease_id="b" * 24, lease_until=clock.now() + LEASE)
    assert run(capsys)[0] == 0


def test_a_database_that_fails_is_a_failure(sandbox: Sandbox, db: None, capsys: pytest.CaptureFixture[str]) -> None:
    with failing("insert", Figure):
        status, said = run(capsys)
    assert (status, said.startswith("finished 0, still pending 1: no answer for 1;")) == (1, True), said
