"""All or nothing when adds meet: the same number, the same account, one failing while another is under way.

Each race runs several times, with small random delays at the sandbox carriers.
"""

import random
import re
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from core.rates import Rate
from phones.models import Account, Line, PhoneNumber
from phones.reconciling import reconcile
from phones.services import adding, releasing
from sandbox import state as seeds
from sandbox.sandbox import Sandbox
from tests.support.api import add
from tests.support.carriers import (
    CARRIERS,
    SUBJECTS,
    TELNYX,
    WITH_APPLICATIONS,
    Subject,
    brand_new,
    prepare_spare_application,
)
from tests.support.faults import NOT_OURS, prepare_account
from tests.support.people import Tenant
from tests.support.races import WAIT_S, jitter, repeated, together, wait_for
from tests.support.state import (
    assert_active,
    assert_envelope,
    assert_gone,
    assert_remembers,
    assert_routed,
    changes,
    our_applications,
    rows,
    settle,
)

pytestmark = [pytest.mark.engine, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("unlimited")]


def path_of(sandbox: Sandbox, subject: Subject, number: str) -> str:
    """A pattern for the path under which the number is written, and no other's."""
    there = sandbox.state.account(subject.integration, subject.owner).numbers[number]
    return f"/{re.escape(str(there.get('sid') or there.get('id') or number))}(/|\\.json)?$"


# -- the same number --------------------------------------------------------------------------------------------------


@repeated(5)
@pytest.mark.parametrize("name", CARRIERS)
def test_of_fifty_adds_of_one_number_by_one_user_one_wins(
    sandbox: Sandbox, tenant: Tenant, name: str, attempt: int
) -> None:
    subject = SUBJECTS[name]
    body = subject.good.body(tenant.user, phoneNumber=subject.number)
    jitter(sandbox)
    replies = together(*[lambda: add(tenant, body)] * 50)
    won = [reply for reply in replies if reply.status_code == 201]
    assert len(won) == 1
    for reply in replies:
        assert_envelope(reply, "" if reply is won[0] else "phone_exists")
    assert_remembers(assert_active(sandbox, subject, tenant, subject.number), name)
    assert (Account.objects.count(), Line.objects.count(), PhoneNumber.objects.count()) == (1, 1, 1)


@repeated(5)
@pytest.mark.parametrize("name", CARRIERS)
def test_two_users_who_add_one_number_at_once_both_get_it_on_one_line(
    sandbox: Sandbox, tenant: Tenant, colleague: Tenant, name: str, attempt: int
) -> None:
    subject = SUBJECTS[name]
    jitter(sandbox)
    replies = together(
        *[
            lambda one=one: add(one, subject.good.body(one.user, phoneNumber=subject.number))
            for one in (tenant, colleague)
        ]
    )
    assert [reply.status_code for reply in replies] == [201, 201], [reply.content for reply in replies]
    for one in (tenant, colleague):
        assert_remembers(assert_active(sandbox, subject, one, subject.number), name)
    assert (Account.objects.count(), Line.objects.count(), PhoneNumber.objects.count()) == (1, 1, 2)


@repeated(5)
@pytest.mark.parametrize("name", CARRIERS)
def test_of_two_workspaces_that_add_one_number_at_once_one_gets_it(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, name: str, attempt: int
) -> None:
    subject = SUBJECTS[name]
    jitter(sandbox)
    tenants = (tenant, other_tenant)
    replies = together(
        *[lambda one=one: add(one, subject.good.body(one.user, phoneNumber=subject.number)) for one in tenants]
    )
    (winner,) = [one for one, reply in zip(tenants, replies, strict=True) if reply.status_code == 201]
    for one, reply in zip(tenants, replies, strict=True):
        assert_envelope(reply, "" if one is winner else "number_in_another_workspace")
    for _ in range(2):
        assert_remembers(assert_active(sandbox, subject, winner, subject.number), name)
        settle()
    assert (Account.objects.count(), Line.objects.count(), PhoneNumber.objects.count()) == (1, 1, 1)
    assert len(our_applications(sandbox, subject)) == (0 if name == "twilio" else 1)


# -- the same account -------------------------------------------------------------------------------------------------


