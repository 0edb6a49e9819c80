"""A database of an early version, with data, is migrated and goes on working.

early/378a120.sql is the dump of one that this commit wrote on SQLite: a workspace with a token, a number at each carrier
and a second one at Twilio, a call of its own webhooks, and somebody of the support desk. The keys are those of the tests.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import requests

from sandbox.sandbox import Sandbox
from tests.support import PROJECT
from tests.support.engines.sqlite import SQLite
from tests.support.live import run_manage, serve

TOKEN = "wp_A3WlXNSb11uhgmFbWv7-9LEsb2FYVqRrp55ScME5jPY"
NUMBERS = {"12125551234", "12125550001", "14155551234", "13125551234"}

pytestmark = pytest.mark.only("sqlite", reason="the dump is one of SQLite")


def test_an_early_database_is_migrated_and_works(sandbox: Sandbox, tmp_path: Path) -> None:
    database = SQLite(tmp_path)
    with closing(sqlite3.connect(database.file)) as connection:
        connection.executescript((PROJECT / "tests/early/378a120.sql").read_text())
    env = os.environ | {"DATABASE_URL": database.url}
    for arguments in (("migrate", "--verbosity", "0"), ("migrate", "--check")):
        done = run_manage(*arguments, env=env)
        assert done.returncode == 0, done.stderr

    with serve(tmp_path, sandbox, database=database) as live:
        # The carriers of this test know nothing of the routes that the early version had set.
        live.manage("check_phones", "--repair")
        session = requests.Session()
        session.headers["Authorization"] = f"Bearer {TOKEN}"
        phones = session.get(f"{live.url}/api/call/phones", timeout=20).json()["data"]["items"]
        assert {phone["phoneNumber"] for phone in phones} == NUMBERS
        assert {phone["health"] for phone in phones} == {"ok"}
        calls = session.get(f"{live.url}/api/call/calls", timeout=20).json()["data"]["items"]
        assert [(call["status"], call["phoneNumber"]) for call in calls] == [("completed", "12125551234")]
        for phone in phones:
            removed = session.delete(f"{live.url}/api/call/phones/{phone['_id']}", timeout=20)
            assert removed.status_code == 200 and removed.json()["data"]["restored"], removed.text
