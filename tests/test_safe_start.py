"""What keeps an installation from telling others too much: DEBUG, and who may read its files."""

import os
import sqlite3
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks

import manage
from tests.support.starting import faults
from workspace.checks import WORKSPACE
from workspace.health import find_problems

AT_HOME = {"DEBUG": "on", "BIND": "127.0.0.1:8000", "PUBLIC_URL": "http://localhost:8000", "TRUSTED_PROXY_COUNT": "0"}


# -- DEBUG ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PUBLIC_URL", "https://phones.example.com"), ("PUBLIC_URL", "https://localhost.example.com"), ("TRUSTED_PROXY_COUNT", "1"),
        ("TRUSTED_PROXY_COUNT", "2"), ("BIND", "0.0.0.0:8000"), ("BIND", "[::]:8000"), ("BIND", "10.0.0.1:8000"), ("BIND", "phones:8000"),
    ],
)  # fmt: skip
def test_debug_is_refused_wherever_others_may_come(name: str, value: str) -> None:
    (said,) = faults(**AT_HOME | {name: value})
    assert said.startswith("DEBUG is on") and f"({name})" in said
    assert faults(**AT_HOME | {name: value, "DEBUG": "off"}) == []


@pytest.mark.parametrize(
    "changes",
    [{}, {"PUBLIC_URL": "http://127.0.0.1:8000"}, {"PUBLIC_URL": "https://LOCALHOST"}, {"BIND": "unix:/run/x"},
     {"BIND": "[::1]:8000", "PUBLIC_URL": "http://[::1]:8000"}, {"BIND": "localhost:1"}],
)  # fmt: skip
def test_debug_is_for_ones_own_machine(changes: dict[str, str]) -> None:
    assert faults(**AT_HOME | changes) == []


# -- files ------------------------------------------------------------------------------------------------------------


def test_what_commands_make_is_for_their_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database with its log, and a report, whatever the shell's umask is."""

    def make(argv: list[str]) -> None:
        database = sqlite3.connect(tmp_path / "db.sqlite3")
        database.executescript("PRAGMA journal_mode=WAL; CREATE TABLE t (x)")
        (tmp_path / "report.csv").write_text("x")
        seen.update({file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()})
        database.close()

    seen: dict[str, int] = {}
    monkeypatch.setattr(manage, "execute_from_command_line", make)
    monkeypatch.setattr(sys, "argv", ["manage.py", "migrate"])
    before = os.umask(0o022)
    try:
        manage.main()
    finally:
        os.umask(before)
    assert set(seen) == {"db.sqlite3", "db.sqlite3-wal", "db.sqlite3-shm", "report.csv"}
    assert set(seen.values()) == {0o600}


@pytest.mark.django_db
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_files_that_others_can_read_are_told_and_stop_nothing(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    files = {name: tmp_path / name for name in ("phones.env", "db.sqlite3")}
    database = settings.DATABASES["default"] | {"ENGINE": "core.databases.sqlite", "NAME": str(files["db.sqlite3"])}
    monkeypatch.setitem(settings.DATABASES, "default", database)
    settings.ENV_FILE = str(files["phones.env"])

    def told() -> set[str]:
        return {str(one.msg).split()[0] for one in run_checks(tags=[WORKSPACE]) if one.id == "workspace.W001"}

    assert told() == set(), "there are none"
    for file in files.values():
        file.write_text("x")
        file.chmod(mode)
    assert told() == files.keys()
    assert find_problems() == []
    files["phones.env"].chmod(0o600)
    assert told() == {"db.sqlite3"}


def test_the_documented_steps_make_a_private_env_file() -> None:
    page = (Path(manage.__file__).parent / "docs/operate.md").read_text()
    assert "install -m 600 .env.example .env" in page and "cp .env.example" not in page
