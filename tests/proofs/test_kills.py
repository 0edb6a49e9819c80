"""All or nothing when the process dies: an add is killed with SIGKILL at each of its steps, then the rest is rolled back.

The add runs in a process of its own (tests/support/kill_one_add.py) on the same database and the same sandbox carriers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from django.db import DatabaseError, connection
from django.utils import timezone

from phones.models import Account, Line, MadeApplication, PhoneNumber, token_digest
from phones.reconciling import reconcile
from phones.services import completing
from sandbox.sandbox import Sandbox
from tests.support.api import add
from tests.support.carriers import CARRIERS, SUBJECTS, WITH_APPLICATIONS, Subject
from tests.support.faults import fail_at_the_end, prepare_account
from tests.support.kill_one_add import EVERY_STEP, REFUSED, SUCCEEDED
from tests.support.killing import KILLED, NEW_TOKEN, Killer, rotate_at_the_carrier
from tests.support.lines import remembered
from tests.support.people import Tenant
from tests.support.state import (
    age_leases,
    assert_active,
    assert_envelope,
    assert_gone,
    assert_remembers,
    changes,
    our_applications,
    rows,
    settle,
)
from users.models import LimitCounter

pytestmark = [pytest.mark.engine, pytest.mark.django_db(transaction=True)]


# -- where it dies ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cut:
    """A place in an add: on an account that is new or known; one that would succeed, or one that fails at its end."""

    name: str
    where: str
    when: str
    known: bool = False
    fails: bool = False
    sampled_by_field: ClassVar = True

    def __str__(self) -> str:
        return " ".join(
            [self.name, self.when, self.where.rpartition(":")[2]] + ["known"] * self.known + ["undone"] * self.fails
        )


STEPS = ("reserve", "verify", "snapshot", "apply", "read_back", "activate")
PARTS = ("keep_account", "lock_line", "ready_application")
SETTLING = ("restore_carrier_settings", "release_line")


def applications_of(integration: str) -> str:
    return f"integrations.{integration}.applications:{integration.title()}Applications"


def cuts() -> Iterator[Cut]:
    for name, subject in SUBJECTS.items():
        for known in (False, True):
            if known and name not in CARRIERS:
                continue
            for step in STEPS:
                for when in ("before", "after"):
                    yield Cut(name, f"phones.services.adding:{step}", when, known)
            for part in PARTS:
                yield Cut(name, f"phones.services.adding:{part}", "after", known)
            yield Cut(name, "integrations.base:Provider.apply", "after", known)
            for settling in SETTLING:
                for when in ("before", "after"):
                    yield Cut(name, f"phones.services.restoring:{settling}", when, known, fails=True)
        if subject.integration in WITH_APPLICATIONS:
            applications = applications_of(subject.integration)
            yield Cut(name, f"{applications}._create", "after")
            yield Cut(name, f"{applications}._delete", "before", fails=True)
            yield Cut(name, f"{applications}._delete", "after", fails=True)
    yield Cut("telnyx without a voice profile", f"{applications_of('telnyx')}._make_profile", "after")


at_each_cut = pytest.mark.parametrize("cut", list(cuts()), ids=str)


def kill(killer: Killer, sandbox: Sandbox, tenant: Tenant, cut: Cut) -> Subject:
    """Have the add killed at the cut. Returns whose number it was about."""
    subject = SUBJECTS[cut.name]
    if cut.fails:
        fail_at_the_end(sandbox, cut.name)
    assert killer.run(tenant, subject, cut.where, cut.when)["ended"] == KILLED, "the add never came to the cut"
    sandbox.clear_faults()
    return subject


def assert_undone(sandbox: Sandbox, rows_before: Any, carriers_before: Any) -> None:
    """The next run of `reconcile` undoes what the dead add has done."""
    age_leases()
    assert reconcile().failed == 0
    assert_gone(sandbox, rows_before, carriers_before)


def is_done(cut: Cut) -> bool:
    """Whether the add had its number active when it died."""
    return cut.where.endswith(":activate") and cut.when == "after"


# -- the cases --------------------------------------------------------------------------------------------------------


@at_each_cut
def test_what_a_killed_add_leaves_is_whole_or_gone_after_reconcile(
    killer: Killer, sandbox: Sandbox, tenant: Tenant, cut: Cut
) -> None:
    if cut.known:
        prepare_account(sandbox, tenant, SUBJECTS[cut.name])
    rows_before, carriers_before = rows(), sandbox.snapshot()
    subject = kill(killer, sandbox, tenant, cut)
    age_leases()
    assert reconcile().failed == 0
    if is_done(cut):
        assert_remembers(assert_active(sandbox, subject, tenant, subject.number), cut.name)
    else:
        assert_gone(sandbox, rows_before, carriers_before)


@at_each_cut
def test_after_a_kill_the_same_user_waits_for_the_lease_and_adds_again(
    killer: Killer, sandbox: Sandbox, tenant: Tenant, cut: Cut
) -> None:
    if cut.known:
        prepare_account(sandbox, tenant, SUBJECTS[cut.name])
    subject = kill(killer, sandbox, tenant, cut)
    body = subject.good.body(tenant.user, phoneNumber=subject.number)
    if PhoneNumber.objects.filter(user=tenant.user, number=subject.number).exists():
        assert_envelope(add(tenant, body), "phone_exists")
    age_leases()
    assert_envelope(add(tenant, body), "phone_exists" if is_done(cut) else "")
    assert_remembers(assert_active(sandbox, subject, tenant, subject.number), cut.name)
    assert reconcile().failed == 0
    assert_active(sandbox, subject, tenant, subject.number)
    settle()
    assert_remembers(assert_active(sandbox, subject, tenant, subject.number), cut.name)


@at_each_cut
def test_after_a_kill_another_user_gets_the_number_with_the_customers_route_remembered(
    killer: Killer, sandbox: Sandbox, tenant: Tenant, another: Tenant, cut: Cut
) -> None:
    if cut.known:
        prepare_account(sandbox, tenant, SUBJECTS[cut.name])
    subject = kill(killer, sandbox, tenant, cut)
    age_leases()
    reply = add(another, subject.good.body(another.user, phoneNumber=subject.number))
    if is_done(cut) and another.workspace != tenant.workspace:
        assert_envelope(reply, "number_in_another_workspace")
        settle()
        assert_remembers(assert_active(sandbox, subject, tenant, subject.number), cut.name)
        return
    assert_envelope(reply, "")
    assert_remembers(assert_active(sandbox, subject, another, subject.number), cut.name)
    settle()
    assert_remembers(assert_active(sandbox, subject, another, subject.number), cut.name)
    assert len(our_applications(sandbox, subject)) == len(Account.objects.exclude(application_id="")), "one is left"
    unfinished = PhoneNumber.objects.filter(number=subject.number).exclude(state=PhoneNumber.State.ACTIVE)
    assert not unfinished.exists()
    assert PhoneNumber.objects.filter(user=tenant.user, number=subject.number).exists() == is_done(cut)


@pytest.mark.parametrize("fails", [False, True], ids=["succeeding", "undone"])
@pytest.mark.parametrize("name", SUBJECTS)
def test_killed_after_any_write_or_request_the_rest_is_whole_or_gone(
    killer: Killer, sandbox: Sandbox, tenant: Tenant, name: str, fails: bool
) -> None:
    subject = SUBJECTS[name]
    carriers_before = sandbox.snapshot()

    def start_over() -> None:
        sandbox.reset()
        for model in (PhoneNumber, Line, Account, LimitCounter):
            model.objects.all().delete()
        if fails:
            fail_at_the_end(sandbox, name)

    start_over()
    whole_run = killer.run(tenant, subject, EVERY_STEP, call=0)
    assert whole_run["ended"] == (REFUSED if fails else SUCCEEDED)
    assert whole_run["calls"] > 20
    wrong, active = [], 0
    for call in range(1, whole_run["calls"] + 1):
        start_over()
        assert killer.run(tenant, subject, EVERY_STEP, call=call)["ended"] == KILLED
        sandbox.clear_faults()
        age_leases()
        outcome = reconcile()
        is_left = PhoneNumber.objects.exclude(state=PhoneNumber.State.ACTIVE).exists()
        at_once = changes(carriers_before, sandbox.snapshot())
        settle()
        if PhoneNumber.objects.filter(state=PhoneNumber.State.ACTIVE).exists():
            assert_remembers(assert_active(sandbox, subject, tenant, subject.number), name)
            active += 1
            continue
        left = {model: len(kept) for model, kept in rows().items() if kept}
        differing = changes(carriers_before, sandbox.snapshot())
        if left or differing or at_once or is_left or outcome.failed:
            wrong.append((f"call {call} of {whole_run['calls']}", left, differing, at_once))
    assert wrong == []
    assert (active > 0) == (not fails)


# -- a new token ------------------------------------------------------------------------------------------------------


each_carrier = pytest.mark.parametrize("name", CARRIERS)


@each_carrier
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_new_token_is_taken_over_with_a_number_that_was_active_when_the_add_died(
    killer: Killer, sandbox: Sandbox, tenant: Tenant, name: str, when: str
) -> None:
    subject = SUBJECTS[name]
    prepare_account(sandbox, tenant, subject)
    rows_before, carriers_before = rows(), sandbox.snapshot()
    rotate_at_the_carrier(sandbox, subject)
    cut = "phones.services.completing:adopt_credentials"
    assert killer.run(tenant, subject, cut, when, auth_token=NEW_TOKEN)["ended"] == KILLED
    number = PhoneNumber.objects.get(number=subject.number)
    assert number.operation is not None
    if (
        connection.features.supports_transactions
    ):  # the number becomes active and the token is stored in one transaction, or neither
        assert number.state == PhoneNumber.State.APPLYING
        assert_undone(sandbox, rows_before, carriers_before)
        return
    assert number.state == PhoneNumber.State.ACTIVE
    age_leases()
    assert reconcile().failed == 0
    account = Account.objects.get()
    assert account.auth_token.open() == NEW_TOKEN
    assert account.previous_auth_token is not None
    assert account.previous_auth_token.open() == subject.good.auth_token
    assert account.token_digest == token_digest(NEW_TOKEN)
    assert account.rotated_at is not None
    number.refresh_from_db()
    assert number.operation is None
    assert number.state == PhoneNumber.State.ACTIVE


@each_carrier
@pytest.mark.parametrize("step", ["snapshot", "apply", "read_back"])
def test_an_add_with_a_new_token_that_died_leaves_the_account_as_it_was(
    killer: Killer, sandbox: Sandbox, tenant: Tenant, name: str, step: str
) -> None:
    subject = SUBJECTS[name]
    prepare_account(sandbox, tenant, subject)
    rows_before, carriers_before = rows(), sandbox.snapshot()
    rotate_at_the_carrier(sandbox, subject)
    assert killer.run(tenant, subject, f"phones.services.adding:{step}", auth_token=NEW_TOKEN)["ended"] == KILLED
    assert_undone(sandbox, rows_before, carriers_before)


@each_carrier
def test_reconcile_does_not_bring_back_a_token_that_was_replaced_since(
    sandbox: Sandbox, tenant: Tenant, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    subject = SUBJECTS[name]
    prepare_account(sandbox, tenant, subject)
    rotate_at_the_carrier(sandbox, subject)

    def fail(*_: Any) -> None:
        raise DatabaseError

    with monkeypatch.context() as patch:
        patch.setattr(completing, "adopt_credentials", fail)
        assert_envelope(
            add(tenant, subject.good.body(tenant.user, phoneNumber=subject.number, authToken=NEW_TOKEN)), ""
        )
    assert PhoneNumber.objects.get(number=subject.number).operation is not None
    account = Account.objects.get()
    newest = "the-newest-token-0123456789"
    account.previous_auth_token, account.auth_token = account.auth_token, type(account.auth_token).seal(newest)
    account.token_digest, account.rotated_at = token_digest(newest), timezone.now() + timedelta(seconds=1)
    account.save()
    age_leases()
    assert reconcile().failed == 0
    account.refresh_from_db()
    assert account.auth_token.open() == newest
    assert PhoneNumber.objects.get(number=subject.number).operation is None


def test_the_killed_process_uses_this_database(killer: Killer, sandbox: Sandbox, tenant: Tenant) -> None:
    assert killer.run(tenant, SUBJECTS["twilio"], "", call=0) == {"ended": SUCCEEDED, "calls": 0}
    assert PhoneNumber.objects.get().user == tenant.user


@each_carrier
def test_who_takes_over_the_line_of_a_dead_add_settles_it_at_once(
    killer: Killer, sandbox: Sandbox, tenant: Tenant, another: Tenant, name: str
) -> None:
    subject = SUBJECTS[name]
    assert killer.run(tenant, subject, "phones.services.adding:read_back")["ended"] == KILLED
    age_leases()
    assert_envelope(add(another, subject.good.body(another.user, phoneNumber=subject.number)), "")
    assert not PhoneNumber.objects.filter(user=tenant.user, number=subject.number).exists()
    assert_remembers(assert_active(sandbox, subject, another, subject.number), name)


@each_carrier
@pytest.mark.parametrize("cut", ["lock_line", "customers_settings"])
@pytest.mark.parametrize("who", ["a colleague", "another workspace", "the same user, once it is rolled back"])
def test_a_route_of_ours_that_a_dead_add_has_seen_is_not_taken_for_the_customers(
    killer: Killer,
    sandbox: Sandbox,
    tenant: Tenant,
    colleague: Tenant,
    other_tenant: Tenant,
    name: str,
    cut: str,
    who: str,
) -> None:
    """The add died when it had kept what it saw, and not found out yet what there was before."""
    subject = SUBJECTS[name]
    prepare_account(sandbox, tenant, subject)
    body = subject.good.body(tenant.user, phoneNumber=subject.number)
    assert_envelope(add(tenant, body), "")
    PhoneNumber.objects.filter(number=subject.number).delete()
    Line.objects.filter(number=subject.number).delete()
    when = "after" if cut == "lock_line" else "before"
    assert killer.run(tenant, subject, f"phones.services.adding:{cut}", when)["ended"] == KILLED

    adder = {"a colleague": colleague, "another workspace": other_tenant}.get(who, tenant)
    if adder is tenant:
        # Its lease is the older one: it was reserved before the carrier was asked, and the line held afterwards.
        PhoneNumber.objects.filter(state="reserved").update(lease_until=timezone.now() - timedelta(hours=1))
        assert reconcile().failed == 0
        assert Line.objects.filter(number=subject.number).exists()
    age_leases()
    assert_envelope(add(adder, subject.good.body(adder.user, phoneNumber=subject.number)), "")
    phone = assert_active(sandbox, subject, adder, subject.number)
    assert phone.line is not None
    assert remembered(phone.line)[subject.good.remembered[0]] == ""


@pytest.mark.parametrize("name", WITH_APPLICATIONS)
def test_an_application_that_a_dead_add_has_made_counts_as_ours(
    killer: Killer, sandbox: Sandbox, tenant: Tenant, name: str
) -> None:
    subject = SUBJECTS[name]
    made = f"{applications_of(name)}._create"
    assert killer.run(tenant, subject, made)["ended"] == KILLED
    assert not MadeApplication.objects.exists()
    age_leases()
    assert_envelope(add(tenant, subject.good.body(tenant.user, phoneNumber=subject.another)), "")
    assert MadeApplication.objects.get().application_id == Account.objects.get().application_id
