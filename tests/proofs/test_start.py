"""Commands and the server as processes: settings that cannot work stop them with a sentence."""

import json
import os
from pathlib import Path
from typing import Any

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

BAD_SETTINGS = [
    ("SECRET_KEY", "x7Kq" * 8), ("SECRET_KEY", "x7Kqw9Zt2Lm5"), ("SECRET_KEY", "changeme" * 5),
    ("SECRET_KEY", f"django-insecure-{'0123456789abcdef' * 3}"), ("SECRET_KEY", None), ("SECRET_KEY", ""), ("SECRET_KEY", "  "), ("PUBLIC_URL", None), ("PUBLIC_URL", ""),
    ("PUBLIC_URL", "phones.example.com"), ("PUBLIC_URL", "http://phones.example.com"), ("PUBLIC_URL", "ftp://phones.example.com"),
    ("PUBLIC_URL", "https://"), ("PUBLIC_URL", "https://[::1"), ("PUBLIC_URL", "https://a b"), ("PUBLIC_URL", "https://a:99999"),
    ("PUBLIC_URL", "https://a?b=c"), ("PUBLIC_URL", "https://user:pass@a"), ("TWILIO_API_URL", "http://evil.example"),
    ("PLIVO_API_URL", "nonsense"), ("TELNYX_API_URL", "https://a#b"), ("CREDENTIAL_KEYS", None), ("CREDENTIAL_KEYS", ""),
    ("CREDENTIAL_KEYS", "short"), ("CREDENTIAL_KEYS", "GOOD,short"), ("CREDENTIAL_KEYS", "garbage!" * 6), ("CREDENTIAL_KEYS", "A" * 44),
    ("DATABASE_URL", "postgres://localhost/x"), ("DATABASE_URL", "nonsense"), ("DATABASE_URL", ""),
    ("DATABASE_URL", "sqlite:////no/such/folder/db.sqlite3"), ("CARRIER_CONNECT_TIMEOUT_S", "0"), ("CARRIER_CONNECT_TIMEOUT_S", "x"),
    ("CARRIER_READ_TIMEOUT_S", "-1"), ("CARRIER_READ_TIMEOUT_S", "nan"), ("CARRIER_READ_TIMEOUT_S", "inf"), ("CARRIER_READ_TIMEOUT_S", "61"),
    ("LIMIT_REQUESTS", "0/minute"), ("LIMIT_ADDS", "10"), ("LIMIT_REFUSED_CREDENTIALS", "10/week"), ("LIMIT_UNKNOWN_USERS", "-1/hour"),
    ("LIMIT_REFUSED_CREDENTIALS_TOTAL", "ten/hour"), ("LIMIT_FAILED_TOKENS", ""), ("TRUSTED_PROXY_COUNT", "-1"),
    ("TRUSTED_PROXY_COUNT", "x"), ("DEBUG", "maybe"), ("REDIS_URL", "localhost:6379"), ("STAFF_TOTP", "maybe"),
    ("LOGIN_FAILURES", "-1"), ("CARRIER_SLOTS", "0"), ("REQUEST_READ_TIMEOUT_S", "0"), ("LIMIT_WORKSPACE_REQUESTS", "9"),
    ("LIMIT_ADDRESS_REQUESTS", "ten/hour"), ("LIMIT_CODES", "ten"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD_SETTINGS)
def test_a_setting_that_cannot_work_stops_the_start_with_its_name(name: str, value: str | None) -> None:
    env = dict(os.environ)
    env.pop(name, None)
    if value is not None:
        env[name] = value.replace("GOOD", os.environ["CREDENTIAL_KEYS"])
    result = run_manage("check", env=env)
    assert result.returncode != 0
    assert name in result.stderr
    assert "Traceback" not in result.stderr
    assert "user:pass" not in result.stderr and "garbage!" not in result.stderr, "a value may be a secret"
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("name", "value"), [("LIMIT_ADDS", "5/fortnight"), ("CREDENTIAL_KEYS", "short"), ("PUBLIC_URL", "x")]
)
def test_the_server_does_not_start_either(name: str, value: str) -> None:
    env = os.environ | {name: value, "BIND": "127.0.0.1:0"}
    result = run_server(env)
    assert result.returncode != 0
    assert name in result.stderr
    assert "Traceback" not in result.stderr


def test_a_server_in_debug_does_not_start_for_everybody() -> None:
    env = os.environ | {"DEBUG": "on", "BIND": "127.0.0.1:0", "PUBLIC_URL": "https://phones.example.com"}
    result = run_server(env)
    assert result.returncode != 0
    assert "DEBUG" in result.stderr and "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "good", [{"LIMIT_ADDS": "off"}, {"LIMIT_ADDS": " 5/second "}, {"DEBUG": "on", "PUBLIC_URL": "http://localhost:8000"}, {"TRUSTED_PROXY_COUNT": "2"}, {"REDIS_URL": ""},
             {"SECRET_KEY": "0123456789abcdef" * 2}, {"CARRIER_SLOTS": "1"}, {"LIMIT_ADDRESS_REQUESTS": "9/second"},
             {"PUBLIC_URL": "http://localhost:8000"}, {"PUBLIC_URL": "https://phones.example.com/base/"}]
)  # fmt: skip
def test_settings_that_work_are_taken(good: dict[str, Any]) -> None:
    result = run_manage("check", env=os.environ | good)
    assert result.returncode == 0, result.stderr


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


@pytest.mark.parametrize(
    "reached",
    [{"BIND": "127.0.0.1:0", "TRUSTED_PROXY_COUNT": "1"}, {"BIND": "0.0.0.0:0"}],
    ids=["through a proxy", "directly"],
)
def test_nor_does_one_that_others_reach_in_another_way(reached: dict[str, str]) -> None:
    result = run_server(os.environ | {"DEBUG": "on", "PUBLIC_URL": "http://localhost:8000"} | reached)
    assert result.returncode != 0
    assert "DEBUG" in result.stderr and "Traceback" not in result.stderr


@pytest.mark.sqlite_only(reason="about its files")
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
