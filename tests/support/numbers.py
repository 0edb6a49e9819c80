"""Numbers that are there when a test begins."""

from typing import Any

from phones.models import PhoneNumber
from phones.services import add_phone
from tests.support.carriers import Good
from tests.support.people import Tenant


def added(tenant: Tenant, good: Good, number: str = "", **settings: Any) -> PhoneNumber:
    """Have the tenant's user add a number, the carrier's usual one if none is named. `settings` are of how it answers."""
    return add_phone(
        user=tenant.user, number=number or good.number, integration=good.integration, account_id=good.acc_sid,
        auth_token=good.auth_token, settings=settings,
    )  # fmt: skip
