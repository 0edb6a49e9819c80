"""A removal that is killed with SIGKILL at each of its steps is finished by whoever comes next.

The removal runs in a process of its own (tests/support/kill_one_removal.py) on the same database and the same sandbox
carriers. Who comes next is `reconcile`, the same user who adds the number again, or another user who adds it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from phones.models import Line, PhoneNumber
from phones.reconciling import reconcile
from phones.services import remove_phone
from phones.services.restoring import Restoration
from sandbox.sandbox import Sandbox
from tests.support.api import add
from tests.support.carriers import CARRIERS, SPARE_APPLICATION, SUBJECTS, Subject, prepare_spare_application
from tests.support.kill_one_add import EVERY_STEP, SUCCEEDED
from tests.support.killing import KILLED, Killer
from tests.support.lines import remembered
from tests.support.people import Tenant, colleague_of
from tests.support.state import (
    age_leases,
    assert_envelope,
    assert_gone,
    assert_routed,
    our_applications,
    rows,
    start_over,
)

pytestmark = [pytest.mark.engine, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("unlimited")]

# -- the process that dies --------------------------------------------------------------------------------------------


class Remover(Killer):
    """The running tests/support/kill_one_removal.py."""

    module = "tests.support.kill_one_removal"

    def remove(self, phone_id: str, cut: str, when: str = "after", *, call: int = 1) -> dict[str, int]:
        """Remove the number, cut there. Returns how the process ended and the calls it made."""
        return self.send({"phone": phone_id, "cut": cut, "when": when, "call": call})


@pytest.fixture(scope="session")
def remover(django_db_setup: None, running_sandbox: Sandbox) -> Iterator[Remover]:
    remover = Remover(running_sandbox)
    yield remover
    remover.stop()


# -- what is removed --------------------------------------------------------------------------------------------------

OWN = "telnyx with an own application"
WAYS = ["last", "not last", "shared"]


@dataclass(frozen=True)
class Place:
    """A number that is the last of its account, or not the last, or on a line that another user has too."""

    name: str
    way: str
    sampled_by_field: ClassVar = True

    def __str__(self) -> str:
        return f"{self.name}, {self.way}"

    @property
    def subject(self) -> Subject:
        return SUBJECTS["telnyx" if self.name == OWN else self.name]

    def add(self, tenant: Tenant, number: str = "") -> Any:
        fields = {"accSId": SPARE_APPLICATION} if self.name == OWN else {}
        number = number or self.number
        reply = add(tenant, self.subject.good.body(tenant.user, phoneNumber=number, **fields))
        assert_envelope(reply, "")
        return PhoneNumber.objects.get(user=tenant.user, number=number)

    @property
    def number(self) -> str:
        """With an own application: one that is on a SIP connection."""
        return "13125550002" if self.name == OWN else self.subject.number

    def prepare(self, third: Tenant) -> None:
        """What is there before the number is added, and stays."""
        if self.way == "not last":
            self.add(third, self.subject.another)
        if self.way == "shared":
            self.add(third)


PLACES = [Place(name, way) for name in (*SUBJECTS, OWN) for way in WAYS if way == "last" or name in CARRIERS]


@dataclass
class Before:
    """How things were before the number was added, and what its line remembered then."""

    rows: Any
    carriers: Any
    snapshot: Any
    phone: PhoneNumber


def begin(sandbox: Sandbox, place: Place, tenant: Tenant, third: Tenant) -> Before:
    if place.name == OWN:
        prepare_spare_application(sandbox)
    place.prepare(third)
    rows_before, carriers = rows(), sandbox.snapshot()
    phone = place.add(tenant)
    return Before(rows_before, carriers, snapshot_of(phone), phone)


def snapshot_of(phone: PhoneNumber) -> Any:
    assert phone.line is not None
    return remembered(phone.line)


# -- where it dies ----------------------------------------------------------------------------------------------------

REMOVING, RESTORING, RELEASING = "phones.services.removing", "phones.services.restoring", "phones.services.releasing"
LINKS = "integrations.applications:ApplicationProvider"
APPLICATIONS = "integrations.applications:Applications"


def steps(place: Place) -> list[str]:
    """The steps of a removal there, each of which it comes to once at least."""
    integration = place.subject.integration
    provider = f"integrations.{integration}.provider:{integration.title()}"
    found = [
        "phones.services.leases:wait", f"{REMOVING}:roll_back_or_release", f"{RESTORING}:roll_back",
        f"{RESTORING}:restore_carrier_settings", f"{RESTORING}:release_line",
    ]  # fmt: skip
    if place.way != "shared" and integration == "twilio":
        found += [f"{provider}.restore", f"{provider}._update"]
    elif place.way != "shared":
        found += [f"{LINKS}.restore", f"{LINKS}.link"]
    if place.way == "last":
        found += [f"{RESTORING}:release_account", f"{RELEASING}:drop_application"]
        if place.name == OWN:
            found.append(f"{APPLICATIONS}.restore")
        elif integration != "twilio":
            found.append(f"{APPLICATIONS}.delete")
    return found


# -- what must be so afterwards ---------------------------------------------------------------------------------------


def after_reconcile(sandbox: Sandbox, place: Place, before: Before, user: Tenant) -> None:
    age_leases()
    assert reconcile().failed == 0
    assert_gone(sandbox, before.rows, before.carriers)


def after_another_add(sandbox: Sandbox, place: Place, before: Before, user: Tenant) -> None:
    """The add finds the number as it was; the dead removal is over, and the next removal leaves nothing."""
    age_leases()
    phone = place.add(user)
    assert phone.state == PhoneNumber.State.ACTIVE
    assert snapshot_of(phone) == before.snapshot, "the line does not remember the customer's route"
    assert_whole(sandbox, place, phone)
    age_leases()
    assert reconcile().failed == 0
    assert_whole(sandbox, place, phone)
    assert not PhoneNumber.objects.filter(pk=before.phone.pk).exists()
    expected = Restoration.STILL_NEEDED if place.way == "shared" else Restoration.DONE
    assert remove_phone(PhoneNumber.objects.get(pk=phone.pk)) is expected
    assert_gone(sandbox, before.rows, before.carriers)


def assert_whole(sandbox: Sandbox, place: Place, phone: PhoneNumber) -> None:
    """The number's calls come to us; one application, one line."""
    assert phone.line is not None
    account = phone.line.account
    assert Line.objects.filter(number=place.number).count() == 1
    if place.name != OWN:
        assert_routed(sandbox, place.subject, place.number, account)
        return
    assert our_applications(sandbox, place.subject) == []
    owner = sandbox.state.account("telnyx", place.subject.owner)
    assert owner.numbers[place.number]["connection_id"] == account.application_id == SPARE_APPLICATION
    assert account.webhook_token in owner.applications[account.application_id]["voice_url"]


