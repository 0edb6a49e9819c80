"""Moving a number to another workspace: a removal here and an add there, without a moment in which nobody answers."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from django.db import DatabaseError

from integrations.errors import CarrierUnavailable, IntegrationError, InvalidCredentials, WebhookSetupFailed
from phones.errors import NumberRetired, SameWorkspace
from phones.models import Account, Call, CallEvent, Line, PhoneNumber
from phones.reconciling import reconcile
from phones.services import adding, completing, enter_public_key, move_phone
from phones.services.checking import check_lines
from sandbox.sandbox import Sandbox
from tests.support.api import check, data_of, get, send
from tests.support.carriers import CARRIERS, OTHERS, TWILIO, Good
from tests.support.events import post
from tests.support.numbers import added, renewed
from tests.support.people import Tenant, colleague_of, trail
from tests.support.removal import assert_as_before, assert_nothing_is_left, listed, remove, restored
from tests.support.state import age_leases
from tests.support.webhooks import PUBLIC_URL, Party, at_carrier, event
from users.actor import actor_context

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.engine]

GREETING = "This is the first workspace."


class Killed(BaseException):
    """The process dies here."""


def move(phone: PhoneNumber, to: Tenant, good: Good, **changes: Any) -> PhoneNumber:
    credentials = {"account_id": good.acc_sid, "auth_token": good.auth_token}
    return move_phone(phone, **({"user": to.user} | credentials | changes))


def party_of(sandbox: Sandbox, tenant: Tenant, good: Good) -> Party:
    account = Account.objects.get(workspace=tenant.workspace, integration=good.integration)
    return Party(account, at_carrier(sandbox, good))


def asked(sandbox: Sandbox, good: Good, number: str) -> tuple[Party, str]:
    """Have the carrier ask for the answer to a call as the number is routed now. Returns whom it asked, and the answer."""
    there = at_carrier(sandbox, good).numbers[number]
    for account in Account.objects.filter(integration=good.integration):
        route = {"webhook_token": account.webhook_token, "application_id": account.application_id or "none"}
        if good.routes_to(there, **route, public_url=PUBLIC_URL):
            party = Party(account, at_carrier(sandbox, good))
            return party, answer_of(party, number)
    raise AssertionError("the number's calls come to nobody here")


def answer_of(party: Party, number: str) -> str:
    plus = "" if party.row.integration == "plivo" else "+"
    reply = post(party, event(party.row.integration, "asked", To=plus + number), "answer")
    assert reply.status_code == 200, reply.content
    ids = list(Call.objects.filter(carrier_id="asked").values_list("pk", flat=True))
    CallEvent.objects.filter(call__in=ids).delete()  # or they would keep the account
    Call.objects.filter(pk__in=ids).delete()
    return reply.content.decode()


def is_answered(document: str) -> bool:
    return "<Record" in document


def assert_untouched(sandbox: Sandbox, phone: PhoneNumber, tenant: Tenant, other_tenant: Tenant, with_us: Any) -> None:
    """The old workspace has the number and answers, and nothing of the other one is left, also after `reconcile`."""
    good = CARRIERS[phone.integration]
    for _ in range(2):
        assert reconcile().failed == 0
        age_leases()
    assert_as_before(sandbox, with_us)
    phone.refresh_from_db()
    assert phone.state == "active" and check(phone, tenant)["health"] == "ok"
    assert GREETING in asked(sandbox, good, phone.number)[1]
    assert listed(other_tenant) == []
    assert reconcile().failed == 0
    assert not Account.objects.filter(workspace=other_tenant.workspace).exists()


# -- moved ------------------------------------------------------------------------------------------------------------


def test_the_other_workspace_has_the_number_and_its_removal_restores_the_customers_route(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, carrier: Good
) -> None:
    before = sandbox.snapshot()
    phone = added(tenant, carrier, carrier.routed_elsewhere, greeting=GREETING)
    moved = move(phone, other_tenant, carrier)
    assert (listed(tenant), listed(other_tenant)) == ([], [carrier.routed_elsewhere])
    assert (moved.state, moved.user, moved.greeting) == ("active", other_tenant.user, "")
    assert check(moved, other_tenant)["health"] == "ok"
    assert reconcile().failed == 0
    assert check(moved, other_tenant)["health"] == "ok"
    assert restored(remove(other_tenant, moved.pk), moved.pk) is True
    age_leases()
    assert (reconcile().failed, reconcile().failed) == (0, 0)
    assert_as_before(sandbox, before)
    assert_nothing_is_left()


def test_a_number_moves_back(sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, carrier: Good) -> None:
    before = sandbox.snapshot()
    phone = added(tenant, carrier, carrier.routed_elsewhere)
    back = move(move(phone, other_tenant, carrier), tenant, carrier)
    assert check(back, tenant)["health"] == "ok" and listed(other_tenant) == []
    assert restored(remove(tenant, back.pk), back.pk) is True
    assert (reconcile().failed, reconcile().failed) == (0, 0)
    assert_as_before(sandbox, before)
    assert_nothing_is_left()


def test_history_stays_with_the_workspace_that_had_the_number(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, carrier: Good
) -> None:
    phone, stays = added(tenant, carrier), added(tenant, carrier, carrier.another)
    first = party_of(sandbox, tenant, carrier)
    recording = "RecordingID" if carrier.integration == "plivo" else "RecordingSid"
    assert post(first, event(carrier.integration, "earlier", **{recording: "RE-1"})).status_code == 200
    moved = move(phone, other_tenant, carrier)
    second = party_of(sandbox, other_tenant, carrier)
    assert post(second, event(carrier.integration, "later")).status_code == 200
    assert reconcile().failed == 0

    seen = data_of(get("/api/call/calls", other_tenant))["items"]
    assert [call["carrierCallId"] for call in seen] == ["later"]
    of_number = data_of(get(f"/api/call/phones/{moved.pk}/calls", other_tenant))["items"]
    assert [call["carrierCallId"] for call in of_number] == ["later"]
    earlier = Call.objects.get(carrier_id="earlier")
    assert earlier.account.workspace == tenant.workspace and earlier.line_id == moved.line_id
    heard = earlier.recordings.get()
    for address in (f"calls/{earlier.pk}", f"recordings/{heard.pk}/media"):
        assert get(f"/api/call/{address}", other_tenant).status_code == 404
    later = Call.objects.get(carrier_id="later")
    assert get(f"/api/call/calls/{later.pk}", tenant).status_code == 404
    assert check(stays, tenant)["health"] == "ok", "its other number is its own as before"


def test_all_users_of_the_old_workspace_lose_it_and_both_trails_tell_who_did_it(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, carrier: Good
) -> None:
    colleague = colleague_of(tenant)
    added(tenant, carrier)
    second = added(colleague, carrier)
    with actor_context("staff", "sue@desk.example.com"):
        move(second, other_tenant, carrier)
    assert listed(tenant) == [] and PhoneNumber.objects.get().user == other_tenant.user
    sue = "sue@desk.example.com"
    assert sorted(trail(tenant)) == [
        (sue, "ok", f"of user {colleague.user.email} to workspace two"),
        (sue, "ok", f"of user {tenant.user.email} to workspace two"),
    ]
    assert trail(other_tenant) == [(sue, "ok", f"from workspace one to user {other_tenant.user.email}")]
    assert trail(other_tenant, "phone.add") == []


STEPS = ("reserve", "snapshot", "apply", "read_back", "activate")


def test_calls_are_answered_all_the_time(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, carrier: Good, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before and after each step, as the carrier would ask at that moment; the old address until the last step, too."""
    phone = added(tenant, carrier, greeting=GREETING)
    added(other_tenant, replace(OTHERS[carrier.integration]))  # so that it has an account of its own before
    old, whom = party_of(sandbox, tenant, carrier), []

    def call() -> None:
        party, document = asked(sandbox, carrier, carrier.number)
        assert is_answered(document), document
        whom.append(party.row.workspace)
        assert GREETING in answer_of(old, carrier.number), "a call that is still sent to the old address"

    def watched(step: Callable[..., Any], *, is_last: bool) -> Callable[..., Any]:
        def act(*args: Any) -> Any:
            call()
            result = step(*args)
            if not is_last:
                call()
            return result

        return act

    for name in STEPS:
        monkeypatch.setattr(adding, name, watched(getattr(adding, name), is_last=name == STEPS[-1]))
    call()
    moved = move(phone, other_tenant, carrier)
    party, document = asked(sandbox, carrier, carrier.number)
    assert is_answered(document) and GREETING not in document
    assert party.row.pk == PhoneNumber.objects.get(pk=moved.pk).line.account_id  # type: ignore[union-attr]
    assert whom == sorted(whom, key=lambda one: one == other_tenant.workspace), "it goes over once"
    assert whom[0] == tenant.workspace and whom[-1] == other_tenant.workspace
    assert not is_answered(answer_of(old, carrier.number)), "the old workspace has no say any more"


