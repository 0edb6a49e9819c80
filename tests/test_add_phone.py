"""Adding a number over HTTP, against the sandbox carriers through the real SDKs: each outcome and what it leaves."""

from typing import Any

import pytest

from core.fields import new_object_id
from core.rates import Rate
from integrations.transport import Deadline
from phones.models import Account, Line, PhoneNumber
from phones.reconciling import reconcile
from phones.services.carriers import connect, urls_for
from phones.services.keyring import Keyring
from phones.services.restoring import release_line
from sandbox import state as seeds
from sandbox.sandbox import Sandbox
from tests.support.api import UNSAID, add, data_of, send
from tests.support.carrier_contract import violations
from tests.support.carriers import CARRIERS, PLIVO, TELNYX, TWILIO, WITH_APPLICATIONS, Good, prepare_spare_application
from tests.support.lines import remembered
from tests.support.people import Tenant

pytestmark = pytest.mark.django_db(transaction=True)


def at_carrier(sandbox: Sandbox, good: Good, number: str) -> dict[str, Any]:
    """The number as its carrier has it now."""
    return sandbox.snapshot()[good.integration][good.owner]["numbers"][number]


def applications(sandbox: Sandbox, good: Good) -> dict[str, Any]:
    return sandbox.snapshot()[good.integration][good.owner]["applications"]


def assert_routed_to_us(sandbox: Sandbox, good: Good, number: str) -> None:
    line = Line.objects.get(account__integration=good.integration, number=number)
    urls, now = urls_for(line.account), at_carrier(sandbox, good, number)
    assert good.routes_to(now, webhook_token=line.account.webhook_token, application_id=line.account.application_id)
    if good is TWILIO:
        assert (now["voice_url"], now["voice_method"]) == (urls.answer, "POST")
        assert (now["status_callback"], now["status_callback_method"]) == (urls.status, "POST")
        assert (now["trunk_sid"] or "", now["voice_application_sid"] or "", now["voice_receive_mode"]) == (
            "",
            "",
            "voice",
        )
        return
    linked = applications(sandbox, good)[line.account.application_id]
    if good is PLIVO:
        assert (linked["answer_url"], linked["hangup_url"]) == (urls.answer, urls.status)
    else:
        assert (linked["voice_url"], linked["status_callback"]) == (urls.answer, urls.status)


def assert_refused(reply: Any, status: int, error: str, field: str | None) -> None:
    body = reply.json()
    assert (reply.status_code, body["code"], body["status"]) == (status, status, False)
    assert body["data"] == {"error": error, "field": field}
    assert body["errorMessage"]


def assert_nothing_happened(sandbox: Sandbox, before: dict[str, Any]) -> None:
    assert not PhoneNumber.objects.exists()
    assert not Line.objects.exists()
    assert not Account.objects.exists()
    assert sandbox.snapshot() == before


# -- added ------------------------------------------------------------------------------------------------------------


def test_an_added_number_is_routed_to_us_and_kept(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> None:
    reply = add(tenant, carrier.body(tenant.user))
    assert reply.status_code == 201, reply.content
    phone = PhoneNumber.objects.get()
    assert reply.json() == {
        "message": "Phone number added successfully",
        "status": True,
        "code": 201,
        "errorMessage": "",
        "data": {
            "_id": phone.pk,
            "userId": tenant.user.pk,
            "phoneNumber": carrier.number,
            "integration": carrier.integration,
            "createdAt": phone.created_at.strftime("%Y-%m-%dT%H:%M:%S.")
            + f"{phone.created_at.microsecond // 1000:03d}Z",
        },
    }
    assert phone.state == PhoneNumber.State.ACTIVE
    assert_routed_to_us(sandbox, carrier, carrier.number)


def test_a_label_and_how_the_number_answers_come_with_the_add(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> None:
    inbound = {"action": "forward", "greeting": "Hello", "forwardTo": "+44 20 7946 0000", "record": True}
    reply = add(tenant, carrier.body(tenant.user, label="Front desk", inbound=inbound))
    assert reply.status_code == 201, reply.content
    assert list(reply.json()["data"]) == ["_id", "userId", "phoneNumber", "integration", "createdAt"]
    shown = data_of(send("GET", f"phones/{reply.json()['data']['_id']}", tenant))
    assert shown["label"] == "Front desk"
    assert shown["inbound"] == {**UNSAID, **inbound, "forwardTo": "442079460000"}
    [found] = data_of(send("GET", "phones", tenant))["items"]
    assert found == shown


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"label": 7}, "label"),
        ({"label": "x" * 201}, "label"),
        ({"inbound": "reject"}, "inbound"),
        ({"inbound": {"action": "forward"}}, "inbound"),
        ({"inbound": {"action": "forward", "forwardTo": None}}, "inbound"),
        ({"inbound": {"action": "hangup"}}, "inbound"),
        ({"inbound": {"forward_to": "442079460000"}}, "inbound"),
        ({"inbound": {"action": "forward", "forwardTo": TWILIO.number}}, "inbound"),
    ],
)
def test_a_wrong_label_or_inbound_adds_nothing(
    sandbox: Sandbox, tenant: Tenant, more: dict[str, Any], field: str
) -> None:
    before = sandbox.snapshot()
    assert_refused(add(tenant, TWILIO.body(tenant.user, **more)), 400, "invalid_field", field)
    assert_nothing_happened(sandbox, before)


