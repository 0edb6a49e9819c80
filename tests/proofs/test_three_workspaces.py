"""Three workspaces on shared and own carrier accounts, at random: each sees and keeps only what is its own.

They add, remove, move, check and repair numbers, with tokens that are renewed and numbers that are transferred to other
accounts, while carriers fail, carry out changes late, show old settings, and processes die at any request. The carriers
call the numbers all the time. SAMPLE_SEED=… repeats a run.
"""

import os
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from core.errors import Refusal
from integrations import errors as carriers
from integrations.asking import Asking
from phones.errors import NoSuchPhone
from phones.models import Account, Line, PhoneNumber
from phones.reconciling import reconcile
from phones.services import adding, check_phone, leases, move_phone, remove_phone, rotate_auth_token
from phones.services import carriers as our_carriers
from phones.services.call_log import calls_of, recordings_of, shown_numbers
from sandbox.sandbox import Sandbox
from tests.support import EVERY_CASE
from tests.support.carriers import CARRIERS, OTHERS, Good
from tests.support.people import Tenant, colleague_of, new_tenant
from tests.support.state import age_leases
from tests.support.tally import Tally
from tests.support.webhooks import Party, at_carrier, event
from tests.support.webhooks import send as knock

pytestmark = [pytest.mark.engine, pytest.mark.django_db(transaction=True)]

PARTS, OPERATIONS = (20, 2000) if EVERY_CASE else (10, 500)
SEED = os.environ.get("SAMPLE_SEED", "workspace phones")


class Died(BaseException):
    """The process of an operation is gone."""


@dataclass
class World:
    """What is true, as somebody knows who sees everything."""

    sandbox: Sandbox
    chance: random.Random
    workspaces: list[list[Tenant]]
    # The present token of each carrier account, and whoever had a token of it: only these may ever be used for it.
    tokens: dict[tuple[str, str], str] = field(default_factory=dict)
    known: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    # The tokens that a workspace believes in.
    believed: dict[tuple[str, str, str], str] = field(default_factory=dict)
    # The calls that were delivered to a workspace, by the carrier's id.
    delivered: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def someone(self) -> Tenant:
        return self.chance.choice(self.chance.choice(self.workspaces))

    def account(self, name: str) -> Good:
        return self.chance.choice([CARRIERS[name], OTHERS[name]])

    def believes(self, tenant: Tenant, good: Good) -> Good:
        """The account with the token that the workspace has for it: the present one, unless it was not told."""
        key = tenant.workspace.pk, good.integration, good.owner
        token = self.believed.setdefault(key, self.tokens[good.integration, good.owner])
        self.known[tenant.workspace.pk].add(token)
        return replace(good, auth_token=token)


@pytest.fixture
def world(sandbox: Sandbox, db: None, settings: Any, monkeypatch: pytest.MonkeyPatch, part: int) -> World:
    settings.CARRIER_READ_TIMEOUT_S = 0.3
    settings.LIMITS = dict.fromkeys(settings.LIMITS)
    tenants = [new_tenant(name) for name in ("one", "two", "three")]
    world = World(sandbox, random.Random(f"{SEED} {part}"), [[tenant, colleague_of(tenant)] for tenant in tenants])
    for goods in (CARRIERS, OTHERS):
        for good in goods.values():
            world.tokens[good.integration, good.owner] = good.auth_token
    connect = our_carriers.connect

    def watched(integration: str, account_id: str, token: str, deadline: Any, workspace_id: str | None) -> Any:
        assert token in world.known[str(workspace_id)], "a workspace's request is made with a token of another one"
        return connect(integration, account_id, token, deadline, workspace_id)

    for module in ("accounts", "carriers"):
        monkeypatch.setattr(f"phones.services.{module}.connect", watched)
    return world


@contextmanager
def dying(after: int) -> Iterator[None]:
    """The process dies at its `after`-th request, before or after the carrier has carried it out: none of its handlers
    runs any more."""
    left, dead, ask = after, False, Asking.ask
    undone = {name: getattr(leases, name) for name in ("release", "expire", "let_go")}
    undo = adding.undo

    def ask_or_die(self: Asking, send: Callable[[], Any], **options: Any) -> Any:
        nonlocal left, dead
        left -= 1
        if left == 0:
            if after % 2:
                ask(self, send, **options)
            dead = True
        if dead:
            raise Died
        return ask(self, send, **options)

    def unless_dead(act: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **fields: None if dead else act(*args, **fields)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Asking, "ask", ask_or_die)
        patch.setattr(adding, "undo", unless_dead(undo))
        for name, act in undone.items():
            patch.setattr(leases, name, unless_dead(act))
        yield


