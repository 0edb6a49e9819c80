"""A number does not forward its calls to a number of its own workspace: they could go round, and each round is billed."""

from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

from phones.errors import ForwardLoop
from phones.models import PhoneNumber
from phones.services import add_phone, rehearse_add
from sandbox.sandbox import Sandbox
from tests.support.api import add, check, data_of, reasons, send
from tests.support.carriers import CARRIERS, TWILIO, Good
from tests.support.desk import LIST, page_of
from tests.support.numbers import added
from tests.support.people import Tenant, sign_in
from users.models import AuditEntry, User

pytestmark = [pytest.mark.engine, pytest.mark.django_db(transaction=True)]

OUTSIDE = "442079460018"
REFUSED = {"error": "invalid_field", "field": "inbound"}


def change(tenant: Tenant, phone: PhoneNumber, **inbound: Any) -> Any:
    return send("PATCH", f"phones/{phone.pk}", tenant, {"inbound": inbound})


def forwarded_to(phone: PhoneNumber) -> tuple[str, str]:
    phone.refresh_from_db()
    return phone.action, phone.forward_to


# -- changing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["itself", "another", "another carrier's", "a colleague's", "one being added"])
def test_no_number_of_the_workspace_is_a_target(sandbox: Sandbox, tenant: Tenant, carrier: Good, target: str) -> None:
    phone = added(tenant, carrier)
    other = next(good for good in CARRIERS.values() if good is not carrier)
    colleague = User.objects.create_user("colleague@one.example.com", workspace=tenant.workspace)
    if target == "itself":
        number = phone.number
    elif target == "another":
        number = added(tenant, carrier, carrier.another).number
    elif target == "another carrier's":
        number = added(tenant, other).number
    elif target == "a colleague's":
        number = added(Tenant(tenant.workspace, colleague, ""), carrier, carrier.another).number
    else:
        number = PhoneNumber.objects.create(user=colleague, number=carrier.another, integration="twilio").number
    for inbound in (
        {"action": "forward", "forwardTo": number}, {"forwardTo": number}, {"action": "forward", "forwardTo": f"+{number}"}
    ):  # fmt: skip
        reply = change(tenant, phone, **inbound)
        assert (reply.status_code, reply.json()["data"]) == (400, REFUSED)
        assert "outside the workspace" in reply.json()["errorMessage"]
    assert forwarded_to(phone) == ("voicemail", "")
    assert not AuditEntry.objects.filter(action="phone.change").exists()


def test_two_numbers_do_not_forward_to_each_other(sandbox: Sandbox, tenant: Tenant) -> None:
    first, second = added(tenant, TWILIO), added(tenant, TWILIO, TWILIO.another)
    assert change(tenant, first, action="forward", forwardTo=second.number).status_code == 400
    assert change(tenant, second, action="forward", forwardTo=first.number).status_code == 400


def test_another_workspaces_number_is_as_any_other(sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant) -> None:
    """To refuse it would tell who has it."""
    phone, foreign = added(tenant, TWILIO), added(other_tenant, CARRIERS["plivo"])
    assert change(tenant, phone, action="forward", forwardTo=foreign.number).status_code == 200


def test_a_number_that_was_removed_is_a_target_again(sandbox: Sandbox, tenant: Tenant) -> None:
    phone, other = added(tenant, TWILIO), added(tenant, TWILIO, TWILIO.another)
    send("DELETE", f"phones/{other.pk}", tenant)
    assert change(tenant, phone, action="forward", forwardTo=other.number).status_code == 200


def test_a_target_that_is_added_later_stays_and_a_check_names_it(
    sandbox: Sandbox, tenant: Tenant, carrier: Good
) -> None:
    phone = added(tenant, carrier, action="forward", forward_to=carrier.another)
    assert check(phone, tenant)["health"] == "ok"
    added(tenant, carrier, carrier.another)

    checked = check(phone, tenant, repair=True)

    assert (checked["health"], reasons(checked), checked["repaired"]) == ("drift", {"forward_loop"}, False)
    assert checked["reasons"][0]["actual"] == carrier.another
    for harmless in ({"label": "x"}, {"inbound": {"record": True}}, {"inbound": {"forwardTo": carrier.another}}):
        data_of(send("PATCH", f"phones/{phone.pk}", tenant, harmless))
    assert change(tenant, phone, action="voicemail").status_code == 200
    assert check(phone, tenant)["health"] == "ok"
    assert change(tenant, phone, action="forward").status_code == 400, "it is chosen anew"
    assert forwarded_to(phone) == ("voicemail", carrier.another)


def test_a_repair_puts_right_what_it_can_beside_a_loop(sandbox: Sandbox, tenant: Tenant) -> None:
    phone = added(tenant, TWILIO, action="forward", forward_to=TWILIO.another)
    added(tenant, TWILIO, TWILIO.another)
    sandbox.console("twilio", TWILIO.acc_sid, number=TWILIO.number, voice_url="")
    assert reasons(check(phone, tenant)) == {"forward_loop", "not_set"}
    assert reasons(check(phone, tenant, repair=True)) == {"forward_loop"}


