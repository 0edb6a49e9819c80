"""Every action that the lists of the admin offer: who has it, what it does, and that none goes round a road."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db.models import Model
from django.test import Client, RequestFactory

from core import clock
from core.leased import LEASE
from phones.desk import number_admin
from phones.models import Account, Import, Line, PhoneNumber
from phones.reconciling import reconcile
from phones.services import slots
from sandbox import state as seeds
from sandbox.sandbox import Sandbox
from tests.support.carriers import CARRIERS, TWILIO, Good
from tests.support.desk import LIST
from tests.support.numbers import added
from tests.support.people import Tenant, new_staff, sign_in
from tests.support.removal import assert_as_before, assert_nothing_is_left
from users.models import ApiToken, AuditEntry, StaffDevice, User, Workspace

pytestmark = pytest.mark.django_db(transaction=True)

REMOVE = f"{LIST}remove/"


def messages_in(reply: Any) -> str:
    return " ".join(str(message) for message in reply.context["messages"])


def trail() -> list[tuple[str, str]]:
    """Who did what, without the sign-ins."""
    entries = AuditEntry.objects.exclude(action__in=["login", "totp.enrolled", "phone.add"])
    return sorted(entries.values_list("action", "actor"))


# -- what each does ---------------------------------------------------------------------------------------------------


class Scene:
    """A row of each model of the admin, and the browser of a superuser."""

    def __init__(self, sandbox: Sandbox, tenant: Tenant) -> None:
        self.sandbox, self.before = sandbox, sandbox.snapshot()
        self.phone = added(tenant, TWILIO)
        self.with_us = sandbox.snapshot()
        self.root = new_staff("root@example.com", is_superuser=True)
        self.desk = sign_in(self.root)
        self.colleague = new_staff("colleague@example.com")
        StaffDevice.objects.create(user=self.colleague, secret=StaffDevice.objects.get().secret)
        self.rows: dict[str, Model] = {
            "phones.PhoneNumber": self.phone,
            "phones.Import": Import.objects.create(name="old.csv", staff="a@example.com", state="ready"),
            "users.Workspace": Workspace.objects.create(name="Quay"),
            "users.User": self.colleague,
            "users.ApiToken": ApiToken.objects.get(),
            "users.AuditEntry": AuditEntry.objects.filter(action="phone.add").get(),
            "auth.Group": Group.objects.create(name="night shift"),
        }

    def do(self, label: str, action: str) -> Any:
        """Choose the row and the action, and say yes to what Django's own page would ask."""
        address = f"/admin/{label.lower().replace('.', '/')}/"
        chosen = {"action": action, "_selected_action": [self.rows[label].pk], "post": "yes"}
        return self.desk.post(address, chosen, follow=True)


def checks(scene: Scene) -> None:
    assert scene.sandbox.snapshot() == scene.with_us
    assert Line.objects.get().checked_at
    assert trail() == []


def repairs(scene: Scene) -> None:
    """Nothing differs, so that nothing is written."""
    checks(scene)


def asks_first(scene: Scene) -> None:
    """Its page goes on to the road of removal."""
    checks(scene)
    scene.desk.post(REMOVE, {"id": [scene.phone.pk]})
    assert trail() == [("phone.remove", scene.root.email)]
    assert_as_before(scene.sandbox, scene.before)
    assert_nothing_is_left()


def resets(scene: Scene) -> None:
    assert not StaffDevice.objects.filter(user=scene.colleague).exists()
    assert trail() == [("totp.reset", scene.root.email)]


def deletes(label: str) -> Callable[[Scene], None]:
    def deletes_and_tells(scene: Scene) -> None:
        row = scene.rows[label]
        assert not type(row)._default_manager.filter(pk=row.pk).exists()
        assert trail() == [(f"{row._meta.model_name}.delete", scene.root.email)]

    return deletes_and_tells


# model: action: (who has it, besides superusers; what has come of it). A new action, or a new model, needs a line here.
ACTIONS: dict[str, dict[str, tuple[str, Callable[[Scene], None]]]] = {
    "phones.PhoneNumber": {
        "check_selected": ("support supervisor", checks),
        "repair_selected": ("support supervisor", repairs),
        "remove_selected": ("supervisor", asks_first),
    },
    "phones.Import": {},
    "users.Workspace": {"delete_selected": ("", deletes("users.Workspace"))},
    "users.User": {"delete_selected": ("", deletes("users.User")), "reset_totp": ("supervisor", resets)},
    "users.ApiToken": {},
    "users.AuditEntry": {},
    "auth.Group": {"delete_selected": ("", deletes("auth.Group"))},
}


