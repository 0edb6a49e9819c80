"""One number, one workspace: who gets a number that another workspace has, and what each of the two may see."""

from dataclasses import replace
from typing import Any

import pytest
from django.test import Client

from phones.models import Account, Call, Line, PhoneNumber
from phones.reconciling import reconcile
from sandbox import resources
from sandbox import state as seeds
from sandbox.sandbox import Sandbox
from tests.support import state
from tests.support.api import add, check, data_of, get, reasons, send
from tests.support.carriers import OTHERS, SIGNING_WITH_TOKENS, TELNYX, TWILIO, WITH_APPLICATIONS, Good
from tests.support.events import post
from tests.support.numbers import NEW_SECRET, added, renewed
from tests.support.people import Tenant, colleague_of
from tests.support.removal import assert_as_before, remove, restored
from tests.support.webhooks import Party, at_carrier, event

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.engine]


def assert_envelope(reply: Any, code: str, field: str | None = None) -> None:
    assert reply.json()["data"] == {"error": code, "field": field}, reply.content
    state.assert_envelope(reply, code)


def shown(tenant: Tenant, phone: PhoneNumber | str) -> dict[str, Any]:
    id = phone if isinstance(phone, str) else phone.pk
    found: dict[str, Any] = data_of(get(f"/api/call/phones/{id}", tenant))
    return found


def calls_of(tenant: Tenant) -> list[str]:
    return [call["carrierCallId"] for call in data_of(get("/api/call/calls", tenant))["items"]]


def party_of(sandbox: Sandbox, tenant: Tenant, good: Good) -> Party:
    account = Account.objects.get(workspace=tenant.workspace, integration=good.integration)
    return Party(account, at_carrier(sandbox, good))


# -- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_conflict", ["replace", "refuse"])
def test_a_number_that_another_workspace_has_is_refused(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, carrier: Good, on_conflict: str
) -> None:
    phone = added(tenant, carrier)
    before = sandbox.snapshot()
    reply = add(other_tenant, carrier.body(other_tenant.user, onConflict=on_conflict))
    assert_envelope(reply, "number_in_another_workspace", field="phoneNumber")
    assert "another workspace" in reply.json()["errorMessage"]
    assert sandbox.snapshot() == before
    assert data_of(get("/api/call/phones", other_tenant))["items"] == []
    assert not Account.objects.filter(workspace=other_tenant.workspace).exists()
    assert shown(tenant, phone)["health"] == "ok"


def test_the_newcomer_proves_its_credentials_first(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, carrier: Good
) -> None:
    added(tenant, carrier)
    reply = add(other_tenant, carrier.body(other_tenant.user, authToken="not-the-token"))
    assert_envelope(reply, "invalid_credentials", field="authToken")


def test_nothing_is_decided_while_the_carrier_does_not_say_whose_it_is(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, settings: Any
) -> None:
    phone = added(tenant, TWILIO)
    fresh = renewed(sandbox, TWILIO)
    resource = sandbox.state.account("twilio", TWILIO.owner).numbers[TWILIO.number]["sid"]
    sandbox.fault("status", status=503, path=f"IncomingPhoneNumbers/{resource}", method="GET", times=None)
    reply = add(other_tenant, fresh.body(other_tenant.user))
    assert_envelope(reply, "carrier_unavailable")
    phone.refresh_from_db()
    assert phone.state == PhoneNumber.State.ACTIVE
    assert not PhoneNumber.objects.filter(user=other_tenant.user).exists()


