"""Many numbers at once: the service, the command, and the end state at the carriers."""

import csv
import json
import time
from collections import Counter
from datetime import timedelta
from io import StringIO
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DatabaseError
from django.db.models import Model
from django.utils import timezone

from core.fields import new_object_id
from integrations.errors import CarrierUnavailable, InvalidCredentials
from integrations.transport import Deadline
from phones.api.serializers import AddRowSerializer
from phones.bulk import listed_numbers, tasks
from phones.bulk import rows as bulk_rows
from phones.bulk.account_queues import ReadPage
from phones.bulk.files import FileRow, read_rows
from phones.bulk.gates import AccountGate, Breaker
from phones.bulk.listed_numbers import ListedNumbers
from phones.bulk.rows import BulkRow
from phones.bulk.run import WORKERS, add_rows
from phones.bulk.screening import parse_row
from phones.bulk.workers import Workers
from phones.models import Account, Line, PhoneNumber
from phones.services import remove_phone
from phones.services.accounts import Credentials
from phones.services.restoring import Restoration
from sandbox.sandbox import Sandbox
from tests.support import PROJECT
from tests.support.api import add
from tests.support.bulk import assert_ours, counted, csv_of, done, rows_of, some
from tests.support.carriers import CARRIERS, PLIVO, TELNYX, TWILIO, Good
from tests.support.database import READ, failing, table_away
from tests.support.lines import remembered
from tests.support.people import Tenant
from users.models import AuditEntry, LimitCounter, User

pytestmark = pytest.mark.django_db(transaction=True)

SAMPLE = PROJECT / "docs" / "sample-numbers.csv"
CANARY = "canary-9f8e7d6c5b4a3210"


# -- each row ---------------------------------------------------------------------------------------------------------


def test_numbers_of_all_carriers_are_added_with_how_they_answer(sandbox: Sandbox, tenant: Tenant) -> None:
    numbers = {good.integration: some(sandbox, good, 20) for good in CARRIERS.values()}
    settings = {"label": "Front desk", "action": "forward", "forwardTo": "+1 212 555 0100", "record": True}
    rows = [row for good in CARRIERS.values() for row in rows_of(tenant, good, numbers[good.integration], **settings)]
    for line, row in enumerate(rows):
        row.line = line
    outcomes = done(rows)
    assert counted(outcomes) == {"added": 60}
    for good in CARRIERS.values():
        assert_ours(sandbox, good, numbers[good.integration])
    shown = {(one.label, one.action, one.forward_to, one.record) for one in PhoneNumber.objects.all()}
    assert shown == {("Front desk", "forward", "12125550100", True)}

    before, sandbox_before = list(PhoneNumber.objects.order_by("pk").values()), sandbox.snapshot()
    sandbox.clear_ledger()
    assert counted(done(rows)) == {"exists": 60}
    assert not sandbox.ledger
    assert (list(PhoneNumber.objects.order_by("pk").values()), sandbox.snapshot()) == (before, sandbox_before)


VERDICTS: dict[str, dict[str, Any]] = {
    "no token": {"authToken": None},
    "a blank token": {"authToken": " "},
    "a bad token": {"authToken": "x y"},
    "a number for a number": {"phoneNumber": 12125551234},
    "not a number": {"phoneNumber": "911"},
    "not an id": {"userId": "me"},
    "nobody": {"userId": "f" * 24},
    "not a carrier": {"integration": "vonage"},
    "no account": {"accSId": None},
    "a bad choice": {"onConflict": "maybe"},
    "a wrong token": {"authToken": "wrong"},
    "not owned": {"phoneNumber": "12125559999"},
    "not owned, and not possible": {"phoneNumber": "5215512345678"},
    "not possible, and a wrong token": {"phoneNumber": "5215512345678", "authToken": "wrong"},
    "no voice": {"phoneNumber": "12125550004"},
    "routed elsewhere": {"phoneNumber": "12125550002", "onConflict": "refuse"},
}