@pytest.mark.parametrize("who", ["support", "supervisor", "superuser"])
def test_each_list_offers_the_actions_that_are_stated_here_and_no_other(who: str) -> None:
    user = new_staff("somebody@example.com", who, is_superuser=who == "superuser")
    request = RequestFactory().get("/admin/")
    request.user = user
    offered = {
        model._meta.label: set(model_admin.get_actions(request)) for model, model_admin in admin.site._registry.items()
    }
    assert offered == {
        label: {action for action, (groups, _) in actions.items() if who in groups.split() or who == "superuser"}
        for label, actions in ACTIONS.items()
    }


@pytest.mark.parametrize(
    ("label", "action"), [(label, action) for label, actions in ACTIONS.items() for action in actions]
)
def test_an_action_does_what_is_stated_and_the_trail_has_it(
    sandbox: Sandbox, tenant: Tenant, label: str, action: str
) -> None:
    scene = Scene(sandbox, tenant)
    assert scene.do(label, action).status_code == 200
    ACTIONS[label][action][1](scene)


@pytest.mark.parametrize("label", ACTIONS)
def test_deleting_what_is_chosen_without_an_action_for_it_does_nothing(
    sandbox: Sandbox, tenant: Tenant, label: str
) -> None:
    """Django's own action, by its name, where the list does not offer it."""
    if "delete_selected" in ACTIONS[label]:
        pytest.skip("it is offered there")
    scene = Scene(sandbox, tenant)
    scene.do(label, "delete_selected")
    row = scene.rows[label]
    assert type(row)._default_manager.filter(pk=row.pk).exists()
    assert trail() == []
    assert sandbox.snapshot() == scene.with_us


# -- removing several -------------------------------------------------------------------------------------------------


def choose(desk: Client, phones: list[PhoneNumber]) -> Any:
    chosen = {"action": "remove_selected", "_selected_action": [phone.pk for phone in phones]}
    return desk.post(LIST, chosen, follow=True)


@pytest.mark.engine
def test_several_numbers_are_removed_as_one_is(desk: Client, tenant: Tenant, sandbox: Sandbox) -> None:
    before = sandbox.snapshot()
    phones = [added(tenant, good, good.routed_elsewhere) for good in CARRIERS.values()]
    with_us = sandbox.snapshot()

    page = choose(desk, phones)

    assert sandbox.snapshot() == with_us and PhoneNumber.objects.filter(state="active").count() == 3
    html = page.content.decode()
    assert "Remove 3 numbers?" in html
    for told_before in (f"Voice URL: {seeds.FOREIGN_URL}/twilio/answer", seeds.PLIVO_CUSTOMER_APP):
        assert told_before in html
    done = desk.post(REMOVE, {"id": [phone.pk for phone in phones]}, follow=True)
    assert messages_in(done).count("was removed, and the carrier's previous settings were restored") == 3
    assert_as_before(sandbox, before)
    assert_nothing_is_left()
    assert trail() == [("phone.remove", "supervisor@example.com")] * 3