@repeated(5)
@pytest.mark.parametrize("name", CARRIERS)
def test_twelve_numbers_of_a_new_account_share_the_one_application_of_their_workspace(
    sandbox: Sandbox, tenant: Tenant, another: Tenant, name: str, attempt: int
) -> None:
    subject, numbers = brand_new(sandbox, name, 12)
    jitter(sandbox)
    users = [tenant, another] * 6
    replies = together(
        *[
            lambda one=one, number=number: add(one, subject.good.body(one.user, phoneNumber=number))
            for one, number in zip(users, numbers, strict=True)
        ]
    )
    for reply in replies:
        assert_envelope(reply, "")
    for one, number in zip(users, numbers, strict=True):
        assert_active(sandbox, subject, one, number)
    workspaces = len({tenant.workspace, another.workspace})
    assert Account.objects.count() == workspaces
    assert len(our_applications(sandbox, subject)) == (0 if name == "twilio" else workspaces)


@repeated(5)
def test_numbers_of_a_named_application_may_be_added_at_once(sandbox: Sandbox, tenant: Tenant, attempt: int) -> None:
    app_id, numbers = prepare_spare_application(sandbox), [TELNYX.number, TELNYX.another, TELNYX.on_a_trunk]
    jitter(sandbox)
    replies = together(
        *[
            lambda number=number: add(tenant, TELNYX.body(tenant.user, phoneNumber=number, accSId=app_id))
            for number in numbers
        ]
    )
    for reply in replies:
        assert_envelope(reply, "")


@repeated(10)
@pytest.mark.parametrize("name", CARRIERS)
def test_adds_that_fail_on_a_new_account_take_nothing_from_those_that_succeed(
    sandbox: Sandbox, tenant: Tenant, another: Tenant, name: str, attempt: int
) -> None:
    subject, numbers = brand_new(sandbox, name, 4)
    failing, succeeding = numbers[:2], numbers[2:]
    for number in failing:
        method = NOT_OURS[name][0].method.replace("GET", "POST")
        sandbox.fault("status", status=403, carrier=name, method=method, path=path_of(sandbox, subject, number))
    jitter(sandbox, longest_s=random.choice([0.0, 0.02, 0.06]))
    users = [tenant, tenant, another, another]
    offsets = [random.uniform(0, 0.15) for _ in numbers]

    def add_later(one: Tenant, number: str, offset_s: float) -> Any:
        time.sleep(offset_s)
        return add(one, subject.good.body(one.user, phoneNumber=number))

    replies = together(*[lambda case=case: add_later(*case) for case in zip(users, numbers, offsets, strict=True)])
    for number, reply in zip(numbers, replies, strict=True):
        assert_envelope(reply, "webhook_setup_failed" if number in failing else "")
    for number in succeeding:
        assert_active(sandbox, subject, another, number)
    assert {phone.number for phone in PhoneNumber.objects.all()} == set(succeeding)
    assert {line.number for line in Line.objects.all()} == set(succeeding)
    assert reconcile().failed == 0
    for number in succeeding:
        assert_active(sandbox, subject, another, number)


# -- one fails, another waits -----------------------------------------------------------------------------------------


def rewrite_when(sandbox: Sandbox, name: str, wrote: threading.Event, may_fail: Callable[[], Any]) -> None:
    """The next add is told at its end that the route is not ours, as soon as `may_fail` returns."""
    step, change = NOT_OURS[name]

    def hold_and_change(body: Any) -> Any:
        wrote.set()
        may_fail()
        return change(body)

    sandbox.fault(
        "rewrite", carrier=SUBJECTS[name].integration, method=step.method, path=step.path, skip=step.nth,
        change=hold_and_change,
    )  # fmt: skip


def reads_of_numbers(sandbox: Sandbox) -> int:
    """How many adds have read the number so far."""
    path = r"(/IncomingPhoneNumbers\.json|/Number/\d+/|/phone_numbers)$"
    return sum(
        one.method == "GET" and bool(re.search(path, one.path)) and one.ended is not None for one in sandbox.ledger
    )


