"""Each request of a repair fails: what is told is true, and a later repair mends the rest."""

import pytest

from sandbox.sandbox import Sandbox
from tests.support.checking import REPAIR_FAULTS, REQUESTS_OF_A_REPAIR, check_repair
from tests.support.people import Tenant

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("unlimited")]


@pytest.mark.parametrize(
    ("fault", "times"),
    [*((fault, 1) for fault in REPAIR_FAULTS), ("reset", None)],
    ids=lambda value: {1: "once", None: "from then on"}.get(value, value),
)
@pytest.mark.parametrize(
    ("name", "situation", "nth"),
    [(*case, nth) for case, count in REQUESTS_OF_A_REPAIR.items() for nth in range(count)],
)
def test_a_repair_that_fails_anywhere_tells_the_truth_and_a_later_one_mends_it(
    sandbox: Sandbox, tenant: Tenant, name: str, situation: str, nth: int, fault: str, times: int | None
) -> None:
    check_repair(sandbox, tenant, name, situation, nth, fault, times)