# -- operations -------------------------------------------------------------------------------------------------------


def owned_numbers(world: World, name: str) -> list[tuple[Good, str]]:
    """The numbers of the two accounts at a carrier, wherever they are now."""
    return [
        (good, number)
        for good in (CARRIERS[name], OTHERS[name])
        for number in sorted(world.sandbox.state.account(name, good.owner).numbers)
        if number in NUMBERS[name]
    ]


NUMBERS = {
    name: {good.number, good.another, good.routed_elsewhere, OTHERS[name].number} for name, good in CARRIERS.items()
}


def a_phone(world: World, **filters: Any) -> PhoneNumber | None:
    phones = PhoneNumber.objects.filter(**filters).select_related("line__account", "retired_from", "user__workspace")
    return world.chance.choice(found) if (found := list(phones.order_by("pk"))) else None


def tenant_of(world: World, phone: PhoneNumber) -> Tenant:
    return next(one for users in world.workspaces for one in users if one.user.pk == phone.user_id)


def add(world: World) -> None:
    name = world.chance.choice(sorted(CARRIERS))
    good, number = world.chance.choice(owned_numbers(world, name))
    tenant = world.someone()
    believed = world.believes(tenant, good)
    conflict = world.chance.choice(["replace", "replace", "refuse"])
    adding.add_phone(
        user=tenant.user, number=number, integration=name, account_id=believed.acc_sid, auth_token=believed.auth_token,
        on_conflict=conflict, budget_s=3.0,
    )  # fmt: skip


def remove(world: World) -> None:
    if phone := a_phone(world, state__in=PhoneNumber.SHOWN):
        remove_phone(phone)


def move(world: World) -> None:
    if phone := a_phone(world, state="active"):
        tenant = world.someone()
        assert phone.account
        owner = next(good for good in both(phone.integration) if owns(world, good, phone.number))
        believed = world.believes(tenant, owner)
        move_phone(phone, user=tenant.user, account_id=believed.acc_sid, auth_token=believed.auth_token)


def both(name: str) -> list[Good]:
    return [CARRIERS[name], OTHERS[name]]


def owns(world: World, good: Good, number: str) -> bool:
    return number in world.sandbox.state.account(good.integration, good.owner).numbers


def check(world: World) -> None:
    if phone := a_phone(world, state__in=PhoneNumber.SHOWN):
        check_phone(phone, repair=world.chance.random() < 0.5)


def renew_token(world: World) -> None:
    """The customer renews a token in the carrier's console; one workspace is told."""
    good = world.account(world.chance.choice(sorted(CARRIERS)))
    token = f"{good.integration}-token-{world.chance.randrange(10**9)}"
    world.sandbox.change_secret(good.integration, good.owner, token)
    world.tokens[good.integration, good.owner] = token
    told = world.someone().workspace.pk
    world.believed[told, good.integration, good.owner] = token
    world.known[told].add(token)


def tell_token(world: World) -> None:
    """A workspace that has numbers of an account is told the present token."""
    if phone := a_phone(world, state="active"):
        tenant = tenant_of(world, phone)
        good = next(one for one in both(phone.integration) if owns(world, one, phone.number))
        token = world.tokens[good.integration, good.owner]
        world.believed[tenant.workspace.pk, good.integration, good.owner] = token
        world.known[tenant.workspace.pk].add(token)
        rotate_auth_token(phone, token)


def transfer(world: World) -> None:
    name = world.chance.choice(sorted(CARRIERS))
    good, number = world.chance.choice(owned_numbers(world, name))
    to = next(one for one in both(name) if one.owner != good.owner)
    world.sandbox.transfer_number(name, number, to.owner, account=good.owner)


