"""Commands and the server as processes: settings that cannot work stop them with a sentence."""

import json
import os
from pathlib import Path

import pytest

from sandbox.sandbox import Sandbox
from tests.support.api import data_of, send
from tests.support.carriers import CARRIERS, environment_of
from tests.support.checking import (
    SHOWN,
    several,
    stage,
)
from tests.support.database import shared_url
from tests.support.live import run_manage, run_server
from tests.support.people import Tenant


@pytest.mark.parametrize("command", ["check", "serve", "migrate", "reconcile"])
def test_settings_that_cannot_work_stop_every_command_with_all_that_is_wrong(tmp_path: Path, command: str) -> None:
    (tmp_path / ".env").write_text("SECRET_KEY: 0123456789abcdef\nWORKERS = two\nBIND=$HOST\n")
    settings = {"ENV_FILE": str(tmp_path / ".env"), "LIMIT_ADDS": "5/fortnight", "PUBLIC_URL": "http://user:pass@x"}
    env = {name: value for name, value in os.environ.items() if name != "SECRET_KEY"} | settings
    result = run_manage(command, env=env)
    assert (result.returncode, result.stdout) == (1, "")
    first, *said = result.stderr.splitlines()
    assert first == "Not configured:"
    assert [line.partition(" must")[0] for line in said] == [
        ".env, line 1 (SECRET_KEY) is not NAME=value, with the name in capital letters.", "BIND", "LIMIT_ADDS", "PUBLIC_URL", "WORKERS"
    ]  # fmt: skip
    assert not any(value in result.stderr for value in ("0123456789abcdef", "two", "$HOST", "fortnight", "user:pass@x"))


def test_one_fault_is_one_line() -> None:
    result = run_server(os.environ | {"DEBUG": "on", "BIND": "127.0.0.1:0"})
    assert result.returncode == 1
    assert result.stderr.startswith("Not configured: DEBUG is on, but others can reach this server (PUBLIC_URL)")
    assert result.stderr.count("\n") == 1


@pytest.mark.django_db(transaction=True)
def test_check_phones_run_by_cron(sandbox: Sandbox, tenant: Tenant) -> None:
    """A process of its own: what it prints, how it exits, and that it leaves the same in the database."""
    env = os.environ | {
        "DATABASE_URL": shared_url(),
        **environment_of(sandbox),
    }
    scenes = {name: stage(sandbox, tenant, good) for name, good in CARRIERS.items()}
    several(scenes["plivo"])
    scenes["telnyx"].sell_number()

    ran = run_manage("check_phones", "--repair", "--output", "json", env=env)

    assert ran.returncode == 3, ran.stderr
    rows = {row["integration"]: row for row in map(json.loads, ran.stdout.splitlines())}
    assert {name: row["health"] for name, row in rows.items()} == dict.fromkeys(CARRIERS, "ok") | {"telnyx": "drift"}
    assert [name for name, row in rows.items() if row["repaired"]] == ["plivo"]
    assert ran.stderr.splitlines()[-1] == f"drift 1, ok {len(CARRIERS) - 2}, repaired 1"
    assert "Traceback" not in ran.stderr
    for name, scene in scenes.items():
        shown = data_of(send("GET", f"phones/{scene.phone.pk}", tenant))
        assert {field: shown[field] for field in SHOWN} == {field: rows[name][field] for field in SHOWN}


@pytest.mark.only("sqlite", reason="about its files")
def test_commands_make_files_for_their_user_alone(tmp_path: Path) -> None:
    """Started from a shell that would let everybody read them."""
    database, report = tmp_path / "new.sqlite3", tmp_path / "report.csv"
    env = os.environ | {"DATABASE_URL": f"sqlite:///{database}"}
    before = os.umask(0o022)
    try:
        assert run_manage("migrate", "--verbosity", "0", env=env).returncode == 0
        run_manage("add_phones", "docs/sample-numbers.csv", "--dry-run", "--report", str(report), env=env)
    finally:
        os.umask(before)
    made = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    assert {"new.sqlite3", "report.csv"} <= made.keys()
    assert set(made.values()) == {0o600}
