"""`manage.py purge`: what goes, what stays, and that it can be stopped and run again."""

from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import DatabaseError, models
from django.utils import timezone

from core import retention
from core.secrets import Secret
from phones.models import Account, Call, CallEvent, Import, ImportRow, Recording
from phones.services.purging import purge_all
from tests.support.database import INSERT, READ, failing, seen, walks
from users.actor import actor_context
from users.audit import record
from users.models import AppendOnly, AuditEntry, IdempotentReply, LimitCounter

pytestmark = pytest.mark.django_db(transaction=True)

# How the audit trail writes a moment.
TOLD = "%Y-%m-%d %H:%M:%S UTC"


def purge(*arguments: str) -> dict[str, int]:
    """What it says: how many of what."""
    out = StringIO()
    with actor_context("command", "purge"):
        call_command("purge", *arguments, stdout=out)
    verb = "would delete " if "--dry-run" in arguments else "deleted "
    lines = [line.removeprefix(verb).partition(" ") for line in out.getvalue().splitlines()]
    return {name: int(count) for count, _, name in lines}


def ago(days: float) -> datetime:
    return timezone.now() - timedelta(days=days)


@pytest.fixture
def account(db: None) -> Account:
    return Account.objects.create(integration="twilio", account_id="AC1", auth_token=Secret.seal("x"), token_digest="x")


def new_event(account: Account, name: str, **fields: Any) -> CallEvent:
    return CallEvent.objects.create(account=account, dedupe_key=name, kind="status", **fields)


def new_call(account: Account, name: str, days: float) -> Call:
    call = Call.objects.create(account=account, carrier_id=name, started_at=ago(days), created_at=ago(days))
    Recording.objects.create(account=account, call=call, carrier_id=name)
    return call


def new_entry(days: float) -> None:
    AuditEntry.objects.create(at=ago(days), actor_kind="system", action="login")


def new_import(name: str, days: float, rows: int = 3) -> Import:
    file = Import.objects.create(name=name, staff="a@b.example", state=Import.State.DONE, created_at=ago(days))
    made = [ImportRow(file=file, line=line, fields=Secret.seal("a token")) for line in range(rows)]
    ImportRow.objects.bulk_create(made)
    return file


def some_of_all(account: Account) -> None:
    """Two of each kind: one past its time and one that is not."""
    for name, days in (("old", 1.0), ("new", -1.0)):
        IdempotentReply.objects.create(key=name, request_digest="x", owner="a" * 24, expires_at=ago(days))
        LimitCounter.objects.create(key=name, expires_at=ago(days))
        Session.objects.create(session_key=name, session_data="x", expire_date=ago(days))
    new_event(account, "old", received_at=ago(92), merged_at=ago(91))
    new_event(account, "new", received_at=ago(92), merged_at=ago(89))
    for name, days in (("old", 31), ("new", 29)):
        new_import(name, days)
    for days in (366, 364):
        new_entry(days)
    new_call(account, "old", 1000)


ALL = {
    "events": 1,
    "imports": 1,
    "idempotent replies": 1,
    "limit counters": 1,
    "sessions": 1,
    "audit entries": 1,
}


def names(model: type[models.Model], field: str) -> set[Any]:
    return set(model._base_manager.values_list(field, flat=True))


@pytest.mark.engine
def test_what_is_past_its_time_goes_and_all_else_stays(account: Account) -> None:
    some_of_all(account)
    assert purge("--dry-run") == ALL
    assert (CallEvent.objects.count(), AuditEntry.objects.count(), ImportRow.objects.count()) == (2, 2, 6)

    assert purge() == ALL
    assert names(CallEvent, "dedupe_key") == names(IdempotentReply, "key") == names(LimitCounter, "key") == {"new"}
    assert names(Session, "session_key") == names(Import, "name") == {"new"}
    assert names(ImportRow, "file__name") == {"new"}
    assert (Call.objects.count(), Recording.objects.count()) == (1, 1), "calls are kept for good"
    assert purge() == dict.fromkeys(ALL, 0)


@pytest.mark.engine
def test_an_event_that_is_not_in_the_log_of_calls_stays(account: Account) -> None:
    new_event(account, "not merged", received_at=ago(900))
    assert purge("--events-days", "1")["events"] == 0
    assert CallEvent.objects.exists()


@pytest.mark.engine
def test_calls_go_with_their_recordings_when_that_is_asked_for(account: Account) -> None:
    old, new = new_call(account, "old", 31), new_call(account, "new", 29)
    new_event(account, "of the old", call=old)
    assert purge("--calls-days", "30")["calls"] == 1
    assert list(Call.objects.all()) == [new]
    assert names(Recording, "carrier_id") == {"new"}
    assert CallEvent.objects.get().call is None


def test_days_can_be_chosen(account: Account) -> None:
    some_of_all(account)
    told = purge("--events-days", "10", "--imports-days", "10", "--audit-days", "10")
    assert (told["events"], told["imports"], told["audit entries"]) == (2, 2, 2)


