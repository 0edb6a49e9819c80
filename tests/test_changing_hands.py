"""What happens between the hands of a line: when a change of hands fails, when others act meanwhile, and what is left."""

from datetime import timedelta
from typing import Any

import pytest

from core import clock
from phones.models import Account, Line, PhoneNumber, Recording
from phones.reconciling import reconcile
from phones.services import adding, leases, move_phone
from phones.services.ownership import retire_account, tenures
from sandbox.sandbox import Sandbox
from tests.support.api import add, check, data_of, get, reasons, send
from tests.support.carriers import NO_PROFILE, TELNYX, TWILIO, WITH_APPLICATIONS, Good
from tests.support.events import post
from tests.support.numbers import added, renewed
from tests.support.people import Tenant
from tests.support.removal import remove, restored
from tests.support.state import age_leases
from tests.support.webhooks import Party, at_carrier, event

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.engine]


def refuse_writes(sandbox: Sandbox, good: Good) -> None:
    for method in sorted(good.methods - {"GET"}):
        sandbox.fault("status", carrier=good.integration, method=method, status=400, times=None)


def number_at(sandbox: Sandbox, good: Good, number: str) -> Any:
    return sandbox.snapshot()[good.integration][good.owner]["numbers"][number]


def test_a_removal_that_waits_is_finished_although_a_newcomer_fails(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, carrier: Good
) -> None:
    before = number_at(sandbox, carrier, carrier.routed_elsewhere)
    phone = added(tenant, carrier, carrier.routed_elsewhere)
    refuse_writes(sandbox, carrier)
    assert restored(remove(tenant, phone.pk), phone.pk) is False
    assert add(other_tenant, carrier.body(other_tenant.user, phoneNumber=carrier.routed_elsewhere)).status_code == 500
    sandbox.clear_faults()
    for _ in range(3):
        age_leases()
        assert reconcile().failed == 0
    assert number_at(sandbox, carrier, carrier.routed_elsewhere) == before
    assert not Line.objects.exists()


def test_after_a_failed_take_over_the_customer_gets_the_number_back(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, carrier: Good
) -> None:
    before = number_at(sandbox, carrier, carrier.routed_elsewhere)
    added(tenant, carrier, carrier.routed_elsewhere)
    fresh = renewed(sandbox, carrier)
    refuse_writes(sandbox, carrier)
    assert add(other_tenant, fresh.body(other_tenant.user, phoneNumber=carrier.routed_elsewhere)).status_code == 500
    sandbox.clear_faults()
    for _ in range(2):
        age_leases()
        assert reconcile().failed == 0
    assert number_at(sandbox, carrier, carrier.routed_elsewhere) == before
    sandbox.clear_ledger()
    assert reconcile().finished == 0 and sandbox.ledger == []


