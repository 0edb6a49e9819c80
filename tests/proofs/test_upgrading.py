"""Accounts are given to workspaces: all is kept, nothing happens where they are shared, and it can be interrupted."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import F

from core.databases import copying
from core.secrets import Secret
from phones.models import Account, Call, Line, PhoneNumber
from sandbox import state as seeds
from tests.support.database import READ, Statement, around_statements
from tests.support.early import early_apps, early_database

ONE, SHARED, TWICE = "378a120.sql", "378a120_shared.sql", "378a120_twice.sql"

pytestmark = [
    pytest.mark.engine,
    pytest.mark.only("sqlite", "mongodb", reason="the early versions did not run on PostgreSQL"),
]


@pytest.fixture(autouse=True)
def may_connect(django_db_blocker: Any) -> Iterator[None]:
    with django_db_blocker.unblock():
        yield


class Interrupted(BaseException):
    pass


def migrate_interrupted(at: int) -> bool:
    """Run `migrate` and stop it right before its nth change to the database. Returns whether it got there."""
    changes = 0

    def count(run: Callable[[], Any], statement: Statement) -> Any:
        nonlocal changes
        if statement.act != READ:
            changes += 1
            if changes == at:
                raise Interrupted
        return run()

    try:
        with around_statements(count):
            call_command("migrate", verbosity=0)
    except BaseException:
        if changes < at:
            raise
        # As at the end of a process. SQLite's schema editor first checks what is half done, and raises its own error.
        connection.in_atomic_block = False
        connection.close()
        return True
    return False


def applied() -> set[tuple[str, str]]:
    return set(MigrationRecorder(connection).applied_migrations())


def test_a_migration_can_be_interrupted_before_each_change_and_run_again(tmp_path: Path) -> None:
    with early_database(ONE, tmp_path / "whole"):
        call_command("migrate", verbosity=0)
        expected = migrated()

    with early_database(ONE, tmp_path / "interrupted"):
        at, before = 1, applied()
        while migrate_interrupted(at):
            at, before = (at + 1, before) if applied() == before else (1, applied())
        assert migrated() == expected


def migrated() -> dict[str, Any]:
    """The rows and indexes of all tables of ours."""
    ours = [model for model in copying.models() if model._meta.app_label in ("core", "phones", "users")]
    with connection.cursor() as cursor:
        constraints = {
            model._meta.db_table: connection.introspection.get_constraints(cursor, model._meta.db_table)
            for model in ours
        }
    rows = {model._meta.db_table: list(map(copying.row_values, copying.rows(model, "default"))) for model in ours}
    return {"rows": rows, "constraints": constraints}


def stored_values(models: list[Any]) -> dict[tuple[str, Any, str], str | None]:
    """Each value of the rows, by table, key and column."""
    return {
        (model._meta.db_table, row.pk, field.column): value
        for model in models
        for row in model._base_manager.all()
        for field, value in zip(model._meta.concrete_fields, copying.row_values(row), strict=True)
    }


def test_a_database_of_one_workspace_is_kept_whole(tmp_path: Path) -> None:
    with early_database(ONE, tmp_path):
        before = stored_values(early_apps().get_models())
        call_command("migrate", verbosity=0)
        after = stored_values(copying.models())
        lost = {key for key in before.keys() - after.keys() if not key[0].startswith("axes_")}
        assert {column for _, _, column in lost} == {"operation_id"}
        assert [key for key in before.keys() & after.keys() if before[key] != after[key]] == []
        assert_owned()
        assert Account.objects.exclude(workspace__name="Acme").count() == 0
        assert {account.auth_token.open() for account in Account.objects.all()} == {
            seeds.TWILIO_TOKEN,
            seeds.PLIVO_TOKEN,
            seeds.TELNYX_KEY,
        }
        assert all(line.snapshot and line.snapshot.open() for line in Line.objects.all())
        assert not Line.objects.exclude(held_since=F("created_at")).exists()


# -- refused ----------------------------------------------------------------------------------------------------------

ACME, BETA = "6b0d702e87b2e59349ef82f1", "6b0d702e87b2e59349ef82f7"
MESSAGE = {
    SHARED: f"""
- Twilio account {seeds.TWILIO_SID}
  - Acme ({ACME}): 12125551234
  - Beta ({BETA}): 12125550001, 12125551234
- Plivo account {seeds.PLIVO_ID}
  - Acme ({ACME}): 14155551234
  - Beta ({BETA}): 14155550001
""",
    TWICE: f"""