def call(world: World) -> None:
    """The carrier calls whatever address the number has, as it signs now."""
    name = world.chance.choice(sorted(CARRIERS))
    good, number = world.chance.choice(owned_numbers(world, name))
    account = routed_to(world, good, number)
    if account is None:
        return
    id = f"call-{len(world.delivered)}-{world.chance.randrange(10**9)}"
    plus = "" if name == "plivo" else "+"
    form = event(name, id, To=plus + number)
    recording = "RecordingID" if name == "plivo" else "RecordingSid"
    if world.chance.random() < 0.3:
        form.append((recording, f"RE-{id}"))
    reply = knock(Party(account, at_carrier(world.sandbox, good)).knock("answer", form, timestamp=None))
    assert reply.status_code in (200, 403)
    if reply.status_code == 200:
        world.delivered[id] = str(account.workspace_id)
        world.counts["calls delivered"] += 1
        is_theirs = PhoneNumber.objects.filter(
            number=number, integration=name, user__workspace=account.workspace_id, state__in=("active", "applying")
        ).exists()
        answers = b"Hangup" in reply.content and b"Record" not in reply.content
        assert answers != is_theirs, "a number answers that is nobody's, or does not although it is somebody's"


def routed_to(world: World, good: Good, number: str) -> Account | None:
    """The account of ours that the carrier sends the number's calls to."""
    resources = world.sandbox.state.account(good.integration, good.owner)
    resource = resources.numbers[number]
    if good.integration == "twilio":
        address = "" if resource.get("trunk_sid") else resource.get("voice_url") or ""
    else:
        link = str(resource[good.route_field] or "").rstrip("/").rpartition("/")[2]
        address = resources.applications.get(link, {}).get(good.answer_field) or ""
    _, mark, path = address.partition(f"/api/webhooks/{good.integration}/")
    return Account.objects.filter(webhook_token=path.partition("/")[0]).first() if mark else None


def look(world: World) -> None:
    """A workspace reads all that it is shown."""
    workspace_id = world.someone().workspace.pk
    shown = shown_numbers(workspace_id)
    for seen in calls_of(shown, workspace_id):
        assert world.delivered[seen.carrier_id] == workspace_id, "a call of another workspace"
        world.counts["calls seen"] += 1
    for recording in recordings_of(shown, workspace_id).select_related("account"):
        assert world.delivered[recording.carrier_id.removeprefix("RE-")] == workspace_id, "a recording of another one"
        world.counts["recordings seen"] += 1
    for phone in shown.select_related("line__account", "retired_from"):
        assert phone.account and phone.account.workspace_id == workspace_id, "an account of another workspace"


def land(world: World) -> None:
    world.sandbox.land_late()


def tidy(world: World) -> None:
    if world.chance.random() < 0.5:  # minutes go by: what is carried out late has been by then
        world.sandbox.land_late()
        age_leases()
    reconcile()


WEIGHTS: dict[Callable[[World], None], int] = {
    add: 30, remove: 12, move: 4, check: 8, renew_token: 2, tell_token: 4, transfer: 2, call: 18, look: 12, land: 3,
    tidy: 5,
}  # fmt: skip
CHANGING = {add, remove, move, check}
FAULTS: list[dict[str, Any]] = [
    {"kind": "late", "status": 504}, {"kind": "late", "status": 504, "times": 2}, {"kind": "late"},
    {"kind": "lost_reply"}, {"kind": "status", "status": 503}, {"kind": "status", "status": 503, "times": None},
    {"kind": "reset"}, {"kind": "stale", "method": "GET", "times": 6},
]  # fmt: skip


def step(world: World) -> None:
    chance, act = world.chance, world.chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    world.counts["operations"] += 1
    if act in CHANGING and chance.random() < 0.15:
        fault = chance.choice(FAULTS) | {"seconds": 3600.0}
        if fault["kind"] in ("late", "lost_reply"):
            fault["method"] = chance.choice(["POST", "PATCH", "DELETE"])
        world.sandbox.fault(**fault, skip=chance.randrange(3))
        world.counts["faults"] += 1
    try:
        if act in CHANGING and chance.random() < 0.04:
            world.counts["deaths"] += 1
            with dying(chance.randint(1, 8)):
                act(world)
        else:
            act(world)
        world.counts[f"{act.__name__}: done"] += 1
    except (Refusal, carriers.IntegrationError, NoSuchPhone) as refusal:
        world.counts[f"{act.__name__}: {refusal.code}"] += 1
    except Died:
        pass
    finally:
        world.sandbox.clear_faults()