def test_the_second_number_of_an_account_shares_its_application(
    sandbox: Sandbox, tenant: Tenant, carrier: Good
) -> None:
    before = len(applications(sandbox, carrier))
    assert add(tenant, carrier.body(tenant.user)).status_code == 201
    assert add(tenant, carrier.body(tenant.user, phoneNumber=carrier.another)).status_code == 201
    assert_routed_to_us(sandbox, carrier, carrier.number)
    assert_routed_to_us(sandbox, carrier, carrier.another)
    assert Account.objects.count() == 1
    assert len(applications(sandbox, carrier)) == before + (carrier in WITH_APPLICATIONS.values())


ELSEWHERE = [(good, number) for good in CARRIERS.values() for number in good.elsewhere]


@pytest.mark.parametrize(("good", "number"), ELSEWHERE)
def test_a_number_routed_elsewhere_is_taken_over_and_can_be_given_back_as_it_was(
    sandbox: Sandbox, tenant: Tenant, good: Good, number: str
) -> None:
    before = sandbox.snapshot()
    assert add(tenant, good.body(tenant.user, phoneNumber=number)).status_code == 201
    assert_routed_to_us(sandbox, good, number)
    give_back_everything()
    assert_nothing_happened(sandbox, before)


@pytest.mark.parametrize(("good", "number"), ELSEWHERE)
def test_a_number_routed_elsewhere_is_left_alone_when_asked_to_refuse(
    sandbox: Sandbox, tenant: Tenant, good: Good, number: str
) -> None:
    before = sandbox.snapshot()
    reply = add(tenant, good.body(tenant.user, phoneNumber=number, onConflict="refuse"))
    assert_refused(reply, 400, "number_routed_elsewhere", "phoneNumber")
    assert_nothing_happened(sandbox, before)


@pytest.mark.parametrize(
    ("good", "number"), [(good, number) for good in CARRIERS.values() for number in (good.number, *good.demo)]
)
def test_an_empty_route_and_the_carriers_demo_are_no_conflict(
    sandbox: Sandbox, tenant: Tenant, good: Good, number: str
) -> None:
    assert add(tenant, good.body(tenant.user, phoneNumber=number, onConflict="refuse")).status_code == 201
    assert_routed_to_us(sandbox, good, number)


def give_back_everything() -> None:
    """Take every active number off its line, as a removal will, and restore."""
    for phone in PhoneNumber.objects.select_related("line__account"):
        line, lease_id = phone.line, new_object_id()
        assert line is not None
        account = line.account
        token, deadline = account.auth_token.open(), Deadline(10)
        provider = connect(account.integration, account.account_id, token, deadline, account.workspace_id)
        provider.restore(line.carrier_id, remembered(line), urls_for(account), account.application_id)
        phone.delete()
        Line.objects.filter(pk=line.pk).update(lease_id=lease_id)
        release_line(line, lease_id, Keyring(account), Deadline(10), is_restored=True)


# -- refused by the carrier -------------------------------------------------------------------------------------------