def test_many_are_removed_part_by_part_and_the_page_tells_how_far_it_is(
    desk: Client, tenant: Tenant, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(number_admin, "REMOVED_PER_PAGE", 2)
    before = sandbox.snapshot()
    phones = [added(tenant, TWILIO, number) for number in (TWILIO.number, TWILIO.another, TWILIO.routed_elsewhere)]
    page = desk.post(REMOVE, {"total": "3", "id": [phone.pk for phone in phones]})
    html = page.content.decode()
    assert "Processed 2 of 3" in html and '<progress max="3" value="2">' in html and "data-goes-on" in html
    assert PhoneNumber.objects.count() == 1
    done = desk.post(REMOVE, {"total": "3", "id": page.context["remaining"]}, follow=True)
    assert messages_in(done).count("was removed") == 3, "what came of the first two is told at the end, too"
    assert_as_before(sandbox, before)
    assert_nothing_is_left()


def test_what_cannot_be_put_back_yet_is_told_and_follows(desk: Client, tenant: Tenant, sandbox: Sandbox) -> None:
    before = sandbox.snapshot()
    phones = [added(tenant, CARRIERS["twilio"]), added(tenant, CARRIERS["plivo"])]
    sandbox.fault("reset", carrier="plivo", times=None)
    text = messages_in(desk.post(REMOVE, {"id": [phone.pk for phone in phones]}, follow=True))
    assert "previous settings were restored" in text and "The carrier did not respond" in text
    sandbox.clear_faults()
    assert reconcile().failed == 0
    assert_as_before(sandbox, before)
    assert_nothing_is_left()


@pytest.mark.engine
def test_two_users_of_one_number_can_both_be_chosen(
    desk: Client, tenant: Tenant, sandbox: Sandbox, carrier: Good
) -> None:
    before = sandbox.snapshot()
    colleague = Tenant(tenant.workspace, User.objects.create_user("b@x.example.com", workspace=tenant.workspace), "")
    phones = [added(one, carrier, carrier.routed_elsewhere) for one in (tenant, colleague)]
    assert "another user here also has this number" not in choose(desk, phones).content.decode()
    assert "another user here also has this number" in choose(desk, phones[:1]).content.decode()
    text = messages_in(desk.post(REMOVE, {"id": [phone.pk for phone in phones]}, follow=True))
    assert text.count("was removed") == 2
    assert_as_before(sandbox, before)
    assert_nothing_is_left()


def test_a_number_that_somebody_else_has_removed_meanwhile_is_passed_over(
    desk: Client, tenant: Tenant, sandbox: Sandbox
) -> None:
    phones = [added(tenant, TWILIO), added(tenant, TWILIO, TWILIO.another)]
    ids = [phone.pk for phone in phones]
    desk.post(REMOVE, {"id": ids[:1]})
    assert messages_in(desk.post(REMOVE, {"id": [*ids, "nonsense", "0" * 24]}, follow=True)).count("was removed") == 2
    assert_nothing_is_left()


def test_too_many_are_refused_as_a_whole(
    desk: Client, tenant: Tenant, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(number_admin, "MAX_REMOVED", 1)
    phones = [added(tenant, TWILIO), added(tenant, TWILIO, TWILIO.another)]
    assert "at most 1 numbers at a time" in messages_in(choose(desk, phones))
    assert PhoneNumber.objects.filter(state="active").count() == 2


def test_without_a_carrier_slot_the_page_waits_and_nothing_is_removed(
    desk: Client, tenant: Tenant, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone = added(tenant, TWILIO)
    monkeypatch.setattr(slots.slots, "acquire", lambda blocking: False)
    html = desk.post(REMOVE, {"id": [phone.pk]}).content.decode()
    assert "Processed 0 of 1" in html and "Wait a moment" in html and "data-goes-on" not in html
    assert PhoneNumber.objects.get().state == "active"


def test_support_removes_nothing_and_nobody_does_by_opening_an_address(
    desk: Client, tenant: Tenant, sandbox: Sandbox, staff: User
) -> None:
    phone = added(tenant, TWILIO)
    support = sign_in(staff)
    choose(support, [phone])
    assert support.post(REMOVE, {"id": [phone.pk]}).status_code == 403
    assert desk.get(REMOVE, {"id": [phone.pk]}).status_code == 403
    assert PhoneNumber.objects.get().state == "active"


# -- looking ----------------------------------------------------------------------------------------------------------


def addresses(patterns: Any, before: str = "/admin/") -> list[str]:
    """All of the admin, as they are written in its URLconf."""
    found = []
    for one in patterns:
        here = before + str(one.pattern)
        found += addresses(one.url_patterns, here) if hasattr(one, "url_patterns") else [here]
    return found


def test_no_page_acts_when_it_is_merely_opened(sandbox: Sandbox, tenant: Tenant) -> None:
    """Every address of the admin, with the id of each row: nothing at a carrier, no row and no entry changes."""
    scene = Scene(sandbox, tenant)
    scene.desk.raise_request_exception = False
    dead = clock.now() - LEASE
    Import.objects.update(state="adding", lease_id="dead", lease_until=dead)
    sandbox.clear_ledger()
    before = what_is_kept()
    opened = 0
    for address in addresses(admin.site.get_urls()):
        for row in scene.rows.values() if "<" in address else [None]:
            path = re.sub(r"<(?:\w+:)?\w+>", str(row.pk) if row else "", address)
            if "(?P" in path or "logout" in path:
                continue
            reply = scene.desk.get(path)
            opened += reply.status_code == 200
            assert sandbox.ledger == [], path
            assert what_is_kept() == before, path
    assert opened > 30
    assert sandbox.snapshot() == scene.with_us


def what_is_kept() -> dict[str, list[Any]]:
    models: tuple[type[Model], ...] = (*admin.site._registry, Account, Line, StaffDevice)
    return {
        model._meta.label: [
            [getattr(value, "sealed", value) for value in row]
            for row in model._default_manager.order_by("pk").values_list()
        ]
        for model in models
    }
