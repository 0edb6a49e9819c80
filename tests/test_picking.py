"""The numbers of a carrier account to pick from, and the credentials that are sent along or changed."""

import base64
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from core.rates import Rate
from phones.models import Account, Line, PhoneNumber
from sandbox import state as seeds
from sandbox.sandbox import Sandbox
from tests.support.api import DAY_S, add, assert_throttled, check, data_of, reasons, send
from tests.support.carrier_contract import violations
from tests.support.carriers import CARRIERS, OTHERS, PLIVO, TELNYX, TWILIO, Good, prepare_spare_application
from tests.support.database import last_write, written
from tests.support.people import Tenant
from tests.support.state import rows
from users.models import AuditEntry, LimitCounter

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("unlimited")]

PATH = "available-phones"
# Of an account with many numbers.
LARGE_SECRET = "KEY_of_the_large_account"


@pytest.fixture
def limit(settings: Any) -> Callable[[int], None]:
    """Sets how many refused credentials a workspace may send."""

    def set_limit(count: int) -> None:
        settings.LIMITS = dict.fromkeys(settings.LIMITS) | {"refused_credentials": Rate(count, DAY_S)}

    return set_limit


def body(good: Good, **changes: Any) -> dict[str, Any]:
    """A field changed to None is left out."""
    fields = {
        "integration": good.integration,
        "authToken": good.auth_token,
        "accSId": good.acc_sid or None,
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not None}


def page(tenant: Tenant, fields: dict[str, Any]) -> dict[str, Any]:
    data = data_of(send("POST", PATH, tenant, fields))
    assert list(data) == ["items", "nextCursor"]
    return data


def pages(tenant: Tenant, fields: dict[str, Any], most: int = 40) -> list[list[dict[str, Any]]]:
    found = [page(tenant, fields)]
    while found[-1]["nextCursor"]:
        assert len(found) < most, "a list without end"
        found.append(page(tenant, fields | {"cursor": found[-1]["nextCursor"]}))
    return [one["items"] for one in found]


