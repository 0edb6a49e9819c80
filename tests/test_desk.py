"""The support desk: what its pages take, show and refuse."""

import json
import re
import time
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.utils import timezone
from django.views.debug import get_exception_reporter_filter

from integrations.base import Provider
from integrations.errors import BadSignature, InvalidCredentials
from phones.desk.number_admin import PhoneNumberAdmin
from phones.models import Account, Call, Figure, Import, ImportRow, Line, PhoneNumber, SearchTerm
from phones.services import add_phone, change_phone
from phones.services.searching import find_phones, reindex_phone
from phones.templatetags.dashboard import GAP, HEIGHT, LABEL_HEIGHT, WIDTH, by_day
from sandbox import state as seeds
from sandbox.sandbox import Sandbox
from tests.support.carriers import CARRIERS, PLIVO, TWILIO, Good
from tests.support.database import whole_database
from tests.support.desk import LIST, page_of
from tests.support.numbers import added
from tests.support.people import Tenant, new_staff, sign_in
from users.models import AuditEntry, User

ADD = "/admin/phones/phonenumber/add/"
WRONG = "a-token-that-is-wrong-0123456789"


def form(tenant: Tenant, good: Good, **changes: str) -> dict[str, str]:
    """What is typed into the form to add a number."""
    return {
        "user": tenant.user.pk, "integration": good.integration, "account_id": good.acc_sid,
        "auth_token": good.auth_token, "number": good.number, "on_conflict": "replace", "action": "voicemail", **changes,
    }  # fmt: skip


def errors_of(response: Any) -> dict[str, list[str]]:
    """The codes of the form's errors by field."""
    found = response.context["form"].errors.as_data()
    return {field: [error.code for error in errors] for field, errors in found.items()}


def messages_in(response: Any) -> str:
    return " ".join(str(message) for message in response.context["messages"])


# -- adding -----------------------------------------------------------------------------------------------------------


def test_a_number_is_added_as_the_api_adds_it(desk: Client, tenant: Tenant, sandbox: Sandbox, carrier: Good) -> None:
    response = desk.post(ADD, form(tenant, carrier, label="Front desk", action="reject"))
    phone = PhoneNumber.objects.get()
    assert (response.status_code, response["Location"]) == (302, page_of(phone))
    assert (phone.state, phone.number, phone.label, phone.action) == ("active", carrier.number, "Front desk", "reject")
    entry = AuditEntry.objects.get(action="phone.add")
    assert (entry.actor_kind, entry.actor, entry.outcome) == ("staff", "supervisor@example.com", "ok")
    assert entry.number == carrier.number


@pytest.mark.parametrize(
    "pasted",
    ["+1 (212) 555-1234", "1.212.555.1234", "tel:+12125551234", "+1\u00a0212\u2011555\u20111234", "1/212/5551234",
     "\u202a+12125551234\u202c", "\ufeff12125551234", "1\u00ad212\u2060555\u200b1234"],
)  # fmt: skip
def test_a_number_may_be_pasted_as_it_stands_elsewhere(
    desk: Client, tenant: Tenant, sandbox: Sandbox, pasted: str
) -> None:
    assert desk.post(ADD, form(tenant, TWILIO, number=pasted)).status_code == 302
    assert PhoneNumber.objects.get().number == "12125551234"


REFUSED = [
    ({"auth_token": WRONG}, "auth_token", "invalid_credentials"),
    ({"account_id": seeds.TWILIO_SUSPENDED_SID, "auth_token": seeds.TWILIO_SUSPENDED_TOKEN}, "auth_token", "invalid_credentials"),
    ({"number": TWILIO.not_owned}, "number", "number_not_owned"),
    ({"number": "12125550004"}, "number", "number_not_usable"),
    ({"number": TWILIO.routed_elsewhere, "on_conflict": "refuse"}, "number", "number_routed_elsewhere"),
    ({"number": "123"}, "number", "invalid_phone_number"),
    ({"number": "5215512345678"}, "number", "invalid_phone_number"),
    ({"number": "+44 0020 7946 0958"}, "number", "invalid_phone_number"),
    ({"number": ""}, "number", "invalid_field"),
    ({"auth_token": ""}, "auth_token", "invalid_field"),
    ({"account_id": ""}, "account_id", "invalid_field"),
    ({"account_id": "<script>"}, "account_id", "invalid_field"),
    ({"auth_token": "with a blank"}, "auth_token", "invalid_field"),
    ({"public_key": "no key"}, "public_key", "invalid_field"),
    ({"integration": "sinch"}, "integration", "invalid_choice"),
    ({"user": "6b0420a8f1c2000000000000"}, "user", "invalid_choice"),
    ({"user": "nonsense"}, "user", "invalid"),
    ({"action": "forward"}, "forward_to", "invalid_field"),
    ({"action": "forward", "forward_to": "12"}, "forward_to", "invalid_field"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "field", "code"), REFUSED)
def test_a_refusal_stands_beside_its_field_and_what_was_typed_stays(
    desk: Client, tenant: Tenant, sandbox: Sandbox, changes: dict[str, str], field: str, code: str
) -> None:
    before = sandbox.snapshot()
    typed = form(tenant, TWILIO, label="Kept label", **changes)
    response = desk.post(ADD, typed)
    assert (response.status_code, errors_of(response)) == (200, {field: [code]})
    html = response.content.decode()
    assert 'value="Kept label"' in html
    for secret in (typed["auth_token"], TWILIO.auth_token):
        assert not secret or secret not in html
    assert not PhoneNumber.objects.exists()
    assert sandbox.snapshot() == before