@pytest.mark.parametrize("case", VERDICTS)
@pytest.mark.parametrize("dry_run", [True, False], ids=["dry run", "for real"])
def test_a_row_gets_the_verdict_of_the_api(sandbox: Sandbox, tenant: Tenant, case: str, dry_run: bool) -> None:
    body = TWILIO.body(tenant.user, **VERDICTS[case])
    reply = add(tenant, body).json()
    (one,) = add_rows([FileRow(7, body)], dry_run=dry_run)
    assert (one.line, one.outcome) == (7, "failed")
    assert (one.error, one.field, one.message) == (
        reply["data"]["error"], reply["data"]["field"], reply["errorMessage"]
    )  # fmt: skip
    assert not PhoneNumber.objects.exists()


@pytest.mark.engine
def test_users_of_other_workspaces_are_unknown_if_one_is_named(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant
) -> None:
    rows = rows_of(tenant, TWILIO, [TWILIO.number])
    assert counted(done(rows, workspace_id=other_tenant.workspace.pk)) == {"user_not_found": 1}
    assert counted(done(rows, workspace_id=tenant.workspace.pk)) == {"added": 1}
    assert counted(done(rows, workspace_id=other_tenant.workspace.pk)) == {"user_not_found": 1}
    User.objects.update(workspace=None)
    assert counted(done(rows)) == {"user_not_found": 1}