# -- adding, at each door ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["itself", "another"])
def test_the_service_adds_no_number_that_forwards_into_its_workspace(
    sandbox: Sandbox, tenant: Tenant, carrier: Good, target: str
) -> None:
    number = carrier.another if target == "itself" else added(tenant, carrier).number
    before, asked = sandbox.snapshot(), len(sandbox.ledger)
    for try_it in (add_phone, rehearse_add):
        with pytest.raises(ForwardLoop):
            try_it(
                user=tenant.user, number=carrier.another, integration=carrier.integration, account_id=carrier.acc_sid,
                auth_token=carrier.auth_token, settings={"action": "forward", "forward_to": number},
            )  # fmt: skip
    assert (sandbox.snapshot(), len(sandbox.ledger)) == (before, asked), "no carrier was asked"
    assert not PhoneNumber.objects.filter(number=carrier.another).exists()


def test_the_desk_says_beside_the_field_that_it_is_refused(sandbox: Sandbox, tenant: Tenant, supervisor: User) -> None:
    desk = sign_in(supervisor)
    phone = added(tenant, TWILIO)
    typed = {"action": "forward", "forward_to": f"+{phone.number}", "label": "", "greeting": ""}
    new = {
        "user": tenant.user.pk, "integration": "twilio", "account_id": TWILIO.acc_sid, "number": TWILIO.another,
        "auth_token": TWILIO.auth_token, "on_conflict": "replace",
    }  # fmt: skip
    itself = new | typed | {"forward_to": TWILIO.another}
    for address, form in ((page_of(phone), typed), (f"{LIST}add/", new | typed), (f"{LIST}add/", itself)):
        errors = desk.post(address, form).context["form"].errors
        assert list(errors) == ["forward_to"]
        assert errors["forward_to"][0].startswith("This number is in the workspace itself.")
        assert "forwardTo" not in str(errors) and "inbound" not in str(errors)
    assert PhoneNumber.objects.count() == 1 and forwarded_to(phone) == ("voicemail", "")


def test_a_label_is_changed_at_the_desk_although_the_target_came_into_the_workspace(
    sandbox: Sandbox, tenant: Tenant, supervisor: User
) -> None:
    phone = added(tenant, TWILIO, action="forward", forward_to=TWILIO.another)
    added(tenant, TWILIO, TWILIO.another)
    typed = {"action": "forward", "forward_to": f"+{TWILIO.another}", "label": "Night", "greeting": ""}
    assert sign_in(supervisor).post(page_of(phone), typed).status_code == 302


HEAD = "userId,phoneNumber,integration,accSId,authToken,action,forwardTo\n"


@pytest.mark.parametrize("dry", [True, False], ids=["dry run", "run"])
def test_rows_of_a_file_that_forward_to_each_other_are_not_both_added(
    sandbox: Sandbox, tenant: Tenant, tmp_path: Any, dry: bool
) -> None:
    there = added(tenant, TWILIO, TWILIO.routed_elsewhere)
    pairs = [(TWILIO.number, TWILIO.another), (TWILIO.another, TWILIO.number), ("12125550005", there.number)]
    file = tmp_path / "ring.csv"
    file.write_text(HEAD + "".join(
        f"{tenant.user.pk},{number},twilio,{TWILIO.acc_sid},{TWILIO.auth_token},forward,{target}\n"
        for number, target in pairs
    ))  # fmt: skip
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("add_phones", str(file), "--output", "json", *(["--dry-run"] if dry else []), stdout=out)
    assert '"invalid_field"' in out.getvalue() and "is a number of this workspace" in out.getvalue()
    ring = PhoneNumber.objects.filter(number__in=[TWILIO.number, TWILIO.another])
    assert ring.count() < 2
    assert not PhoneNumber.objects.filter(number="12125550005").exists()


def test_of_two_adds_at_once_that_forward_to_each_other_one_is_refused(
    sandbox: Sandbox, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second begins when the first has its row and has not looked yet."""
    from phones.services import adding

    reserve: Callable[..., PhoneNumber] = adding.reserve
    refused = []

    def reserve_both(wanted: PhoneNumber, *args: Any) -> PhoneNumber:
        row = reserve(wanted, *args)
        if wanted.number == TWILIO.number:
            try:
                added(tenant, TWILIO, TWILIO.another, action="forward", forward_to=TWILIO.number)
            except ForwardLoop as refusal:
                refused.append(refusal)
        return row

    monkeypatch.setattr(adding, "reserve", reserve_both)
    added(tenant, TWILIO, action="forward", forward_to=TWILIO.another)
    assert len(refused) == 1
    assert list(PhoneNumber.objects.values_list("number", flat=True)) == [TWILIO.number]


def test_a_target_outside_is_taken(sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, carrier: Good) -> None:
    assert add(tenant, carrier.body(tenant.user)).status_code == 201
    phone = PhoneNumber.objects.get()
    assert change(tenant, phone, action="forward", forwardTo=OUTSIDE).status_code == 200
    assert forwarded_to(phone) == ("forward", OUTSIDE)
