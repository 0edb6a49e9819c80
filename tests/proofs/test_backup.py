"""The commands for backup and restore, as docs/operate.md has them; that of SQLite under writes."""

import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import requests

from core.databases.copying import Contents, contents, models
from core.secrets import Secret
from phones.models import PhoneNumber
from sandbox.postgresql import programs
from sandbox.sandbox import Sandbox
from tests.support import PROJECT
from tests.support.api import add
from tests.support.carriers import TWILIO
from tests.support.database import shared_url
from tests.support.live import run_manage, serve
from tests.support.people import Tenant
from users.models import User

pytestmark = pytest.mark.django_db(transaction=True)

# 20 MB, so that it takes a while and the write-ahead log is folded in meanwhile.
FILLER_ROWS, FILLER = 5_000, "x" * 4_000


def documented(part: str) -> str:
    """The one documented command that has this in it."""
    (command,) = [line for line in (PROJECT / "docs/operate.md").read_text().splitlines() if part in line]
    command = command.replace(".venv/bin/python manage.py", f"python {shlex.quote(str(PROJECT / 'manage.py'))}")
    command = command.replace("/srv/phones/.venv/bin/python", "python")
    return re.sub(r"'postgres:\S+'", shlex.quote(shared_url()), command)


def run(command: str, folder: Path) -> None:
    path = f"{Path(sys.executable).parent}:{programs()}:{os.environ['PATH']}"
    env = os.environ | {"PATH": path, "DATABASE_URL": shared_url()}
    subprocess.run(["sh", "-ec", command], cwd=folder, env=env, check=True, timeout=60)


def write_pairs(file: Path, stop: threading.Event, written: list[int]) -> None:
    """Commit a row in each of two tables, again and again."""
    with closing(sqlite3.connect(file, timeout=20)) as database:
        while not stop.is_set():
            number = len(written)
            with database:
                database.execute("INSERT INTO one VALUES (?)", (number,))
                database.execute("INSERT INTO other VALUES (?)", (number,))
            written.append(number)


@pytest.mark.only("sqlite", reason="This is about its file")
def test_a_backup_under_writes_is_whole_and_opens(sandbox: Sandbox, tmp_path: Path) -> None:
    with serve(tmp_path, sandbox) as live:
        file = Path(live.database.name)
        body = TWILIO.body(User(pk=live.user))
        headers = {"Authorization": f"Bearer {live.token}"}
        added = requests.post(f"{live.url}/api/call/add-phone", json=body, headers=headers, timeout=20)
        assert added.status_code == 201
        with closing(sqlite3.connect(file, timeout=20)) as database, database:
            database.execute("CREATE TABLE one (number)")
            database.execute("CREATE TABLE other (number)")
            database.execute("CREATE TABLE filler (text)")
            database.executemany("INSERT INTO filler VALUES (?)", [(FILLER,)] * FILLER_ROWS)

        stop, written = threading.Event(), list[int]()
        writer = threading.Thread(target=write_pairs, args=(file, stop, written))
        writer.start()
        try:
            while len(written) < 20:
                pass
            before = len(written)
            run(documented(".backup(sqlite3.connect(").replace("db.sqlite3", file.name), tmp_path)
            during = len(written) - before
        finally:
            stop.set()
            writer.join()
    backup = tmp_path / "backup.sqlite3"
    assert during > 0, "it was written to meanwhile"
    assert backup.stat().st_mode & 0o077 == 0

    # The database is lost, and what is left of it lies in the way.
    file.write_bytes(b"lost")
    for leftover in ("-wal", "-shm"):
        file.with_name(file.name + leftover).write_bytes(b"of another database")
    run(documented("cp backup.sqlite3").replace("db.sqlite3", file.name), tmp_path)

    live.database.assert_whole()
    (one,), (other,) = live.database.rows("one", "count(*)")[0], live.database.rows("other", "count(*)")[0]
    assert one == other and before <= one <= before + during + 1
    assert live.database.rows("filler", "count(*)") == [(FILLER_ROWS,)]
    ((sealed,),) = live.database.rows("phones_account", "auth_token")
    assert Secret(sealed).open() == TWILIO.auth_token
    shown = run_manage("check_phones", "--output", "json", env=live.env)
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["phoneNumber"] == TWILIO.number


def everything() -> list[Contents]:
    return [contents(model, "default") for model in models()]


@pytest.fixture
def lost(sandbox: Sandbox, tenant: Tenant, new_process: None) -> Callable[[], list[Contents]]:
    """A database with a number. When this is called, it is emptied; returns what it held."""

    def lose() -> list[Contents]:
        held = everything()
        for model in reversed(models()):
            model._base_manager.all()._raw_delete("default")
        assert not PhoneNumber.objects.exists()
        return held

    assert add(tenant, TWILIO.body(tenant.user)).status_code == 201
    return lose


@pytest.mark.engine(share=False)
@pytest.mark.only("postgresql", reason="These are its own tools")
def test_a_dump_of_postgresql_is_restored(lost: Callable[[], list[Contents]], tmp_path: Path) -> None:
    run(documented("pg_dump"), tmp_path)
    assert (tmp_path / "phones.dump").stat().st_mode & 0o077 == 0
    held = lost()
    run(documented("pg_restore"), tmp_path)
    assert everything() == held


@pytest.mark.engine(share=False)
def test_a_copy_in_a_file_is_restored_on_each_engine(lost: Callable[[], list[Contents]], tmp_path: Path) -> None:
    run(documented("--to sqlite:///backup"), tmp_path)
    assert (tmp_path / "backup.sqlite3").stat().st_mode & 0o077 == 0
    held = lost()
    run(documented("--from sqlite:///backup"), tmp_path)
    assert everything() == held
