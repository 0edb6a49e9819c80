"""Removals that meet adds, checks, reconcile and each other leave a number whole or gone."""

import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from phones.models import Account, Line, PhoneNumber
from phones.reconciling import reconcile
from phones.services import adding
from phones.services.carriers import ADD_BUDGET_S
from sandbox import state as seeds
from sandbox.sandbox import Sandbox
from tests.support.api import add, send
from tests.support.carriers import NO_PROFILE, SUBJECTS, Subject, brand_new
from tests.support.lines import remembered
from tests.support.people import Tenant
from tests.support.races import jitter, repeated, together
from tests.support.removal import (
    ROUTES,
    UNKNOWN_ID,
    Earlier,
    assert_as_before,
    assert_not_found,
    assert_nothing_is_left,
    each_carrier,
    each_route,
    later,
    relink,
    remove,
    restored,
)
from tests.support.state import (
    age_leases,
    assert_envelope,
    assert_remembers,
    assert_routed,
    changes,
    our_applications,
    settle,
    start_over,
)

pytestmark = [
    pytest.mark.engine,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("patient", "unlimited"),
]


def remove_what_is_there(tenant: Tenant, number: str) -> Callable[[], Any]:
    def act() -> Any:
        phone = PhoneNumber.objects.filter(user=tenant.user, number=number).first()
        return remove(tenant, phone.pk if phone else UNKNOWN_ID)

    return act


def assert_whole_or_gone(sandbox: Sandbox, subject: Subject, name: str, before: Any) -> None:
    """Each number is active and routed to us, or absent and as before; nothing else is left."""
    owner, active = sandbox.state.account(subject.integration, subject.owner), set()
    for phone in PhoneNumber.objects.select_related("line__account"):
        assert (phone.state, phone.lease_id, phone.lease_until) == (PhoneNumber.State.ACTIVE, "", None)
        assert phone.line is not None
        assert (phone.line.lease_id, phone.line.account.lease_id) == ("", "")
        assert_routed(sandbox, subject, phone.number, phone.line.account)
        if phone.number == subject.number:
            assert_remembers(phone, name)
        active.add(phone.number)
    assert {line.number for line in Line.objects.all()} == active
    assert Account.objects.count() == bool(active)
    applications = our_applications(sandbox, subject)
    assert len(applications) == (1 if active and name != "twilio" else 0)
    ours = {one.get("app_id") or one.get("id") for one in applications}
    where = f"/{subject.integration}/{subject.owner}"
    expected = {f"{where}/numbers/{number}" for number in active} | {f"{where}/applications/{id}" for id in ours}
    for line in changes(before, sandbox.snapshot()):
        assert line.split(": ")[0].startswith(tuple(expected)), line
    assert owner.numbers


INTERLEAVINGS, CHUNKS = 28, 2
LONGEST_DELAY_S = [0.0, 0.005, 0.02]
WHO = ["same user", "a colleague", "another workspace", "another number"]


