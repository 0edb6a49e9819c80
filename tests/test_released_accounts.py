"""An account without numbers keeps nothing that opens the customer's account at the carrier."""

from datetime import timedelta

import pytest

from core import clock
from phones.models import Account, Call
from phones.reconciling import reconcile
from sandbox.sandbox import Sandbox
from tests.support.carriers import Good
from tests.support.events import post
from tests.support.numbers import added
from tests.support.people import Tenant
from tests.support.removal import remove
from tests.support.webhooks import Party, at_carrier, event

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.engine]


def left(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> Party:
    """The account of a number that had a call and was removed."""
    phone = added(tenant, carrier)
    party = Party(Account.objects.get(), at_carrier(sandbox, carrier))
    assert post(party, event(carrier.integration)).status_code == 200
    remove(tenant, phone.pk)
    return party


def a_window_later() -> None:
    Account.objects.update(released_at=clock.now() - timedelta(days=2))


def test_an_account_that_only_has_calls_loses_its_secrets_some_time_later(
    sandbox: Sandbox, tenant: Tenant, carrier: Good
) -> None:
    party = left(sandbox, tenant, carrier)
    assert reconcile().failed == 0
    assert post(party, event(carrier.integration, "late")).status_code == 200, "a call may still be going on"
    a_window_later()
    assert reconcile().failed == 0
    account = Account.objects.get()
    assert (account.auth_token.open(), account.previous_auth_token, account.public_key) == ("", None, "")
    assert account.webhook_token != party.row.webhook_token
    assert post(party, event(carrier.integration, "too late")).status_code == 403
    assert reconcile().finished == 0, "nothing is left to do"


def test_its_number_can_be_added_again(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> None:
    left(sandbox, tenant, carrier)
    a_window_later()
    assert reconcile().failed == 0
    added(tenant, carrier)
    account = Account.objects.get(lines__number=carrier.number)
    assert account.auth_token.open() == carrier.auth_token
    assert account.released_at is None
    party = Party(account, at_carrier(sandbox, carrier))
    assert post(party, event(carrier.integration, "new")).status_code == 200


def test_it_goes_with_its_last_call(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> None:
    left(sandbox, tenant, carrier)
    assert reconcile().failed == 0
    account = Account.objects.get()
    account.events.all().delete()
    Call.objects.all().delete()
    assert reconcile().failed == 0
    assert not Account.objects.exists()
