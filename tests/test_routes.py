"""Whose route a number has: the cases of phones/services/routes.py, one by one."""

from typing import Any

import pytest

from core.secrets import Secret
from integrations.types import CarrierNumber, Route
from phones.models import Account, Line, MadeApplication
from phones.services.routes import customers_settings, is_ours

pytestmark = pytest.mark.django_db

OURS, MADE, NAMED, OTHER = "1001", "1002", "1003", "1004"
BLANK = {"application_id": ""}


class Console:
    """A provider of which only what is there now is asked."""

    blank = BLANK

    def __init__(self, now: dict[str, str]) -> None:
        self.now = now

    def read(self, number_id: str) -> dict[str, str]:
        assert number_id == "n1"
        return self.now


def account(**fields: Any) -> Account:
    MadeApplication.objects.create(integration="plivo", application_id=MADE)
    MadeApplication.objects.create(integration="telnyx", application_id=OTHER)
    return Account.objects.create(
        integration="plivo", account_id="MA1", auth_token=Secret.seal("token"), application_id=OURS, **fields
    )


def linked(application_id: str, route: Route) -> CarrierNumber:
    return CarrierNumber("n1", {"application_id": application_id}, route)


@pytest.mark.parametrize(
    ("application_id", "route", "ours"),
    [
        ("", Route.NONE, False),
        (OURS, Route.OURS, True),
        (MADE, Route.ELSEWHERE, True),
        (OTHER, Route.ELSEWHERE, False),  # another carrier's application has the same id
        ("1005", Route.ELSEWHERE, False),
    ],
)
def test_whose_route_it_is(application_id: str, route: Route, ours: bool) -> None:
    assert is_ours(account(), linked(application_id, route)) is ours


def test_an_application_that_the_customer_named_may_have_been_linked_by_us() -> None:
    named = account(application_is_customers=True)
    named.application_id = NAMED
    assert is_ours(named, linked(NAMED, Route.NONE))
    assert not is_ours(named, linked("", Route.NONE))


def test_a_route_at_addresses_of_ours_is_ours() -> None:
    found = CarrierNumber("n1", {"voice_url": "https://phones.example.com/api/webhooks/twilio/x/answer"}, Route.OURS)
    assert is_ours(account(), found)


@pytest.mark.parametrize(
    ("is_customers", "now", "kept"),
    [
        (False, OURS, ""),  # left by an add that was rolled back
        (False, OTHER, OTHER),  # the customer has linked it since
        (False, "", ""),
        (True, NAMED, NAMED),  # the customer's own application
        (True, OTHER, OTHER),
    ],
)
def test_what_the_customer_gets_back_of_a_route_that_was_ours(is_customers: bool, now: str, kept: str) -> None:
    row = account(application_is_customers=is_customers)
    line = Line(account=row, integration="plivo", number="14155551234", carrier_id="n1")
    seen = linked(NAMED if is_customers else OURS, Route.OURS)
    provider: Any = Console({"application_id": now})
    assert customers_settings(line, row, provider, seen) == {"application_id": kept}