def test_the_other_account_is_asked_only_where_there_is_one(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> None:
    added(tenant, carrier, carrier.another)
    sandbox.clear_ledger()
    assert add(tenant, carrier.body(tenant.user)).status_code == 201
    alone = len(sandbox.ledger)
    colleague = colleague_of(tenant)
    sandbox.clear_ledger()
    assert add(colleague, carrier.body(colleague.user)).status_code == 201
    assert len(sandbox.ledger) <= alone


# -- taken over -------------------------------------------------------------------------------------------------------


def test_who_holds_only_a_token_that_was_renewed_loses_the_number(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, carrier: Good
) -> None:
    """Somebody with an old token has the number; its owner brings it with the new token."""
    before = sandbox.snapshot()
    phone, second = added(tenant, carrier, carrier.routed_elsewhere), added(tenant, carrier, carrier.another)
    old = party_of(sandbox, tenant, carrier)
    fresh = renewed(sandbox, carrier)

    reply = add(other_tenant, fresh.body(other_tenant.user, phoneNumber=carrier.routed_elsewhere))

    assert reply.status_code == 201, reply.content
    for lost in (phone, second):
        assert shown(tenant, lost)["health"] == "drift"
        assert reasons(shown(tenant, lost)) == {"credentials_refused"}
    sandbox.clear_ledger()
    checked = check(phone, tenant, repair=True)
    assert (checked["health"], reasons(checked), checked["repaired"]) == ("drift", {"credentials_refused"}, False)
    patched = send("PATCH", f"phones/{phone.pk}", tenant, {"label": "mine"})
    assert_envelope(patched, "invalid_credentials", field="authToken")
    again = send("PATCH", f"phones/{phone.pk}", tenant, {"authToken": NEW_SECRET})
    assert_envelope(again, "invalid_credentials", field="authToken")
    assert restored(remove(tenant, phone.pk), phone.pk) is False
    assert sandbox.ledger == [], "a retired number asks no carrier"

    assert reconcile().failed == 0
    assert old.row.pk in set(Account.objects.values_list("pk", flat=True)), "the other number's line is still theirs"
    mine = reply.json()["data"]["_id"]
    assert shown(other_tenant, mine)["health"] == "ok"
    assert restored(remove(other_tenant, mine), mine) is True
    number = carrier.routed_elsewhere
    of_account = sandbox.snapshot()[carrier.integration][carrier.owner]["numbers"]
    assert of_account[number] == before[carrier.integration][carrier.owner]["numbers"][number]


def test_the_newcomer_takes_all_numbers_one_by_one_and_gives_them_back(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, carrier: Good
) -> None:
    """Also the application of who lost them goes, once no number is linked to it."""
    before = sandbox.snapshot()
    numbers = [carrier.routed_elsewhere, carrier.another]
    lost = [added(tenant, carrier, number) for number in numbers]
    fresh = renewed(sandbox, carrier)
    taken = [add(other_tenant, fresh.body(other_tenant.user, phoneNumber=number)) for number in numbers]
    assert [reply.status_code for reply in taken] == [201, 201]
    ids = [reply.json()["data"]["_id"] for reply in taken]
    for id in ids:
        assert restored(remove(other_tenant, id), id) is True
    sandbox.change_secret(carrier.integration, carrier.owner, carrier.auth_token)
    assert_as_before(sandbox, before)
    for phone in lost:
        assert restored(remove(tenant, phone.pk), phone.pk) is False
    assert (reconcile().failed, reconcile().failed) == (0, 0)
    assert [model.objects.count() for model in (PhoneNumber, Line, Account)] == [0, 0, 0]


def test_each_workspace_sees_the_calls_of_its_own_time(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, carrier: Good
) -> None:
    phone = added(tenant, carrier, greeting="the first")
    first = party_of(sandbox, tenant, carrier)
    recording = "RecordingID" if carrier.integration == "plivo" else "RecordingSid"
    assert post(first, event(carrier.integration, "of-the-first", **{recording: "RE-1"})).status_code == 200
    heard = Call.objects.get().recordings.get()
    fresh = renewed(sandbox, carrier)
    assert add(other_tenant, fresh.body(other_tenant.user)).status_code == 201
    second = party_of(sandbox, other_tenant, carrier)
    assert post(second, event(carrier.integration, "of-the-second")).status_code == 200
    if carrier.integration in SIGNING_WITH_TOKENS:
        assert post(first, event(carrier.integration, "of-nobody")).status_code == 403
    else:
        assert post(first, event(carrier.integration, "of-nobody")).status_code == 200

    assert calls_of(tenant) == ["of-the-first"]
    assert data_of(get(f"/api/call/phones/{phone.pk}/calls", tenant))["items"][0]["carrierCallId"] == "of-the-first"
    assert calls_of(other_tenant) == ["of-the-second"]
    ours, theirs = Call.objects.get(carrier_id="of-the-first"), Call.objects.get(carrier_id="of-the-second")
    assert get(f"/api/call/calls/{theirs.pk}", tenant).status_code == 404
    assert get(f"/api/call/calls/{ours.pk}", other_tenant).status_code == 404
    for who in (tenant, other_tenant):
        assert get(f"/api/call/recordings/{heard.pk}/media", who).status_code == 404


def test_who_lost_a_number_has_no_say_in_how_it_answers(sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant) -> None:
    added(tenant, TWILIO, greeting="the first")
    first = party_of(sandbox, tenant, TWILIO)
    fresh = renewed(sandbox, TWILIO)
    added(other_tenant, fresh, greeting="the second")
    second = party_of(sandbox, other_tenant, TWILIO)
    assert b"the second" in post(second, event("twilio"), "answer").content
    assert b"the first" not in post(first, event("twilio"), "answer").content


def test_a_failed_take_over_leaves_the_number_to_nobody_and_the_next_one_gets_it(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, carrier: Good
) -> None:
    before = sandbox.snapshot()
    phone = added(tenant, carrier, carrier.routed_elsewhere)
    fresh = renewed(sandbox, carrier)
    body = fresh.body(other_tenant.user, phoneNumber=carrier.routed_elsewhere)
    for method in sorted(carrier.methods - {"GET", "DELETE"}):
        sandbox.fault("status", carrier=carrier.integration, method=method, status=400, times=None)
    assert_envelope(add(other_tenant, body), "webhook_setup_failed")
    sandbox.clear_faults()
    assert reasons(shown(tenant, phone)) == {"credentials_refused"}
    assert reconcile().failed == 0
    reply = add(other_tenant, body)
    assert reply.status_code == 201, reply.content
    id = reply.json()["data"]["_id"]
    assert restored(remove(other_tenant, id), id) is True
    sandbox.change_secret(carrier.integration, carrier.owner, carrier.auth_token)
    assert_as_before(sandbox, before)


# -- sold or ported ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("whose", ["another workspace's", "the same workspace's"])
def test_a_number_follows_to_the_account_that_it_was_moved_to(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, carrier: Good, whose: str
) -> None:
    """The old token still works, but its account does not have the number any more."""
    phone, stays = added(tenant, carrier, carrier.routed_elsewhere), added(tenant, carrier, carrier.another)
    theirs = replace(OTHERS[carrier.integration], number=carrier.routed_elsewhere)
    sandbox.transfer_number(carrier.integration, carrier.routed_elsewhere, theirs.owner)
    moved = sandbox.snapshot()
    newcomer = other_tenant if whose == "another workspace's" else colleague_of(tenant)

    reply = add(newcomer, theirs.body(newcomer.user))

    assert reply.status_code == 201, reply.content
    id = reply.json()["data"]["_id"]
    assert shown(tenant, stays)["health"] == "ok"
    if newcomer is other_tenant:
        assert reasons(shown(tenant, phone)) == {"number_missing"}
    else:
        assert shown(tenant, phone)["health"] == "ok" and shown(tenant, phone)["sharedWith"] == 1
        assert shown(tenant, phone)["accSId"] == shown(newcomer, id)["accSId"]
        assert restored(remove(tenant, phone.pk), phone.pk) is False
    assert restored(remove(newcomer, id), id) is True
    after = sandbox.snapshot()[carrier.integration][theirs.owner]
    assert after == moved[carrier.integration][theirs.owner]


def test_the_application_at_the_old_account_goes_when_no_number_is_there_any_more(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant
) -> None:
    for good in WITH_APPLICATIONS.values():
        before = sandbox.snapshot()[good.integration][good.owner]["applications"]
        added(tenant, good)
        theirs = replace(OTHERS[good.integration], number=good.number)
        sandbox.transfer_number(good.integration, good.number, theirs.owner)
        assert add(other_tenant, theirs.body(other_tenant.user)).status_code == 201
        assert reconcile().failed == 0
        assert sandbox.snapshot()[good.integration][good.owner]["applications"] == before


# -- within a workspace -----------------------------------------------------------------------------------------------


def test_users_who_share_a_number_are_told_so(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> None:
    phone = added(tenant, carrier)
    assert shown(tenant, phone)["sharedWith"] == 0
    colleague = colleague_of(tenant)
    second = added(colleague, carrier)
    listed = data_of(get("/api/call/phones", tenant))["items"]
    assert {one["_id"]: one["sharedWith"] for one in listed} == {phone.pk: 1, second.pk: 1}
    remove(tenant, phone.pk)
    assert shown(tenant, second)["sharedWith"] == 0


@pytest.mark.parametrize("named_first", [True, False])
def test_a_telnyx_number_under_two_names_of_its_account_is_one_line(
    sandbox: Sandbox, tenant: Tenant, named_first: bool
) -> None:
    """With and without the id of an application: two accounts of ours, one number at the carrier."""
    own = "1400000000000000077"
    application = resources.telnyx_texml_application(own) | {
        "friendly_name": "own",
        "voice_url": "https://example.com/",
    }
    sandbox.state.account("telnyx", TELNYX.owner).applications[own] = application
    before = sandbox.snapshot()
    colleague = colleague_of(tenant)
    named = replace(TELNYX, acc_sid=own)
    goods = (named, TELNYX) if named_first else (TELNYX, named)
    first, second = added(tenant, goods[0]), added(colleague, goods[1])
    assert Line.objects.count() == 1
    for phone in (first, second):
        assert check(phone, tenant)["health"] == "ok"
    assert shown(tenant, first)["accSId"] == shown(tenant, second)["accSId"]
    assert restored(remove(tenant, first.pk), first.pk) is False
    assert check(second, tenant)["health"] == "ok"
    assert restored(remove(tenant, second.pk), second.pk) is True
    assert reconcile().failed == 0
    assert_as_before(sandbox, before)


# -- named applications -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_conflict", ["replace", "refuse"])
def test_an_application_that_routes_numbers_of_others_is_not_taken(
    sandbox: Sandbox, tenant: Tenant, on_conflict: str
) -> None:
    before = sandbox.snapshot()
    body = TELNYX.body(tenant.user, accSId=seeds.TELNYX_CUSTOMER_APP, onConflict=on_conflict)
    assert_envelope(add(tenant, body), "application_in_use", field="accSId")
    assert_as_before(sandbox, before)


def test_an_application_that_routes_only_numbers_of_the_workspace_is_taken_when_it_may_be_replaced(
    sandbox: Sandbox, tenant: Tenant
) -> None:
    app = seeds.TELNYX_CUSTOMER_APP
    first = TELNYX.body(tenant.user, accSId=app, phoneNumber=TELNYX.routed_elsewhere)
    assert add(tenant, first).status_code == 201
    refused = add(tenant, TELNYX.body(tenant.user, accSId=app, onConflict="refuse"))
    assert_envelope(refused, "application_in_use", field="accSId")
    assert add(tenant, TELNYX.body(tenant.user, accSId=app)).status_code == 201


def test_an_application_that_we_made_for_another_workspace_is_not_taken_even_if_it_routes_no_number(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant
) -> None:
    phone = added(tenant, TELNYX)
    made = phone.line.account.application_id  # type: ignore[union-attr]
    there = at_carrier(sandbox, TELNYX)
    there.numbers[TELNYX.number].update(TELNYX.console_route)
    before = sandbox.snapshot()
    body = TELNYX.body(other_tenant.user, accSId=made, phoneNumber=TELNYX.another)
    assert_envelope(add(other_tenant, body), "application_in_use", field="accSId")
    assert_as_before(sandbox, before)


# -- the desk ---------------------------------------------------------------------------------------------------------


def test_the_desk_shows_what_became_of_a_number(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, carrier: Good, desk: Client
) -> None:
    phone = added(tenant, carrier)
    added(other_tenant, renewed(sandbox, carrier))
    page = desk.get(f"/admin/phones/phonenumber/{phone.pk}/change/")
    assert page.status_code == 200 and "The carrier rejected this workspace" in page.content.decode()
    listed = desk.get("/admin/phones/phonenumber/?health=drift").content.decode()
    assert phone.pk in listed
    removed = desk.post(f"/admin/phones/phonenumber/{phone.pk}/delete/", follow=True)
    assert "It no longer belonged to this workspace" in removed.content.decode()