def test_the_settings_say_what_the_worker_keeps(account: Account, settings: Any) -> None:
    some_of_all(account)
    settings.KEEP_DAYS = {"events": None, "audit": None, "imports": 10, "calls": 30}
    purge_all()
    assert (CallEvent.objects.count(), AuditEntry.objects.exclude(action="audit.purge").count()) == (2, 2)
    assert not Import.objects.exists() and not Call.objects.exists()


@pytest.mark.parametrize("option", ["--events-days", "--imports-days", "--audit-days", "--calls-days"])
@pytest.mark.parametrize("days", ["0", "-1", "36501"])
def test_nonsense_deletes_nothing(account: Account, option: str, days: str) -> None:
    some_of_all(account)
    with pytest.raises(CommandError, match=option):
        purge(option, days)
    assert AuditEntry.objects.count() == CallEvent.objects.count() == 2


# -- the audit trail --------------------------------------------------------------------------------------------------


def test_the_trail_says_that_entries_went() -> None:
    for days in (366, 367, 364):
        new_entry(days)
    began = ago(365)
    assert purge()["audit entries"] == 2
    told = AuditEntry.objects.get(action="audit.purge")
    assert (told.actor_kind, told.actor) == ("command", "purge")
    assert f"before {began:{TOLD}}" <= told.detail <= f"before {ago(365):{TOLD}}"
    assert AuditEntry.objects.count() == 2


def test_without_old_entries_nothing_is_told() -> None:
    new_entry(1)
    purge()
    assert not AuditEntry.objects.filter(action="audit.purge").exists()


def test_an_entry_that_cannot_be_told_of_does_not_go() -> None:
    new_entry(400)
    with failing(INSERT, AuditEntry), pytest.raises(DatabaseError):
        purge()
    assert AuditEntry.objects.count() == 1


@pytest.mark.engine
def test_there_is_no_other_road(account: Account) -> None:
    new_entry(400)
    with pytest.raises(AppendOnly):
        AuditEntry.objects.filter(at__lt=ago(365)).delete()
    with pytest.raises(AppendOnly):
        retention.delete_in_batches(AuditEntry.objects.all(), oldest_by="at")
    record("login")
    assert AuditEntry.objects.count() == 2


# -- many rows --------------------------------------------------------------------------------------------------------


def test_it_goes_on_where_it_was_interrupted(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 10)
    for number in range(35):
        new_event(account, str(number), merged_at=ago(100 + number))
    batches = 0

    def kill(pause_s: float) -> None:
        nonlocal batches
        batches += 1
        if batches == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("core.retention.time.sleep", kill)
        with pytest.raises(KeyboardInterrupt):
            purge()
    # The oldest went first.
    assert names(CallEvent, "dedupe_key") == {str(number) for number in range(15)}
    assert purge()["events"] == 15
    assert not CallEvent.objects.exists()


@pytest.mark.engine
def test_a_key_that_is_used_anew_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        IdempotentReply.objects.create(key=name, request_digest="x", owner="a" * 24, expires_at=ago(1))
    rows = IdempotentReply.objects.filter(expires_at__lt=timezone.now())
    anew = IdempotentReply.objects.filter(key="one")
    delete = models.QuerySet.delete

    def too_late(self: Any) -> Any:
        anew.update(expires_at=ago(-1))
        return delete(self)

    monkeypatch.setattr(models.QuerySet, "delete", too_late)
    assert retention.delete_in_batches(rows, oldest_by="expires_at") == 1
    assert names(IdempotentReply, "key") == {"one"}


def test_nothing_walks_through_a_table(account: Account) -> None:
    young = timezone.now()
    rows = [CallEvent(account=account, dedupe_key=str(n), kind="status", merged_at=young) for n in range(300)]
    CallEvent.objects.bulk_create(rows)
    AuditEntry.objects.bulk_create([AuditEntry(actor_kind="system", action="login") for _ in range(300)])
    later = ago(-1)
    LimitCounter.objects.bulk_create([LimitCounter(key=str(n), expires_at=later) for n in range(300)])
    replies = [IdempotentReply(key=str(n), request_digest="x", owner="a" * 24, expires_at=later) for n in range(300)]
    IdempotentReply.objects.bulk_create(replies)
    Session.objects.bulk_create([Session(session_key=str(n), session_data="x", expire_date=later) for n in range(300)])
    calls = [Call(account=account, carrier_id=str(n), started_at=young) for n in range(300)]
    Call.objects.bulk_create(calls)
    new_import("new", 1, rows=300)
    some_of_all(account)
    big = {
        model._meta.db_table
        for model in (CallEvent, AuditEntry, LimitCounter, IdempotentReply, Session, Call, Import, ImportRow)
    }
    with seen() as statements:
        purge("--calls-days", "900")
    reads = [one for one in statements if one.act == READ and one.table in big]
    assert {one.table for one in reads} == big
    assert [one for one in reads if walks(one)] == []
