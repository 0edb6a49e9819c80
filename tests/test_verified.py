"""Nothing is believed that can be proved: public keys, and tokens that are good for the API and sign nothing; and health,
which sees that webhooks are refused."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from integrations.twilio.provider import Twilio
from phones.models import Account, CallEvent, Line, PhoneNumber
from phones.services.figures import count_figures, newest_figures
from sandbox import state as seeds
from sandbox.sandbox import Sandbox
from tests.support.api import add, check, data_of, reasons
from tests.support.api import send as ask
from tests.support.bulk import done, rows_of, some
from tests.support.carriers import TELNYX, TWILIO, Good, each_signing_with_tokens
from tests.support.desk import LIST
from tests.support.people import Tenant, sign_in
from tests.support.webhooks import KEYLESS, Party, event, join, send
from users.models import AuditEntry, User

pytestmark = pytest.mark.django_db

SECONDARY = "the-secondary-token"
NO_KEY_OF_THEIRS = "A" * 43 + "="


@pytest.fixture(autouse=True)
def at_this_moment(clock: Any) -> None:
    """Telnyx' timestamps fit."""


def knock(party: Party, call_id: str = "CA-1", *, by: seeds.Account | None = None) -> int:
    return send(
        Party(party.row, by or party.carrier).knock("status", event(party.row.integration, call_id))
    ).status_code


def stranger(party: Party) -> seeds.Account:
    """Somebody who signs, and not with what the carrier signs with."""
    return replace(party.carrier, secret="not-the-secret", key_seed="not the key")


def refuse(party: Party, times: int) -> None:
    for _ in range(times):
        assert knock(party, by=stranger(party)) == 403


def row() -> Account:
    return Account.objects.get()


def shown(tenant: Tenant, phone: PhoneNumber | None = None) -> dict[str, Any]:
    phone = phone or PhoneNumber.objects.get()
    return data_of(ask("GET", f"phones/{phone.pk}", tenant))


def patch(tenant: Tenant, **fields: Any) -> Any:
    return ask("PATCH", f"phones/{PhoneNumber.objects.order_by('created_at')[0].pk}", tenant, fields)


def assert_refused(reply: Any, field: str) -> None:
    assert (reply.status_code, reply.json()["data"]) == (400, {"error": "invalid_field", "field": field})


# -- public keys ------------------------------------------------------------------------------------------------------


@pytest.mark.engine
@pytest.mark.parametrize("has_row", [True, False], ids=["of a known account", "of a new account"])
def test_a_key_that_is_not_the_carriers_is_refused_and_nothing_changes(
    sandbox: Sandbox, tenant: Tenant, has_row: bool
) -> None:
    there = sandbox.snapshot()
    if has_row:
        party = join(sandbox, tenant, TELNYX)
        there = sandbox.snapshot()
    number = TELNYX.another if has_row else TELNYX.number
    reply = add(tenant, TELNYX.body(tenant.user, phoneNumber=number, publicKey=NO_KEY_OF_THEIRS))
    assert_refused(reply, "publicKey")
    assert PhoneNumber.objects.count() == Account.objects.count() == has_row
    assert sandbox.snapshot() == there
    if has_row:
        assert row().public_key == party.carrier.public_key()
        assert knock(party) == 200


def test_staff_are_told_of_a_wrong_key_beside_its_field(sandbox: Sandbox, tenant: Tenant, supervisor: User) -> None:
    typed = {
        "user": tenant.user.pk, "integration": "telnyx", "auth_token": TELNYX.auth_token, "number": TELNYX.number,
        "on_conflict": "replace", "action": "voicemail", "public_key": NO_KEY_OF_THEIRS,
    }  # fmt: skip
    page = sign_in(supervisor).post(f"{LIST}add/", typed)
    (told,) = page.context["form"].errors["public_key"]
    assert told == "Telnyx reports a different key for this account. Leave it empty: it is fetched from Telnyx."


def test_the_carriers_own_key_may_be_given(sandbox: Sandbox, tenant: Tenant) -> None:
    key = sandbox.state.account("telnyx", seeds.TELNYX_ACCOUNT).public_key()
    assert add(tenant, TELNYX.body(tenant.user, publicKey=key)).status_code == 201
    assert row().public_key == key


