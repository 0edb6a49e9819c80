"""copy_database: everything arrives, the same, wherever it goes; again and again."""

import io
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from core.databases import copying
from core.databases.copying import SOURCE, TARGET
from core.secrets import Secret
from phones.models import Account, Call, CallEvent, Line, PhoneNumber, SearchTerm
from sandbox.postgresql import PostgreSQL, programs
from sandbox.replica_set import ReplicaSet, mongod
from tests.support.api import add
from tests.support.carriers import TELNYX
from tests.support.engines.base import leave
from tests.support.environment import ENGINE, ENGINES
from tests.support.people import Tenant
from tests.support.watching import end_with_this_process, kill_with_this_process
from users.models import AuditEntry, User, Workspace

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command reaches its databases. Django's tests may reach none but those of the settings."""
    forbid = BaseDatabaseWrapper.ensure_connection

    def ensure_connection(self: BaseDatabaseWrapper) -> None:
        if self.alias not in (SOURCE, TARGET):
            forbid(self)
        elif self.connection is None:
            self.connect()

    monkeypatch.setattr(BaseDatabaseWrapper, "ensure_connection", ensure_connection)


def forget() -> None:
    for alias in (SOURCE, TARGET):
        leave(connections[alias])
        del connections[alias], connections.settings[alias]