def test_a_number_that_was_sold_moves_with_the_account_that_has_it_now(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, carrier: Good
) -> None:
    """What its new account had configured is what is put back one day."""
    phone = added(tenant, carrier, carrier.routed_elsewhere)
    theirs = replace(OTHERS[carrier.integration], number=carrier.routed_elsewhere)
    sandbox.transfer_number(carrier.integration, carrier.routed_elsewhere, theirs.owner)
    sold = sandbox.snapshot()[carrier.integration][theirs.owner]
    moved = move(phone, other_tenant, theirs)
    assert check(moved, other_tenant)["health"] == "ok"
    assert restored(remove(other_tenant, moved.pk), moved.pk) is True
    assert (reconcile().failed, reconcile().failed) == (0, 0)
    assert sandbox.snapshot()[carrier.integration][theirs.owner] == sold


# -- refused ----------------------------------------------------------------------------------------------------------


def test_who_has_it_already_and_who_has_lost_it_cannot_move_it(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant
) -> None:
    phone = added(tenant, TWILIO)
    with_us = sandbox.snapshot()
    with pytest.raises(SameWorkspace):
        move(phone, colleague_of(tenant), TWILIO)
    assert sandbox.snapshot() == with_us
    fresh = renewed(sandbox, TWILIO)
    added(other_tenant, fresh)
    phone.refresh_from_db()
    sandbox.clear_ledger()
    with pytest.raises(NumberRetired):
        move(phone, other_tenant, fresh)
    assert sandbox.ledger == []


