"""Numbers that are there when a test begins."""

from dataclasses import replace
from typing import Any

from phones.models import PhoneNumber
from phones.services import add_phone
from sandbox.sandbox import Sandbox
from tests.support.carriers import Good
from tests.support.people import Tenant

NEW_SECRET = "another-token-of-the-account"


def added(tenant: Tenant, good: Good, number: str = "", **settings: Any) -> PhoneNumber:
    """Have the tenant's user add a number, the carrier's usual one if none is named. `settings` are of how it answers."""
    return add_phone(
        user=tenant.user, number=number or good.number, integration=good.integration, account_id=good.acc_sid,
        auth_token=good.auth_token, settings=settings,
    )  # fmt: skip


def renewed(sandbox: Sandbox, good: Good) -> Good:
    """The customer renews the token in the carrier's console; who had only the old one is out."""
    sandbox.change_secret(good.integration, good.owner, NEW_SECRET)
    return replace(good, auth_token=NEW_SECRET)