def test_a_wrong_token_is_invalid_credentials(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> None:
    before = sandbox.snapshot()
    reply = add(tenant, carrier.body(tenant.user, authToken="wrong-token"))
    assert_refused(reply, 400, "invalid_credentials", "authToken")
    assert "wrong-token" not in reply.content.decode()
    assert_nothing_happened(sandbox, before)


@pytest.mark.parametrize(
    ("good", "acc_sid", "token", "number"),
    [(good, one.acc_sid or None, one.auth_token, one.number) for good in CARRIERS.values() for one in good.refused],
)
def test_a_suspended_closed_or_foreign_account_is_invalid_credentials(
    sandbox: Sandbox, tenant: Tenant, good: Good, acc_sid: str | None, token: str, number: str
) -> None:
    before = sandbox.snapshot()
    reply = add(tenant, good.body(tenant.user, accSId=acc_sid, authToken=token, phoneNumber=number))
    assert_refused(reply, 400, "invalid_credentials", "authToken")
    assert "credentials" in reply.json()["errorMessage"]
    assert_nothing_happened(sandbox, before)


def test_a_number_of_another_account_is_not_owned(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> None:
    before = sandbox.snapshot()
    reply = add(tenant, carrier.body(tenant.user, phoneNumber=carrier.not_owned))
    assert_refused(reply, 400, "number_not_owned", "phoneNumber")
    assert_nothing_happened(sandbox, before)


@pytest.mark.parametrize("number", ["5215512345678", "5551234", "+44 020 7946 0958"])
def test_a_number_that_no_plan_makes_possible_is_put_to_the_carrier_last_of_all(
    sandbox: Sandbox, tenant: Tenant, carrier: Good, settings: Any, number: str
) -> None:
    settings.LIMITS = settings.LIMITS | {"refused_credentials": Rate(1, 86400)}
    body, before = carrier.body(tenant.user, phoneNumber=number), sandbox.snapshot()
    reply = add(tenant, body)
    assert_refused(reply, 400, "invalid_phone_number", "phoneNumber")
    assert "country code" in reply.json()["errorMessage"]
    assert_nothing_happened(sandbox, before)
    # It says no more to somebody who guesses credentials than any other number, and refused ones are counted alike.
    wrong = body | {"authToken": "wrong"}
    assert_refused(add(tenant, wrong), 400, "invalid_credentials", "authToken")
    sandbox.clear_ledger()
    assert add(tenant, wrong).status_code == 429
    assert sandbox.ledger == []


def test_a_longer_number_that_contains_the_wanted_one_is_not_it(
    sandbox: Sandbox, tenant: Tenant, carrier: Good
) -> None:
    prefix = "4420794600"
    sandbox.add_number(carrier.integration, carrier.owner, prefix + "00")
    reply = add(tenant, carrier.body(tenant.user, phoneNumber=prefix + "0"))
    assert_refused(reply, 400, "number_not_owned", "phoneNumber")


@pytest.mark.parametrize(
    ("good", "number"),
    [(good, number) for good in CARRIERS.values() for number in good.unusable],
)
def test_a_number_without_voice_or_not_active_is_not_usable(
    sandbox: Sandbox, tenant: Tenant, good: Good, number: str
) -> None:
    before = sandbox.snapshot()
    reply = add(tenant, good.body(tenant.user, phoneNumber=number))
    assert_refused(reply, 400, "number_not_usable", "phoneNumber")
    assert_nothing_happened(sandbox, before)


def test_the_same_number_again_exists_however_it_is_written(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> None:
    assert add(tenant, carrier.body(tenant.user)).status_code == 201
    sandbox.clear_ledger()
    for written in (
        carrier.number,
        f"+{carrier.number}",
        f"+{carrier.number[0]} ({carrier.number[1:4]}) {carrier.number[4:7]}-{carrier.number[7:]}",
    ):
        assert_refused(add(tenant, carrier.body(tenant.user, phoneNumber=written)), 400, "phone_exists", "phoneNumber")
    assert sandbox.ledger == []


@pytest.mark.engine
def test_two_users_may_have_the_same_number_on_one_line(
    sandbox: Sandbox, tenant: Tenant, colleague: Tenant, carrier: Good
) -> None:
    assert add(tenant, carrier.body(tenant.user)).status_code == 201
    snapshot = remembered(Line.objects.get())
    assert add(colleague, carrier.body(colleague.user)).status_code == 201
    assert Line.objects.count() == 1
    assert PhoneNumber.objects.count() == 2
    assert remembered(Line.objects.get()) == snapshot
    assert_routed_to_us(sandbox, carrier, carrier.number)


# -- accounts ---------------------------------------------------------------------------------------------------------


@pytest.mark.engine
def test_the_token_just_proved_becomes_the_accounts_token(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> None:
    assert add(tenant, carrier.body(tenant.user)).status_code == 201
    account = sandbox.state.account(carrier.integration, carrier.owner)
    account.secret = "rotated-token"
    sandbox.state.ids_by_key["rotated-token"] = account.id
    body = carrier.body(tenant.user, phoneNumber=carrier.another, authToken="rotated-token")
    assert add(tenant, body).status_code == 201
    row = Account.objects.get()
    assert row.auth_token.open() == "rotated-token"
    assert row.previous_auth_token is not None
    assert row.previous_auth_token.open() == carrier.auth_token
    assert row.rotated_at is not None
    assert not PhoneNumber.objects.filter(operation__isnull=False).exists()


def test_a_failed_add_leaves_the_account_row_that_was_there(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> None:
    assert add(tenant, carrier.body(tenant.user)).status_code == 201
    before: dict[str, Any] = {**Account.objects.values().get(), "auth_token": None}
    for method in ("POST", "PATCH"):
        sandbox.fault("status", carrier=carrier.integration, method=method, status=400, times=None)
    reply = add(tenant, carrier.body(tenant.user, phoneNumber=carrier.another))
    assert_refused(reply, 500, "webhook_setup_failed", None)
    after: dict[str, Any] = {**Account.objects.values().get(), "auth_token": None}
    assert {name for name in before if before[name] != after[name]} <= {"used_by"}
    assert PhoneNumber.objects.count() == Line.objects.count() == 1


def test_the_telnyx_account_is_named_by_the_application_that_we_made(sandbox: Sandbox, tenant: Tenant) -> None:
    assert add(tenant, TELNYX.body(tenant.user)).status_code == 201
    row = Account.objects.get()
    assert row.account_id == row.application_id
    made = applications(sandbox, TELNYX)[row.application_id]
    assert made["friendly_name"].startswith("workspace-phones-")
    assert made["outbound"]["outbound_voice_profile_id"] == seeds.TELNYX_VOICE_PROFILE
    assert row.public_key == sandbox.state.account("telnyx", seeds.TELNYX_KEY).public_key()


def test_a_voice_profile_is_made_where_there_is_none_and_goes_with_the_application(
    sandbox: Sandbox, tenant: Tenant
) -> None:
    before = sandbox.snapshot()
    body = TELNYX.body(tenant.user, phoneNumber="13125557777", authToken=seeds.TELNYX_NOPROFILE_KEY)
    assert add(tenant, body).status_code == 201
    account = sandbox.snapshot()["telnyx"][seeds.TELNYX_NOPROFILE_ACCOUNT]
    row = Account.objects.get()
    (profile,) = account["profiles"].values()
    made = account["applications"][row.application_id]
    assert made["outbound"]["outbound_voice_profile_id"] == profile["id"]
    assert profile["name"] == made["friendly_name"]
    assert row.public_key == ""
    give_back_everything()
    assert_nothing_happened(sandbox, before)


@pytest.mark.engine
def test_a_named_telnyx_application_is_used_and_put_back_as_it_was(sandbox: Sandbox, tenant: Tenant) -> None:
    application = prepare_spare_application(sandbox)
    before = sandbox.snapshot()
    body = TELNYX.body(tenant.user, accSId=application)
    assert add(tenant, body).status_code == 201
    assert_routed_to_us(sandbox, TELNYX, TELNYX.number)
    assert Account.objects.get().account_id == application
    assert applications(sandbox, TELNYX).keys() == before["telnyx"][TELNYX.owner]["applications"].keys()
    give_back_everything()
    assert_nothing_happened(sandbox, before)


@pytest.mark.parametrize("state", PhoneNumber.ROUTED)
def test_a_named_application_may_route_other_numbers_of_the_workspace_whatever_becomes_of_them(
    sandbox: Sandbox, tenant: Tenant, state: str
) -> None:
    """Numbers of a file are added at once: some are linked to it and not active yet."""
    application = prepare_spare_application(sandbox)
    assert add(tenant, TELNYX.body(tenant.user, phoneNumber=TELNYX.another, accSId=application)).status_code == 201
    PhoneNumber.objects.update(state=state)
    assert add(tenant, TELNYX.body(tenant.user, accSId=application)).status_code == 201


@pytest.mark.parametrize("acc_sid", ["999", "no-number", seeds.TELNYX_SIP_CONNECTION])
def test_an_unknown_telnyx_application_is_an_invalid_field(sandbox: Sandbox, tenant: Tenant, acc_sid: str) -> None:
    before = sandbox.snapshot()
    assert_refused(add(tenant, TELNYX.body(tenant.user, accSId=acc_sid)), 400, "invalid_field", "accSId")
    assert_nothing_happened(sandbox, before)


def test_an_application_that_somebody_changed_is_pointed_at_us_again(sandbox: Sandbox, tenant: Tenant) -> None:
    for good in WITH_APPLICATIONS.values():
        assert add(tenant, good.body(tenant.user)).status_code == 201
        application_id = Account.objects.get(integration=good.integration).application_id
        sandbox.console(
            good.integration, good.owner, application=application_id, **{good.answer_field: "https://else.example.com/"}
        )
        assert add(tenant, good.body(tenant.user, phoneNumber=good.another)).status_code == 201
        assert_routed_to_us(sandbox, good, good.another)


def test_an_application_that_somebody_deleted_is_made_again(sandbox: Sandbox, tenant: Tenant) -> None:
    for good in WITH_APPLICATIONS.values():
        assert add(tenant, good.body(tenant.user)).status_code == 201
        application_id = Account.objects.get(integration=good.integration).application_id
        with sandbox.lock:
            del sandbox.state.account(good.integration, good.owner).applications[application_id]
        assert add(tenant, good.body(tenant.user, phoneNumber=good.another)).status_code == 201
        assert_routed_to_us(sandbox, good, good.another)
        assert Account.objects.get(integration=good.integration).application_id != application_id


@pytest.mark.engine
def test_a_route_of_ours_without_a_line_is_not_taken_for_the_customers(
    sandbox: Sandbox, tenant: Tenant, carrier: Good
) -> None:
    assert add(tenant, carrier.body(tenant.user)).status_code == 201
    PhoneNumber.objects.all().delete()  # the database is lost, the carrier's settings are not
    Line.objects.all().delete()
    Account.objects.all().delete()
    assert add(tenant, carrier.body(tenant.user)).status_code == 201
    assert_routed_to_us(sandbox, carrier, carrier.number)
    give_back_everything()
    now = at_carrier(sandbox, carrier, carrier.number)
    assert not (now.get("voice_url") or now.get("application") or now.get("connection_id"))


def test_a_setting_that_somebody_changed_after_us_stays_when_the_number_is_given_back(
    sandbox: Sandbox, tenant: Tenant
) -> None:
    assert add(tenant, TWILIO.body(tenant.user, phoneNumber="12125550001")).status_code == 201
    sandbox.console("twilio", seeds.TWILIO_SID, number="12125550001", voice_url="https://new.example.com/")
    give_back_everything()
    now = at_carrier(sandbox, TWILIO, "12125550001")
    assert now["voice_url"] == "https://new.example.com/"
    assert now["status_callback"] == f"{seeds.FOREIGN_URL}/twilio/status"


# -- the carriers' documents ------------------------------------------------------------------------------------------


def test_every_request_and_every_reply_keeps_to_the_carriers_documents(sandbox: Sandbox, tenant: Tenant) -> None:
    for good, number in [*ELSEWHERE, *((good, good.number) for good in CARRIERS.values())]:
        assert add(tenant, good.body(tenant.user, phoneNumber=number)).status_code == 201
    give_back_everything()
    for good, body in (
        (TELNYX, {"accSId": prepare_spare_application(sandbox)}),
        (TELNYX, {"authToken": seeds.TELNYX_NOPROFILE_KEY, "phoneNumber": "13125557777"}),
    ):
        assert add(tenant, good.body(tenant.user, **body)).status_code == 201
        give_back_everything()
    for good in CARRIERS.values():
        for method in ("POST", "PATCH"):
            sandbox.fault("lost_reply", carrier=good.integration, method=method, times=2)
        add(tenant, good.body(tenant.user))
        add(tenant, good.body(tenant.user, authToken="wrong-token"))
        add(tenant, good.body(tenant.user, phoneNumber=good.not_owned))
        sandbox.clear_faults()
    reconcile()
    exchanges = sandbox.ledger
    for name, good in CARRIERS.items():
        assert {exchange.method for exchange in exchanges if exchange.carrier == name} == good.methods
    problems = {f"{exchange.carrier} {problem}" for exchange in exchanges for problem in violations(exchange)}
    assert problems == set()
