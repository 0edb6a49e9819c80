"""`manage.py worker`: a service that ends when it is told to, not before, and of which there may be two."""

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

from core import clock
from phones.models import Line, PhoneNumber
from phones.reconciling import reconcile
from sandbox.sandbox import Sandbox
from tests.support import PROJECT
from tests.support.api import add
from tests.support.carriers import CARRIERS, SUBJECTS, environment_of
from tests.support.database import shared_url
from tests.support.killing import KILLED, Killer
from tests.support.people import Tenant
from tests.support.state import age_leases, changes, rows

pytestmark = pytest.mark.django_db(transaction=True)


class Service:
    """A running worker, and what it has logged so far."""

    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        self.logged = folder / f"{time.monotonic_ns()}.log"
        environment = os.environ | {"DATABASE_URL": shared_url(), **environment_of(sandbox)}
        with self.logged.open("wb") as out:
            command = [sys.executable, "manage.py", "worker"]
            self.process = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=out, stderr=out)

    def text(self) -> str:
        return self.logged.read_text()

    def has_done(self, *tasks: str) -> bool:
        return all(f" {task}: " in self.text() for task in tasks)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)


@contextlib.contextmanager
def running(folder: Path, sandbox: Sandbox) -> Iterator[Service]:
    service = Service(folder, sandbox)
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
def test_it_does_everything_at_the_start_and_ends_at_a_signal(sandbox: Sandbox, tmp_path: Path, number: int) -> None:
    with running(tmp_path, sandbox) as service:
        wait_until(lambda: service.has_done("reconcile", "check_phones", "purge"))
        assert service.process.poll() is None
        assert service.stop(number) == 0
        assert "Traceback" not in service.text()


@pytest.mark.engine
def test_what_it_is_asking_a_carrier_is_finished_and_nothing_more_is_begun(
    sandbox: Sandbox, tenant: Tenant, tmp_path: Path
) -> None:
    for good in CARRIERS.values():
        assert add(tenant, good.body(tenant.user)).status_code == 201
    sandbox.delay_s = 1.0
    sandbox.clear_ledger()
    with running(tmp_path, sandbox) as service:
        wait_until(lambda: asked_for_calls(sandbox))
        assert not service.has_done("reconcile"), "it is in the middle of the first round"
        assert service.stop() == 0
        assert "reconcile: stopped" in service.text() and "Not done yet" not in service.text()
    assert len(asked_for_calls(sandbox)) == 1, "the account that it was asking, and no other"
    assert all(exchange.status == 200 for exchange in sandbox.ledger)


def asked_for_calls(sandbox: Sandbox) -> set[str]:
    """The carriers that were asked for their calls."""
    return {exchange.carrier for exchange in sandbox.ledger if re.search(r"/Calls?(\.json)?/?$", exchange.path)}


@pytest.mark.engine
def test_two_of_them_do_no_harm(sandbox: Sandbox, tenant: Tenant, tmp_path: Path) -> None:
    before = sandbox.snapshot()
    killer = Killer(sandbox)
    for subject in SUBJECTS.values():
        assert killer.run(tenant, subject, "phones.services.adding:apply")["ended"] == KILLED
    killer.stop()
    assert PhoneNumber.objects.count() == len(SUBJECTS)
    age_leases()
    tasks = "reconcile", "check_phones", "purge"
    with running(tmp_path, sandbox) as one, running(tmp_path, sandbox) as other:
        wait_until(lambda: one.has_done(*tasks) and other.has_done(*tasks))
        assert (one.stop(), other.stop()) == (0, 0)
        for service in (one, other):
            assert "Traceback" not in service.text() and "Not done yet" not in service.text(), service.text()
    # As the time goes by in which the carriers may carry out a change late.
    Line.objects.exclude(unsettled_until=None).update(unsettled_until=clock.now())
    assert reconcile().failed == 0
    assert not any(rows().values())
    assert changes(before, sandbox.snapshot()) == []


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
    for name in names:  # 0 is a service that may do nothing, 10 one that may do everything
        command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(tmp_path / name)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
    commands = [part for unit in units for part in re.findall(r"manage.py (.*)", unit.read_text())]
    assert commands == ["serve", "worker"]
