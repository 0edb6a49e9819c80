"""A process that does everything at once is killed with SIGKILL at any moment; nothing is left half-done or lost.

SAMPLE_SEED=… repeats a run: the acts are the same, the moment of the kill as near as a clock allows.
"""

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from phones.models import Account, Call, CallEvent, Line, PhoneNumber
from phones.services import remove_phone
from phones.services.restoring import Restoration
from sandbox.sandbox import Sandbox
from tests.support import EVERY_CASE
from tests.support.carriers import SUBJECTS
from tests.support.killing import KILLED, Killer
from tests.support.people import Tenant
from tests.support.state import assert_routed, changes, rows, settle
from tests.support.tally import Tally

pytestmark = [pytest.mark.engine, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("patient")]

PARTS, KILLS = (10, 22) if EVERY_CASE else (2, 4)
# A request that the process had sent arrives before its lease is over: tests end leases at once.
ON_ITS_WAY_S = 0.4
SEED = os.environ.get("SAMPLE_SEED", "workspace phones")


class Worker(Killer):
    """The running tests/support/kill_at_random.py."""

    module = "tests.support.kill_at_random"


@pytest.fixture(scope="module")
def worker(django_db_setup: None, running_sandbox: Sandbox) -> Iterator[Worker]:
    worker = Worker(running_sandbox)
    yield worker
    worker.stop()


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_at_any_moment_nothing_is_half_done(
    worker: Worker,
    sandbox: Sandbox,
    tenant: Tenant,
    colleague: Tenant,
    other_tenant: Tenant,
    tally: Tally,
    tmp_path: Path,
    part: int,
) -> None:
    carriers_before, found = sandbox.snapshot(), 0
    for number in range(KILLS):
        seed = f"{SEED}-{part}-{number}"
        kept = tmp_path / f"kept-{number}"
        kept.touch()
        job = {
            "seed": seed,
            "users": [one.user.pk for one in (tenant, colleague, other_tenant)],
            "kill_after_s": random.Random(seed).uniform(0.05, 1.2),
            "kept": str(kept),
        }
        tally("random kills tried")
        try:
            assert worker.send(job)["ended"] == KILLED
            time.sleep(ON_ITS_WAY_S)
            found += PhoneNumber.objects.count()
            assert_whole(sandbox, kept.read_text().splitlines())
            remove_everything()
            assert not any(rows().values())
            assert changes(carriers_before, sandbox.snapshot()) == []
        except BaseException as error:
            error.add_note(f"SEED={seed!r}, {job['kill_after_s']} s")
            raise
        tally("random kills survived")
    assert found, "nothing was ever there: the kills prove nothing"


def assert_whole(sandbox: Sandbox, kept: list[str]) -> None:
    settle()
    for phone in PhoneNumber.objects.select_related("line__account"):
        assert phone.state == PhoneNumber.State.ACTIVE
        assert (phone.lease_id, phone.lease_until, phone.operation) == ("", None, None)
        assert phone.line is not None
        assert (phone.line.lease_id, phone.line.account.lease_id) == ("", "")
        subject = next(one for one in SUBJECTS.values() if one.number == phone.number)
        assert_routed(sandbox, subject, phone.number, phone.line.account)
    assert set(kept) <= set(CallEvent.objects.values_list("dedupe_key", flat=True)), "what was answered is lost"
    assert not CallEvent.objects.filter(merged_at=None).exists()
    assert Call.objects.count() == CallEvent.objects.count()


def remove_everything() -> None:
    for model in (CallEvent, Call):
        model.objects.all().delete()
    for phone in PhoneNumber.objects.all():
        assert remove_phone(phone) in (Restoration.DONE, Restoration.STILL_NEEDED)
    settle()
    assert not Line.objects.exists() and not Account.objects.exists()