@pytest.mark.parametrize("part", range(PARTS))
def test_nobody_sees_or_keeps_what_is_not_its_own(world: World, tally: Tally, part: int) -> None:
    done = 0
    try:
        for number in range(1, OPERATIONS + 1):
            step(world)
            done = number
            assert_one_workspace_a_number()
        come_to_rest(world)
        assert_nothing_is_with_us_without_a_row(world)
        give_everything_back(world)
    except BaseException as error:
        error.add_note(f"SAMPLE_SEED={SEED!r}, part {part}, after {done} operations")
        raise
    for name, count in world.counts.items():
        tally(f"three workspaces: {name}", count)
    assert world.counts["calls seen"], "nobody ever saw a call: the run proves nothing"


def assert_one_workspace_a_number() -> None:
    active = PhoneNumber.objects.filter(state="active").values_list("integration", "number", "user__workspace")
    owners: dict[tuple[str, str], set[str]] = defaultdict(set)
    for integration, number, workspace in active:
        owners[integration, number].add(workspace)
    assert all(len(workspaces) == 1 for workspaces in owners.values()), owners


def come_to_rest(world: World) -> None:
    """The carriers have done all that they were asked, and everybody is told the present tokens."""
    world.sandbox.clear_faults()
    world.sandbox.land_late()
    for _ in range(3):
        age_leases()
        reconcile()
    for phone in PhoneNumber.objects.filter(state="active").select_related("line__account", "user"):
        tenant = tenant_of(world, phone)
        assert phone.account
        for good in both(phone.integration):
            token = world.tokens[good.integration, good.owner]
            if owns(world, good, phone.number) and phone.account.auth_token.open() != token:
                world.known[tenant.workspace.pk].add(token)
                with suppress(carriers.IntegrationError):  # of another account than the number's
                    rotate_auth_token(phone, token)
    for _ in range(3):
        age_leases()
        assert reconcile().failed == 0


def assert_nothing_is_with_us_without_a_row(world: World) -> None:
    for name in CARRIERS:
        for good, number in owned_numbers(world, name):
            account = routed_to(world, good, number)
            line = Line.objects.filter(integration=name, number=number).select_related("account").first()
            if account is None:
                continue
            assert line is not None, f"{number} is with us, and we do not know it"
            # A removal whose credentials are refused waits for whoever brings new ones.
            has_row = PhoneNumber.objects.filter(line=line, state__in=PhoneNumber.ROUTED).exists()
            assert has_row or line.account.is_retired or account.is_retired, f"{number} is with us, and is nobody's"
            world.counts["numbers with us in the end"] += 1
    waiting = PhoneNumber.objects.filter(state__in=PhoneNumber.UNFINISHED).exclude(line__account__in=refused(world))
    assert not waiting.exists()


def refused(world: World) -> list[str]:
    """Accounts whose credentials the carrier refuses by now: their operations wait for new ones."""
    tokens = set(world.tokens.values())
    return [account.pk for account in Account.objects.all() if account.auth_token.open() not in tokens]


def give_everything_back(world: World) -> None:
    """Whoever has a number removes it; whoever finds one with us that is nobody's adds and removes it."""
    for phone in PhoneNumber.objects.filter(state__in=PhoneNumber.SHOWN).select_related("line__account", "user"):
        remove_phone(phone)
    for name in CARRIERS:
        for good, number in owned_numbers(world, name):
            if routed_to(world, good, number):
                tenant = world.workspaces[0][0]
                believed = replace(good, auth_token=world.tokens[good.integration, good.owner])
                world.known[tenant.workspace.pk].add(believed.auth_token)
                remove_phone(
                    adding.add_phone(
                        user=tenant.user, number=number, integration=name, account_id=believed.acc_sid,
                        auth_token=believed.auth_token,
                    )
                )  # fmt: skip
    for _ in range(3):
        age_leases()
        reconcile()
    for name in CARRIERS:
        for good, number in owned_numbers(world, name):
            assert routed_to(world, good, number) is None, f"{number} stays with us"
