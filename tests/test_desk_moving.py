"""Moving a number to another workspace at the desk."""

from typing import Any

import pytest
from django.test import Client

from phones.models import PhoneNumber
from sandbox.sandbox import Sandbox
from tests.support.carriers import TELNYX, TWILIO, Good
from tests.support.desk import LIST, page_of
from tests.support.numbers import added, renewed
from tests.support.people import Tenant, colleague_of, sign_in, trail
from tests.support.removal import remove
from users.models import User

pytestmark = pytest.mark.django_db(transaction=True)


def move_page(phone: PhoneNumber) -> str:
    return f"{LIST}{phone.pk}/move/"


def typed(to: Tenant, good: Good, **changes: str) -> dict[str, str]:
    return {"user": to.user.pk, "account_id": good.acc_sid, "auth_token": good.auth_token, "public_key": "", **changes}


def errors_of(reply: Any) -> dict[str, list[str]]:
    found = reply.context["form"].errors.as_data()
    return {field: [error.code for error in errors] for field, errors in found.items()}


def test_a_supervisor_moves_a_number(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, carrier: Good, desk: Client, supervisor: User
) -> None:
    phone = added(tenant, carrier)
    assert move_page(phone) in desk.get(page_of(phone)).content.decode()
    page = desk.get(move_page(phone)).content.decode()
    assert "Calls are answered all the time" in page and f"{tenant.user.email} loses it" in page
    assert all(word in page for word in carrier.words)
    assert ("Public key" in page) == (carrier is TELNYX)

    reply = desk.post(move_page(phone), typed(other_tenant, carrier), follow=True)

    moved = PhoneNumber.objects.get()
    assert moved.user == other_tenant.user and reply.redirect_chain == [(page_of(moved), 302)]
    html = reply.content.decode()
    assert f"was moved: its calls are now handled for {other_tenant.user.email}." in html
    for workspace, words in ((tenant, "to workspace two"), (other_tenant, "from workspace one")):
        assert words in html, "the number's page has both entries"
        of_one = desk.get(f"/admin/users/auditentry/?workspace_id={workspace.workspace.pk}&action=phone.move")
        entries = of_one.content.decode()
        assert words in entries and supervisor.email in entries and entries.count('class="field-detail') == 1


def test_the_form_shows_refusals_and_never_the_token(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, carrier: Good, desk: Client
) -> None:
    phone, colleague = added(tenant, carrier), colleague_of(tenant)
    with_us, token = sandbox.snapshot(), "a-token-that-is-wrong-0123456789"
    for changes, errors in (
        ({"auth_token": token}, {"auth_token": ["invalid_credentials"]}),
        ({"auth_token": ""}, {"auth_token": ["invalid_field"]}),
        ({"account_id": "no id!", "auth_token": token}, {"account_id": ["invalid_field"]}),
        ({"user": colleague.user.pk, "auth_token": token}, {"user": ["invalid_field"]}),
        ({"user": "", "auth_token": token}, {"user": ["required"]}),
        ({"user": "0" * 24, "auth_token": token}, {"user": ["invalid_choice"]}),
    ):
        reply = desk.post(move_page(phone), typed(other_tenant, carrier, **changes))
        assert reply.status_code == 200 and errors_of(reply) == errors
        assert token not in reply.content.decode() and "The number was not moved" in reply.content.decode()
    missing = errors_of(desk.post(move_page(phone), typed(other_tenant, carrier, account_id="", auth_token="")))
    assert set(missing) == ({"auth_token", "account_id"} if carrier.acc_sid else {"auth_token"})
    assert sandbox.snapshot() == with_us and PhoneNumber.objects.get().user == tenant.user


def test_the_search_offers_users_of_other_workspaces(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, desk: Client
) -> None:
    phone = added(tenant, TWILIO)
    address = f"/admin/autocomplete/?outside={tenant.workspace.pk}"
    assert f'data-ajax--url="{address}"' in desk.get(move_page(phone)).content.decode()
    asked_for = {"app_label": "phones", "model_name": "phonenumber", "field_name": "user", "term": "user@"}
    for outside, found in (
        (tenant.workspace.pk, {other_tenant.user.pk}),
        ("x", {other_tenant.user.pk, tenant.user.pk}),
    ):
        for term in ("user@", "\u200e\u2068USER@\u2069", "\u200buser@\ufeff"):
            reply = desk.get("/admin/autocomplete/", asked_for | {"outside": outside, "term": term})
            assert {one["id"] for one in reply.json()["results"]} == found


def test_nobody_moves_a_number_without_the_permission_or_from_elsewhere(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, staff: User, supervisor: User
) -> None:
    phone, support = added(tenant, TWILIO), sign_in(staff)
    assert move_page(phone) not in support.get(page_of(phone)).content.decode()
    assert support.get(move_page(phone)).status_code == 403
    assert support.post(move_page(phone), typed(other_tenant, TWILIO)).status_code == 403
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = sign_in(supervisor).cookies
    assert strict.get(move_page(phone)).status_code == 200
    assert strict.post(move_page(phone), typed(other_tenant, TWILIO)).status_code == 403
    assert Client().post(move_page(phone), typed(other_tenant, TWILIO)).status_code == 302
    assert PhoneNumber.objects.get().user == tenant.user and not trail(other_tenant)


def test_a_number_that_is_gone_or_lost_is_not_moved_at_the_desk(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, desk: Client
) -> None:
    phone = added(tenant, TWILIO)
    fresh = renewed(sandbox, TWILIO)
    added(other_tenant, fresh)
    for ask in (desk.get, desk.post):
        reply = ask(move_page(phone), typed(other_tenant, fresh), follow=True)
        assert reply.redirect_chain == [(page_of(phone), 302)]
        assert "no longer belongs to this workspace" in reply.content.decode()
    remove(tenant, phone.pk)
    assert desk.post(move_page(phone), typed(other_tenant, fresh)).status_code == 404