@pytest.fixture(params=sorted({ENGINE, "sqlite"}))
def elsewhere(request: Any, both: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The variable that holds the address of an empty database."""
    database = ENGINES[request.param](tmp_path)
    database.create()
    monkeypatch.setenv("COPY_URL", database.url)
    yield "COPY_URL"
    forget()
    database.drop()


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("copy_database", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def full(tenant: Tenant, staff: User, sandbox: Any) -> PhoneNumber:
    """A database with something of each kind."""
    assert add(tenant, TELNYX.body(tenant.user)).status_code == 201
    phone = PhoneNumber.objects.get()
    line = phone.line
    assert line
    line.account.previous_auth_token = Secret.seal("the one before")
    line.account.save()
    now = timezone.now()
    Call.objects.bulk_create(
        Call(account=line.account, line=line, carrier_id=f"C{index}", started_at=now - timedelta(seconds=index),
             caller="Zoë \U0001f600", cost=Decimal("0.0125") if index % 2 else None, duration_s=index or None)
        for index in range(1200)
    )  # fmt: skip
    CallEvent.objects.create(account=line.account, dedupe_key="k", kind="call", payload='{"a": [1, null]}')
    return phone


@pytest.mark.engine
def test_everything_arrives_as_it_was(full: PhoneNumber, elsewhere: str) -> None:
    terms = SearchTerm.objects.count()
    assert run("--to", elsewhere).endswith("Both databases hold the same.\n")
    assert SearchTerm.objects.count() == terms > 0  # migrating the target leaves the source alone
    assert Call.objects.using(TARGET).count() == 1200
    for model in (Workspace, User, Account, Line, PhoneNumber, Call, CallEvent, AuditEntry):
        here, there = (list(map(copying.row_values, copying.rows(model, alias))) for alias in ("default", TARGET))
        assert here, model
        assert here == there
    account = Account.objects.using(TARGET).get()
    assert account.previous_auth_token is not None
    assert account.previous_auth_token.open() == "the one before"
    copied = User.objects.using(TARGET).get(email="support@example.com")
    assert [group.name for group in copied.groups.all()] == ["support"]


@pytest.mark.engine
def test_only_what_differs_is_written_again(full: PhoneNumber, elsewhere: str) -> None:
    run("--to", elsewhere)
    Call.objects.filter(carrier_id="C7").update(hangup_cause="busy")
    Call.objects.filter(carrier_id="C8").delete()
    with pytest.raises(CommandError) as refusal:
        run("--to", elsewhere, "--check")
    assert refusal.value.returncode == 3
    assert run("--to", elsewhere).startswith("1 rows copied, 2 removed.\n")
    assert run("--to", elsewhere).startswith("0 rows copied, 0 removed.\n")


@pytest.mark.engine
def test_an_interrupted_copy_goes_on(full: PhoneNumber, elsewhere: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = 0

    def cut(model: Any, count: Any) -> None:
        def stop(rows: int) -> None:
            nonlocal written
            written += rows
            if model is Call:
                raise KeyboardInterrupt
            count(rows)

        fill(model, stop)

    fill = copying.fill
    monkeypatch.setattr(copying, "fill", cut)
    with pytest.raises(KeyboardInterrupt):
        run("--to", elsewhere)
    monkeypatch.setattr(copying, "fill", fill)
    assert 0 < Call.objects.using(TARGET).count() < 1200
    total = sum(copying.contents(model, "default").rows for model in copying.models())
    copied = int(run("--to", elsewhere).split(" ", 1)[0])
    assert 0 < copied <= total - written


@pytest.mark.engine
def test_rows_that_swapped_what_is_unique_arrive(tenant: Tenant, elsewhere: str) -> None:
    one, two = (User.objects.create_user(f"{name}@example.com", workspace=tenant.workspace) for name in "ab")
    run("--to", elsewhere)
    for user, email in ((one, "c@example.com"), (two, "a@example.com"), (one, "b@example.com")):
        User.objects.filter(pk=user.pk).update(email=email)
    run("--to", elsewhere)
    assert User.objects.using(TARGET).get(email="a@example.com").pk == two.pk


@pytest.mark.engine
def test_the_wrong_way_round_deletes_nothing(tenant: Tenant, elsewhere: str) -> None:
    run("--to", elsewhere)
    Workspace.objects.using(TARGET).create(name="only there")
    with pytest.raises(CommandError, match="are not swapped") as refusal:
        run("--to", elsewhere)
    assert refusal.value.returncode == 2
    assert Workspace.objects.using(TARGET).count() == 2
    run("--to", elsewhere, "--replace")
    assert Workspace.objects.using(TARGET).count() == 1


@pytest.mark.skipif(mongod() is None or programs() is None, reason="MongoDB or PostgreSQL is not installed")
def test_each_engine_is_copied_to_each_other_one(full: PhoneNumber, both: None, tmp_path: Path) -> None:
    Group.objects.create(name="has a key that no migration drew")
    with ReplicaSet() as replica_set, PostgreSQL() as server:
        end_with_this_process(server)
        kill_with_this_process([one.pid for one in replica_set.processes.values()], replica_set.folder)
        server.create("first")
        server.create("second")
        first = [replica_set.url("first"), server.url("first"), f"sqlite:///{tmp_path}/first.sqlite3"]
        second = [server.url("second"), replica_set.url("second"), f"sqlite:///{tmp_path}/second.sqlite3"]
        for source, target in pairwise(["DATABASE_URL", *first, *second]):
            assert run("--from", source, "--to", target).endswith("Both databases hold the same.\n")
            Group.objects.using(TARGET).create(name="gets another key").delete()
            last = [copying.contents(model, TARGET) for model in copying.models()]
            forget()
    assert last == [copying.contents(model, "default") for model in copying.models()]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--to", "NO_SUCH_VARIABLE"], "--to: the variable NO_SUCH_VARIABLE is not set"),
        (["--to", "mongodb://user:hunter2@host/db"], "others can read an argument"),
        (["--to", "mongodb://host1/"], "names no database"),
        (["--to", "postgres://user:hunter2@host/db"], "others can read an argument"),
        (["--to", "postgres://host/db?user=ann&password=hunter2"], "others can read an argument"),
        (["--to", "postgres://host"], "names no database"),
        (["--to", "mysql://host/db"], "--to must be sqlite"),
        (["--to", "DATABASE_URL"], "the same database"),
    ],
)
def test_an_address_that_cannot_be_is_refused(arguments: list[str], told: str) -> None:
    with pytest.raises(CommandError) as refusal:
        run(*arguments)
    assert told in str(refusal.value)
    assert "hunter2" not in str(refusal.value)
    assert refusal.value.returncode == 2