@pytest.mark.engine
def test_a_given_key_never_replaces_one_that_has_verified_an_event(sandbox: Sandbox, tenant: Tenant) -> None:
    party = join(sandbox, tenant, TELNYX)
    assert knock(party) == 200
    party.carrier.has_public_key = False
    wrong = TELNYX.body(tenant.user, phoneNumber=TELNYX.another, publicKey=NO_KEY_OF_THEIRS)
    assert_refused(add(tenant, wrong), "publicKey")
    assert row().public_key == party.carrier.public_key()
    right = wrong | {"publicKey": party.carrier.public_key()}
    assert add(tenant, right).status_code == 201
    assert knock(party, "CA-2") == 200


def test_nor_with_another_api_key_of_the_account(sandbox: Sandbox, tenant: Tenant) -> None:
    """The account is found by its application then, after the carrier was asked."""
    party = join(sandbox, tenant, TELNYX)
    assert knock(party) == 200
    party.carrier.has_public_key = False
    sandbox.state.ids_by_key["another-api-key"] = party.carrier.id
    body = TELNYX.body(tenant.user, phoneNumber=TELNYX.another, authToken="another-api-key")
    assert_refused(add(tenant, body | {"publicKey": NO_KEY_OF_THEIRS}), "publicKey")
    assert (row().public_key, row().auth_token.open()) == (party.carrier.public_key(), TELNYX.auth_token)
    assert add(tenant, body).status_code == 201
    assert knock(party, "CA-2") == 200


def test_a_given_key_that_nothing_proves_or_disproves_is_taken_and_can_be_mended(
    sandbox: Sandbox, tenant: Tenant
) -> None:
    """The carrier does not tell its key."""
    good = KEYLESS
    for number in ("13125557778", "13125557779"):
        sandbox.add_number("telnyx", seeds.TELNYX_NOPROFILE_ACCOUNT, number)
    assert add(tenant, good.body(tenant.user, publicKey=NO_KEY_OF_THEIRS)).status_code == 201
    party = Party(row(), sandbox.state.account("telnyx", good.auth_token))
    assert knock(party) == 403
    body = good.body(tenant.user, phoneNumber="13125557778", publicKey=party.carrier.public_key())
    assert add(tenant, body).status_code == 201
    assert knock(party) == 200
    wrong = good.body(tenant.user, phoneNumber="13125557779", publicKey=NO_KEY_OF_THEIRS)
    assert_refused(add(tenant, wrong), "publicKey")
    assert knock(party, "CA-2") == 200


@pytest.mark.engine
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("way", ["an add", "the same token again", "a repair", "a file"])
def test_a_key_that_the_customer_has_renewed_is_taken_over(sandbox: Sandbox, tenant: Tenant, way: str) -> None:
    party = join(sandbox, tenant, TELNYX)
    phone = PhoneNumber.objects.get()
    assert knock(party) == 200
    party.carrier.key_seed = "renewed"
    assert knock(party, "CA-2") == 403
    checked = check(phone, tenant)
    assert (checked["health"], reasons(checked)) == ("drift", {"signature_key_changed"})
    if way == "an add":
        assert add(tenant, TELNYX.body(tenant.user, phoneNumber=TELNYX.another)).status_code == 201
    elif way == "a repair":
        assert check(phone, tenant, repair=True)["repaired"] is True
    elif way == "a file":
        assert done(rows_of(tenant, TELNYX, [TELNYX.another]))[2].outcome == "added"
    else:
        assert patch(tenant, authToken=TELNYX.auth_token).status_code == 200
    assert knock(party, "CA-2") == 200
    checked = check(phone, tenant)
    assert (checked["health"], checked["reasons"]) == ("ok", [])


def test_a_key_that_is_taken_over_makes_all_numbers_of_the_account_well(sandbox: Sandbox, tenant: Tenant) -> None:
    """Unless something else is the matter with them."""
    party = join(sandbox, tenant, TELNYX)
    for number in (TELNYX.another, TELNYX.routed_elsewhere):
        assert add(tenant, TELNYX.body(tenant.user, phoneNumber=number)).status_code == 201
    first, second, third = PhoneNumber.objects.order_by("created_at", "pk")
    party.carrier.key_seed = "renewed"
    sandbox.console("telnyx", party.carrier.id, number=third.number, connection_id=None)
    for phone in (first, second, third):
        assert "signature_key_changed" in reasons(check(phone, tenant))
    assert check(first, tenant, repair=True)["repaired"] is True
    assert [(shown(tenant, one)["health"], reasons(shown(tenant, one))) for one in (first, second, third)] == [
        ("ok", set()), ("ok", set()), ("drift", {"not_linked"}),
    ]  # fmt: skip