@pytest.mark.parametrize("chunk", range(CHUNKS))
@pytest.mark.parametrize("who", WHO)
@each_carrier
def test_an_add_and_a_removal_that_meet_leave_the_number_whole_or_gone(
    sandbox: Sandbox, tenant: Tenant, colleague: Tenant, other_tenant: Tenant, name: str, who: str, chunk: int
) -> None:
    subject, ended = SUBJECTS[name], []
    adder = {"a colleague": colleague, "another workspace": other_tenant}.get(who, tenant)
    number = subject.another if who == "another number" else subject.number
    body = subject.good.body(adder.user, phoneNumber=number)
    for attempt in range(INTERLEAVINGS):
        start_over(sandbox)
        before = sandbox.snapshot()
        if there := attempt % 4 != 0:
            Earlier(subject.good, subject.number).add(tenant)
        jitter(sandbox, random.choice(LONGEST_DELAY_S), requests=40)
        acts = [lambda: add(adder, body), remove_what_is_there(tenant, subject.number)]
        added, removed = together(*[later(act, random.uniform(0, 0.06)) for act in acts])
        sandbox.clear_faults()

        if who == "same user" and there:
            assert_envelope(added, "" if added.status_code == 201 else "phone_exists")
        elif who == "another workspace" and there:
            assert_envelope(added, "" if added.status_code == 201 else "number_in_another_workspace")
        else:
            assert_envelope(added, "")
        if removed.status_code == 200:
            assert removed.json()["data"]["restored"] or adder is not tenant, "who may need the line by then"
        else:
            assert_not_found(removed)
            assert not there
        ended.append((added.status_code, removed.status_code))
        age_leases()
        assert reconcile().failed == 0
        settle()
        assert_whole_or_gone(sandbox, subject, name, before)
        is_there = PhoneNumber.objects.filter(user=adder.user, number=number).exists()
        if who in ("same user", "another workspace") and there:
            assert is_there == (added.status_code == 201)
        elif who == "same user":
            assert is_there == (removed.status_code == 404)
        else:
            assert is_there
    assert len(ended) == INTERLEAVINGS


@repeated(5)
@each_carrier
def test_of_two_removals_of_a_number_one_does_it(sandbox: Sandbox, tenant: Tenant, name: str, attempt: int) -> None:
    subject, before = SUBJECTS[name], sandbox.snapshot()
    id = Earlier(subject.good, subject.number).add(tenant)
    jitter(sandbox)
    replies = sorted(together(*[lambda: remove(tenant, id)] * 2), key=lambda reply: reply.status_code)
    assert restored(replies[0], id) is True
    assert_not_found(replies[1])
    assert_as_before(sandbox, before)
    assert_nothing_is_left()


@repeated(5)
@each_carrier
def test_two_users_remove_the_number_of_their_line_at_once(
    sandbox: Sandbox, tenant: Tenant, colleague: Tenant, name: str, attempt: int
) -> None:
    subject, before = SUBJECTS[name], sandbox.snapshot()
    earlier = Earlier(subject.good, subject.number)
    ids = {one.token: (one, earlier.add(one)) for one in (tenant, colleague)}
    jitter(sandbox)
    pairs = list(ids.values())
    replies = together(*[lambda one=one, id=id: remove(one, id) for one, id in pairs])
    # The first may still have left the line to the other.
    were_restored = [restored(reply, id) for reply, (_, id) in zip(replies, pairs, strict=True)]
    assert True in were_restored
    assert_as_before(sandbox, before)
    assert_nothing_is_left()


@repeated(3)
@each_carrier
def test_ten_numbers_of_an_account_are_removed_at_once(
    sandbox: Sandbox, tenant: Tenant, name: str, attempt: int
) -> None:
    subject, numbers = brand_new(sandbox, name, 10)
    before = sandbox.snapshot()
    ids = [Earlier(subject.good, number).add(tenant) for number in numbers]
    jitter(sandbox)
    replies = together(*[lambda id=id: remove(tenant, id) for id in ids])
    assert [restored(reply, id) for reply, id in zip(replies, ids, strict=True)] == [True] * 10
    assert_as_before(sandbox, before)
    assert_nothing_is_left()


@repeated(8)
@each_carrier
def test_reconcile_does_not_disturb_a_removal(sandbox: Sandbox, tenant: Tenant, name: str, attempt: int) -> None:
    subject, before = SUBJECTS[name], sandbox.snapshot()
    id = Earlier(subject.good, subject.number).add(tenant)
    jitter(sandbox, requests=40)
    removed, *outcomes = together(
        later(lambda: remove(tenant, id), random.uniform(0, 0.02)),
        *[later(reconcile, random.uniform(0, 0.1)) for _ in range(3)],
    )
    assert restored(removed, id) is True
    assert [outcome.failed for outcome in outcomes] == [0, 0, 0]
    assert_as_before(sandbox, before)
    assert_nothing_is_left()


