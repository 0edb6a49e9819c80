"""An account with a rule that makes Twilio sign its webhooks with a shared key: what is wrong is named, not only refused."""

import pytest
from twilio.request_validator import HMAC_SHA256, SIGNATURE_SETTINGS_HEADER, RequestValidator

from phones.models import Account, Line, PhoneNumber
from phones.services.reasons import REASONS
from sandbox.sandbox import Sandbox
from tests.support.api import check, data_of, reasons, send
from tests.support.carriers import TWILIO
from tests.support.people import Tenant
from tests.support.webhooks import PUBLIC_URL, Party, event, join
from tests.support.webhooks import send as knock

pytestmark = pytest.mark.django_db(transaction=True)

SETTINGS = "key=webhooks_sharedkey_01h2xcejqtf2nbrexx3vqjhp41,algorithm=HMAC_SHA256"
OTHERWISE = {"webhooks_refused", "webhooks_signed_otherwise"}


@pytest.fixture
def party(sandbox: Sandbox, tenant: Tenant) -> Party:
    return join(sandbox, tenant, TWILIO)


def signed_with_a_shared_key(party: Party, settings: str = SETTINGS) -> int:
    """The status of our reply."""
    form = event("twilio")
    signature = RequestValidator("shared-key").compute_signature(
        PUBLIC_URL + party.path("status"), dict(form), HMAC_SHA256
    )
    headers = {SIGNATURE_SETTINGS_HEADER.replace("-", "_"): settings, "X_Twilio_Signature": signature}
    status: int = knock(party.knock("status", form).with_headers(**headers)).status_code
    return status


def told(tenant: Tenant) -> tuple[str, set[str]]:
    shown = data_of(send("GET", f"phones/{PhoneNumber.objects.get().pk}", tenant))
    return shown["health"], {one["reason"] for one in shown["reasons"]}


def test_health_names_it_until_webhooks_are_signed_as_before(sandbox: Sandbox, tenant: Tenant, party: Party) -> None:
    assert {signed_with_a_shared_key(party) for _ in range(4)} == {403}
    assert told(tenant) == ("ok", set())

    assert signed_with_a_shared_key(party) == 403

    assert told(tenant) == ("drift", OTHERWISE)
    for repair in (False, True):
        checked = check(PhoneNumber.objects.get(), tenant, repair=repair)
        assert (reasons(checked), checked["repaired"]) == (OTHERWISE, False)
    assert Line.objects.get().reasons is None, "it is of the account, not of the line"
    assert REASONS.keys() >= OTHERWISE
    assert knock(party.knock("status", event("twilio"))).status_code == 200
    assert told(tenant) == ("ok", set())


def test_webhooks_that_are_just_signed_wrongly_are_not_called_so(tenant: Tenant, party: Party) -> None:
    for _ in range(5):
        assert signed_with_a_shared_key(party, settings="") == 403

    assert told(tenant) == ("drift", {"webhooks_refused"})


def test_the_newest_refusal_says_what_is_wrong_now(tenant: Tenant, party: Party) -> None:
    for settings in (SETTINGS, ""):
        Account.objects.update(refused_at=None)
        assert {signed_with_a_shared_key(party, settings) for _ in range(5)} == {403}

    assert told(tenant) == ("drift", {"webhooks_refused"})


def test_the_log_says_why(party: Party, caplog: pytest.LogCaptureFixture) -> None:
    signed_with_a_shared_key(party)

    assert SIGNATURE_SETTINGS_HEADER in caplog.text
    assert "webhooks_sharedkey" not in caplog.text
    assert "shared key" in Account.objects.get().refused_webhooks