def test_refusals_at_the_desk_do_not_speak_of_the_fields_of_the_api(
    desk: Client, tenant: Tenant, sandbox: Sandbox
) -> None:
    said = []
    for changes, _, _ in REFUSED:
        errors = desk.post(ADD, form(tenant, TWILIO, **changes)).context["form"].errors
        said += [str(text) for texts in errors.values() for text in texts]
    assert "This Twilio account does not own the number. Check the number and the account." in said
    assert [text for text in said if re.search("phoneNumber|authToken|accSId|onConflict|userId", text)] == []


def test_a_carrier_that_does_not_answer_is_said_at_the_top(desk: Client, tenant: Tenant, sandbox: Sandbox) -> None:
    sandbox.fault("reset", carrier="twilio", times=None)
    response = desk.post(ADD, form(tenant, TWILIO))
    assert errors_of(response) == {"__all__": ["carrier_unavailable"]}
    assert not PhoneNumber.objects.exists()


def test_an_owner_without_an_active_workspace_cannot_be_chosen(desk: Client, tenant: Tenant, sandbox: Sandbox) -> None:
    tenant.workspace.is_active = False
    tenant.workspace.save()
    assert errors_of(desk.post(ADD, form(tenant, TWILIO))) == {"user": ["invalid_choice"]}
    found = desk.get("/admin/autocomplete/", OWNERS | {"term": "user@one"}).json()
    assert found["results"] == []


OWNERS = {"app_label": "phones", "model_name": "phonenumber", "field_name": "user"}


@pytest.mark.engine
@pytest.mark.parametrize("typed", ["user@one", "USER@", "One", "on"])
def test_an_owner_is_found_by_address_or_workspace(
    desk: Client, tenant: Tenant, other_tenant: Tenant, typed: str
) -> None:
    found = desk.get("/admin/autocomplete/", OWNERS | {"term": typed}).json()["results"]
    assert {"id": tenant.user.pk, "text": "user@one.example.com · one"} in found


def test_the_token_is_not_typed_twice(desk: Client, tenant: Tenant, sandbox: Sandbox) -> None:
    refused = desk.post(ADD, form(tenant, TWILIO, number=TWILIO.not_owned))
    kept = refused.context["form"]["kept_token"].value()
    assert TWILIO.auth_token not in refused.content.decode()
    again = desk.post(ADD, form(tenant, TWILIO, auth_token="", kept_token=kept))
    assert again.status_code == 302


def test_a_refused_token_is_not_kept(desk: Client, tenant: Tenant, sandbox: Sandbox) -> None:
    refused = desk.post(ADD, form(tenant, TWILIO, auth_token=WRONG))
    assert not refused.context["form"]["kept_token"].value()


