"""What is plainly no account id and no auth token gets a sentence of its own, and costs no guess and no request."""

from typing import Any

import pytest

from phones.models import Account, Line, PhoneNumber
from phones.services.accounts import Credentials
from phones.services.guesses import check_form
from sandbox.sandbox import Sandbox
from tests.support.api import add, post, send
from tests.support.carriers import CARRIERS, Good
from tests.support.people import Tenant
from users.models import LimitCounter

pytestmark = pytest.mark.django_db(transaction=True)

MISTAKES = [(name, *mistake) for name, good in CARRIERS.items() for mistake in good.mistaken]


def assert_refused(sandbox: Sandbox, reply: Any, field: str, part: str) -> None:
    body = reply.json()
    assert (reply.status_code, body["data"]) == (400, {"error": "invalid_credentials", "field": field})
    assert part in body["errorMessage"]
    assert "ry again" not in body["errorMessage"]
    assert sandbox.ledger == []
    assert not LimitCounter.objects.filter(key__contains="refused", used__gt=0).exists()


@pytest.mark.parametrize(("name", "changes", "field", "part"), MISTAKES)
def test_an_add_with_something_else_in_place_of_the_credentials(
    sandbox: Sandbox, tenant: Tenant, name: str, changes: dict[str, str], field: str, part: str
) -> None:
    reply = add(tenant, CARRIERS[name].body(tenant.user, **changes))

    assert_refused(sandbox, reply, field, part)
    assert not PhoneNumber.objects.exists() and not Line.objects.exists() and not Account.objects.exists()


def test_the_numbers_of_an_account_are_not_asked_for_with_an_api_key(
    sandbox: Sandbox, tenant: Tenant, carrier: Good
) -> None:
    changes, field, part = carrier.mistaken[0]
    body = {"integration": carrier.integration, "authToken": carrier.auth_token, **changes}

    assert_refused(sandbox, post("/api/call/available-phones", body, tenant.token), field, part)


def test_an_id_does_not_replace_the_auth_token(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> None:
    changes, field, part = carrier.mistaken[-1]
    added = add(tenant, carrier.body(tenant.user)).json()["data"]
    before = Account.objects.get().token_digest
    sandbox.clear_ledger()

    assert_refused(sandbox, send("PATCH", f"phones/{added['_id']}", tenant, changes), field, part)
    assert Account.objects.get().token_digest == before


def test_what_may_be_right_is_asked(carrier: Good) -> None:
    """Subaccounts at Plivo have ids of their own, and the page's own example is no SID."""
    for account_id, auth_token in carrier.possible:
        check_form(Credentials(None, carrier.integration, account_id, auth_token))
