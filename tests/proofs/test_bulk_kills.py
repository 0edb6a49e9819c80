"""A file of numbers is added while the command is killed again and again, at random, and started again each time.

A run is killed at a random moment after its first request to a carrier, so that each kill hits one that has something
to do; the leases that it leaves are then made as old as if they had run out. When the file is finished, the end must be
as if nothing had been killed. Then the database and the carriers begin anew, until there were enough kills.

SAMPLE_SEED=… repeats a run, the moments of the kills as near as a clock allows.
"""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from django.conf import settings

from phones.models import Account, Line, MadeApplication, PhoneNumber
from phones.services import leases
from sandbox.sandbox import Sandbox
from tests.support import EVERY_CASE, PROJECT
from tests.support.bulk import environment
from tests.support.carriers import CARRIERS, OTHERS, WITH_APPLICATIONS, Good
from tests.support.lines import remembered
from tests.support.people import Tenant
from tests.support.state import age_leases, settle
from tests.support.tally import Tally
from users.models import LimitCounter

pytestmark = [pytest.mark.engine, pytest.mark.django_db(transaction=True)]

KILLS, ROWS_OF_ACCOUNT = (200, 200) if EVERY_CASE else (12, 20)
# How long a run goes on after it has asked a carrier for the first time.
LIFE_S = (0.0, 0.7)
GIVE_UP_S = 120
# A request that a run had sent arrives before its lease is over: this test ends leases at once.
ON_ITS_WAY_S = 0.4
KILLED = -signal.SIGKILL
SEED = os.environ.get("SAMPLE_SEED", "workspace phones")


class Owner(NamedTuple):
    """An account in the sandbox, and how its numbers in the file begin."""

    good: Good
    prefix: str

    def numbers(self) -> list[str]:
        return [f"{self.prefix}{index:06}" for index in range(ROWS_OF_ACCOUNT)]


OWNERS = [
    *(Owner(good, good.number[:5]) for good in CARRIERS.values()),
    *(Owner(good, f"{good.number[:3]}35") for good in OTHERS.values()),
]


class Runner:
    """The running tests/support/kill_bulk_runs.py: each run of the command is a child of it."""

    def __init__(self, file: Path, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        command = [sys.executable, "-m", "tests.support.kill_bulk_runs", str(file)]
        env = os.environ | environment(sandbox) | {"DJANGO_SETTINGS_MODULE": "workspace.settings"}
        self.process = subprocess.Popen(
            command, cwd=PROJECT, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def run_once(self, life_s: float | None) -> int:
        """Run the command, and kill it that long after its first request. Returns how it ended."""
        assert self.process.stdin and self.process.stdout
        self.sandbox.clear_ledger()
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        child = int(self.process.stdout.readline())
        if life_s is not None:
            give_up_at = time.monotonic() + GIVE_UP_S
            while not self.sandbox.ledger and is_alive(child) and time.monotonic() < give_up_at:
                time.sleep(0.005)
            time.sleep(life_s)
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        return int(self.process.stdout.readline())

    def stop(self) -> None:
        self.process.communicate()


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def runner(sandbox: Sandbox, tenant: Tenant, tmp_path: Path) -> Iterator[Runner]:
    file = tmp_path / "numbers.csv"
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["userId", "phoneNumber", "integration", "authToken", "accSId"])
        for numbers in zip(*(owner.numbers() for owner in OWNERS), strict=True):
            for owner, number in zip(OWNERS, numbers, strict=True):
                good = owner.good
                writer.writerow([tenant.user.pk, number, good.integration, good.auth_token, good.acc_sid])
    runner = Runner(file, sandbox)
    yield runner
    runner.stop()


def test_a_file_whose_runs_are_killed_ends_as_if_none_had_been(sandbox: Sandbox, runner: Runner, tally: Tally) -> None:
    chance, killed, half_done = random.Random(SEED), 0, 0
    while killed < KILLS:
        begin_anew(sandbox)
        while True:
            ended = runner.run_once(chance.uniform(*LIFE_S) if killed < KILLS else None)
            if ended != KILLED:
                break
            killed += 1
            tally("bulk runs killed")
            half_done += has_leases()
            time.sleep(ON_ITS_WAY_S)
            age_leases()
            LimitCounter.objects.update(held=0)
        assert ended == 0, f"the run that was not killed ended with {ended}; SEED={SEED!r}"
        assert_whole(sandbox)
    assert half_done, "nothing was ever left half-done: the kills prove nothing"


def begin_anew(sandbox: Sandbox) -> None:
    for model in (PhoneNumber, Line, Account, MadeApplication):
        model._default_manager.all().delete()
    sandbox.reset()
    for owner in OWNERS:
        for number in owner.numbers():
            sandbox.add_number(owner.good.integration, owner.good.owner, number)


def has_leases() -> bool:
    return any(model._default_manager.exclude(lease_until=None).exists() for model in (PhoneNumber, Line, Account))


def assert_whole(sandbox: Sandbox) -> None:
    """Every number once, routed to us; what was there before remembered; nothing held or made twice."""
    settle()  # completes what a run that was killed on MongoDB left of an add whose number was active
    carriers = sandbox.snapshot()
    wanted = sorted(number for owner in OWNERS for number in owner.numbers())
    assert sorted(PhoneNumber.objects.values_list("number", flat=True)) == wanted
    done = PhoneNumber.objects.filter(state="active", lease_id="", lease_until=None, operation=None)
    assert done.count() == len(wanted), list(PhoneNumber.objects.exclude(pk__in=done).values())
    # A dead run may have held a line whose number was ready, on MongoDB, or an account whose application was: nobody
    # needs these leases any more, and they have run out.
    assert list(Line.objects.exclude(leases.free()).values_list("number", "lease_id")) == []
    assert list(Account.objects.exclude(leases.free()).values_list("account_id", "lease_id")) == []
    assert Account.objects.count() == len(OWNERS), list(Account.objects.values_list("account_id", "used_by"))
    lines = {line.number: line for line in Line.objects.select_related("account")}
    assert sorted(lines) == wanted and Line.objects.count() == len(wanted)
    for owner in OWNERS:
        good = owner.good
        there = carriers[good.integration][good.owner]
        ours = [id for id, one in there["applications"].items() if "workspace-phones" in json.dumps(one)]
        assert len(ours) == (good.integration in WITH_APPLICATIONS), ours
        for number in owner.numbers():
            account, one = lines[number].account, there["numbers"][number]
            assert good.routes_to(
                one,
                webhook_token=account.webhook_token,
                application_id=account.application_id,
                public_url=settings.PUBLIC_URL,
            ), (good.integration, one)
    for line in lines.values():
        before = remembered(line)
        assert not before.get("voice_url") and not before.get("application_id"), (line.number, "is ours")