@repeated(3)
@pytest.mark.parametrize("known", [False, True], ids=["new account", "known account"])
@pytest.mark.parametrize("name", CARRIERS)
def test_who_waits_for_a_line_while_its_add_fails_remembers_the_customers_route(
    sandbox: Sandbox, tenant: Tenant, another: Tenant, name: str, known: bool, attempt: int
) -> None:
    subject = SUBJECTS[name]
    if known:
        prepare_account(sandbox, tenant, subject)
    wrote = threading.Event()
    reads_before_second: list[int] = []

    def second_waits() -> None:
        wait_for(lambda: reads_before_second and reads_of_numbers(sandbox) > reads_before_second[0])
        time.sleep(random.uniform(0.05, 0.3))

    def fail() -> Any:
        return add(tenant, subject.good.body(tenant.user, phoneNumber=subject.number))

    def wait_and_succeed() -> Any:
        assert wrote.wait(WAIT_S)
        reads_before_second.append(reads_of_numbers(sandbox))
        return add(another, subject.good.body(another.user, phoneNumber=subject.number))

    rewrite_when(sandbox, name, wrote, second_waits)
    failed, succeeded = together(fail, wait_and_succeed)
    assert_envelope(failed, "webhook_setup_failed")
    assert_envelope(succeeded, "")
    assert_remembers(assert_active(sandbox, subject, another, subject.number), name)
    assert not PhoneNumber.objects.filter(user=tenant.user, number=subject.number).exists()


@repeated(3)
@pytest.mark.parametrize("name", CARRIERS)
def test_who_saw_the_route_of_an_add_that_failed_but_not_its_application_does_not_remember_it(
    sandbox: Sandbox, tenant: Tenant, another: Tenant, name: str, attempt: int
) -> None:
    """The two reads of the second add lie on either side of the first add's application."""
    subject = SUBJECTS[name]
    wrote, second_began = threading.Event(), threading.Event()
    path = r"(/IncomingPhoneNumbers\.json|/Number/\d+/|/phone_numbers)$"
    sandbox.fault("delay", carrier=name, method="GET", path=path, seconds=0.6)
    # So long that the second add has its line before the first one's account is gone.
    sandbox.fault("delay", carrier=name, method="DELETE", seconds=0.3)
    rewrite_when(
        sandbox, name, wrote,
        lambda: wait_for(lambda: any(one.fault == "delay" and one.ended is not None for one in sandbox.ledger)),
    )  # fmt: skip

    def see_and_succeed() -> Any:
        second_began.set()
        return add(another, subject.good.body(another.user, phoneNumber=subject.number))

    def fail() -> Any:
        assert second_began.wait(WAIT_S)
        wait_for(lambda: sum(one.ended is not None for one in sandbox.ledger) >= (1 if name != "telnyx" else 3))
        return add(tenant, subject.good.body(tenant.user, phoneNumber=subject.number))

    failed, succeeded = together(fail, see_and_succeed)
    assert wrote.is_set()
    assert_envelope(failed, "webhook_setup_failed")
    assert_envelope(succeeded, "")
    assert_remembers(assert_active(sandbox, subject, another, subject.number), name)


