"""`manage.py reconcile --every`: a service that outlives bad rounds and ends when it is told to, not before."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from phones.models import PhoneNumber
from sandbox.sandbox import Sandbox
from tests.support import PROJECT
from tests.support.api import add
from tests.support.carriers import CARRIERS, SUBJECTS, environment_of
from tests.support.database import Apart, shared_url
from tests.support.killing import KILLED, Killer
from tests.support.live import run_manage
from tests.support.people import Tenant
from tests.support.state import age_leases, changes, rows

pytestmark = pytest.mark.django_db(transaction=True)

ROUND = "no answer from"


class Service:
    """A running `reconcile --every 1`, and what it has printed so far."""

    def __init__(self, folder: Path, sandbox: Sandbox, database_url: str) -> None:
        self.printed = folder / f"{time.monotonic_ns()}.log"
        environment = os.environ | {
            "DATABASE_URL": database_url,
            **environment_of(sandbox),
        }
        with self.printed.open("wb") as out:
            command = [sys.executable, "manage.py", "reconcile", "--every", "1"]
            self.process = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=out, stderr=out)

    def text(self) -> str:
        return self.printed.read_text()

    def rounds(self) -> int:
        return self.text().count(ROUND)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)


@contextlib.contextmanager
def running(folder: Path, sandbox: Sandbox, database_url: str = "") -> Iterator[Service]:
    service = Service(folder, sandbox, database_url or shared_url())
    try:
        yield service
    finally:
        service.process.kill()
        service.process.wait()


def wait_until(is_so: Callable[[], object], within_s: float = 20) -> None:
    give_up_at = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < give_up_at, "it did not come to that"
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_goes_round_after_round_until_a_signal_comes(sandbox: Sandbox, tmp_path: Path, number: int) -> None:
    with running(tmp_path, sandbox) as service:
        wait_until(lambda: service.rounds() >= 2)
        assert service.stop(number) == 0
        assert "Traceback" not in service.text()


def test_the_round_that_it_is_in_is_finished(sandbox: Sandbox, tenant: Tenant, tmp_path: Path) -> None:
    for good in CARRIERS.values():
        assert add(tenant, good.body(tenant.user)).status_code == 201
    sandbox.delay_s = 0.5
    sandbox.clear_ledger()
    with running(tmp_path, sandbox) as service:
        wait_until(lambda: sandbox.ledger)
        assert service.rounds() == 0, "it is in the middle of the first round"
        assert service.stop() == 0
        assert service.rounds() == 1
        assert "asked 3 accounts for missed calls, no answer from 0" in service.text()


def test_a_round_without_its_database_does_not_end_it(sandbox: Sandbox, tmp_path: Path) -> None:
    database = Apart(tmp_path)
    assert run_manage("migrate", "--verbosity", "0", env=os.environ | {"DATABASE_URL": database.url}).returncode == 0
    try:
        with running(tmp_path, sandbox, database.url) as service:
            wait_until(service.rounds)
            with database.table_away("phones_phonenumber"):
                wait_until(lambda: service.text().count("This run failed") >= 2)
            good = service.rounds()
            wait_until(lambda: service.rounds() >= good + 2)
            assert service.stop() == 0
    finally:
        database.drop()


def test_two_of_them_do_no_harm(sandbox: Sandbox, tenant: Tenant, tmp_path: Path) -> None:
    before = sandbox.snapshot()
    killer = Killer(sandbox)
    with running(tmp_path, sandbox) as one, running(tmp_path, sandbox) as other:
        wait_until(lambda: one.rounds() and other.rounds())
        for subject in SUBJECTS.values():
            assert killer.run(tenant, subject, "phones.services.adding:apply")["ended"] == KILLED
        assert PhoneNumber.objects.count() == len(SUBJECTS)
        age_leases()
        wait_until(lambda: not any(rows().values()), 30)
        assert (one.stop(), other.stop()) == (0, 0)
        for service in (one, other):
            assert "Traceback" not in service.text() and "Not done yet" not in service.text(), service.text()
    killer.stop()
    assert changes(before, sandbox.snapshot()) == []


@pytest.mark.parametrize("every", ["0", "-5", "soon"])
def test_nonsense_is_refused(every: str) -> None:
    done = run_manage("reconcile", "--every", every, env=os.environ | {"DATABASE_URL": shared_url()})
    assert done.returncode == 2 and "--every" in done.stderr


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd here")
def test_the_units_of_systemd_are_valid(tmp_path: Path) -> None:
    units = sorted((PROJECT / "deploy/systemd").iterdir())
    (tmp_path / "bin").symlink_to(Path(sys.executable).parent)  # whose path may have blanks
    for unit in units:
        here = unit.read_text().replace("/srv/phones/.venv/bin", str(tmp_path / "bin"))
        (tmp_path / unit.name).write_text(here)
    names = [unit.name for unit in units]
    command = ["systemd-analyze", "verify", *names]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    commands = [part for unit in units for part in re.findall(r"manage.py (.*)", unit.read_text())]
    assert commands == ["purge", "reconcile --every 60", "serve"]