def enter_key(desk: Client, key: str, **fields: str) -> Any:
    return desk.post(f"{LIST}{PhoneNumber.objects.get().pk}/token/", {"public_key": key, **fields})


def told(page: Any, field: str | None = "public_key") -> str:
    (sentence,) = page.context["form"].errors[field or "__all__"]
    return sentence


@pytest.mark.engine
def test_staff_enter_a_renewed_key_that_cannot_be_fetched(sandbox: Sandbox, tenant: Tenant, supervisor: User) -> None:
    """While webhooks are still accepted, nothing says that the stored key is not the right one."""
    party = join(sandbox, tenant, TELNYX)
    assert knock(party) == 200
    before, desk = replace(party.carrier), sign_in(supervisor)
    party.carrier.key_seed, party.carrier.has_public_key = "renewed", False
    new = party.carrier.public_key()
    for _ in range(4):
        assert knock(party) == 403
    assert "once webhooks are rejected" in told(enter_key(desk, new))
    assert_refused(add(tenant, TELNYX.body(tenant.user, phoneNumber=TELNYX.another, publicKey=new)), "publicKey")
    assert knock(party) == 403

    phone = PhoneNumber.objects.get()
    for repair in (False, True):
        checked = check(phone, tenant, repair=repair)
        assert (checked["health"], reasons(checked), checked["repaired"]) == ("drift", {"webhooks_refused"}, False)
    page = desk.get(f"{LIST}{phone.pk}/change/").content.decode()
    assert "the public key if it was renewed and repair could not fetch it" in page
    assert "New public key" in desk.get(f"{LIST}{phone.pk}/token/").content.decode()
    assert enter_key(desk, new).status_code == 302
    assert (knock(party, "CA-2"), knock(party, "CA-2", by=before)) == (200, 403)
    assert (shown(tenant)["health"], shown(tenant)["reasons"]) == ("ok", [])
    assert AuditEntry.objects.filter(action="phone.rotate", outcome="ok").count() == 1


@pytest.mark.parametrize(
    ("key", "sentence"),
    [(NO_KEY_OF_THEIRS, "Telnyx reports a different key for this account. Leave it empty: it is fetched from Telnyx."),
     ("A" * 42 + "=", "Enter the 44 characters of the key as the console shows it."),
     ("A" * 44, "Enter the 44 characters of the key as the console shows it."),
     ("-" * 43 + "=", "Enter the 44 characters of the key as the console shows it.")],
)  # fmt: skip
def test_a_key_that_staff_enter_wrongly_changes_nothing(
    sandbox: Sandbox, tenant: Tenant, supervisor: User, key: str, sentence: str
) -> None:
    party = join(sandbox, tenant, TELNYX)
    assert told(enter_key(sign_in(supervisor), key)) == sentence
    assert knock(party) == 200


def test_a_key_and_a_token_may_be_entered_together_or_one_of_them(
    sandbox: Sandbox, tenant: Tenant, supervisor: User
) -> None:
    party, desk = join(sandbox, tenant, TELNYX), sign_in(supervisor)
    key = party.carrier.public_key()
    assert enter_key(desk, "").status_code == 200, "nothing was entered"
    assert enter_key(desk, f" {key} ").status_code == 302
    assert enter_key(desk, key, auth_token=TELNYX.auth_token).status_code == 302
    assert told(enter_key(desk, key, auth_token="wrong"), "auth_token").startswith("Telnyx refused the credentials")
    assert knock(party) == 200


@each_signing_with_tokens
def test_only_an_account_with_a_public_key_has_a_field_for_it(
    sandbox: Sandbox, tenant: Tenant, supervisor: User, good: Good
) -> None:
    join(sandbox, tenant, good)
    page = sign_in(supervisor).get(f"{LIST}{PhoneNumber.objects.get().pk}/token/").content.decode()
    assert "Auth Token" in page or "auth token" in page
    assert "public key" not in page


