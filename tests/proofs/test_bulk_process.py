"""The bulk command as a process: Ctrl-C, and what it prints."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from phones.models import PhoneNumber
from sandbox.sandbox import Sandbox
from tests.support import PROJECT
from tests.support.bulk import assert_ours, counted, csv_of, done, environment, rows_of, some
from tests.support.carriers import TWILIO
from tests.support.people import Tenant

CANARY = "canary-9f8e7d6c5b4a3210"
pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def running(file: Path, sandbox: Sandbox, *arguments: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    env = os.environ | environment(sandbox) | {"DJANGO_SETTINGS_MODULE": "workspace.settings"} | variables
    started = [sys.executable, "manage.py", "add_phones", str(file), *arguments]
    process = subprocess.Popen(started, cwd=PROJECT, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until(holds: Callable[[], Any], within_s: float = 60) -> None:
    give_up_at = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


def test_ctrl_c_finishes_what_is_under_way_and_no_secret_is_told_anywhere(
    sandbox: Sandbox, tenant: Tenant, tmp_path: Path
) -> None:
    """One process for both, as its start is most of what it costs."""
    numbers = some(sandbox, TWILIO, 60)
    sandbox.state.account("twilio", TWILIO.acc_sid).secret = CANARY
    rows = rows_of(tenant, TWILIO, numbers, authToken=None)
    rows += rows_of(tenant, TWILIO, ["12125550001"], authToken=f"{CANARY} x") + rows_of(tenant, TWILIO, [CANARY])
    report, sandbox.delay_s = tmp_path / "report.csv", 0.2
    with running(Path("-"), sandbox, "--auth-token-env", "TOKEN", "--workers", "4", "--output", "json",
                 "--report", str(report), TOKEN=CANARY) as process:  # fmt: skip
        assert process.stdin and process.stdout and process.stderr
        process.stdin.write(csv_of(rows))
        process.stdin.close()
        process.stdin = None
        wait_until(lambda: PhoneNumber.objects.filter(state="active").count() >= 5)
        arguments = Path(f"/proc/{process.pid}/cmdline").read_text()
        assert "add_phones" in arguments and CANARY not in arguments
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    told = json.loads(out)
    summary = told["summary"]
    assert summary["total"] == 62 and 5 <= summary["added"] <= 20
    assert summary["total"] == summary["added"] + summary["failed"] + summary["not_tried"]
    assert PhoneNumber.objects.count() == PhoneNumber.objects.filter(state="active").count() == summary["added"]
    assert len(report.read_text().splitlines()) == 63
    for text in (out, err, report.read_text()):
        assert CANARY not in text
    assert "Interrupted" in err

    sandbox.delay_s = 0
    rows = rows_of(tenant, TWILIO, numbers, authToken=CANARY)
    assert counted(done(rows)) == {"exists": summary["added"], "added": 60 - summary["added"]}
    assert_ours(sandbox, TWILIO, numbers)