NEXT = {
    "reconcile": after_reconcile,
    "the same user": after_another_add,
    "a colleague": after_another_add,
    "another workspace": after_another_add,
}


@dataclass
class Scene:
    """What a case needs, set up anew for each death."""

    remover: Remover
    sandbox: Sandbox
    place: Place
    tenant: Tenant
    third: Tenant

    def start(self) -> Before:
        start_over(self.sandbox)
        return begin(self.sandbox, self.place, self.tenant, self.third)

    def die_and_go_on(self, where: str, when: str, call: int, who: str, user: Tenant) -> None:
        before = self.start()
        ended = self.remover.remove(before.phone.pk, where, when, call=call)["ended"]
        assert ended == KILLED, f"the removal never came to {when} {where} {call}"
        try:
            NEXT[who](self.sandbox, self.place, before, user)
        except AssertionError as error:
            raise AssertionError(f"killed {when} {where}, call {call}: {error}") from error


@pytest.fixture
def scene(remover: Remover, sandbox: Sandbox, tenant: Tenant, place: Place) -> Scene:
    return Scene(remover, sandbox, place, tenant, colleague_of(tenant, "third"))


each_ending = pytest.mark.parametrize("who", NEXT)
each_place = pytest.mark.parametrize("place", PLACES, ids=str)


@pytest.fixture
def comes_next(who: str, place: Place, tenant: Tenant, colleague: Tenant, other_tenant: Tenant) -> Tenant:
    if who == "another workspace" and place.way == "shared":
        pytest.skip("the number stays in the workspace")
    return {"a colleague": colleague, "another workspace": other_tenant}.get(who, tenant)


@each_ending
@each_place
def test_killed_before_or_after_any_step_a_removal_is_finished(scene: Scene, comes_next: Tenant, who: str) -> None:
    for where in steps(scene.place):
        for when in ("before", "after"):
            scene.die_and_go_on(where, when, 1, who, comes_next)


@each_ending
@each_place
def test_killed_after_any_write_or_request_a_removal_is_finished(scene: Scene, comes_next: Tenant, who: str) -> None:
    before = scene.start()
    whole_run = scene.remover.remove(before.phone.pk, EVERY_STEP, call=0)
    assert whole_run["ended"] == SUCCEEDED
    assert whole_run["calls"] > 6
    assert_gone(scene.sandbox, before.rows, before.carriers)
    for call in range(1, whole_run["calls"] + 1):
        scene.die_and_go_on(EVERY_STEP, "after", call, who, comes_next)


@pytest.mark.parametrize("place", PLACES[:1], ids=str)
def test_the_removing_process_uses_this_database(scene: Scene) -> None:
    before = scene.start()
    assert scene.remover.remove(before.phone.pk, "", call=0) == {"ended": SUCCEEDED, "calls": 0}
    assert_gone(scene.sandbox, before.rows, before.carriers)