@pytest.mark.django_db(transaction=True)
def test_a_wrong_key_in_a_file_is_that_rows_fault(sandbox: Sandbox, tenant: Tenant) -> None:
    """Most rows are added from the account's list, without a look at the number itself."""
    rows = rows_of(tenant, TELNYX, some(sandbox, TELNYX, 20))
    for row_of_file in rows[1::2]:
        row_of_file.fields["publicKey"] = NO_KEY_OF_THEIRS
    told = done(rows)
    assert [told[one.line].error or told[one.line].outcome for one in rows] == ["added", "invalid_field"] * 10


# -- tokens that sign nothing -----------------------------------------------------------------------------------------


def lend_secondary(party: Party) -> None:
    """At Twilio both are good for the API. Elsewhere a token that is new at the API may sign later."""
    party.carrier.secondary = SECONDARY


@pytest.mark.engine
@each_signing_with_tokens
@pytest.mark.parametrize("way", ["patch", "add"])
def test_a_token_that_signs_nothing_never_ends_the_one_that_does(
    sandbox: Sandbox, tenant: Tenant, good: Good, way: str
) -> None:
    party = join(sandbox, tenant, good)
    assert knock(party) == 200
    lend_secondary(party)
    if way == "patch":
        assert patch(tenant, authToken=SECONDARY).status_code == 200
    else:
        body = good.body(tenant.user, phoneNumber=good.another, authToken=SECONDARY)
        assert add(tenant, body).status_code == 201
    assert row().auth_token.open() == SECONDARY
    Account.objects.update(rotated_at=timezone.now() - timedelta(days=400))
    assert knock(party, "CA-2") == 200


@each_signing_with_tokens
def test_a_second_token_that_signs_nothing_does_not_either(sandbox: Sandbox, tenant: Tenant, good: Good) -> None:
    """The secondary one was made anew twice, and verified each time."""
    party = join(sandbox, tenant, good)
    assert knock(party) == 200
    for number in range(3):
        party.carrier.secondary = f"{SECONDARY}-{number}"
        assert patch(tenant, authToken=party.carrier.secondary).status_code == 200
    Account.objects.update(rotated_at=timezone.now() - timedelta(days=400))
    assert knock(party, "CA-2") == 200


@each_signing_with_tokens
def test_the_token_before_is_forgotten_a_window_after_the_first_event_of_the_new_one(
    sandbox: Sandbox, tenant: Tenant, good: Good, settings: Any
) -> None:
    party = join(sandbox, tenant, good)
    before = replace(party.carrier)
    lend_secondary(party)
    assert patch(tenant, authToken=SECONDARY).status_code == 200
    Account.objects.update(rotated_at=timezone.now() - timedelta(days=400))
    promoted = replace(party.carrier, secret=SECONDARY)
    assert knock(party, "CA-1", by=promoted) == knock(party, "CA-2", by=before) == 200
    first = row().signed_at
    assert first
    assert knock(party, "CA-3", by=promoted) == 200
    assert row().signed_at == first
    Account.objects.update(signed_at=first - timedelta(seconds=settings.TOKEN_ROTATION_WINDOW_S))
    assert knock(party, "CA-4", by=before) == 403
    assert knock(party, "CA-4", by=promoted) == 200


def test_back_to_the_token_that_signs_and_to_the_other_again(sandbox: Sandbox, tenant: Tenant) -> None:
    party = join(sandbox, tenant, TWILIO)
    lend_secondary(party)
    for token in (SECONDARY, TWILIO.auth_token, SECONDARY, TWILIO.auth_token, SECONDARY):
        assert patch(tenant, authToken=token).status_code == 200
        assert knock(party, f"CA-{token}") == 200


@pytest.mark.parametrize("heard", ["before each change", "at first alone"])
def test_the_token_that_signs_survives_any_number_of_those_that_sign_nothing(
    sandbox: Sandbox, tenant: Tenant, heard: str
) -> None:
    party = join(sandbox, tenant, TWILIO)
    assert knock(party, "CA-0") == 200
    for number, token in enumerate([SECONDARY, TWILIO.auth_token, "another-secondary-token", "and-one-more"]):
        party.carrier.secondary = "" if token == TWILIO.auth_token else token
        assert patch(tenant, authToken=token).status_code == 200
        if heard == "before each change":
            assert knock(party, f"CA-1{number}") == 200
    assert knock(party, "CA-2") == 200