@pytest.fixture
def meeting(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """An account is about to be released when another add has just found its application ready.

    Set it when the failing add begins; what the other add does comes between the release's decision and its deed.
    """
    begun, ready, dropped = threading.Event(), threading.Event(), threading.Event()
    drop_application, ready_application = releasing.drop_application, adding.ready_application

    def drop_late(*args: Any, **kwargs: Any) -> bool:
        begun.set()
        ready.wait(1.0)
        try:
            return drop_application(*args, **kwargs)
        finally:
            dropped.set()

    def ready_early(*args: Any, **kwargs: Any) -> str:
        application_id = ready_application(*args, **kwargs)
        if begun.is_set():
            ready.set()
            dropped.wait(1.0)
        return application_id

    monkeypatch.setattr(releasing, "drop_application", drop_late)
    monkeypatch.setattr(adding, "ready_application", ready_early)
    return begun


@pytest.mark.parametrize("name", WITH_APPLICATIONS)
def test_an_application_is_not_deleted_under_an_add_that_has_just_found_it(
    sandbox: Sandbox, tenant: Tenant, colleague: Tenant, meeting: threading.Event, name: str
) -> None:
    subject = SUBJECTS[name]
    step, change = NOT_OURS[name]
    sandbox.fault("rewrite", carrier=name, method=step.method, path=step.path, skip=step.nth, change=change)

    def fail() -> Any:
        return add(tenant, subject.good.body(tenant.user, phoneNumber=subject.number))

    def succeed() -> Any:
        assert meeting.wait(WAIT_S)
        return add(colleague, subject.good.body(colleague.user, phoneNumber=subject.another))

    failed, succeeded = together(fail, succeed)
    assert_envelope(failed, "webhook_setup_failed")
    assert_envelope(succeeded, "")
    assert_active(sandbox, subject, colleague, subject.another)


def test_a_customers_application_is_not_put_back_under_an_add_that_has_just_found_it(
    sandbox: Sandbox, tenant: Tenant, colleague: Tenant, meeting: threading.Event
) -> None:
    app_id = prepare_spare_application(sandbox)
    step, change = NOT_OURS["telnyx"]
    sandbox.fault("rewrite", carrier="telnyx", method=step.method, path=step.path, change=change)

    def fail() -> Any:
        return add(tenant, TELNYX.body(tenant.user, accSId=app_id))

    def succeed() -> Any:
        assert meeting.wait(WAIT_S)
        return add(colleague, TELNYX.body(colleague.user, phoneNumber=TELNYX.another, accSId=app_id))

    failed, succeeded = together(fail, succeed)
    assert_envelope(failed, "webhook_setup_failed")
    if succeeded.status_code == 201:
        account = Account.objects.get()
        there = sandbox.state.account("telnyx", seeds.TELNYX_ACCOUNT).applications[app_id]
        assert account.webhook_token in there["voice_url"], "a 201 whose calls do not come to us"
        assert account.webhook_token in there["status_callback"]
    assert_envelope(succeeded, "")


@pytest.mark.parametrize("name", CARRIERS)
def test_an_add_that_was_settled_while_it_slept_does_not_become_active(
    sandbox: Sandbox, tenant: Tenant, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Its process was stopped after the write for longer than its lease, and `reconcile` took everything back."""
    subject, rows_before, carriers_before = SUBJECTS[name], rows(), sandbox.snapshot()
    read_back = adding.read_back

    def sleep_and_read_back(*args: Any) -> None:
        read_back(*args)
        past = timezone.now() - timedelta(hours=1)
        for model in (PhoneNumber, Line, Account):
            model.objects.exclude(lease_until=None).update(lease_until=past)
        assert reconcile().failed == 0

    monkeypatch.setattr(adding, "read_back", sleep_and_read_back)
    assert_envelope(add(tenant, subject.good.body(tenant.user, phoneNumber=subject.number)), "webhook_setup_failed")
    assert_gone(sandbox, rows_before, carriers_before)


@pytest.mark.parametrize("name", CARRIERS)
def test_adds_that_all_fail_at_once_leave_nothing(sandbox: Sandbox, tenant: Tenant, another: Tenant, name: str) -> None:
    subject, numbers = brand_new(sandbox, name, 6)
    rows_before, carriers_before = rows(), sandbox.snapshot()
    method = NOT_OURS[name][0].method.replace("GET", "POST")
    for number in numbers:
        sandbox.fault("status", status=403, carrier=name, method=method, path=path_of(sandbox, subject, number))
    jitter(sandbox)
    users = [tenant, another] * 3
    replies = together(
        *[
            lambda one=one, number=number: add(one, subject.good.body(one.user, phoneNumber=number))
            for one, number in zip(users, numbers, strict=True)
        ]
    )
    for reply in replies:
        assert_envelope(reply, "webhook_setup_failed")
    assert rows() == rows_before
    assert changes(carriers_before, sandbox.snapshot()) == []


@repeated(5)
def test_requests_that_begin_a_window_of_a_limit_together_are_all_let_in(
    sandbox: Sandbox, tenant: Tenant, settings: Any, attempt: int
) -> None:
    settings.LIMITS = settings.LIMITS | {"adds": Rate(240, 60)}
    body = SUBJECTS["twilio"].good.body(tenant.user)
    replies = together(*[lambda: add(tenant, body)] * 20)
    assert sorted(reply.status_code for reply in replies) == [201, *[400] * 19]


def test_the_helpers_tell_a_route_of_ours_from_another(sandbox: Sandbox, tenant: Tenant) -> None:
    subject = SUBJECTS["twilio"]
    assert add(tenant, subject.good.body(tenant.user)).status_code == 201
    account = Account.objects.get()
    assert_routed(sandbox, subject, subject.good.number, account)
    with pytest.raises(AssertionError):
        assert_routed(sandbox, subject, subject.number, account)
