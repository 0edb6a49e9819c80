"""The commands for backup and restore, as docs/operate.md has them, on SQLite under writes."""

import json
import shlex
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
import requests

from core.secrets import Secret
from sandbox.sandbox import Sandbox
from tests.support import PROJECT
from tests.support.carriers import TWILIO
from tests.support.live import run_manage, serve
from users.models import User

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.only("sqlite", reason="MongoDB brings its own tools, which are not installed here"),
]

# 20 MB, so that it takes a while and the write-ahead log is folded in meanwhile.
FILLER_ROWS, FILLER = 5_000, "x" * 4_000


def documented(part: str) -> str:
    """The one documented command that has this in it."""
    (command,) = [line for line in (PROJECT / "docs/operate.md").read_text().splitlines() if part in line]
    return command.replace("/srv/phones/.venv/bin/python", shlex.quote(sys.executable))


def run(command: str, folder: Path) -> None:
    subprocess.run(["sh", "-ec", command], cwd=folder, check=True, timeout=60)


def write_pairs(file: Path, stop: threading.Event, written: list[int]) -> None:
    """Commit a row in each of two tables, again and again."""
    with closing(sqlite3.connect(file, timeout=20)) as database:
        while not stop.is_set():
            number = len(written)
            with database:
                database.execute("INSERT INTO one VALUES (?)", (number,))
                database.execute("INSERT INTO other VALUES (?)", (number,))
            written.append(number)


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