def test_a_webhook_that_comes_while_a_token_is_entered_is_not_forgotten(
    sandbox: Sandbox, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By it the present token has shown that it signs: it is the one to keep, and not the one before it."""
    party = join(sandbox, tenant, TWILIO)
    knock(party)
    party.carrier.secret = "promoted"
    assert patch(tenant, authToken="promoted").status_code == 200
    lend_secondary(party)
    verify = Twilio.verify

    def hear_first(self: Twilio, *args: Any, **options: Any) -> Any:
        found = verify(self, *args, **options)
        assert knock(party, "CA-2") == 200
        return found

    monkeypatch.setattr(Twilio, "verify", hear_first)
    assert patch(tenant, authToken=SECONDARY).status_code == 200

    assert knock(party, "CA-3") == 200


# -- a token that was stolen ------------------------------------------------------------------------------------------


@pytest.mark.engine
@each_signing_with_tokens
@pytest.mark.parametrize("at_once", [True, False], ids=["with the new one", "afterwards"])
def test_a_stolen_token_is_refused_from_the_moment_in_which_it_is_said(
    sandbox: Sandbox, tenant: Tenant, good: Good, at_once: bool
) -> None:
    party = join(sandbox, tenant, good)
    thief = replace(party.carrier)
    party.carrier.secret = "the-next-token"
    if not at_once:
        assert patch(tenant, authToken="the-next-token").status_code == 200
        assert knock(party, by=thief) == 200
    assert patch(tenant, authToken="the-next-token", endOldToken=True).status_code == 200
    assert knock(party, "CA-2", by=thief) == 403
    assert knock(party, "CA-2") == 200
    assert row().previous_auth_token is None
    assert "refused" in AuditEntry.objects.filter(action="phone.rotate").latest("at").detail


def test_staff_can_say_that_a_token_was_stolen(sandbox: Sandbox, tenant: Tenant, supervisor: User) -> None:
    party = join(sandbox, tenant, TWILIO)
    thief = replace(party.carrier)
    party.carrier.secret = "the-next-token"
    desk: Client = sign_in(supervisor)
    url = f"{LIST}{PhoneNumber.objects.get().pk}/token/"
    assert "Reject the old auth token" in desk.get(url).content.decode()
    assert desk.post(url, {"auth_token": "the-next-token", "end_old_token": "on"}).status_code == 302
    assert (knock(party, by=thief), knock(party)) == (403, 200)


@pytest.mark.parametrize("fields", [{"endOldToken": True}, {"endOldToken": "yes", "authToken": TWILIO.auth_token}])
def test_a_stolen_token_is_ended_with_a_good_one_only(sandbox: Sandbox, tenant: Tenant, fields: dict[str, Any]) -> None:
    join(sandbox, tenant, TWILIO)
    assert_refused(patch(tenant, **fields), "endOldToken")


def test_a_wrong_token_ends_nothing(sandbox: Sandbox, tenant: Tenant) -> None:
    party = join(sandbox, tenant, TWILIO)
    before = replace(party.carrier)
    party.carrier.secret = "the-next-token"
    assert patch(tenant, authToken="the-next-token").status_code == 200
    assert patch(tenant, authToken="wrong", endOldToken=True).status_code == 400
    assert knock(party, by=before) == 200


# -- health sees that webhooks are refused ----------------------------------------------------------------------------


@pytest.mark.engine
@pytest.mark.django_db(transaction=True)
def test_five_refused_webhooks_are_drift_everywhere_until_one_is_accepted(
    sandbox: Sandbox, tenant: Tenant, party: Party, capsys: pytest.CaptureFixture[str]
) -> None:
    phone = PhoneNumber.objects.get()
    refuse(party, 4)
    assert (shown(tenant)["health"], check(phone, tenant)["health"]) == ("ok", "ok")

    refuse(party, 1)
    told = shown(tenant)
    assert (told["health"], told["reasons"]) == (
        "drift",
        [{"reason": "webhooks_refused", "expected": "", "actual": ""}],
    )
    for repair in (False, True):
        checked = check(phone, tenant, repair=repair)
        assert (checked["health"], reasons(checked), checked["repaired"]) == ("drift", {"webhooks_refused"}, False)
        told = shown(tenant)
        assert (told["health"], told["reasons"]) == ("drift", checked["reasons"])
    listed = data_of(ask("GET", "phones?health=drift", tenant))["items"]
    assert [one["reasons"] for one in listed] == [checked["reasons"]]
    assert data_of(ask("GET", "phones?health=ok", tenant))["items"] == []
    with pytest.raises(SystemExit):
        call_command("check_phones", "--repair")
    assert "webhooks_refused" in capsys.readouterr().out
    count_figures()
    assert newest_figures("numbers") == {f"{party.row.integration} drift": 1}
    assert Line.objects.get().unwell_since

    assert knock(party) == 200
    told = shown(tenant)
    assert (told["health"], told["reasons"]) == ("ok", [])
    assert data_of(ask("GET", "phones?health=ok", tenant))["items"]
    assert Line.objects.get().unwell_since is None
    refuse(party, 4)
    assert check(phone, tenant)["health"] == "ok"


def test_what_else_has_drifted_stays_told(sandbox: Sandbox, tenant: Tenant) -> None:
    party = join(sandbox, tenant, TWILIO)
    phone = PhoneNumber.objects.get()
    sandbox.console("twilio", TWILIO.acc_sid, number=TWILIO.number, voice_url="https://elsewhere.example.com/")
    refuse(party, 5)
    assert reasons(check(phone, tenant)) == {"webhooks_refused", "url_mismatch"}
    assert knock(party) == 200
    assert (shown(tenant)["health"], reasons(shown(tenant))) == ("drift", {"url_mismatch"})


@pytest.mark.engine
@each_signing_with_tokens
def test_a_new_token_begins_the_count_anew(sandbox: Sandbox, tenant: Tenant, good: Good) -> None:
    party = join(sandbox, tenant, good)
    refuse(party, 5)
    assert patch(tenant, authToken=good.auth_token).status_code == 200
    assert shown(tenant)["health"] == "drift", "the same token is no new one"
    party.carrier.secret = "the-next-token"
    assert patch(tenant, authToken="the-next-token").status_code == 200
    assert (shown(tenant)["health"], shown(tenant)["reasons"]) == ("ok", [])
    assert row().refused_count == 0


def test_a_new_key_of_a_repair_begins_the_count_anew(sandbox: Sandbox, tenant: Tenant) -> None:
    party = join(sandbox, tenant, TELNYX)
    before = replace(party.carrier)
    party.carrier.key_seed = "renewed"
    refuse(party, 4)
    assert knock(party) == 403
    phone = PhoneNumber.objects.get()
    assert reasons(check(phone, tenant)) == {"webhooks_refused", "signature_key_changed"}
    checked = check(phone, tenant, repair=True)
    assert (checked["health"], checked["repaired"]) == ("ok", True)
    assert (knock(party, by=before), knock(party)) == (403, 200)


def test_another_number_of_an_account_that_is_refused_is_not_well_either(sandbox: Sandbox, tenant: Tenant) -> None:
    party = join(sandbox, tenant, TWILIO)
    refuse(party, 5)
    assert add(tenant, TWILIO.body(tenant.user, phoneNumber=TWILIO.another)).status_code == 201
    assert {one["health"] for one in data_of(ask("GET", "phones", tenant))["items"]} == {"drift"}
    assert knock(party) == 200
    assert {one["health"] for one in data_of(ask("GET", "phones", tenant))["items"]} == {"ok"}


def test_what_is_signed_and_cannot_be_read_is_not_refused_for_its_signature(sandbox: Sandbox, tenant: Tenant) -> None:
    party = join(sandbox, tenant, TELNYX)
    for number in range(5):
        assert send(party.knock("status", b"\xff%d" % number)).status_code == 403
    assert row().refused_count == 0
    assert shown(tenant)["health"] == "ok"


def test_a_flood_of_forged_requests_costs_a_look_each(
    sandbox: Sandbox, tenant: Tenant, django_assert_max_num_queries: Any
) -> None:
    party = join(sandbox, tenant, TWILIO)
    refuse(party, 6)
    with django_assert_max_num_queries(1):
        refuse(party, 1)
    assert CallEvent.objects.count() == 0


def test_the_desk_says_what_is_the_matter(sandbox: Sandbox, tenant: Tenant, supervisor: User) -> None:
    party = join(sandbox, tenant, TWILIO)
    refuse(party, 5)
    desk = sign_in(supervisor)
    for url in (f"{LIST}{PhoneNumber.objects.get().pk}/change/", "/admin/"):
        assert "webhooks are rejected" in desk.get(url).content.decode().replace("&#x27;", "'")
    assert "+1 212" in desk.get(f"{LIST}?health=unwell").content.decode()