@pytest.mark.engine
def test_a_number_that_another_user_has_is_not_there_while_a_dead_run_holds_it(
    sandbox: Sandbox, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    colleague = User.objects.create_user(email="colleague@acme.example", workspace=tenant.workspace)
    (first,) = rows_of(tenant, TWILIO, [TWILIO.number])
    assert counted(done([FileRow(1, first.fields | {"userId": colleague.pk})])) == {"added": 1}
    PhoneNumber.objects.create(
        user=tenant.user, number=TWILIO.number, integration="twilio", lease_id=new_object_id(),
        lease_until=timezone.now() + timedelta(seconds=1),
    )  # fmt: skip
    monkeypatch.setattr(tasks, "LOOK_AGAIN_S", 0.2)
    assert counted(done([first])) == {"added": 1}
    assert PhoneNumber.objects.filter(state="active").count() == 2


def test_a_user_who_goes_while_a_row_waits_gets_no_number(
    sandbox: Sandbox, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.delay_s = 0.3
    monkeypatch.setattr(bulk_rows, "USER_KNOWN_S", 0.1)
    rows = iter(rows_of(tenant, TWILIO, some(sandbox, TWILIO, 3)))
    outcomes = add_rows(rows, workers=1)
    ended = [next(outcomes).outcome]
    tenant.user.is_active = False
    tenant.user.save()
    ended += [one.error or one.outcome for one in outcomes]
    assert ended == ["added", "user_not_found", "user_not_found"]


@pytest.mark.parametrize("table", [User, PhoneNumber])
def test_a_look_up_that_fails_once_costs_no_row(sandbox: Sandbox, tenant: Tenant, table: type[Model]) -> None:
    rows = rows_of(tenant, TWILIO, some(sandbox, TWILIO, 3))
    rows.append(FileRow(9, rows[0].fields | {"userId": "f" * 24}))
    with failing(READ, table, times=1):
        outcomes = done(rows)
    assert counted(outcomes) == {"added": 3, "user_not_found": 1}


@pytest.mark.engine
@pytest.mark.parametrize("dry_run", [True, False], ids=["dry run", "for real"])
def test_a_number_that_is_twice_in_the_file_is_added_once(sandbox: Sandbox, tenant: Tenant, dry_run: bool) -> None:
    numbers = [TWILIO.number, "12125559999", "+1 (212) 555-1234", TWILIO.number, "12125559999"]
    outcomes = done(rows_of(tenant, TWILIO, numbers), dry_run=dry_run)
    once = "would_add" if dry_run else "added"
    assert [outcomes[line].error or outcomes[line].outcome for line in sorted(outcomes)] == [
        once, "number_not_owned", "exists", "exists", "number_not_owned",
    ]  # fmt: skip
    where = "An earlier row of the file" if dry_run else "This user"
    assert all(one.message.startswith(where) for one in outcomes.values() if one.outcome == "exists")
    assert not AuditEntry.objects.filter(outcome="phone_exists").exists(), "nothing is tried of what is there"


def test_a_dry_run_asks_and_writes_nothing(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> None:
    numbers = some(sandbox, carrier, 30)
    before = sandbox.snapshot()
    assert counted(done(rows_of(tenant, carrier, numbers), dry_run=True)) == {"would_add": 30}
    assert {exchange.method for exchange in sandbox.ledger} == {"GET"}
    assert sandbox.snapshot() == before
    assert not PhoneNumber.objects.exists() and not Line.objects.exists() and not Account.objects.exists()


# -- what is asked ----------------------------------------------------------------------------------------------------


def test_the_numbers_of_an_account_are_read_in_pages_and_its_application_is_made_once(
    sandbox: Sandbox, tenant: Tenant, carrier: Good
) -> None:
    numbers = some(sandbox, carrier, 100)
    assert counted(done(rows_of(tenant, carrier, numbers), workers=4)) == {"added": 100}
    writes = [one for one in sandbox.ledger if one.method != "GET"]
    assert len([one for one in writes if "pplication" in one.path]) == (carrier is not TWILIO)
    reads = len(sandbox.ledger) - len(writes)
    # Plivo's link is read back, and its pages have 20 numbers. One by one it would be two reads more for each.
    assert reads < (100 if carrier is PLIVO else 0) + 100
    assert_ours(sandbox, carrier, numbers)


def test_a_file_in_another_order_than_the_list_is_read_from_the_list_too(sandbox: Sandbox, tenant: Tenant) -> None:
    numbers = some(sandbox, PLIVO, 200)
    assert counted(done(rows_of(tenant, PLIVO, numbers[::-1]), workers=4)) == {"added": 200}
    # Ten pages; each number's link is read back. One by one it would be 600.
    assert sum(one.method == "GET" for one in sandbox.ledger) < 300
    assert_ours(sandbox, PLIVO, numbers)


def test_a_list_without_the_wanted_numbers_is_soon_left_alone(sandbox: Sandbox, tenant: Tenant) -> None:
    some(sandbox, PLIVO, 2000)
    numbers = [f"1415588{index:04}" for index in range(40)]
    for number in numbers:
        sandbox.add_number("plivo", PLIVO.acc_sid, number)
    assert counted(done(rows_of(tenant, PLIVO, numbers), workers=4)) == {"added": 40}
    pages = [one for one in sandbox.ledger if one.method == "GET" and one.path.endswith("/Number/")]
    assert 1 <= len(pages) <= 10


def test_the_status_of_a_twilio_account_is_asked_with_the_first_page_alone(sandbox: Sandbox, tenant: Tenant) -> None:
    some(sandbox, TWILIO, 600)
    credentials = Credentials(None, "twilio", TWILIO.acc_sid, TWILIO.auth_token)
    with pytest.raises(InvalidCredentials):
        sandbox.state.account("twilio", TWILIO.acc_sid).status = "suspended"
        ListedNumbers(credentials).read_page([])
    sandbox.state.account("twilio", TWILIO.acc_sid).status = "active"
    sandbox.clear_ledger()
    wanted = ListedNumbers(credentials)
    for _ in range(3):
        wanted.read_page([])
    assert len(sandbox.ledger) == 4


def test_the_list_is_not_believed_of_a_number_that_is_routed_anywhere(sandbox: Sandbox, carrier: Good) -> None:
    listed = ListedNumbers(Credentials(None, carrier.integration, carrier.acc_sid, carrier.auth_token))
    listed.read_page([carrier.number, carrier.routed_elsewhere])
    assert listed.fresh() == {carrier.number}
    assert listed.pop(carrier.routed_elsewhere) is None


def test_a_page_that_was_not_used_up_in_time_is_read_again_before_the_next(
    sandbox: Sandbox, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = some(sandbox, TWILIO, 300)
    listed = ListedNumbers(Credentials(None, "twilio", TWILIO.acc_sid, TWILIO.auth_token))
    listed.read_page(numbers)
    monkeypatch.setattr(listed_numbers, "FRESH_S", 0.0)
    listed.read_page(numbers)
    monkeypatch.undo()
    shown = listed.fresh()
    assert 200 < len(shown) <= 250
    for number in shown:
        assert listed.pop(number)
    listed.read_page([number for number in numbers if number not in shown])
    assert listed.fresh() == set(numbers) - shown
    pages = [one.query["Page"] for one in sandbox.ledger if "Page" in one.query]
    assert pages == [["1"]], "the first page is asked for without its number"
    assert sum("IncomingPhoneNumbers" in one.path for one in sandbox.ledger) == 3


def test_what_the_list_said_too_long_ago_is_not_remembered_as_the_customers(
    sandbox: Sandbox, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each number is changed at the carrier right after the list was read."""
    numbers = some(sandbox, TWILIO, 30)
    read_page = ListedNumbers.read_page

    def read_then_change(self: ListedNumbers, wanted: Any) -> None:
        read_page(self, wanted)
        for number in wanted:
            sandbox.console("twilio", TWILIO.acc_sid, number=number, voice_url=f"https://new.example/{number}")
        time.sleep(0.05)

    monkeypatch.setattr(listed_numbers, "FRESH_S", 0.05)
    monkeypatch.setattr(ListedNumbers, "read_page", read_then_change)
    assert counted(done(rows_of(tenant, TWILIO, numbers), workers=1)) == {"added": 30}
    before = {line.number: remembered(line)["voice_url"] for line in Line.objects.all()}
    assert sum(url == f"https://new.example/{number}" for number, url in before.items()) >= 11
    phone = PhoneNumber.objects.get(number=numbers[-1])
    assert remove_phone(phone) is Restoration.DONE
    now = sandbox.snapshot()["twilio"][TWILIO.acc_sid]["numbers"][numbers[-1]]["voice_url"]
    assert now == before[numbers[-1]]


def test_an_account_whose_credentials_are_refused_is_not_asked_for_each_row(sandbox: Sandbox, tenant: Tenant) -> None:
    rows = rows_of(tenant, TWILIO, some(sandbox, TWILIO, 40), authToken="wrong")
    outcomes = done(rows)
    assert counted(outcomes) == {"invalid_credentials": 40}
    assert {one.field for one in outcomes.values()} == {"authToken"}
    assert len(sandbox.ledger) <= 4
    assert {counter.used for counter in LimitCounter.objects.all()} == {1}


def test_guesses_in_a_file_come_to_the_limit_of_the_others(sandbox: Sandbox, tenant: Tenant) -> None:
    rows = [FileRow(line, TWILIO.body(tenant.user, authToken=f"guess-{line}")) for line in range(30)]
    for row in rows:
        row.fields["phoneNumber"] = f"121255560{row.line:02}"
    assert counted(done(rows)) == {"invalid_credentials": 20, "throttled": 10}


def test_a_revoked_account_stops_by_itself_and_a_new_token_completes_it(sandbox: Sandbox, tenant: Tenant) -> None:
    plivo = some(sandbox, PLIVO, 40)
    twilio = some(sandbox, TWILIO, 40)
    rows = [
        row for pair in zip(rows_of(tenant, PLIVO, plivo), rows_of(tenant, TWILIO, twilio), strict=True) for row in pair
    ]
    for line, row in enumerate(rows):
        row.line = line
    sandbox.fault("status", carrier="plivo", status=401, skip=60, times=None)
    outcomes = done(rows, workers=8)
    assert counted({line: one for line, one in outcomes.items() if line % 2}) == {"added": 40}
    assert_ours(sandbox, TWILIO, twilio)
    plivos = counted({line: one for line, one in outcomes.items() if not line % 2})
    assert plivos["invalid_credentials"] > 10 and set(plivos) <= {
        "added",
        "invalid_credentials",
        "webhook_setup_failed",
    }
    refused = [one for one in sandbox.ledger if one.status == 401]
    assert len(refused) < 60, "asked again and again"

    sandbox.clear_faults()
    sandbox.state.account("plivo", PLIVO.acc_sid).secret = CANARY
    for row in rows:
        if row.fields["integration"] == "plivo":
            row.fields["authToken"] = CANARY
    assert set(counted(done(rows))) == {"added", "exists"}
    assert_ours(sandbox, PLIVO, plivo)


def test_a_carrier_that_goes_down_is_spared_and_the_others_are_done(sandbox: Sandbox, tenant: Tenant) -> None:
    telnyx = some(sandbox, TELNYX, 60)
    twilio = some(sandbox, TWILIO, 60)
    rows = rows_of(tenant, TELNYX, telnyx) + rows_of(tenant, TWILIO, twilio)
    for line, row in enumerate(rows):
        row.line = line
    sandbox.fault("reset", carrier="telnyx", skip=25, times=None)
    outcomes = done(rows, workers=8)
    assert counted({line: one for line, one in outcomes.items() if line >= 60}) == {"added": 60}
    told = counted({line: one for line, one in outcomes.items() if line < 60})
    assert told["carrier_unavailable"] > 20 and "added" in told
    broken = [one for one in sandbox.ledger if one.fault == "reset"]
    assert len(broken) < 160, "its rows went on asking"

    sandbox.clear_faults()
    assert set(counted(done(rows))) == {"added", "exists"}
    assert_ours(sandbox, TELNYX, telnyx)
    assert_ours(sandbox, TWILIO, twilio)


# -- how fast ---------------------------------------------------------------------------------------------------------


def test_a_carrier_that_admits_few_at_a_time_gets_fewer_and_every_number_is_added(
    sandbox: Sandbox, tenant: Tenant, carrier: Good
) -> None:
    numbers = some(sandbox, carrier, 40)
    sandbox.delay_s, sandbox.concurrency_limit = 0.03, 3
    try:
        assert counted(done(rows_of(tenant, carrier, numbers))) == {"added": 40}
    finally:
        sandbox.concurrency_limit = None
    assert_ours(sandbox, carrier, numbers)
    assert 0 < sum(one.status == 429 for one in sandbox.ledger) < 30


def test_a_429_makes_the_account_wait_as_long_as_the_carrier_says_and_no_other(
    sandbox: Sandbox, tenant: Tenant
) -> None:
    numbers = some(sandbox, TWILIO, 40)
    others = some(sandbox, PLIVO, 40)
    sandbox.delay_s = 0.02
    sandbox.fault("status", carrier="twilio", status=429, skip=12, headers={"Retry-After": "2"})
    rows = rows_of(tenant, TWILIO, numbers) + rows_of(tenant, PLIVO, others)
    for line, row in enumerate(rows):
        row.line = line
    assert counted(done(rows, workers=6)) == {"added": 80}
    assert_ours(sandbox, TWILIO, numbers)
    assert_ours(sandbox, PLIVO, others)
    (refused,) = (one for one in sandbox.ledger if one.status == 429)
    begun = [
        one.started for one in sandbox.ledger if one.carrier == "twilio" and one.started > (refused.ended or 0) + 0.2
    ]
    assert min(begun) - refused.started >= 2
    assert any(
        refused.started < one.started < refused.started + 1.9 for one in sandbox.ledger if one.carrier == "plivo"
    )


def test_nobody_passes_the_gate_before_the_carriers_time_is_over() -> None:
    gate, deadline = AccountGate(8), Deadline(5)
    with gate.admitted(deadline) as began:
        assert gate.slow_down(began, 0.2, deadline), "there is time to come again"
    reopens = gate.closed_until
    assert reopens >= began + 0.2 and gate.is_closed

    with gate.admitted(deadline) as later:
        assert later >= reopens and not gate.is_closed


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [({"Retry-After": "3"}, 3), ({"x-ratelimit-reset": "2"}, 2), ({"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}, 0), ({"Retry-After": "soon"}, None), ({}, None)],
)  # fmt: skip
def test_how_long_to_wait_is_read_from_every_carriers_reply(
    sandbox: Sandbox, tenant: Tenant, carrier: Good, headers: dict[str, str], wait_s: int | None
) -> None:
    waits: list[float | None] = []

    class Watched(AccountGate):
        def slow_down(self, began: float, retry_after_s: float | None, deadline: Any) -> bool:
            waits.append(retry_after_s)
            return False

    from integrations.gate import through
    from phones.services import add_phone

    empty = {"x-ratelimit-reset": ""} if "x-ratelimit-reset" not in headers else {}
    sandbox.fault("status", status=429, times=None, headers={**empty, **headers})
    with through(Watched(8)), pytest.raises(CarrierUnavailable):
        add_phone(user=tenant.user, number=carrier.number, integration=carrier.integration,
                  account_id=carrier.acc_sid, auth_token=carrier.auth_token)  # fmt: skip
    assert waits and set(waits) == {wait_s}


def test_no_more_requests_of_an_account_are_under_way_than_were_asked_for(sandbox: Sandbox, tenant: Tenant) -> None:
    numbers = some(sandbox, TELNYX, 40)
    sandbox.delay_s = 0.02
    done(rows_of(tenant, TELNYX, numbers), workers=16, per_account=3)
    moments = sorted([(one.started, 1) for one in sandbox.ledger] + [(one.ended or 0, -1) for one in sandbox.ledger])
    under_way = most = 0
    for _, change in moments:
        under_way += change
        most = max(most, under_way)
    assert most <= 3


def test_a_breaker_lets_one_try_now_and_then_and_closes_when_it_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    breaker = Breaker()
    for _ in range(Breaker.FAILURES):
        assert breaker.allows()
        breaker.note(answered=False)
    assert not breaker.allows()
    breaker.next_trial = 0
    assert breaker.allows() and not breaker.allows()
    breaker.note(answered=True)
    assert breaker.allows() and breaker.allows()


# -- ends before its end ----------------------------------------------------------------------------------------------


@pytest.mark.engine
def test_a_reservation_of_a_dead_process_is_waited_out_and_settled(sandbox: Sandbox, tenant: Tenant) -> None:
    lease_until = timezone.now() + timedelta(seconds=1.5)
    PhoneNumber.objects.create(user=tenant.user, number=TWILIO.number, integration="twilio", lease_id="a" * 24,
                               lease_until=lease_until)  # fmt: skip
    assert counted(done(rows_of(tenant, TWILIO, [TWILIO.number]))) == {"added": 1}
    assert timezone.now() > lease_until
    assert_ours(sandbox, TWILIO, [TWILIO.number])


def test_after_a_failure_no_other_row_is_begun_if_so_wanted(sandbox: Sandbox, tenant: Tenant) -> None:
    rows = rows_of(tenant, TWILIO, ["12125559999", *some(sandbox, TWILIO, 50)])
    assert counted(done(rows, fail_fast=True, workers=1)) == {"number_not_owned": 1, "not_tried": 50}
    assert not PhoneNumber.objects.exists()


def test_a_stopped_run_finishes_what_is_under_way(sandbox: Sandbox, tenant: Tenant) -> None:
    numbers = some(sandbox, TWILIO, 60)
    sandbox.delay_s = 0.05
    stop, outcomes = Event(), []
    for outcome in add_rows(rows_of(tenant, TWILIO, numbers), workers=4, stop=stop):
        outcomes.append(outcome)
        if len(outcomes) == 10:
            stop.set()
    told = Counter(one.outcome for one in outcomes)
    assert set(told) == {"added", "not_tried"} and told.total() == 60 and 10 <= told["added"] <= 15
    assert_ours(sandbox, TWILIO, [one.key[1] for one in outcomes if one.outcome == "added"])


# -- the command ------------------------------------------------------------------------------------------------------


def command(*arguments: str) -> tuple[int, str, str]:
    """Run it in this process: its exit status, stdout and stderr."""
    out, err = StringIO(), StringIO()
    try:
        call_command("add_phones", *arguments, stdout=out, stderr=err)
    except SystemExit as error:
        return int(error.code or 0), out.getvalue(), err.getvalue()
    except CommandError as error:
        return error.returncode, out.getvalue(), f"{err.getvalue()}{error}"
    return 0, out.getvalue(), err.getvalue()


def test_the_sample_file_has_every_outcome(sandbox: Sandbox, tenant: Tenant, tmp_path: Path) -> None:
    User.objects.create_user("ann@example.com", workspace=tenant.workspace, id="64e5f12345abcdef12345678")
    with SAMPLE.open("rb") as file:
        expected = {row.line: "" for row in read_rows(file)}
    with SAMPLE.open() as file:
        expected = dict(zip(expected, (row["expected"] for row in csv.DictReader(file)), strict=True))
    report = tmp_path / "report.csv"

    status, out, _ = command(str(SAMPLE), "--dry-run", "--output", "json")
    assert status == 3
    rows = json.loads(out)["rows"]
    assert {row["line"]: (row["error"] or row["outcome"]).replace("would_add", "added") for row in rows} == expected
    assert not PhoneNumber.objects.exists()

    status, out, err = command(str(SAMPLE), "--output", "json", "--report", str(report))
    assert status == 3
    told = json.loads(out)
    assert "expected" in err, "the column that means nothing is not told"
    assert {row["line"]: row["error"] or row["outcome"] for row in told["rows"]} == expected
    counts = Counter(expected.values())
    added, exists = counts["added"], counts["exists"]
    assert told["summary"] == {"total": 40, "added": added, "exists": exists, "failed": 40 - added - exists}
    assert set(told) == {"summary", "rows"}
    assert {tuple(row) for row in told["rows"]} == {("line", "userId", "phoneNumber", "outcome", "error", "message")}
    assert [row["line"] for row in told["rows"]] == list(expected), "not in the order of the file"
    with report.open() as file:
        reported = list(csv.DictReader(file))
    assert [{**row, "line": str(row["line"]), "error": row["error"] or ""} for row in told["rows"]] == [
        {**{name: row[name] for name in told["rows"][0]}, "phoneNumber": row["phoneNumber"].removeprefix("'")}
        for row in reported
    ]
    with SAMPLE.open() as file:
        sample = list(csv.DictReader(file))
    for name in ("integration", "accSId", "label", "onConflict", "action", "greeting", "forwardTo", "record"):
        assert [row[name] for row in reported] == [row[name] for row in sample]
    assert "authToken" not in reported[0]

    before = sandbox.snapshot()
    assert json.loads(command(str(SAMPLE), "--output", "json")[1])["summary"]["exists"] == added + exists
    assert sandbox.snapshot() == before


def test_exit_statuses(sandbox: Sandbox, tenant: Tenant, tmp_path: Path) -> None:
    good, bad, file = rows_of(tenant, TWILIO, [TWILIO.number]), rows_of(tenant, TWILIO, ["911"]), tmp_path / "n.csv"
    file.write_text(csv_of(good))
    assert command(str(file), "--dry-run") == (0, command(str(file), "--dry-run")[1], "")
    assert command(str(file))[0] == 0
    assert command(str(file))[0] == 0, "a number that is there is no error"
    file.write_text(csv_of(bad))
    assert command(str(file))[0] == 3
    assert command(str(file), "--dry-run")[0] == 3
    sandbox.clear_ledger()
    for broken in (csv_of(good).encode() * 2000 + b"\xff", b"", b"a,b\n1,2\n"):
        file.write_bytes(broken)
        assert command(str(file))[0] == 2
    file.write_text(csv_of(good))
    for arguments in (
        (str(tmp_path / "none.csv"),), (str(file), "--auth-token-env", "NO_SUCH"),
        (str(file), "--report", str(tmp_path / "no" / "report.csv")),
    ):  # fmt: skip
        assert command(*arguments)[0] == 2, arguments
    assert not sandbox.ledger
    with table_away(User):
        assert command(str(file))[0] == 1


def test_lines_of_json_and_a_limit(sandbox: Sandbox, tenant: Tenant, tmp_path: Path) -> None:
    file = tmp_path / "numbers.jsonl"
    file.write_text("".join(json.dumps(row.fields) + "\n" for row in rows_of(tenant, TWILIO, some(sandbox, TWILIO, 5))))
    status, out, _ = command(str(file), "--output", "jsonl", "--limit", "2")
    told = [json.loads(line) for line in out.splitlines()]
    assert (status, len(told), told[-1]) == (0, 3, {"summary": {"total": 2, "added": 2, "exists": 0, "failed": 0}})


def test_rows_not_tried_are_counted(sandbox: Sandbox, tenant: Tenant, tmp_path: Path) -> None:
    file = tmp_path / "numbers.csv"
    file.write_text(csv_of(rows_of(tenant, TWILIO, ["911", *some(sandbox, TWILIO, 5)])))
    status, out, _ = command(str(file), "--output", "json", "--fail-fast")
    told = json.loads(out)
    assert (status, told["summary"]) == (3, {"total": 6, "added": 0, "exists": 0, "failed": 1, "not_tried": 5})
    assert [row["outcome"] for row in told["rows"]] == ["failed"]


def test_a_report_on_a_full_disk_stops_nothing_and_is_told(sandbox: Sandbox, tenant: Tenant, tmp_path: Path) -> None:
    file = tmp_path / "numbers.csv"
    file.write_text(csv_of(rows_of(tenant, TWILIO, some(sandbox, TWILIO, 5))))
    status, out, err = command(str(file), "--report", "/dev/full")
    assert (status, "No space left" in err, "added 5" in out) == (3, True, True)
    assert PhoneNumber.objects.filter(state="active").count() == 5


def test_the_report_is_no_spreadsheets_formula(sandbox: Sandbox, tenant: Tenant, tmp_path: Path) -> None:
    file, report = tmp_path / "numbers.csv", tmp_path / "report.csv"
    file.write_text(csv_of(rows_of(tenant, TWILIO, ["+1 911", "-12", "=1+1"])))
    assert command(str(file), "--report", str(report))[0] == 3
    cells = [cell for row in csv.reader(report.read_text().splitlines()) for cell in row]
    assert "'+1 911" in cells and not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)


FAULTS: dict[str, dict[str, Any]] = {
    "echo": {"kind": "status", "status": 400, "body": {"message": CANARY, "error": CANARY}},
    "crash": {"kind": "status", "status": 500, "body": CANARY},
    "nonsense": {"kind": "status", "status": 200, "body": f"{{{CANARY}"},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_a_carrier_echoes_is_told_to_nobody(
    sandbox: Sandbox, tenant: Tenant, tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    sandbox.state.account("twilio", TWILIO.acc_sid).secret = CANARY
    sandbox.fault(**FAULTS[fault], times=None)
    file, report = tmp_path / "numbers.csv", tmp_path / "report.csv"
    file.write_text(csv_of(rows_of(tenant, TWILIO, some(sandbox, TWILIO, 5), authToken=CANARY)))
    with caplog.at_level("DEBUG"):
        status, out, err = command(str(file), "--report", str(report))
    assert status == 3 and "failed 5" in out
    assert CANARY not in out + err + report.read_text() + caplog.text


def test_a_row_and_its_outcome_never_print_the_token(sandbox: Sandbox, tenant: Tenant) -> None:
    (row,) = rows_of(tenant, TWILIO, [TWILIO.number], authToken=CANARY)
    parsed = parse_row(AddRowSerializer(), row)
    assert isinstance(parsed, BulkRow)
    assert CANARY not in f"{row!r} {parsed!r} {parsed.credentials!r}"


@pytest.mark.engine
def test_a_worker_that_waits_for_a_task_needs_no_connection() -> None:
    """On PostgreSQL, a process has fewer of them than workers."""

    def ask(*_: Any) -> Any:
        try:
            return User.objects.exists()
        except DatabaseError as error:
            return error

    queue: Any = SimpleNamespace(gate=AccountGate(1), begin=lambda task: None, end=lambda result: None)
    with Workers(WORKERS, ask) as workers:
        for _ in range(WORKERS):
            workers.submit(queue, ReadPage([]))
            assert list(workers.results(20)) == [False]