def listed(tenant: Tenant, fields: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """All numbers of the account, each once."""
    items = [one for items in pages(tenant, fields) for one in items]
    numbers = {one.pop("phoneNumber"): one for one in items}
    assert len(numbers) == len(items), "a number is listed twice"
    return numbers


def refusal(reply: Any) -> tuple[int, str, str | None]:
    data = reply.json()["data"]
    assert list(reply.json()) == ["message", "status", "code", "errorMessage", "data"]
    return reply.status_code, data["error"], data["field"]


def numbers_of(sandbox: Sandbox, good: Good) -> dict[str, Any]:
    return sandbox.state.account(good.integration, good.owner).numbers


def assert_only_read(sandbox: Sandbox) -> None:
    assert {one.method for one in sandbox.ledger} <= {"GET"}
    assert [problem for one in sandbox.ledger for problem in violations(one)] == []


# -- the list ---------------------------------------------------------------------------------------------------------

ITEM = {"voice": True, "active": True, "route": "none", "added": False}


def test_every_kind_of_number_is_shown_as_it_is(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> None:
    unusual = {number: {"route": "elsewhere"} for number in carrier.elsewhere} | carrier.unusable
    expected = {number: ITEM | unusual.get(number, {}) for number in numbers_of(sandbox, carrier)}
    assert listed(tenant, body(carrier)) == expected
    assert_only_read(sandbox)


# More digits than a plan has, fewer, those of no country, and what looks like a trunk prefix.
IMPOSSIBLE = ["5215512345678", "5551234", "999123456789", "4402079460018"]


def test_whatever_the_list_offers_can_be_added(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> None:
    for number in IMPOSSIBLE:
        sandbox.add_number(carrier.integration, carrier.owner, number)
    offered = listed(tenant, body(carrier))
    for number in IMPOSSIBLE:
        assert offered[number] == ITEM
        reply = add(tenant, carrier.body(tenant.user, phoneNumber=number))
        assert (reply.status_code, reply.json()["data"].get("phoneNumber")) == (201, number)
    assert {number for number, one in listed(tenant, body(carrier)).items() if one["added"]} == set(IMPOSSIBLE)
    phone = PhoneNumber.objects.get(number=IMPOSSIBLE[0])
    assert check(phone, tenant)["health"] == "ok"
    assert data_of(send("DELETE", f"phones/{phone.pk}", tenant))["restored"] is True


def test_nothing_is_stored_and_nothing_written(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> None:
    there, before = sandbox.snapshot(), last_write()
    owner = sandbox.state.account(carrier.integration, carrier.owner)
    secret = owner.secret = "canary-0a58f2c4d3b1"
    if carrier is TELNYX:
        sandbox.state.ids_by_key[secret] = owner.id
    assert listed(tenant, body(carrier, authToken=secret))
    send("POST", PATH, tenant, body(carrier, authToken="wrong-" + secret))
    assert not Account.objects.exists() and not Line.objects.exists() and not PhoneNumber.objects.exists()
    assert secret not in written(before)
    assert sandbox.snapshot() == there
    assert_only_read(sandbox)


def test_a_number_of_ours_is_told_as_added_to_its_workspace_only(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, carrier: Good
) -> None:
    assert add(tenant, carrier.body(tenant.user)).status_code == 201
    assert add(other_tenant, carrier.body(other_tenant.user, phoneNumber=carrier.another)).status_code == 201
    sandbox.clear_ledger()

    mine, theirs = listed(tenant, body(carrier)), listed(other_tenant, body(carrier))

    ours = ITEM | {"route": "ours"}
    assert (mine[carrier.number], mine[carrier.another]) == (ours | {"added": True}, ours)
    assert (theirs[carrier.number], theirs[carrier.another]) == (ours, ours | {"added": True})
    assert [one for one in mine.values() if one["added"]] == [mine[carrier.number]]
    assert_only_read(sandbox)


@pytest.mark.parametrize("state", [state for state in PhoneNumber.State if state != "active"])
def test_only_an_active_number_is_added(sandbox: Sandbox, tenant: Tenant, state: str) -> None:
    assert add(tenant, TWILIO.body(tenant.user)).status_code == 201
    PhoneNumber.objects.update(state=state)
    assert listed(tenant, body(TWILIO))[TWILIO.number]["added"] is False


def test_a_number_that_drifted_away_is_told_as_routed_elsewhere(
    sandbox: Sandbox, tenant: Tenant, carrier: Good
) -> None:
    assert add(tenant, carrier.body(tenant.user)).status_code == 201
    numbers_of(sandbox, carrier)[carrier.number].update(carrier.trunk_route)
    assert listed(tenant, body(carrier))[carrier.number] == ITEM | {"route": "elsewhere", "added": True}


def test_a_number_on_a_customers_own_application_that_points_at_us_is_ours(sandbox: Sandbox, tenant: Tenant) -> None:
    named = {"accSId": prepare_spare_application(sandbox)}
    assert listed(tenant, body(TELNYX, **named))[TELNYX.routed_elsewhere]["route"] == "elsewhere"
    assert add(tenant, TELNYX.body(tenant.user, **named)).status_code == 201
    for fields in (body(TELNYX, **named), body(TELNYX)):
        numbers = listed(tenant, fields)
        assert numbers[TELNYX.number] == ITEM | {"route": "ours", "added": True}
        assert numbers["13125550002"]["route"] == "elsewhere"


@pytest.mark.parametrize("count", [0, 1, 20, 250, 501])
def test_every_number_is_on_one_of_the_pages_once(sandbox: Sandbox, tenant: Tenant, carrier: Good, count: int) -> None:
    owner, acc_sid = carrier.new_owner(7)
    sandbox.add_account(carrier.integration, owner, LARGE_SECRET)
    numbers = [f"1617{index:07}" for index in range(count)]
    for number in numbers:
        sandbox.add_number(carrier.integration, owner, number)
    fields = body(carrier, authToken=LARGE_SECRET, accSId=acc_sid or None)

    found = pages(tenant, fields)

    assert [one["phoneNumber"] for items in found for one in items] == numbers
    assert all({**one, "phoneNumber": ""} == ITEM | {"phoneNumber": ""} for items in found for one in items)
    assert len([items for items in found if items]) == -(-count // (20 if carrier is PLIVO else 250))
    assert_only_read(sandbox)


def test_another_account_has_other_numbers(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> None:
    assert listed(tenant, body(OTHERS[carrier.integration])).keys() == {carrier.not_owned}


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.engine
def test_wrong_credentials_are_refused_and_counted(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, carrier: Good, limit: Callable[[int], None]
) -> None:
    limit(3)
    for number in range(3):
        changes = {"authToken": f"guess-{number}"}
        if carrier.acc_sid:  # the limit of the workspace, as each guess is of another account
            changes["accSId"] = carrier.new_owner(number)[1]
        reply = send("POST", PATH, tenant, body(carrier, **changes))
        assert refusal(reply) == (400, "invalid_credentials", "authToken")
        assert f"guess-{number}" not in reply.content.decode()
    sandbox.clear_ledger()
    assert_throttled(send("POST", PATH, tenant, body(carrier)))
    assert_throttled(add(tenant, carrier.body(tenant.user)))
    assert sandbox.ledger == []
    assert page(other_tenant, body(carrier))["items"], "nobody else is stopped"
    assert not LimitCounter.objects.filter(held__gt=0).exists()


def test_guesses_are_counted_together_wherever_they_are_made(
    sandbox: Sandbox, tenant: Tenant, carrier: Good, limit: Callable[[int], None]
) -> None:
    assert add(tenant, carrier.body(tenant.user)).status_code == 201
    phone = PhoneNumber.objects.get()
    limit(3)
    wrong = {"authToken": "guess"}
    assert send("POST", PATH, tenant, body(carrier, **wrong)).status_code == 400
    assert add(tenant, carrier.body(tenant.user, phoneNumber=carrier.another, **wrong)).status_code == 400
    assert send("PATCH", f"phones/{phone.pk}", tenant, wrong).status_code == 400
    sandbox.clear_ledger()
    assert_throttled(send("POST", PATH, tenant, body(carrier, **wrong)))
    assert_throttled(send("PATCH", f"phones/{phone.pk}", tenant, wrong))
    assert sandbox.ledger == []
    assert page(tenant, body(carrier))["items"], "credentials that are known to be good are no guess"


def test_a_carrier_that_is_down_is_no_guess(
    sandbox: Sandbox, tenant: Tenant, carrier: Good, limit: Callable[[int], None]
) -> None:
    limit(2)
    for kind, options in (("status", {"status": 503}), ("reset", {}), ("html", {}), ("status", {"status": 429})):
        sandbox.clear_faults()
        sandbox.fault(kind, carrier=carrier.integration, times=None, **options)
        assert refusal(send("POST", PATH, tenant, body(carrier))) == (500, "carrier_unavailable", None)
    sandbox.clear_faults()
    assert page(tenant, body(carrier))["items"]
    sandbox.fault("reset", carrier=carrier.integration)
    assert page(tenant, body(carrier))["items"], "one silence is asked again"


def test_a_suspended_account_is_refused(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> None:
    acc_sid, token, _ = carrier.refused[0]
    reply = send("POST", PATH, tenant, body(carrier, authToken=token, accSId=acc_sid or None))
    assert refusal(reply) == (400, "invalid_credentials", "authToken")


def test_a_closed_account_is_refused(sandbox: Sandbox, tenant: Tenant) -> None:
    fields = body(TWILIO, authToken=seeds.TWILIO_CLOSED_TOKEN, accSId=seeds.TWILIO_CLOSED_SID)
    assert refusal(send("POST", PATH, tenant, fields)) == (400, "invalid_credentials", "authToken")


BAD_FIELDS: list[tuple[str, list[Any]]] = [
    ("integration", [None, "", "vonage", "Twilio", 1, []]),
    ("authToken", [None, "", "a b", "é", "a" * 513, 1, {"a": 1}]),
    ("accSId", ["", "a" * 65, "a/b", "é", 1]),
    ("cursor", ["", "x", "x" * 1000, "é", 1, [], "MA", "AAAA", "{", base64.b64encode(b"-1").decode()]),
]


@pytest.mark.parametrize(("field", "values"), BAD_FIELDS, ids=[field for field, _ in BAD_FIELDS])
def test_a_bad_field_is_named_and_nobody_is_asked(
    sandbox: Sandbox, tenant: Tenant, carrier: Good, field: str, values: list[Any]
) -> None:
    for value in values:
        reply = send("POST", PATH, tenant, body(carrier, **{field: value}))
        assert refusal(reply) == (400, "invalid_field", field), value
    assert sandbox.ledger == []


def test_the_account_is_asked_for_where_it_is_needed(sandbox: Sandbox, tenant: Tenant) -> None:
    for good in CARRIERS.values():
        if not good.acc_sid:
            continue
        assert refusal(send("POST", PATH, tenant, body(good, accSId=None))) == (400, "invalid_field", "accSId")
    assert sandbox.ledger == []
    assert listed(tenant, body(TELNYX)) == listed(tenant, body(TELNYX, accSId=seeds.TELNYX_CUSTOMER_APP))


def test_the_cursor_of_another_carrier_does_no_harm(sandbox: Sandbox, tenant: Tenant) -> None:
    cursors = {}
    for name, good in CARRIERS.items():
        owner, acc_sid = good.new_owner(7)
        sandbox.add_account(name, owner, LARGE_SECRET + name)
        for index in range(251):
            sandbox.add_number(name, owner, f"1617{index:07}")
        fields = body(good, authToken=LARGE_SECRET + name, accSId=acc_sid or None)
        cursors[name] = fields, page(tenant, fields)["nextCursor"]
    for name, (fields, _) in cursors.items():
        for other, (_, cursor) in cursors.items():
            reply = send("POST", PATH, tenant, fields | {"cursor": cursor})
            assert cursor
            if reply.status_code != 200:
                assert refusal(reply) == (400, "invalid_field", "cursor"), (name, other)
            assert name != other or reply.status_code == 200
    assert_only_read(sandbox)


def test_who_has_no_token_gets_nothing(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> None:
    nobody = Tenant(tenant.workspace, tenant.user, "wrong")
    assert refusal(send("POST", PATH, nobody, body(carrier))) == (401, "not_authenticated", None)
    assert send("GET", PATH, tenant).status_code == 405
    assert sandbox.ledger == []


# -- a new auth token -------------------------------------------------------------------------------------------------


def rotate(sandbox: Sandbox, good: Good, secret: str) -> None:
    """The customer makes a new auth token in the carrier's console; the old one is worth nothing."""
    owner = sandbox.state.account(good.integration, good.owner)
    if good is TELNYX:
        sandbox.state.ids_by_key[secret] = sandbox.state.ids_by_key.pop(owner.secret)
    owner.secret = secret


@pytest.fixture
def phone(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> PhoneNumber:
    assert add(tenant, carrier.body(tenant.user)).status_code == 201
    sandbox.clear_ledger()
    return PhoneNumber.objects.get()


def change(phone: PhoneNumber, tenant: Tenant, **fields: Any) -> Any:
    return send("PATCH", f"phones/{phone.pk}", tenant, fields)


def test_a_wrong_new_token_changes_nothing_and_counts(
    sandbox: Sandbox, phone: PhoneNumber, tenant: Tenant, carrier: Good, limit: Callable[[int], None]
) -> None:
    limit(2)
    rows_before, there = rows(), sandbox.snapshot()
    for number in range(2):
        reply = change(phone, tenant, authToken=f"guess-{number}", label="new", inbound={"action": "reject"})
        assert refusal(reply) == (400, "invalid_credentials", "authToken")
    assert rows() == rows_before
    sandbox.clear_ledger()
    assert_throttled(change(phone, tenant, authToken="guess-3"))
    assert_throttled(add(tenant, carrier.body(tenant.user, phoneNumber=carrier.another, authToken="guess-4")))
    assert sandbox.ledger == []
    assert sandbox.snapshot() == there
    assert rows() == rows_before
    assert data_of(change(phone, tenant, authToken=carrier.auth_token, label="as before"))["label"] == "as before"
    assert not LimitCounter.objects.filter(held__gt=0).exists()


def test_a_new_token_that_cannot_be_proved_changes_nothing(
    sandbox: Sandbox, phone: PhoneNumber, tenant: Tenant, carrier: Good, limit: Callable[[int], None]
) -> None:
    limit(1)
    rows_before = rows()
    sandbox.fault("status", status=503, carrier=carrier.integration, times=None)
    for _ in range(3):
        assert refusal(change(phone, tenant, authToken="the-new-one", label="new")) == (
            500,
            "carrier_unavailable",
            None,
        )
    assert rows() == rows_before


def test_the_token_of_a_suspended_account_is_refused(
    sandbox: Sandbox, phone: PhoneNumber, tenant: Tenant, carrier: Good
) -> None:
    rows_before = rows()
    rotate(sandbox, carrier, "the-new-one")
    sandbox.state.account(carrier.integration, carrier.owner).status = "suspended"
    assert refusal(change(phone, tenant, authToken="the-new-one")) == (400, "invalid_credentials", "authToken")
    assert rows() == rows_before


@pytest.mark.engine
def test_a_right_new_token_is_that_of_every_number_of_the_account(
    sandbox: Sandbox, phone: PhoneNumber, tenant: Tenant, colleague: Tenant, carrier: Good
) -> None:
    assert add(colleague, carrier.body(colleague.user, phoneNumber=carrier.another)).status_code == 201
    theirs = PhoneNumber.objects.get(user=colleague.user)
    there = sandbox.snapshot()
    rotate(sandbox, carrier, "the-new-one")
    for one, whose in ((phone, tenant), (theirs, colleague)):
        assert reasons(check(one, whose)) == {"credentials_refused"}
    sandbox.clear_ledger()

    shown = data_of(change(phone, tenant, authToken="the-new-one", label="Front desk"))

    assert shown["label"] == "Front desk"
    assert "the-new-one" not in json.dumps(shown)
    assert_only_read(sandbox)
    account = Account.objects.get()
    assert account.auth_token.open() == "the-new-one"
    assert account.previous_auth_token is not None
    assert account.previous_auth_token.open() == carrier.auth_token
    assert account.rotated_at is not None
    for one, whose in ((phone, tenant), (theirs, colleague)):
        assert check(one, whose)["health"] == "ok"
    rotated_at = account.rotated_at
    assert change(phone, tenant, authToken="the-new-one").status_code == 200
    account.refresh_from_db()
    assert account.rotated_at == rotated_at, "the same token again is no rotation"
    assert account.previous_auth_token is not None
    assert account.previous_auth_token.open() == carrier.auth_token
    assert sandbox.snapshot() == there


def test_the_token_of_another_account_is_refused(
    sandbox: Sandbox, phone: PhoneNumber, tenant: Tenant, carrier: Good
) -> None:
    """It is good, but not here."""
    rows_before = rows()
    status, error, field = refusal(change(phone, tenant, authToken=OTHERS[carrier.integration].auth_token))
    expected = ("number_not_owned", "phoneNumber") if carrier is TELNYX else ("invalid_credentials", "authToken")
    assert (status, error, field) == (400, *expected)
    assert rows() == rows_before


@pytest.mark.engine
def test_the_key_of_a_telnyx_account_that_has_the_number_now_is_refused(
    sandbox: Sandbox, tenant: Tenant, limit: Callable[[int], None]
) -> None:
    """The number was sold, and our other numbers stay where they are: the application tells the accounts apart."""
    for number in (TELNYX.number, TELNYX.another):
        assert add(tenant, TELNYX.body(tenant.user, phoneNumber=number)).status_code == 201
    sold = PhoneNumber.objects.get(number=TELNYX.number)
    del numbers_of(sandbox, TELNYX)[TELNYX.number]
    sandbox.add_number("telnyx", seeds.TELNYX_OTHER_ACCOUNT, TELNYX.number)
    rows_before = rows()
    limit(1)
    reply = change(sold, tenant, authToken=seeds.TELNYX_OTHER_KEY)
    assert refusal(reply) == (400, "invalid_credentials", "authToken")
    assert rows() == rows_before
    assert_throttled(change(sold, tenant, authToken=seeds.TELNYX_OTHER_KEY))


def test_a_new_token_is_taken_although_our_application_is_gone(sandbox: Sandbox, tenant: Tenant) -> None:
    """Plivo's tokens belong to the account that is named beside them, whatever became of the application."""
    assert add(tenant, PLIVO.body(tenant.user)).status_code == 201
    phone, account = PhoneNumber.objects.get(), Account.objects.get()
    del sandbox.state.account("plivo", seeds.PLIVO_ID).applications[account.application_id]
    numbers_of(sandbox, PLIVO)[PLIVO.number]["application"] = None
    rotate(sandbox, PLIVO, "the-new-one")
    assert reasons(check(phone, tenant)) == {"credentials_refused"}
    assert change(phone, tenant, authToken="the-new-one").status_code == 200
    assert reasons(check(phone, tenant)) == {"application_missing"}
    assert check(phone, tenant, repair=True)["repaired"] is True


def test_a_carrier_that_does_not_answer_is_asked_once_more(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> None:
    sandbox.fault("status", status=503, times=None)

    assert refusal(send("POST", PATH, tenant, body(carrier)))[0] == 500

    asked = Counter((one.method, one.path, str(one.query)) for one in sandbox.ledger)
    assert set(asked.values()) == {2}, asked


# -- the audit trail --------------------------------------------------------------------------------------------------


def test_credentials_that_are_tried_are_in_the_trail(
    sandbox: Sandbox, tenant: Tenant, carrier: Good, limit: Callable[[int], None]
) -> None:
    limit(1)
    send("POST", PATH, tenant, body(carrier))
    send("POST", PATH, tenant, body(carrier, authToken="wrong-token"))
    send("POST", PATH, tenant, body(carrier, authToken="wrong-token", cursor=base64.urlsafe_b64encode(b"2").decode()))
    entries = AuditEntry.objects.filter(action="phone.pick").order_by("at", "id")
    assert list(entries.values_list("outcome", flat=True)) == ["ok", "invalid_credentials", "throttled"]
    assert {(entry.actor_kind, entry.actor, entry.workspace_id) for entry in entries} == {
        ("token", tenant.token[:11], tenant.workspace.pk)
    }
    assert "wrong-token" not in str(entries.values_list("detail", flat=True))


def test_a_token_that_was_typed_into_the_wrong_field_is_not_in_the_trail(sandbox: Sandbox, tenant: Tenant) -> None:
    fields = body(TELNYX, accSId=TELNYX.auth_token)
    for entered in (fields, fields | {"integration": "twilio"}, fields | {"authToken": "wrong-token"}):
        send("POST", PATH, tenant, entered)

    entries = AuditEntry.objects.filter(action="phone.pick")
    assert entries.count() == 3
    assert TELNYX.auth_token not in str(list(entries.values()))