def test_reconcile_leaves_the_account_that_a_number_is_moved_to(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, carrier: Good, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone, apply, read_back = added(tenant, carrier), adding.apply, adding.read_back

    def reconciled(act: Any) -> Any:
        def acting(*args: Any) -> Any:
            assert reconcile().failed == 0
            return act(*args)

        return acting

    monkeypatch.setattr(adding, "apply", reconciled(apply))
    monkeypatch.setattr(adding, "read_back", reconciled(read_back))
    moved = move_phone(phone, user=other_tenant.user, account_id=carrier.acc_sid, auth_token=carrier.auth_token)
    assert check(moved, other_tenant)["health"] == "ok"
    assert PhoneNumber.objects.get().pk == moved.pk


def test_a_repair_that_waited_writes_nothing_over_new_hands(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, carrier: Good, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone = added(tenant, carrier)
    resource = sandbox.state.account(carrier.integration, carrier.owner).numbers[carrier.number]
    resource.update(carrier.console_route)
    wait = leases.wait
    fresh: list[Good] = []

    def taken_meanwhile(*args: Any) -> None:
        if not fresh:
            fresh.append(renewed(sandbox, carrier))
            added(other_tenant, fresh[0])
        wait(*args)

    monkeypatch.setattr(leases, "wait", taken_meanwhile)
    assert send("POST", f"phones/{phone.pk}/check", tenant, {"repair": True}).status_code in (200, 404)
    theirs = PhoneNumber.objects.get(user=other_tenant.user)
    assert check(theirs, other_tenant)["health"] == "ok"


def test_a_lost_number_gets_no_new_calls_although_its_line_was_not_taken(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant
) -> None:
    """Telnyx signs with the account's key, whichever API key is in force."""
    added(tenant, TELNYX)
    added(tenant, TELNYX, TELNYX.another)
    old = Party(Account.objects.get(), at_carrier(sandbox, TELNYX))
    added(other_tenant, renewed(sandbox, TELNYX))
    assert post(old, event("telnyx", "after", To=f"+{TELNYX.another}")).status_code == 200
    assert data_of(get("/api/call/calls", tenant))["items"] == []


def test_a_line_that_was_handed_back_has_no_open_time(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, carrier: Good
) -> None:
    added(tenant, carrier)
    phone = added(other_tenant, renewed(sandbox, carrier))
    assert restored(remove(other_tenant, phone.pk), phone.pk) is True
    account = Account.objects.get(workspace=tenant.workspace)
    assert all(tenure.until for tenure in tenures(account))


def test_the_newcomers_own_profile_stays_when_what_was_left_is_deleted(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant
) -> None:
    added(tenant, NO_PROFILE)
    fresh = renewed(sandbox, NO_PROFILE)
    added(other_tenant, fresh)
    profiles = sandbox.state.account("telnyx", NO_PROFILE.owner).profiles
    application = Account.objects.get(workspace=other_tenant.workspace).application_id
    used = sandbox.state.account("telnyx", NO_PROFILE.owner).applications[application]["outbound"]
    assert used["outbound_voice_profile_id"] in profiles


def test_a_line_that_the_customer_took_back_is_at_rest(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, carrier: Good
) -> None:
    """With a lost number on it, the line stays, and nobody's carrier is asked about it any more."""
    added(tenant, carrier)
    phone = added(other_tenant, renewed(sandbox, carrier))
    resource = sandbox.state.account(carrier.integration, carrier.owner).numbers[carrier.number]
    resource.update(carrier.console_route)
    remove(other_tenant, phone.pk)
    for _ in range(2):
        age_leases()
        assert reconcile().failed == 0
    sandbox.clear_ledger()
    assert reconcile().finished == 0 and sandbox.ledger == []
    assert not Account.objects.filter(workspace=other_tenant.workspace).exists()


def test_a_token_that_the_carrier_accepts_again_counts_again(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant
) -> None:
    added(tenant, TWILIO)
    added(other_tenant, renewed(sandbox, TWILIO))
    sandbox.change_secret("twilio", TWILIO.owner, TWILIO.auth_token)
    assert Account.objects.get(workspace=tenant.workspace).is_retired
    added(tenant, TWILIO, TWILIO.another)
    assert not Account.objects.get(workspace=tenant.workspace).is_retired


def test_credentials_that_are_known_to_be_refused_are_not_tried_again(
    sandbox: Sandbox, tenant: Tenant, carrier: Good
) -> None:
    """A number follows to another account of its workspace; what the refused account has left is not asked with it."""
    recording = "RecordingID" if carrier.integration == "plivo" else "RecordingSid"
    phone, stays = added(tenant, carrier), added(tenant, carrier, carrier.another)
    account = phone.line.account  # type: ignore[union-attr]
    heard = event(carrier.integration, "before", **{recording: "RE-1"})
    assert post(Party(account, at_carrier(sandbox, carrier)), heard).status_code == 200
    assert retire_account(account)
    sandbox.clear_ledger()
    assert reasons(check(stays, tenant, repair=True)) == {"credentials_refused"}
    media = get(f"/api/call/recordings/{Recording.objects.get().pk}/media", tenant)
    assert media.status_code >= 400 and sandbox.ledger == []
    rotated = send("PATCH", f"phones/{stays.pk}", tenant, {"authToken": carrier.auth_token})
    assert rotated.status_code == 200, rotated.content
    assert check(stays, tenant)["health"] == "ok"


def test_an_account_without_numbers_whose_token_was_renewed_is_left_in_peace(
    sandbox: Sandbox, tenant: Tenant, carrier: Good
) -> None:
    """Its row stays only if an application of ours is at the carrier, without the token in the end."""
    phone = added(tenant, carrier)
    sandbox.fault("status", carrier=carrier.integration, method="DELETE", status=503, times=None)
    remove(tenant, phone.pk)
    sandbox.clear_faults()
    renewed(sandbox, carrier)
    for _ in range(3):
        age_leases()
        reconcile()
    sandbox.clear_ledger()
    assert reconcile().failed == 0 and sandbox.ledger == []
    assert Account.objects.exists() == (carrier.integration in WITH_APPLICATIONS)
    Account.objects.update(released_at=clock.now() - timedelta(days=2))
    assert reconcile().failed == 0 and sandbox.ledger == []
    assert not any(account.auth_token.open() for account in Account.objects.all())
    assert reconcile().finished == 0
