"""The memory of a long run does not grow with what there is to do."""

import os
import subprocess
import sys

import pytest

from sandbox.sandbox import Sandbox
from tests.support import EVERY_CASE, PROJECT
from tests.support.database import shared_url
from tests.support.lines import many_lines
from tests.support.people import Tenant

pytestmark = pytest.mark.usefixtures("unlimited")

FEW = 400 if EVERY_CASE else 200

# Checks the lines of each account, and prints how many are well and how much memory was in use at most.
MEASURE = """
import gc, os, sys, tracemalloc
os.environ["DJANGO_SETTINGS_MODULE"] = "workspace.settings"
import django; django.setup()
from phones.models import Line
from phones.services.checking import check_lines
for owner in sys.argv[1:]:
    lines = Line.objects.filter(account__account_id=owner)
    for _ in check_lines(lines.filter(pk__in=list(lines.values_list("pk", flat=True)[:40]))): pass
    tracemalloc.start()
    well, most = 0, 0
    for number, (line, check) in enumerate(check_lines(lines)):
        well += check is not None and check.health == "ok"
        if number % 25 == 0:
            gc.collect()
            most = max(most, tracemalloc.get_traced_memory()[0])
    print(well, most)
    tracemalloc.stop()
"""


@pytest.mark.django_db(transaction=True)
def test_the_memory_of_a_check_of_all_does_not_grow_with_their_number(sandbox: Sandbox, tenant: Tenant) -> None:
    owners = {FEW: "AC" + "8" * 32, 3 * FEW: "AC" + "9" * 32}
    for count, owner in owners.items():
        many_lines(sandbox, tenant, owner, count, first=10_000 * count)
    env = os.environ | {
        "DATABASE_URL": shared_url(),
        "TWILIO_API_URL": sandbox.twilio_url,
    }

    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, *owners.values()], cwd=PROJECT, env=env, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip

    assert ran.returncode == 0, ran.stderr
    few, few_bytes, many, many_bytes = map(int, ran.stdout.split())
    assert (few, many) == (FEW, 3 * FEW)
    assert many_bytes < 1.3 * few_bytes, (few_bytes, many_bytes)