FAILURES: dict[str, tuple[type[Exception], dict[str, Any]]] = {
    "refused credentials": (InvalidCredentials, {"auth_token": "not-the-token"}),
    "carrier down": (CarrierUnavailable, {}),
    "set-up failed": (WebhookSetupFailed, {}),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_move_that_fails_changes_nothing(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, carrier: Good, failure: str
) -> None:
    phone = added(tenant, carrier, greeting=GREETING)
    with_us = sandbox.snapshot()
    error, changes = FAILURES[failure]
    if failure == "carrier down":
        sandbox.fault("status", carrier=carrier.integration, status=503, times=None)
    if failure == "set-up failed":
        for method in sorted(carrier.methods - {"GET", "DELETE"}):
            sandbox.fault("status", carrier=carrier.integration, method=method, status=400, times=None)
    with pytest.raises(error):
        move(phone, other_tenant, carrier, **changes)
    sandbox.clear_faults()
    assert GREETING in asked(sandbox, carrier, carrier.number)[1]
    assert_untouched(sandbox, phone, tenant, other_tenant, with_us)
    ((_, outcome, _),) = trail(other_tenant)
    assert outcome == error.code and trail(tenant) == []  # type: ignore[attr-defined]


# -- killed -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("step", ["snapshot", "apply", "read_back"])
def test_a_move_whose_process_dies_leaves_the_number_where_it_was(
    sandbox: Sandbox,
    tenant: Tenant,
    other_tenant: Tenant,
    carrier: Good,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    is_before: bool,
) -> None:
    phone = added(tenant, carrier, greeting=GREETING)
    with_us, act = sandbox.snapshot(), getattr(adding, step)

    def die(*args: Any) -> None:
        if not is_before:
            act(*args)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(adding, step, die)
        patch.setattr(adding, "undo", lambda addition: None)
        with pytest.raises(Killed):
            move(phone, other_tenant, carrier)
    assert is_answered(asked(sandbox, carrier, carrier.number)[1])
    age_leases()
    assert_untouched(sandbox, phone, tenant, other_tenant, with_us)


@pytest.mark.parametrize("what", ["hand_over", "note", "adopt_credentials"])
def test_a_move_goes_on_to_its_end_once_the_number_is_active(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, carrier: Good, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    before = sandbox.snapshot()
    phone = added(tenant, carrier, carrier.routed_elsewhere)

    def fail(*args: Any, **fields: Any) -> None:
        raise DatabaseError("no primary")

    with monkeypatch.context() as patch:
        patch.setattr(completing, what, fail)
        moved = move(phone, other_tenant, carrier)
    assert is_answered(asked(sandbox, carrier, carrier.routed_elsewhere)[1])
    age_leases()
    assert reconcile().failed == 0
    assert (listed(tenant), listed(other_tenant)) == ([], [carrier.routed_elsewhere])
    assert [detail for _, _, detail in trail(tenant)] == [f"of user {tenant.user.email} to workspace two"]
    assert [detail for _, _, detail in trail(other_tenant)] == [f"from workspace one to user {other_tenant.user.email}"]
    assert check(moved, other_tenant)["health"] == "ok"
    assert restored(remove(other_tenant, moved.pk), moved.pk) is True
    assert (reconcile().failed, reconcile().failed) == (0, 0)
    assert_as_before(sandbox, before)
    assert_nothing_is_left()


@pytest.mark.parametrize("act", ["check", "repair", "remove", "new token", "new key", "repair of all"])
def test_who_uses_a_number_whose_move_was_interrupted_ends_the_move_first(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, carrier: Good, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    """Its line is in the old workspace's hands still, so anything else would be done with the old account."""
    before = sandbox.snapshot()
    phone = added(tenant, carrier, carrier.routed_elsewhere)
    first = phone.line.account  # type: ignore[union-attr]

    def fail(*args: Any, **fields: Any) -> None:
        raise DatabaseError("no primary")

    with monkeypatch.context() as patch:
        patch.setattr(completing, "hand_over", fail)
        moved = move(phone, other_tenant, carrier)
    age_leases()
    assert PhoneNumber.objects.get(pk=moved.pk).line.account == first  # type: ignore[union-attr]
    with_us = sandbox.snapshot()
    if act == "repair of all":
        list(check_lines(Line.objects.all(), repair=True))
        assert sandbox.snapshot() == with_us, "the old workspace's settings are not written any more"
        return
    if act == "remove":
        assert restored(remove(other_tenant, moved.pk), moved.pk) is True
        assert (reconcile().failed, reconcile().failed) == (0, 0)
        assert_as_before(sandbox, before)
        return
    if act == "new token":
        changed = send("PATCH", f"phones/{moved.pk}", other_tenant, {"authToken": carrier.auth_token})
        assert changed.status_code == 200, changed.content
    elif act == "new key":
        with suppress(IntegrationError):  # it has one that the carrier reports, or needs none
            enter_public_key(PhoneNumber.objects.get(pk=moved.pk), "A" * 43 + "=")
    else:
        assert check(moved, other_tenant, repair=act == "repair")["health"] == "ok"
    assert PhoneNumber.objects.get(pk=moved.pk).account.workspace == other_tenant.workspace  # type: ignore[union-attr]
    assert sandbox.snapshot() == with_us and listed(tenant) == []