def test_a_kept_token_is_good_for_its_own_staff_and_a_few_minutes(
    desk: Client, tenant: Tenant, sandbox: Sandbox, staff: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = desk.post(ADD, form(tenant, TWILIO, number=TWILIO.not_owned))
    typed = form(tenant, TWILIO, auth_token="", kept_token=refused.context["form"]["kept_token"].value())
    assert errors_of(sign_in(staff).post(ADD, typed)) == {"auth_token": ["invalid_field"]}
    later = time.time() + 16 * 60
    monkeypatch.setattr("phones.desk.forms.time.time", lambda: later)
    assert errors_of(desk.post(ADD, typed)) == {"auth_token": ["invalid_field"]}


def test_the_same_form_again_makes_no_second_number(desk: Client, tenant: Tenant, sandbox: Sandbox) -> None:
    assert desk.post(ADD, form(tenant, TWILIO)).status_code == 302
    assert errors_of(desk.post(ADD, form(tenant, TWILIO))) == {"number": ["phone_exists"]}
    assert PhoneNumber.objects.count() == 1


def test_guesses_at_the_desk_are_counted_as_those_of_the_api(
    desk: Client, tenant: Tenant, sandbox: Sandbox, settings: Any
) -> None:
    limit = replace(settings.LIMITS["refused_credentials"], count=2)
    settings.LIMITS = {**settings.LIMITS, "refused_credentials": limit}
    for _ in range(2):
        desk.post(ADD, form(tenant, TWILIO, auth_token=WRONG))
    asked = len(sandbox.ledger)
    assert errors_of(desk.post(ADD, form(tenant, TWILIO, auth_token=WRONG))) == {"__all__": ["throttled"]}
    assert len(sandbox.ledger) == asked


# -- picking ----------------------------------------------------------------------------------------------------------


@pytest.mark.engine
def test_a_number_is_picked_from_those_of_the_account(
    desk: Client, tenant: Tenant, sandbox: Sandbox, carrier: Good
) -> None:
    added(tenant, carrier)
    listed = desk.post(ADD, form(tenant, carrier, number="", _pick=""))
    html = listed.content.decode()
    radios = dict(re.findall(r'name="number" value="(\d+)"( disabled)?', html))
    assert radios[carrier.number] == " disabled"  # added already
    assert radios[carrier.another] == ""
    assert carrier.auth_token not in html
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', html))
    assert "auth_token" not in hidden
    hidden.pop("csrfmiddlewaretoken")
    assert desk.post(ADD, hidden | {"number": carrier.another}).status_code == 302
    assert PhoneNumber.objects.filter(number=carrier.another, state="active").exists()


def test_picking_says_beside_the_field_what_is_wrong(desk: Client, tenant: Tenant, sandbox: Sandbox) -> None:
    refused = desk.post(ADD, form(tenant, TWILIO, auth_token=WRONG, _pick=""))
    assert errors_of(refused) == {"auth_token": ["invalid_credentials"]}


@pytest.mark.engine
def test_credentials_that_are_tried_to_pick_are_in_the_trail(
    desk: Client, tenant: Tenant, sandbox: Sandbox, carrier: Good
) -> None:
    desk.post(ADD, form(tenant, carrier, _pick=""))
    desk.post(ADD, form(tenant, carrier, auth_token=WRONG, _pick=""))
    entries = AuditEntry.objects.filter(action="phone.pick").order_by("at", "id")
    assert list(entries.values_list("outcome", "actor", "workspace_id", "detail")) == [
        ("ok", "supervisor@example.com", tenant.workspace.pk, carrier.integration),
        ("invalid_credentials", "supervisor@example.com", tenant.workspace.pk, carrier.integration),
    ]


# -- the page of a number ---------------------------------------------------------------------------------------------


def test_the_page_shows_what_should_be_beside_what_is(desk: Client, tenant: Tenant, sandbox: Sandbox) -> None:
    phone = added(tenant, TWILIO)
    sandbox.console(
        "twilio", TWILIO.acc_sid, number=TWILIO.number, voice_url="https://u:pw@elsewhere.example.com/a?key=canary",
        trunk_sid=seeds.TWILIO_TRUNK,
    )  # fmt: skip
    checked = desk.post(f"{LIST}{phone.pk}/check/", {"check": ""}, follow=True)
    assert "A SIP trunk handles calls" in messages_in(checked)
    html = checked.content.decode()
    assert "https://…@elsewhere.example.com/a?…" in html
    assert "canary" not in html and "u:pw" not in html
    assert "Repair will set it to ours." in html and "Repair will detach it." in html
    assert Account.objects.get().webhook_token not in html
    repaired = desk.post(f"{LIST}{phone.pk}/check/", {"repair": ""}, follow=True)
    assert "Repaired" in messages_in(repaired)
    assert Line.objects.get().health == "ok"
    entry = AuditEntry.objects.get(action="phone.repair")
    assert (entry.outcome, entry.detail, entry.actor) == (
        "ok",
        "overridden_by_trunk, url_mismatch",
        "supervisor@example.com",
    )


def test_how_long_a_number_has_been_unwell_is_kept_until_it_is_well(
    desk: Client, tenant: Tenant, sandbox: Sandbox
) -> None:
    phone = added(tenant, TWILIO)
    assert Line.objects.get().unwell_since is None
    sandbox.console("twilio", TWILIO.acc_sid, number=TWILIO.number, voice_url="")
    desk.post(f"{LIST}{phone.pk}/check/", {"check": ""})
    since = Line.objects.get().unwell_since
    assert since is not None
    desk.post(f"{LIST}{phone.pk}/check/", {"check": ""})
    assert Line.objects.get().unwell_since == since
    desk.post(f"{LIST}{phone.pk}/check/", {"repair": ""})
    assert Line.objects.get().unwell_since is None


@pytest.mark.engine
@pytest.mark.django_db(transaction=True)
def test_several_numbers_are_checked_and_repaired_at_once(desk: Client, tenant: Tenant, sandbox: Sandbox) -> None:
    phones = [added(tenant, good) for good in CARRIERS.values()]
    sandbox.console("twilio", TWILIO.acc_sid, number=TWILIO.number, voice_url="")
    chosen = {"_selected_action": [phone.pk for phone in phones], "action": "repair_selected"}
    text = messages_in(desk.post(LIST, chosen, follow=True))
    assert "+1 212-555-1234: Repaired" in text and "+1 415-555-1234: Checked" in text


@pytest.mark.engine
def test_label_and_answer_are_changed(desk: Client, tenant: Tenant, sandbox: Sandbox) -> None:
    phone = added(tenant, TWILIO)
    pasted = "\u202a+44\u00a020\u00a07946\u20110018\u202c"
    typed = {"label": "Night", "action": "forward", "forward_to": pasted, "record": "on", "greeting": ""}
    assert desk.post(page_of(phone), typed).status_code == 302
    phone.refresh_from_db()
    assert (phone.label, phone.action, phone.forward_to, phone.record) == ("Night", "forward", "442079460018", True)
    assert AuditEntry.objects.get(action="phone.change").detail == "action, forward_to, label, record"
    assert errors_of(desk.post(page_of(phone), typed | {"forward_to": ""})) == {"forward_to": ["invalid_field"]}
    # As contacts of iOS and spreadsheets have them, and as older versions stored them.
    for label in ("\u2068Ann\u2069", "Ann\tBerlin", "a\u202eb\u202c", "Ann\u2028Bob", "a\x85b"):
        PhoneNumber.objects.update(label=label, action="forward")
        assert desk.post(page_of(phone), typed | {"label": label, "action": "reject"}).status_code == 302
        phone.refresh_from_db()
        assert (phone.label, phone.action) == (label, "reject"), ascii(label)


def test_a_new_token_is_verified_before_it_is_kept(desk: Client, tenant: Tenant, sandbox: Sandbox) -> None:
    phone = added(tenant, TWILIO)
    url = f"{LIST}{phone.pk}/token/"
    assert errors_of(desk.post(url, {"auth_token": WRONG})) == {"auth_token": ["invalid_credentials"]}
    assert errors_of(desk.post(url, {"auth_token": ""})) == {"auth_token": ["invalid_field"]}
    sandbox.state.accounts["twilio"][TWILIO.acc_sid].secret = "the-next-token"
    assert desk.post(url, {"auth_token": "the-next-token"}).status_code == 302
    assert Account.objects.get().auth_token.open() == "the-next-token"


def test_removing_says_first_what_comes_back_and_then_brings_it_back(
    desk: Client, tenant: Tenant, sandbox: Sandbox
) -> None:
    before = sandbox.snapshot()
    phone = added(tenant, TWILIO, TWILIO.routed_elsewhere)
    page = desk.get(f"{LIST}{phone.pk}/delete/").content.decode()
    assert f"Voice URL: {seeds.FOREIGN_URL}/twilio/answer" in page
    assert "previous settings were restored" in messages_in(desk.post(f"{LIST}{phone.pk}/delete/", follow=True))
    assert not PhoneNumber.objects.exists()
    assert sandbox.snapshot() == before


def test_a_number_that_another_user_has_too_changes_nothing_at_the_carrier(
    desk: Client, tenant: Tenant, colleague: Tenant, sandbox: Sandbox
) -> None:
    phone = added(tenant, TWILIO)
    added(colleague, TWILIO)
    assert "another user here also has this number" in desk.get(f"{LIST}{phone.pk}/delete/").content.decode()


@pytest.mark.engine
@pytest.mark.django_db(transaction=True)
def test_the_recording_is_streamed_and_who_listened_is_kept(
    tenant: Tenant, sandbox: Sandbox, live_server: Any, settings: Any, supervisor: User
) -> None:
    desk, settings.PUBLIC_URL = sign_in(supervisor), live_server.url
    phone = added(tenant, TWILIO)
    sandbox.place_call("twilio", TWILIO.number, talk_s=2)
    page = desk.get(page_of(phone)).content.decode()
    source = re.search(r'<audio[^>]* src="([^"]+)"', page)
    assert source
    audio = desk.get(source[1], headers={"Range": "bytes=0-"})
    assert audio.status_code in (200, 206)
    assert b"".join(audio.streaming_content)[:4] == b"RIFF"  # type: ignore[attr-defined]
    desk.get(source[1], headers={"Range": "bytes=100-200"})
    entry = AuditEntry.objects.get(action="recording.hear")
    assert (entry.number, entry.actor) == (TWILIO.number, "supervisor@example.com")
    assert "accepted" in page


def test_a_refused_webhook_is_seen_on_the_page(desk: Client, tenant: Tenant, sandbox: Sandbox) -> None:
    phone = added(tenant, TWILIO)
    token = Account.objects.get().webhook_token
    forged = Client().post(
        f"/api/webhooks/twilio/{token}/status", {"CallSid": "CA1"}, headers={"X-Twilio-Signature": "x"}
    )
    assert forged.status_code == 403
    at = Account.objects.get().refused_at
    Client().post(f"/api/webhooks/twilio/{token}/answer", {"CallSid": "CA1"})
    assert Account.objects.get().refused_at == at  # a moment ago was enough
    page = desk.get(page_of(phone)).content.decode()
    assert re.findall(r"rejected</span> ([^<]*) <", page) == ["status: neither a form nor covered by bodySHA256"]


@pytest.mark.engine
def test_five_refused_webhooks_are_remembered(tenant: Tenant, sandbox: Sandbox) -> None:
    from phones.services.rejected_webhooks import note_refused, refused_webhooks

    added(tenant, TWILIO)
    for number in range(7):
        account = Account.objects.get()
        note_refused(account, "status", BadSignature(f"reason {number}"))
        Account.objects.update(refused_at=timezone.now() - timedelta(seconds=20))
    assert [one.reason for one in refused_webhooks(Account.objects.get())] == [f"reason {n}" for n in (6, 5, 4, 3, 2)]


# -- who may what -----------------------------------------------------------------------------------------------------


def test_support_looks_adds_checks_and_repairs_and_no_more(tenant: Tenant, sandbox: Sandbox, staff: User) -> None:
    desk = sign_in(staff)
    assert desk.post(ADD, form(tenant, TWILIO)).status_code == 302
    phone = PhoneNumber.objects.get()
    page = desk.get(page_of(phone)).content.decode()
    assert "Check and repair" in page
    assert "Change auth token" not in page.replace("“Change auth token”", "") and "/delete/" not in page
    assert desk.post(f"{LIST}{phone.pk}/check/", {"repair": ""}).status_code == 302
    before = sandbox.snapshot()
    for refused in (
        desk.post(page_of(phone), {"label": "x", "action": "voicemail"}),
        desk.get(f"{LIST}{phone.pk}/token/"), desk.post(f"{LIST}{phone.pk}/token/", {"auth_token": "x"}),
        desk.get(f"{LIST}{phone.pk}/delete/"), desk.post(f"{LIST}{phone.pk}/delete/"),
    ):  # fmt: skip
        assert refused.status_code == 403
    assert sandbox.snapshot() == before
    assert PhoneNumber.objects.get().label == ""


def test_staff_without_a_group_see_nothing(tenant: Tenant, sandbox: Sandbox) -> None:
    phone = added(tenant, TWILIO)
    desk = sign_in(new_staff("nobody@example.com"))
    for url in (
        LIST,
        ADD,
        page_of(phone),
        f"{LIST}{phone.pk}/delete/",
        f"{LIST}{phone.pk}/token/",
        "/admin/phones/import/",
    ):
        assert desk.get(url).status_code == 403, url
    assert desk.post(f"{LIST}{phone.pk}/check/", {"check": ""}).status_code == 403
    index = desk.get("/admin/").content.decode()
    assert "Longest unresolved" not in index


@pytest.mark.parametrize("path", ["{}/change/", "{}/delete/", "{}/token/", "{}/check/"])
@pytest.mark.parametrize("id", ["6b0420a8f1c2000000000000", "nonsense", "%00"])
def test_an_unknown_number_is_not_found(desk: Client, path: str, id: str) -> None:
    response = desk.post(LIST + path.format(id), {"check": ""})
    assert response.status_code == 404


def test_a_number_that_is_being_added_or_removed_is_not_shown(desk: Client, tenant: Tenant, sandbox: Sandbox) -> None:
    phone = added(tenant, TWILIO)
    PhoneNumber.objects.update(state="removing")
    assert desk.get(page_of(phone)).status_code == 404
    assert "+1 212-555-1234" not in desk.get(LIST).content.decode()


# -- finding ----------------------------------------------------------------------------------------------------------


@pytest.mark.engine
@pytest.mark.parametrize(
    ("typed", "is_found"),
    [
        ("12125551234", True), ("5551234", True), ("1234", True), ("212 555", True), ("+1 (212)", True), ("255512", True),
        ("user@one.example.com", True), ("one.ex", True), ("example", True), ("user", True), ("USER@one", True),
        ("+1 (212) 555-1234", True), ("212.555.1234", True), ("1/212/5551234", True), ("tel:+12125551234", True),
        ("\u202a+12125551234\u202c", True), ("+1\u00a0212\u00a0555\u00a01234", True), ("555\u20111234", True),
        ("\u200e212\u202f555", True), ("\ufeff2125551234\u200b", True), ("1\u00ad2125551235", False),
        ("berlin", True), ("\u200bberlin\u200b", True), ("desk", True), ("front ber", True), ("desk user", True), ("stgt", False), ("5559", False),
        ("esk", False), ("two", False), ("front paris", False), ("%", False), ("'", False),
    ],
)  # fmt: skip
def test_a_number_is_found_by_any_part_of_it_and_by_words(
    tenant: Tenant, sandbox: Sandbox, typed: str, is_found: bool
) -> None:
    change_phone(added(tenant, TWILIO), {"label": "Front desk, Berlin"})
    assert find_phones(PhoneNumber.objects.all(), typed).exists() == is_found


@pytest.mark.engine
def test_a_search_reads_labels_and_numbers_as_they_are_written(tenant: Tenant, sandbox: Sandbox) -> None:
    phone = added(tenant, TWILIO)
    for label, typed in (
        ("2024/05/01 campaign", "2024/05/01"),
        ("2024/05/01 campaign", "05/01 \u200bcampaign"),
        ("24 05 2031 campaign", "24 05 2031"),
        ("می\u200cخواهم", "\u200fمی\u200cخواهم"),
        ("क्\u200dष desk", "क्\u200dष"),
        ("Donau\u00addampfer", "donau\u00addampfer"),
        ("Front desk", "fr\u200bont"),
    ):
        change_phone(phone, {"label": label})
        assert find_phones(PhoneNumber.objects.all(), typed).exists(), ascii(label)
    PhoneNumber.objects.update(number="390612345678")
    reindex_phone(PhoneNumber.objects.get())
    for typed in ("+39 (0)6 1234 5678", "+39 ( 0 ) 6 1234", "(0)6 1234"):
        assert find_phones(PhoneNumber.objects.all(), typed).exists(), typed
    assert not find_phones(PhoneNumber.objects.all(), "+39 (0)7 1234").exists()


@pytest.mark.engine
def test_what_is_changed_or_removed_is_found_by_what_it_is_now(tenant: Tenant, sandbox: Sandbox) -> None:
    from phones.services import remove_phone

    phone = added(tenant, TWILIO)
    change_phone(phone, {"label": "before"})
    change_phone(phone, {"label": "after"})
    tenant.user.email = "new@one.example.com"
    tenant.user.save()
    found = {word: find_phones(PhoneNumber.objects.all(), word).exists() for word in ("before", "after", "user", "new")}
    assert found == {"before": False, "after": True, "user": False, "new": True}
    remove_phone(phone)
    assert not SearchTerm.objects.exists()


def numbers_on(desk: Client, query: str) -> set[str]:
    return set(re.findall(r"\+1 [\d-]+", desk.get(f"{LIST}?{query}").content.decode()))


@pytest.mark.engine
def test_the_list_is_narrowed_by_carrier_health_and_workspace(
    desk: Client, tenant: Tenant, other_tenant: Tenant, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    added(tenant, TWILIO)
    added(other_tenant, PLIVO)
    twilio = {"+1 212-555-1234"}
    plivo = {"+1 415-555-1234"}
    assert numbers_on(desk, "") == twilio | plivo
    assert numbers_on(desk, "carrier=plivo") == plivo
    assert numbers_on(desk, f"workspace={tenant.workspace.pk}") == twilio
    assert numbers_on(desk, "workspace=nonsense") == set()
    assert numbers_on(desk, "q=415555") == plivo
    Line.objects.filter(number=PLIVO.number).update(health="unreachable")
    for _ in range(2):
        assert numbers_on(desk, "health=unwell") == plivo
        assert numbers_on(desk, "health=unreachable") == plivo
        assert numbers_on(desk, "health=ok") == twilio
        assert numbers_on(desk, "health=drift") == set()
        monkeypatch.setattr("phones.desk.filters.FEW", 0)  # as if there were many


def test_the_search_for_a_workspace_keeps_the_other_filters(desk: Client, tenant: Tenant) -> None:
    page = desk.get(f"{LIST}?carrier=plivo&workspace={tenant.workspace.pk}").content.decode()

    form = page[page.index('class="workspace-filter"') :].partition("</form>")[0]
    assert '<input type="hidden" name="carrier" value="plivo">' in form and 'name="workspace"' in form
    assert '<a href="?carrier=plivo">all workspaces</a>' in form and "required" not in form
    assert "all workspaces" not in desk.get(LIST).content.decode()


# -- the dashboard ----------------------------------------------------------------------------------------------------


@pytest.mark.engine
def test_the_dashboard_shows_what_reconcile_counted(desk: Client, tenant: Tenant, sandbox: Sandbox) -> None:
    added(tenant, TWILIO)
    with pytest.raises(InvalidCredentials):
        add_phone(
            user=tenant.user, number="14155551234", integration="plivo", account_id=PLIVO.acc_sid, auth_token=WRONG
        )
    account, line = Account.objects.get(), Line.objects.get()
    Call.objects.create(account=account, line=line, carrier_id="CA1", started_at=timezone.now())
    Line.objects.update(health="drift", unwell_since=timezone.now())
    assert "No figures have been collected yet" in desk.get("/admin/").content.decode()
    call_command("reconcile")
    assert {(row.name, row.key): row.count for row in Figure.objects.filter(day=timezone.now().date())} == {
        ("adds", "twilio"): 1, ("refusals", "invalid_credentials"): 1, ("calls", "twilio"): 1,
        ("numbers", "twilio drift"): 1, ("day", ""): 1,
    }  # fmt: skip
    html = desk.get("/admin/").content.decode()
    assert "1 in the last 14 days" in html and "Invalid credentials" in html and "+1 212-555-1234" in html
    assert "No figures have been collected yet" not in html


def test_the_most_of_a_day_fills_the_chart_and_less_is_in_proportion() -> None:
    today = timezone.now().date()
    one, two, *_ = sorted(CARRIERS)
    chart = by_day({today - timedelta(days=1): {one: 1}, today: {one: 1, two: 3}})

    before, *stack = chart.bars
    assert (chart.most, chart.total) == (4, 5)
    assert (stack[-1].y, stack[0].y + stack[0].height) == (GAP, HEIGHT - LABEL_HEIGHT)
    assert stack[1].y + stack[1].height == stack[0].y
    assert [bar.height for bar in (before, *stack)] == [stack[0].height, stack[0].height, stack[0].height * 3]
    assert before.x >= 0 and before.x + before.width < stack[0].x and stack[0].x + stack[0].width <= WIDTH


@pytest.mark.engine
def test_figures_are_counted_again_while_the_day_lasts_and_once_after_it(tenant: Tenant, sandbox: Sandbox) -> None:
    from phones.services.figures import count_figures

    added(tenant, TWILIO)
    count_figures()
    today = timezone.now().date()
    yesterday = today - timedelta(days=1)
    for name in ("adds", "numbers"):
        Figure.objects.create(day=yesterday, name=name, key="x", count=7)
    added(tenant, TWILIO, TWILIO.another)
    count_figures()
    assert Figure.objects.get(day=today, name="adds", key="twilio").count == 2
    assert set(Figure.objects.filter(day=yesterday).values_list("name", flat=True)) == {"adds", "numbers"}

    Figure.objects.filter(name="day").update(counted_at=timezone.now() - timedelta(days=1))
    count_figures()
    assert set(Figure.objects.filter(day=yesterday).values_list("name", flat=True)) == {"numbers"}
    PhoneNumber.objects.all().delete()
    count_figures()
    assert not Figure.objects.filter(day=today, name="numbers").exists()


# -- files ------------------------------------------------------------------------------------------------------------

HEAD = "userId,phoneNumber,integration,accSId,authToken,label\n"


def upload(desk: Client, content: str | bytes, name: str = "numbers.csv", **fields: str) -> Any:
    file = BytesIO(content.encode() if isinstance(content, str) else content)
    file.name = name
    return desk.post("/admin/phones/import/add/", {"file": file, **fields}, follow=True)


def wait(desk: Client, file: Import, state: str) -> Any:
    give_up_at = time.monotonic() + 30
    while time.monotonic() < give_up_at:
        page = desk.get(f"/admin/phones/import/{file.pk}/change/")
        if Import.objects.get(pk=file.pk).state == state:
            return desk.get(f"/admin/phones/import/{file.pk}/change/")
        assert page.status_code == 200
        time.sleep(0.1)
    raise AssertionError(f"not {state}: {Import.objects.get(pk=file.pk).state}")


def rows_of(file: Import) -> list[tuple[int, str, str]]:
    return list(file.rows.order_by("line").values_list("line", "outcome", "error"))


@pytest.mark.engine
@pytest.mark.django_db(transaction=True)
def test_a_file_is_tried_and_then_added(tenant: Tenant, sandbox: Sandbox, supervisor: User) -> None:
    desk = sign_in(supervisor)
    lines = [f"{tenant.user.pk},{number},twilio,{TWILIO.acc_sid},{TWILIO.auth_token},Row" for number in
             (TWILIO.number, TWILIO.another, TWILIO.not_owned, "123", TWILIO.number)]  # fmt: skip
    before = sandbox.snapshot()
    upload(desk, HEAD + "\n".join(lines))
    file = Import.objects.get()
    page = wait(desk, file, "ready").content.decode()
    assert sandbox.snapshot() == before and not PhoneNumber.objects.exists()
    assert rows_of(file) == [
        (2, "would_add", ""), (3, "would_add", ""), (4, "failed", "number_not_owned"),
        (5, "failed", "invalid_phone_number"), (6, "exists", ""),
    ]  # fmt: skip
    assert "Add 2 numbers" in page and TWILIO.auth_token not in page
    desk.post(f"/admin/phones/import/{file.pk}/change/")
    wait(desk, file, "done")
    assert [outcome for _, outcome, _ in rows_of(file)] == ["added", "added", "failed", "failed", "exists"]
    assert set(PhoneNumber.objects.values_list("number", "label")) == {(TWILIO.number, "Row"), (TWILIO.another, "Row")}
    assert not ImportRow.objects.exclude(fields=None).exists()
    entries = AuditEntry.objects.filter(action="phone.add")
    assert {(entry.actor, entry.outcome) for entry in entries} == {("supervisor@example.com", "ok")}


@pytest.mark.engine
@pytest.mark.django_db(transaction=True)
def test_an_import_whose_process_died_goes_on_when_somebody_says_so(
    tenant: Tenant, sandbox: Sandbox, supervisor: User, staff: User
) -> None:
    desk, support = sign_in(supervisor), sign_in(staff)
    upload(desk, f"{HEAD}{tenant.user.pk},{TWILIO.number},twilio,{TWILIO.acc_sid},,Row\n", auth_token=TWILIO.auth_token)
    file = Import.objects.get()
    wait(desk, file, "ready")
    # A process that began to add and died.
    Import.objects.update(state="adding", lease_id="dead", lease_until=timezone.now() - timedelta(seconds=1))
    asked = len(sandbox.ledger)
    page = support.get(f"/admin/phones/import/{file.pk}/change/").content.decode()
    assert "The import stopped" in page and "Continue" in page and 'http-equiv="refresh"' not in page
    assert Import.objects.get().lease_id == "dead" and len(sandbox.ledger) == asked, "to look is not to act"
    support.post(f"/admin/phones/import/{file.pk}/change/")
    wait(desk, file, "done")
    assert rows_of(file) == [(2, "added", "")]
    entries = AuditEntry.objects.filter(action__in=["import.bring", "import.add", "import.resume", "phone.add"])
    assert sorted(entries.values_list("action", "actor")) == [
        ("import.bring", supervisor.email), ("import.resume", staff.email), ("phone.add", staff.email)
    ]  # fmt: skip


@pytest.mark.django_db(transaction=True)
def test_credentials_that_an_import_tries_and_that_are_refused_are_in_the_trail(
    tenant: Tenant, sandbox: Sandbox, supervisor: User
) -> None:
    desk = sign_in(supervisor)
    upload(desk, f"{HEAD}{tenant.user.pk},{TWILIO.number},twilio,{TWILIO.acc_sid},{WRONG},Row\n")
    wait(desk, Import.objects.get(), "ready")
    entry = AuditEntry.objects.get(action="phone.rehearse")
    assert (entry.actor, entry.outcome, entry.number) == (supervisor.email, "invalid_credentials", TWILIO.number)
    assert WRONG not in str(AuditEntry.objects.values_list("detail", flat=True))


@pytest.mark.django_db(transaction=True)
def test_only_users_of_the_chosen_workspace_may_own_the_numbers(
    tenant: Tenant, other_tenant: Tenant, sandbox: Sandbox, supervisor: User
) -> None:
    desk = sign_in(supervisor)
    row = f"{other_tenant.user.pk},{TWILIO.number},twilio,{TWILIO.acc_sid},{TWILIO.auth_token},Row\n"
    upload(desk, HEAD + row, workspace=tenant.workspace.pk)
    file = Import.objects.get()
    wait(desk, file, "ready")
    assert rows_of(file) == [(2, "failed", "user_not_found")]


@pytest.mark.engine
@pytest.mark.parametrize(
    "content", ["", "just text\n", HEAD, b"\xff\xfe\x00\x01broken", b"PK\x03\x04 no zip", b"name;colour\nAnn;red\n"]
)  # fmt: skip
def test_a_file_that_makes_no_sense_is_refused_as_a_whole(desk: Client, content: str | bytes) -> None:
    response = upload(desk, content)
    assert "file" in errors_of(response)
    assert not Import.objects.exists()


@pytest.mark.engine
def test_what_nobody_went_on_with_is_forgotten(desk: Client, tenant: Tenant) -> None:
    file = Import.objects.create(name="old.csv", staff="a@example.com", state="ready")
    Import.objects.update(created_at=timezone.now() - timedelta(days=2))
    from phones.bulk.files import FileRow
    from phones.bulk.imports import as_import_row

    as_import_row(file, FileRow(2, {"authToken": "x"})).save()
    call_command("reconcile")
    assert not ImportRow.objects.exclude(fields=None).exists()
    assert Import.objects.get().state == "done"


# -- secrets ----------------------------------------------------------------------------------------------------------

CANARY = "canary-7f3a9d-token"


@pytest.mark.engine
@pytest.mark.django_db(transaction=True)
def test_what_is_typed_as_a_secret_is_found_nowhere(
    tenant: Tenant, sandbox: Sandbox, supervisor: User, caplog: pytest.LogCaptureFixture
) -> None:
    desk = sign_in(supervisor)
    sandbox.add_account("twilio", "AC" + "9" * 32, CANARY)
    sandbox.add_number("twilio", "AC" + "9" * 32, "12125557001")
    mine = form(tenant, TWILIO, account_id="AC" + "9" * 32, auth_token=CANARY, number="12125557001")
    with caplog.at_level("DEBUG"):
        pages = [
            desk.post(ADD, mine | {"number": "12125557999"}),
            desk.post(ADD, mine | {"_pick": ""}),
            desk.post(ADD, mine | {"auth_token": CANARY + "-wrong"}),
            desk.post(ADD, mine, follow=True),
        ]
        phone = PhoneNumber.objects.get()
        pages += [
            desk.post(f"{LIST}{phone.pk}/token/", {"auth_token": CANARY + "-wrong"}),
            upload(desk, f"{HEAD}{tenant.user.pk},12125557001,twilio,AC{'9' * 32},{CANARY},x\n"),
            upload(desk, f"{HEAD}{CANARY},{CANARY},{CANARY},{CANARY},{CANARY},{CANARY}\n"),
            upload(desk, f"{CANARY}\n{CANARY}\n"),
        ]
        for file in Import.objects.all():
            pages.append(wait(desk, file, "ready"))
        pages += [desk.get(url) for url in (LIST, page_of(phone), "/admin/", "/admin/users/auditentry/")]
    found = [page.request["PATH_INFO"] for page in pages if CANARY in page.content.decode()]
    assert found == []
    assert CANARY not in caplog.text
    assert not any(CANARY in table for table in whole_database())
    assert json.dumps(list(AuditEntry.objects.values_list("detail", flat=True))).count(CANARY) == 0


@pytest.mark.parametrize("page", ["add/", "{id}/token/", "/admin/phones/import/add/"])
def test_a_report_of_an_error_leaves_out_what_was_typed_as_a_secret(
    desk: Client, tenant: Tenant, sandbox: Sandbox, page: str
) -> None:
    there = page.format(id=added(tenant, TWILIO).pk)
    request = desk.post(there if there.startswith("/") else LIST + there, {"auth_token": CANARY}).wsgi_request

    reported = get_exception_reporter_filter(request).get_post_parameters(request)

    assert "auth_token" in reported and CANARY not in str(reported)


@pytest.mark.django_db(transaction=True)
def test_a_crash_tells_nothing_of_what_was_typed(
    tenant: Tenant,
    sandbox: Sandbox,
    supervisor: User,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def crash(**fields: Any) -> None:
        raise RuntimeError("something that nobody foresaw")

    desk = sign_in(supervisor)
    desk.raise_request_exception = False
    monkeypatch.setattr("phones.desk.number_admin.add_phone", crash)
    page = desk.post(ADD, form(tenant, TWILIO, auth_token=CANARY))
    assert page.status_code == 500
    assert "something that nobody foresaw" in caplog.text
    assert CANARY not in page.content.decode() + caplog.text


@pytest.mark.django_db(transaction=True)
def test_no_transaction_is_open_while_a_carrier_is_asked(
    tenant: Tenant, sandbox: Sandbox, supervisor: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, asked, ask = sign_in(supervisor), [], Provider.ask

    def watch(self: Provider, *args: Any, **kwargs: Any) -> Any:
        asked.append(connection.in_atomic_block)
        return ask(self, *args, **kwargs)

    monkeypatch.setattr(Provider, "ask", watch)
    desk.post(ADD, form(tenant, TWILIO))
    phone = PhoneNumber.objects.get()
    sandbox.console("twilio", TWILIO.acc_sid, number=TWILIO.number, voice_url="")
    desk.post(f"{LIST}{phone.pk}/check/", {"repair": ""})
    desk.post(f"{LIST}{phone.pk}/token/", {"auth_token": TWILIO.auth_token})
    desk.post(f"{LIST}{phone.pk}/delete/")
    assert len(asked) > 8 and not any(asked)


@pytest.mark.engine
def test_a_number_that_somebody_else_removes_meanwhile_is_not_found(
    desk: Client, tenant: Tenant, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone = added(tenant, TWILIO)
    page = PhoneNumberAdmin.get_phone
    monkeypatch.setattr(
        PhoneNumberAdmin, "get_phone", lambda *args: (page(*args), PhoneNumber.objects.update(state="removing"))[0]
    )
    assert desk.post(f"{LIST}{phone.pk}/delete/").status_code == 404


def test_every_carrier_has_its_names_on_the_form(desk: Client) -> None:
    html = " ".join(desk.get(ADD).content.decode().split())
    for name, good in CARRIERS.items():
        assert re.search(f'data-name="{name}" data-account-id-name="{good.words[0]}"', html)
    assert sorted(CARRIERS) == sorted(re.findall(r'class="carrier" data-name="(\w+)"', html))