- Telnyx number 13125551234
  - account 1293384261075731501
    - Acme (6b0d7040662e70ec45c5e80d): 13125551234
  - account {seeds.TELNYX_CUSTOMER_APP}
    - Acme (6b0d7040662e70ec45c5e80d): 13125551234
""",
}
# Whose numbers are removed, as the message asks: those of one of the workspaces, or those of one of the users.
REMOVED = {SHARED: {"user__workspace": BETA}, TWICE: {"user__email": "bob@acme.example"}}


def remove_as_the_early_version(**whose: str) -> None:
    """Leave what its removals leave here, as far as migrations are concerned."""
    apps = early_apps()
    apps.get_model("phones", "PhoneNumber").objects.filter(**whose).delete()
    apps.get_model("phones", "Line").objects.filter(phone_numbers=None).delete()


@pytest.mark.parametrize("dump", [SHARED, TWICE])
def test_what_is_shared_is_refused_untouched_and_migrated_once_it_is_removed(dump: str, tmp_path: Path) -> None:
    with early_database(dump, tmp_path) as database:
        before = database.dump()
        for _ in range(2):
            with pytest.raises(CommandError) as refused:
                call_command("migrate", verbosity=0)
            assert refused.value.returncode == 1
            assert MESSAGE[dump] in str(refused.value)
            assert database.dump() == before

        remove_as_the_early_version(**REMOVED[dump])
        call_command("migrate", verbosity=0)
        assert_owned()


def test_the_calls_of_a_workspace_that_has_left_stay_its_own(tmp_path: Path) -> None:
    """Two had the number: whoever keeps it sees the calls since its own add, and all of its other numbers."""
    with early_database(SHARED, tmp_path):
        remove_as_the_early_version(user__workspace=ACME)
        call_command("migrate", verbosity=0)
        phone = PhoneNumber.objects.get(number="12125551234")
        assert phone.line and phone.line.held_since == phone.created_at
        calls = Call.objects.filter(line=phone.line)
        assert calls.exists() and not calls.filter(created_at__lt=phone.created_at).exists()
        assert Call.objects.filter(callee="12125551234", line=None).count() == 1
        other = PhoneNumber.objects.get(number="12125550001")
        assert other.line and other.line.held_since == other.line.created_at
        assert Call.objects.filter(line=other.line).count() == 1


def assert_owned() -> None:
    """Each account and line belongs to whom its numbers belong to, and one without numbers to nobody."""
    for phone in PhoneNumber.objects.select_related("user", "line__account"):
        assert phone.line
        assert phone.line.account.workspace_id == phone.user.workspace_id
        assert (phone.line.integration, phone.line.number) == (phone.integration, phone.number)
    assert not Account.objects.filter(lines=None).exclude(workspace=None).exists()
    assert not Line.objects.exclude(account__workspace__isnull=False).exists()


def test_other_migrations_and_questions_are_not_refused(tmp_path: Path) -> None:
    with early_database(SHARED, tmp_path) as database:
        before = database.dump()
        with pytest.raises(SystemExit):
            call_command("migrate", check_unapplied=True, verbosity=0)
        call_command("migrate", plan=True, verbosity=0, stdout=io.StringIO())
        assert database.dump() == before
        call_command("migrate", "users", verbosity=0)
        call_command("migrate", "phones", "0010", verbosity=0)
        call_command("migrate", "phones", "0009", verbosity=0)
        with pytest.raises(CommandError, match="Nothing was migrated"):
            call_command("migrate", "phones", verbosity=0)


def test_a_long_list_is_cut_short(tmp_path: Path) -> None:
    with early_database(SHARED, tmp_path):
        apps = early_apps()
        account, line, phone, user = (
            apps.get_model(name) for name in ("phones.Account", "phones.Line", "phones.PhoneNumber", "users.User")
        )
        users = list(user.objects.exclude(workspace=None))
        for place in range(60):
            shared = account.objects.create(
                integration="twilio", account_id=f"AC{place}", auth_token=Secret.seal("x"), webhook_token=f"w{place}"
            )
            for owner in users:
                number = f"1212556{place:02}{users.index(owner)}0"
                there = line.objects.create(account=shared, number=number, snapshot=Secret.seal("{}"))
                phone.objects.create(user=owner, line=there, integration="twilio", number=number, state="removing")
        with pytest.raises(CommandError) as refused:
            call_command("migrate", verbosity=0)
        assert str(refused.value).count("- Twilio account") + str(refused.value).count("- Plivo account") == 50
        assert "and 12 more" in str(refused.value)