@repeated(8)
@each_carrier
def test_two_runs_of_reconcile_finish_a_removal_once(sandbox: Sandbox, tenant: Tenant, name: str, attempt: int) -> None:
    subject, before = SUBJECTS[name], sandbox.snapshot()
    id = Earlier(subject.good, subject.number).add(tenant)
    sandbox.fault("status", carrier=name, status=503, times=None)
    assert restored(remove(tenant, id), id) is False
    sandbox.clear_faults()
    jitter(sandbox, requests=40)
    time.sleep(0.002)
    together(*[later(reconcile, random.uniform(0, 0.03)) for _ in range(3)])
    age_leases()
    assert reconcile().failed == 0
    assert_as_before(sandbox, before)
    assert_nothing_is_left()


def drift(sandbox: Sandbox, name: str, number: str) -> None:
    """Somebody routes the number nowhere."""
    if name == "twilio":
        sandbox.console("twilio", seeds.TWILIO_SID, number=number, voice_url=None)
    else:
        relink(sandbox, name, number, None)


@repeated(12)
@pytest.mark.parametrize("drifted", [False, True], ids=["as it should be", "drifted"])
@each_carrier
def test_a_check_that_repairs_does_not_bring_a_removed_number_back(
    sandbox: Sandbox, tenant: Tenant, name: str, drifted: bool, attempt: int
) -> None:
    subject, before = SUBJECTS[name], sandbox.snapshot()
    id = Earlier(subject.good, subject.number).add(tenant)
    if drifted:
        drift(sandbox, name, subject.number)
    jitter(sandbox, requests=40)
    began = time.monotonic()
    checked, removed = together(
        later(lambda: send("POST", f"phones/{id}/check", tenant, {"repair": True}), random.uniform(0, 0.04)),
        later(lambda: remove(tenant, id), random.uniform(0, 0.04)),
    )
    assert restored(removed, id) is True
    assert checked.status_code in (200, 404), checked.content
    assert (time.monotonic() - began) / ADD_BUDGET_S < 1 / 2, "the check waits for a line that is gone"
    assert_nothing_is_left()
    differing = changes(before, sandbox.snapshot())
    where = f"/{name}/{subject.owner}/numbers/{subject.number}/"
    assert all(drifted and line.startswith(where) for line in differing), differing
    sandbox.clear_faults()
    assert reconcile().failed == 0


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "beside another"])
@each_route
def test_a_removal_between_two_steps_of_another_users_add_is_not_remembered_as_the_customers_route(
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    tenant: Tenant,
    colleague: Tenant,
    route: str,
    alone: bool,
) -> None:
    """The add has seen our route, and before it has its line the removal has given the customer's back."""
    earlier = ROUTES[route]
    earlier.prepare(sandbox)
    if not alone:
        beside = NO_PROFILE.another if earlier.good is NO_PROFILE else earlier.good.another
        if earlier.good is NO_PROFILE:
            sandbox.add_number("telnyx", seeds.TELNYX_NOPROFILE_ACCOUNT, beside)
        # An application that routes a number which is not ours yet cannot be named for another one.
        is_linked = route == "telnyx: the own application named"
        Earlier(earlier.good, beside, {} if is_linked else earlier.fields).add(tenant)
    before = sandbox.snapshot()
    id = earlier.add(tenant)
    remembered_before = remembered(Line.objects.get(number=earlier.number))
    verify = adding.verify_within_limits

    def verify_and_lose(addition: Any) -> Any:
        verified = verify(addition)
        assert restored(remove(tenant, id), id) is True
        return verified

    monkeypatch.setattr(adding, "verify_within_limits", verify_and_lose)
    again = earlier.add(colleague)

    assert remembered(Line.objects.get(number=earlier.number)) == remembered_before
    assert restored(remove(colleague, again), again) is True
    assert_as_before(sandbox, before)
    if alone:
        assert_nothing_is_left()
