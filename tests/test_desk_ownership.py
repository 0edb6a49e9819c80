"""What the support desk shows of a number that its workspace has lost, and of one that several users share."""

from typing import Any

import pytest
from django.test import Client

from phones.models import Call, Line, PhoneNumber
from phones.reconciling import reconcile
from sandbox.sandbox import Sandbox
from tests.support.carriers import OTHERS, TWILIO, Good
from tests.support.desk import LIST, page_of
from tests.support.events import post
from tests.support.numbers import added, renewed
from tests.support.people import Tenant, colleague_of, sign_in
from tests.support.webhooks import Party, at_carrier, event
from users.models import AuditEntry, User

pytestmark = pytest.mark.django_db(transaction=True)

# What a retired number's page does not offer.
USELESS = (
    "Check now",
    "Check and repair",
    "Change auth token",
    "Move to another workspace",
    ">Save<",
    "Carrier settings",
)


def messages_in(reply: Any) -> str:
    return " ".join(str(message) for message in reply.context["messages"])


def lose(sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, good: Good, reason: str) -> PhoneNumber:
    """A number with a recorded call that the workspace had, until another one proved that it is its own."""
    phone = added(tenant, good, greeting="ours")
    assert phone.line is not None
    party = Party(phone.line.account, at_carrier(sandbox, good))
    recording = "RecordingID" if good.integration == "plivo" else "RecordingSid"
    assert post(party, event(good.integration, "of-the-first", **{recording: "RE-1"})).status_code == 200
    if reason == "credentials_refused":
        added(other_tenant, renewed(sandbox, good))
    else:
        sandbox.transfer_number(good.integration, good.number, OTHERS[good.integration].owner)
        added(other_tenant, OTHERS[good.integration], good.number)
    phone.refresh_from_db()
    assert phone.retired_for == reason
    return phone


@pytest.mark.parametrize("reason", ["credentials_refused", "number_missing"])
def test_the_page_of_a_lost_number_says_why_and_offers_its_removal_only(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, carrier: Good, desk: Client, reason: str
) -> None:
    phone = lose(sandbox, tenant, other_tenant, carrier, reason)
    html = desk.get(page_of(phone)).content.decode()
    assert '<span class="badge drift">drift</span></h1>' in html
    why = "carrier rejected this workspace" if reason == "credentials_refused" else "no longer has this number"
    assert f"{why}" in html and "The number can only be removed" in html and "nother workspace" in html
    assert [word for word in USELESS if word in html] == []
    assert f"{LIST}{phone.pk}/delete/" in html
    call = Call.objects.get()
    assert "cannot be played any more" in html and "<audio" not in html
    assert desk.get(f"{LIST}recordings/{call.recordings.get().pk}/media").status_code == 404
    row = desk.get(f"{LIST}?health=drift").content.decode()
    assert phone.pk in row and '<span class="badge drift">drift</span>' in row

    asking = desk.get(f"{LIST}{phone.pk}/delete/").content.decode()
    assert "Nothing changes at the carrier" in asking and "are left as they are" not in asking
    with_them = sandbox.snapshot()
    sandbox.clear_ledger()
    done = desk.post(f"{LIST}{phone.pk}/delete/", follow=True)
    assert "It no longer belonged to this workspace, so nothing was changed" in messages_in(done)
    assert (sandbox.ledger, sandbox.snapshot()) == ([], with_them)
    assert Call.objects.get() == call and not PhoneNumber.objects.filter(pk=phone.pk).exists()
    assert reconcile().failed == 0


def test_an_old_page_of_a_lost_number_changes_nothing(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, desk: Client, staff: User
) -> None:
    phone = lose(sandbox, tenant, other_tenant, TWILIO, "credentials_refused")
    with_them = sandbox.snapshot()
    sandbox.clear_ledger()
    entries = AuditEntry.objects.count()
    for address, fields in (
        ("change/", {"action": "reject", "label": "mine"}),
        ("check/", {"check": ""}),
        ("check/", {"repair": ""}),
        ("token/", {"auth_token": TWILIO.auth_token}),
    ):
        reply = desk.post(f"{LIST}{phone.pk}/{address}", fields, follow=True)
        assert reply.redirect_chain == [(page_of(phone), 302)], address
        assert "no longer belongs to this workspace" in messages_in(reply)
    assert (sandbox.ledger, sandbox.snapshot()) == ([], with_them)
    phone.refresh_from_db()
    assert (phone.label, phone.action, AuditEntry.objects.count()) == ("", "voicemail", entries)
    support = sign_in(staff)
    assert support.post(f"{LIST}{phone.pk}/token/", {"auth_token": "x"}).status_code == 403


@pytest.mark.parametrize("action", ["check_selected", "repair_selected"])
def test_selected_numbers_that_are_lost_are_explained_and_the_others_checked(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, desk: Client, action: str
) -> None:
    """A repair must not touch what the other workspace has."""
    lost = lose(sandbox, tenant, other_tenant, TWILIO, "number_missing")
    own = added(tenant, TWILIO, TWILIO.another)
    sandbox.console("twilio", OTHERS["twilio"].owner, number=lost.number, voice_url="https://theirs.example.com")
    theirs = Line.objects.get(number=lost.number).checked_at
    with_them = sandbox.snapshot()
    chosen = {"action": action, "_selected_action": [lost.pk, own.pk]}
    text = messages_in(desk.post(LIST, chosen, follow=True))
    assert "The number can only be removed" in text and text.count("the carrier has the expected settings") == 1
    assert sandbox.snapshot() == with_them and Line.objects.get(number=lost.number).checked_at == theirs


def test_selected_numbers_that_are_lost_are_removed_with_the_others(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, desk: Client
) -> None:
    lost = lose(sandbox, tenant, other_tenant, TWILIO, "number_missing")
    own = added(tenant, TWILIO, TWILIO.another)
    chosen = {"action": "remove_selected", "_selected_action": [lost.pk, own.pk]}
    html = desk.post(LIST, chosen, follow=True).content.decode()
    assert html.count("Nothing changes at the carrier") == 1
    text = messages_in(desk.post(f"{LIST}remove/", {"id": [lost.pk, own.pk]}, follow=True))
    assert "It no longer belonged to this workspace" in text and "previous settings were restored" in text
    assert PhoneNumber.objects.get().user == other_tenant.user


def test_who_shares_a_number_is_told_so_and_who_decides_how_it_answers(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, carrier: Good, desk: Client
) -> None:
    first = added(tenant, carrier)
    assert "Shared" not in desk.get(page_of(first)).content.decode()
    colleague = colleague_of(tenant)
    second = added(colleague, carrier)
    for phone in (first, second):
        assert "with 1 other user of the workspace" in desk.get(page_of(phone)).content.decode()
    assert "This user added the number first" in desk.get(page_of(first)).content.decode()
    html = desk.get(page_of(second)).content.decode()
    assert f'<a href="{page_of(first)}">{tenant.user.email}</a> added the number first and decides' in html
    move = desk.get(f"{LIST}{first.pk}/move/").content.decode()
    assert "All 2 users of workspace “one” who have the number lose it" in move
    desk.post(f"{LIST}{first.pk}/delete/")
    assert "Shared" not in desk.get(page_of(second)).content.decode()


def test_who_lost_a_number_shares_it_with_nobody(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, desk: Client
) -> None:
    lost = lose(sandbox, tenant, other_tenant, TWILIO, "number_missing")
    taken = PhoneNumber.objects.get(user=other_tenant.user)
    for phone in (lost, taken):
        assert "Shared" not in desk.get(page_of(phone)).content.decode()
