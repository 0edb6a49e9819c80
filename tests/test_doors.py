"""The API, the admin form and the bulk command give one verdict on the same input, and leave the same behind."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.rates import Rate
from sandbox import state as seeds
from sandbox.sandbox import Sandbox
from tests.support.carriers import CARRIERS, PLIVO, TELNYX, TWILIO, Good
from tests.support.doors import DOORS, Case, Door, Doors, by_api
from tests.support.people import Tenant, new_tenant, sign_in
from users.models import User

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def doors(sandbox: Sandbox, tenant: Tenant, supervisor: User, tmp_path: Path) -> Doors:
    return Doors(sandbox, tenant, sign_in(supervisor), tmp_path)


# -- inputs -----------------------------------------------------------------------------------------------------------


def at_each(name: str, make: Callable[[Good], Case]) -> dict[str, Case]:
    return {f"{good.integration}, {name}": make(good) for good in CARRIERS.values()}


def fault(kind: str, method: str = "GET", **how: Any) -> dict[str, Any]:
    """A fault of every such request."""
    return {"kind": kind, "method": method, "times": None, **how}


def read_fault(kind: str, **how: Any) -> dict[str, Any]:
    """A fault of the first request that asks about the number."""
    return fault(kind, path="(?i)number", times=1, **how)


def write_fault(kind: str, good: Good, **how: Any) -> dict[str, Any]:
    """A fault of the first request that routes the number."""
    return fault(kind, "PATCH" if good is TELNYX else "POST", path="(?i)number", times=1, **how)


def in_capitals(tenant: Tenant) -> str:
    return tenant.user.pk.upper()


def who_has_left(tenant: Tenant) -> str:
    return User.objects.create_user("left@one.example.com", workspace=tenant.workspace, is_active=False).pk


def without_workspace(tenant: Tenant) -> str:
    return User.objects.create_user("nowhere@example.com").pk


def the_user(tenant: Tenant) -> str:
    return tenant.user.pk


def suspended(good: Good) -> dict[str, Any]:
    one = good.refused[0]
    return {"accSId": one.acc_sid or None, "authToken": one.auth_token, "phoneNumber": one.number}


def a_colleague(tenant: Tenant) -> str:
    return User.objects.create_user("colleague@one.example.com", workspace=tenant.workspace).pk


def a_stranger(tenant: Tenant) -> str:
    return new_tenant("two").user.pk


# Mexico's former mobile prefix, which carriers' lists still had (daviddrysdale/python-phonenumbers#306).
IMPOSSIBLE = {"phoneNumber": "5215512345678"}
NO_KEY = {"authToken": seeds.TELNYX_NOPROFILE_KEY, "phoneNumber": "13125557777"}
A_PUBLIC_KEY = "A" * 43 + "="
ITS_PUBLIC_KEY = seeds.Account("telnyx", seeds.TELNYX_ACCOUNT, "").public_key()
REFUSE = {"onConflict": "refuse"}
WRONG = {"authToken": "wrong-token"}
AGAIN_AT_ONCE = {"Retry-After": "0"}
FORWARD = {
    "label": "Front desk ☎",
    "inbound": {"action": "forward", "forwardTo": "+44 20 7946 0018", "record": True, "greeting": "Hello\nthere"},
}

CASES = {
    # The number is added.
    **at_each("a good number", Case),
    **at_each("routed elsewhere, taken over", lambda good: Case(good, changes={"phoneNumber": good.routed_elsewhere})),
    **at_each("on a trunk, taken over", lambda good: Case(good, changes={"phoneNumber": good.on_a_trunk})),
    **at_each("a number that a colleague has", lambda good: Case(good, holder=a_colleague)),
    **at_each("a label and a forward", lambda good: Case(good, settings=FORWARD)),
    **at_each("a number that no plan makes possible", lambda good: Case(
        good, changes={"phoneNumber": "+52 1 55 1234-5678"}, bought=IMPOSSIBLE["phoneNumber"]
    )),
    **at_each("a number with what looks like a trunk prefix", lambda good: Case(
        good, changes={"phoneNumber": "4402079460018"}, bought="4402079460018"
    )),
    "calls are rejected": Case(TWILIO, settings={"inbound": {"action": "reject", "record": False}}),
    **at_each("one request too many", lambda good: Case(
        good, fault=read_fault("status", status=429, headers=AGAIN_AT_ONCE)
    )),
    **at_each("the write is one too many", lambda good: Case(
        good, fault=write_fault("status", good, status=429, headers=AGAIN_AT_ONCE)
    )),
    **at_each("the reply to the write is lost", lambda good: Case(good, fault=write_fault("lost_reply", good))),
    "a number with plus and blanks": Case(TWILIO, changes={"phoneNumber": "+1 (212) 555-1234"}),
    "the carrier's demo, which is no route": Case(TWILIO, changes={"phoneNumber": "12125550005", **REFUSE}),
    "routed nowhere, nothing to take over": Case(PLIVO, changes=REFUSE),
    "an owner in capitals": Case(TWILIO, owner=in_capitals),
    "telnyx, on an application of the customer's": Case(
        TELNYX, changes={"accSId": seeds.TELNYX_CUSTOMER_APP, "phoneNumber": TELNYX.routed_elsewhere}
    ),
    "telnyx, with its public key": Case(TELNYX, changes={"publicKey": ITS_PUBLIC_KEY}),
    "telnyx, with another's public key": Case(TELNYX, "invalid_field", "publicKey", {"publicKey": A_PUBLIC_KEY}),
    "telnyx, neither key nor voice profile": Case(TELNYX, changes=NO_KEY),
    "telnyx, a key that cannot be fetched": Case(TELNYX, changes={**NO_KEY, "publicKey": A_PUBLIC_KEY}),
    "twilio, a public key that is not needed": Case(TWILIO, changes={"publicKey": A_PUBLIC_KEY}),
    # The input is wrong.
    "no number": Case(TWILIO, "invalid_field", "phoneNumber", {"phoneNumber": None}),
    "a blank number": Case(TWILIO, "invalid_field", "phoneNumber", {"phoneNumber": "  "}),
    "a number too short": Case(TWILIO, "invalid_phone_number", "phoneNumber", {"phoneNumber": "123"}),
    "a number too long": Case(TWILIO, "invalid_phone_number", "phoneNumber", {"phoneNumber": "1212555123412345"}),
    "a number without country code": Case(TWILIO, "invalid_phone_number", "phoneNumber", {"phoneNumber": "0205550001"}),
    "letters for a number": Case(TWILIO, "invalid_phone_number", "phoneNumber", {"phoneNumber": "1800FLOWERS"}),
    "digits of another script": Case(TWILIO, "invalid_phone_number", "phoneNumber", {"phoneNumber": "١٢١٢٥٥٥١٢٣٤"}),
    "a trunk prefix in parentheses": Case(TWILIO, "invalid_phone_number", "phoneNumber", {"phoneNumber": "+1 (0)2125551234"}),
    "an extension": Case(TWILIO, "invalid_phone_number", "phoneNumber", {"phoneNumber": "12125551234;ext=1"}),
    "no carrier": Case(TWILIO, "invalid_field", "integration", {"integration": None}),
    "an unknown carrier": Case(TWILIO, "invalid_field", "integration", {"integration": "sinch"}),
    **at_each("no token", lambda good: Case(good, "invalid_field", "authToken", {"authToken": None})),
    "a token with a blank in it": Case(TWILIO, "invalid_field", "authToken", {"authToken": "a b"}),
    "a token with a line break in it": Case(TWILIO, "invalid_field", "authToken", {"authToken": "a\nb"}),
    "a token that is not ASCII": Case(TWILIO, "invalid_field", "authToken", {"authToken": "tökén"}),
    "a token that is too long": Case(TWILIO, "invalid_field", "authToken", {"authToken": "x" * 513}),
    **{
        f"{good.integration}, no account id": Case(good, "invalid_field", "accSId", {"accSId": None})
        for good in CARRIERS.values() if good.acc_sid
    },
    **at_each("a bad account id", lambda good: Case(good, "invalid_field", "accSId", {"accSId": "AC/../x"})),
    "an account id that is too long": Case(TWILIO, "invalid_field", "accSId", {"accSId": "A" * 65}),
    "telnyx, an unknown application": Case(TELNYX, "invalid_field", "accSId", {"accSId": "1400000000000000999"}),
    "telnyx, a connection that is no application": Case(
        TELNYX, "invalid_field", "accSId", {"accSId": seeds.TELNYX_SIP_CONNECTION}
    ),
    **at_each("a bad public key", lambda good: Case(good, "invalid_field", "publicKey", {"publicKey": "short"})),
    "an unknown onConflict": Case(TWILIO, "invalid_field", "onConflict", {"onConflict": "maybe"}),
    "no owner": Case(TWILIO, "invalid_field", "userId", {"userId": None}),
    "an owner that is no id": Case(TWILIO, "invalid_user_id", "userId", {"userId": "ann"}),
    "an unknown owner": Case(TWILIO, "user_not_found", "userId", {"userId": "64e5f12345abcdef12345678"}),
    "an owner who has left": Case(TWILIO, "user_not_found", "userId", owner=who_has_left),
    "an owner without workspace": Case(TWILIO, "user_not_found", "userId", owner=without_workspace),
    # Our own rows, or the carrier, say no.
    **at_each("there already", lambda good: Case(good, "phone_exists", "phoneNumber", holder=the_user)),
    **at_each("there already, credentials wrong", lambda good: Case(
        good, "phone_exists", "phoneNumber", WRONG, holder=the_user
    )),
    **at_each("wrong token", lambda good: Case(good, "invalid_credentials", "authToken", WRONG)),
    **at_each("wrong token of a known account", lambda good: Case(
        good, "invalid_credentials", "authToken", WRONG, holder=a_colleague
    )),
    **at_each("a suspended account", lambda good: Case(
        good, "invalid_credentials", "authToken", suspended(good)
    )),
    "telnyx, an application that routes another number": Case(
        TELNYX, "application_in_use", "accSId", {"accSId": seeds.TELNYX_CUSTOMER_APP}
    ),
    **at_each("another workspace's number", lambda good: Case(
        good, "number_in_another_workspace", "phoneNumber", holder=a_stranger
    )),
    **at_each("somebody else's number", lambda good: Case(
        good, "number_not_owned", "phoneNumber", {"phoneNumber": good.not_owned}
    )),
    **at_each("nobody's number, which no plan makes possible", lambda good: Case(
        good, "invalid_phone_number", "phoneNumber", IMPOSSIBLE
    )),
    "no country code, which looks like another one": Case(
        TWILIO, "invalid_phone_number", "phoneNumber", {"phoneNumber": "2125551234"}
    ),
    **at_each("no plan makes it possible, wrong token", lambda good: Case(
        good, "invalid_credentials", "authToken", {**IMPOSSIBLE, **WRONG}
    )),
    "no plan makes it possible, an unknown owner": Case(
        TWILIO, "user_not_found", "userId", {**IMPOSSIBLE, "userId": "64e5f12345abcdef12345678"}
    ),
    "no plan makes it possible, an unknown carrier": Case(
        TWILIO, "invalid_field", "integration", {**IMPOSSIBLE, "integration": "sinch"}
    ),
    "no plan makes it possible, the carrier is down": Case(
        TWILIO, "carrier_unavailable", changes=IMPOSSIBLE, fault=fault("reset")
    ),
    **at_each("a number that cannot take calls", lambda good: Case(
        good, "number_not_usable", "phoneNumber", {"phoneNumber": next(iter(good.unusable))}
    )),
    **at_each("routed elsewhere, left alone", lambda good: Case(
        good, "number_routed_elsewhere", "phoneNumber", {"phoneNumber": good.routed_elsewhere, **REFUSE}
    )),
    **at_each("on a trunk, left alone", lambda good: Case(
        good, "number_routed_elsewhere", "phoneNumber", {"phoneNumber": good.on_a_trunk, **REFUSE}
    )),
    # The carrier fails.
    "twilio is down": Case(TWILIO, "carrier_unavailable", fault=fault("reset")),
    "plivo answers 503": Case(PLIVO, "carrier_unavailable", fault=fault("status", status=503)),
    "telnyx talks nonsense": Case(TELNYX, "carrier_unavailable", fault=fault("html")),
    "twilio is silent": Case(TWILIO, "carrier_unavailable", fault=fault("hang")),
    **at_each("the write is refused", lambda good: Case(
        good, "webhook_setup_failed", fault=write_fault("status", good, status=422 if good is TELNYX else 400)
    )),
    "plivo makes no application": Case(
        PLIVO, "webhook_setup_failed", fault=fault("status", "POST", path="Application", status=400)
    ),
    "telnyx makes no application": Case(
        TELNYX, "webhook_setup_failed", fault=fault("status", "POST", path="applications", status=422)
    ),
}  # fmt: skip


# -- verdicts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_all_three_doors_give_the_same_verdict_and_leave_the_same(name: str, doors: Doors, settings: Any) -> None:
    case = CASES[name]
    is_silent = case.fault.get("kind") == "hang"
    if is_silent:
        settings.CARRIER_READ_TIMEOUT_S = 0.1
    api, admin, command = doors.try_each(case)

    assert (api.verdict.code, admin.verdict.code, command.verdict.code) == (case.code,) * 3
    assert (api.verdict.wire_name, admin.verdict.wire_name) == (case.wire_name,) * 2
    # Its sentence names the field. Of a number that is there already it says something else, as that is no failure.
    assert command.verdict.sentence == (None if case.code == "phone_exists" else api.verdict.sentence)
    for outcome in (api, admin, command):
        if not case.code:
            number = re.sub(r"\D", "", case.good.body(doors.tenant.user, **case.changes)["phoneNumber"])
            assert (doors.tenant.user.pk, number) in outcome.active
        assert outcome.is_untouched == bool(case.code)
        counted = {used for used, _ in outcome.guesses.values()}
        assert counted == {1} if case.code == "invalid_credentials" else counted <= {0}
    assert api.carriers == admin.carriers == command.carriers
    assert api.rows == admin.rows == command.rows
    assert api.guesses == admin.guesses == command.guesses
    if not is_silent:  # a request that nobody waits for any more may be booked too late
        assert api.asked == admin.asked == command.asked
    assert api.trail == admin.trail
    if case.code != "phone_exists":  # the command skips rows that are there, and does not tell the trail of each
        assert api.trail == command.trail


# An add of the API takes no label and no inbound: there it is the PATCH after it that is refused.
REFUSED_SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "forwarded to nobody": ({"inbound": {"action": "forward"}}, "inbound"),
    "forwarded to no number": ({"inbound": {"action": "forward", "forwardTo": "911"}}, "inbound"),
    "forwarded to an impossible number": ({"inbound": {"action": "forward", "forwardTo": "5215512345678"}}, "inbound"),
    "forwarded to a trunk prefix": ({"inbound": {"action": "forward", "forwardTo": "+1 (0)212 555 0018"}}, "inbound"),
    "an unknown action": ({"inbound": {"action": "sing"}}, "inbound"),
    "a greeting that is too long": ({"inbound": {"greeting": "x" * 1001}}, "inbound"),
    "a greeting with control characters": ({"inbound": {"greeting": "a\x07b"}}, "inbound"),
    "a label that is too long": ({"label": "x" * 201}, "label"),
    "a label with control characters": ({"label": "a\x07b"}, "label"),
}


@pytest.mark.parametrize("name", REFUSED_SETTINGS)
def test_all_three_doors_refuse_the_same_settings(name: str, doors: Doors) -> None:
    refused, wire_name = REFUSED_SETTINGS[name]
    api, admin, command = doors.try_each(Case(TWILIO, settings=refused))
    assert (api.verdict.code, admin.verdict.code, command.verdict.code) == ("invalid_field",) * 3
    assert (api.verdict.wire_name, admin.verdict.wire_name) == (wire_name,) * 2
    assert api.rows == doors.try_one(by_api, Case(TWILIO), doors.tenant.user.pk).rows
    for outcome in (admin, command):
        assert (outcome.is_untouched, outcome.asked) == (True, [])


# What programs must send exactly may be typed and pasted: the doors for people drop what is around it and then decide
# the same.
PASTED = {
    **at_each("a line break after the token", lambda good: Case(
        good, "invalid_field", "authToken", {"authToken": f"{good.auth_token}\n"}
    )),
    "a blank after the account id": Case(TWILIO, "invalid_field", "accSId", {"accSId": f"{TWILIO.acc_sid} "}),
    **{
        f"pasted, {kind}": Case(TWILIO, "invalid_phone_number", "phoneNumber", {"phoneNumber": pasted})
        for kind, pasted in {
            "contacts of Windows": "\u202a+12125551234\u202c",
            "a page from right to left": "\u200e12125551234",
            "a messenger": "\u2068+12125551234\u2069",
            "a zero-width space inside": "1212555\u200b1234",
            "a word joiner": "1212\u20605551234",
            "a soft hyphen": "1\u00ad2125551234",
            "a PDF document": "+1\ufe0d-212-555-1234",
            "narrow no-break spaces": "+1\u202f212\u202f555\u202f1234",
            "no-break hyphens": "+1\u2011212\u2011555\u20111234",
            "full width": "\uff0b\uff11\uff12\uff11\uff12\uff15\uff15\uff15\uff11\uff12\uff13\uff14",
        }.items()
    },
    "the address of a link": Case(TWILIO, "invalid_phone_number", "phoneNumber", {"phoneNumber": "tel:+12125551234"}),
}  # fmt: skip


@pytest.mark.parametrize("name", PASTED)
def test_the_doors_for_people_tidy_what_was_pasted(name: str, doors: Doors) -> None:
    case = PASTED[name]
    api, admin, command = doors.try_each(case)
    assert (api.verdict.code, api.verdict.wire_name) == (case.code, case.wire_name)
    assert (api.is_untouched, api.asked) == (True, [])
    tidy = doors.try_one(by_api, Case(case.good), doors.tenant.user.pk)
    for outcome in (admin, command):
        assert (outcome.verdict, outcome.carriers, outcome.rows) == (tidy.verdict, tidy.carriers, tidy.rows)


# Where the desk has a list to choose from, a file has a text.
WRITTEN_BY_PEOPLE = {
    "a carrier in capitals": Case(TWILIO, "invalid_field", "integration", {"integration": "Twilio"}),
    "a choice with a capital": Case(TWILIO, "invalid_field", "onConflict", {"onConflict": "Refuse"}),
}


@pytest.mark.parametrize("name", WRITTEN_BY_PEOPLE)
def test_a_file_may_write_choices_in_any_case(name: str, doors: Doors) -> None:
    case = WRITTEN_BY_PEOPLE[name]
    api, _, command = doors.try_each(case)
    assert (api.verdict.code, api.verdict.wire_name, api.is_untouched) == (case.code, case.wire_name, True)
    tidy = doors.try_one(by_api, Case(case.good), doors.tenant.user.pk)
    assert (command.verdict, command.carriers, command.rows) == (tidy.verdict, tidy.carriers, tidy.rows)


# -- who may, and how often -------------------------------------------------------------------------------------------


@pytest.mark.engine
def test_no_door_adds_a_number_to_a_workspace_that_is_closed(doors: Doors) -> None:
    doors.tenant.workspace.is_active = False
    doors.tenant.workspace.save()
    api, admin, command = doors.try_each(Case(TWILIO))
    codes = [outcome.verdict.code for outcome in (api, admin, command)]
    assert codes == ["not_authenticated", "user_not_found", "user_not_found"]
    for outcome in (api, admin, command):
        assert (outcome.is_untouched, outcome.asked) == (True, [])


@pytest.mark.parametrize("last", DOORS)
def test_guesses_through_all_doors_count_together(last: Door, doors: Doors, carrier: Good, settings: Any) -> None:
    others = [door for door in DOORS if door is not last]
    settings.LIMITS = settings.LIMITS | {"refused_credentials": Rate(len(others), 86400)}
    body = carrier.body(doors.tenant.user, **WRONG)
    assert [door(doors, body, {}).code for door in others] == ["invalid_credentials"] * 2
    doors.sandbox.clear_ledger()
    assert last(doors, body, {}).code == "throttled"
    assert doors.sandbox.ledger == []
