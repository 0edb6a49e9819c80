"""Removing a number gives the carrier back what it had: at once, and after faults.

Over HTTP against the sandbox carriers through the real SDKs. After a removal, or after it and `reconcile`, every setting
at the three carriers is as before the add, and no row is left.
"""

import json
import random
import re
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from core.secrets import Secret
from phones.models import Account, Line, PhoneNumber, token_digest
from phones.reconciling import Done, reconcile
from sandbox import resources
from sandbox import state as seeds
from sandbox.sandbox import Sandbox
from tests.support.api import add, data_of, send
from tests.support.carriers import SUBJECTS, TWILIO, WITH_APPLICATIONS, Subject, prepare_spare_application
from tests.support.database import DELETE, Statement, around_statements
from tests.support.faults import (
    prepare_account,
)
from tests.support.lines import remembered
from tests.support.people import Tenant
from tests.support.removal import (
    OWN_APPLICATION,
    ROUTES,
    UNKNOWN_ID,
    Earlier,
    assert_as_before,
    assert_not_found,
    assert_nothing_is_left,
    each_carrier,
    each_route,
    listed,
    relink,
    remove,
    restored,
)
from tests.support.removal_faults import REMOVED, STEPS, Step, check_removal, each_fault, only_of_this_one
from tests.support.state import (
    assert_active,
    assert_envelope,
    assert_remembers,
    changes,
    our_applications,
    rows,
)
from users.models import Workspace

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("patient", "unlimited")]

State = PhoneNumber.State
NEW_TOKEN = "a-new-token-0123456789"


# -- asking -----------------------------------------------------------------------------------------------------------


def id_of(tenant: Tenant, number: str) -> str:
    return PhoneNumber.objects.get(user=tenant.user, number=number).pk


# -- each kind of earlier route ---------------------------------------------------------------------------------------


@each_route
def test_a_removal_gives_back_the_earlier_route(sandbox: Sandbox, tenant: Tenant, route: str) -> None:
    earlier = ROUTES[route]
    earlier.prepare(sandbox)
    before = sandbox.snapshot()
    id = earlier.add(tenant)
    assert changes(before, sandbox.snapshot()) != []

    assert restored(remove(tenant, id), id) is True

    assert_as_before(sandbox, before)
    assert_nothing_is_left()
    assert listed(tenant) == []
    sandbox.clear_ledger()
    assert reconcile().failed == 0
    assert sandbox.ledger == [], "something was left to do"


@each_route
def test_the_second_of_two_users_of_a_line_gives_it_back(
    sandbox: Sandbox, tenant: Tenant, colleague: Tenant, other_tenant: Tenant, route: str
) -> None:
    earlier = ROUTES[route]
    earlier.prepare(sandbox)
    before = sandbox.snapshot()
    first, second = earlier.add(tenant), earlier.add(colleague)
    routed = sandbox.snapshot()
    assert_not_found(remove(other_tenant, second))
    sandbox.clear_ledger()

    assert restored(remove(tenant, first), first) is False, "the carrier still brings us the calls"
    assert sandbox.ledger == [], "a removal on a line that is in use asks the carrier nothing"
    assert sandbox.snapshot() == routed
    assert_not_found(remove(tenant, first))
    assert listed(tenant) == [earlier.number]

    assert restored(remove(colleague, second), second) is True
    assert_as_before(sandbox, before)
    assert_nothing_is_left()


@pytest.mark.parametrize("fields", [{}, OWN_APPLICATION], ids=["made", "own"])
@each_carrier
def test_the_application_stays_while_another_number_needs_it(
    sandbox: Sandbox, tenant: Tenant, name: str, fields: dict[str, str]
) -> None:
    if fields and name != "telnyx":
        pytest.skip("only at Telnyx is an application named")
    if fields:
        prepare_spare_application(sandbox)
    subject, before = SUBJECTS[name], sandbox.snapshot()
    staying = Earlier(subject.good, subject.another, fields)
    going = Earlier(subject.good, subject.number, fields)
    last = staying.add(tenant)
    with_one, rows_with_one = sandbox.snapshot(), rows()
    id = going.add(tenant)

    assert restored(remove(tenant, id), id) is True
    assert_as_before(sandbox, with_one)
    assert rows() == rows_with_one
    if not fields:
        assert_active(sandbox, subject, tenant, subject.another)

    assert restored(remove(tenant, last), last) is True
    assert_as_before(sandbox, before)
    assert_nothing_is_left()


@each_route
def test_what_was_removed_can_be_added_again_and_is_remembered_as_at_first(
    sandbox: Sandbox, tenant: Tenant, colleague: Tenant, other_tenant: Tenant, route: str
) -> None:
    earlier = ROUTES[route]
    earlier.prepare(sandbox)
    before = sandbox.snapshot()
    snapshots = []
    for user in (tenant, tenant, colleague, other_tenant):
        id = earlier.add(user)
        snapshots.append(remembered(Line.objects.get()))
        assert restored(remove(user, id), id) is True
        assert_as_before(sandbox, before)
    assert snapshots == snapshots[:1] * 4
    assert_nothing_is_left()


# -- only what is still ours ------------------------------------------------------------------------------------------

ELSEWHERE = "https://elsewhere.example.com/voice"
EDITS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "voice URL": ({"voice_url": ELSEWHERE}, {"voice_url", "voice_method"}),
    "voice method": ({"voice_method": "GET"}, {"voice_url", "voice_method"}),
    "fallback": ({"voice_fallback_url": ELSEWHERE}, {"voice_fallback_url", "voice_fallback_method"}),
    "status callback": ({"status_callback": None}, {"status_callback", "status_callback_method"}),
    "trunk": ({"trunk_sid": "TK" + "99" * 16}, {"trunk_sid", "voice_application_sid"}),
    "TwiML application": ({"voice_application_sid": "AP" + "99" * 16}, {"trunk_sid", "voice_application_sid"}),
    "everything": (
        {"voice_url": ELSEWHERE, "voice_fallback_url": None, "status_callback": None, "trunk_sid": "TK" + "99" * 16},
        {name for name in resources.twilio_number("AC", "1") if name.startswith(("voice_", "status_c", "trunk"))},
    ),
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("number", ["12125550001", "12125550003"])
def test_what_somebody_set_at_twilio_since_stays_and_the_rest_comes_back(
    sandbox: Sandbox, tenant: Tenant, number: str, edit: str
) -> None:
    fields, stays = EDITS[edit]
    before = sandbox.snapshot()
    id = Earlier(TWILIO, number).add(tenant)
    sandbox.console("twilio", seeds.TWILIO_SID, number=number, **fields)
    edited = sandbox.snapshot()["twilio"][seeds.TWILIO_SID]["numbers"][number]

    assert restored(remove(tenant, id), id) is True

    after = sandbox.snapshot()
    there = after["twilio"][seeds.TWILIO_SID]["numbers"][number]
    original = before["twilio"][seeds.TWILIO_SID]["numbers"][number]
    for field_name in there:
        expected = edited if field_name in stays - {"voice_receive_mode"} else original
        assert there[field_name] == expected[field_name], field_name
    after["twilio"][seeds.TWILIO_SID]["numbers"][number] = original
    assert after == before
    assert_nothing_is_left()


@pytest.mark.parametrize("unlinked", [False, True], ids=["to another", "to none"])
@pytest.mark.parametrize("name", WITH_APPLICATIONS)
def test_a_number_that_somebody_linked_since_stays_linked_there(
    sandbox: Sandbox, tenant: Tenant, name: str, unlinked: bool
) -> None:
    subject, before = SUBJECTS[name], sandbox.snapshot()
    id = Earlier(subject.good, subject.number).add(tenant)
    relink(sandbox, name, subject.number, None if unlinked else subject.good.another_link)
    edited = sandbox.snapshot()[name][subject.owner]["numbers"][subject.number]

    assert restored(remove(tenant, id), id) is True

    after = sandbox.snapshot()
    numbers = after[name][subject.owner]["numbers"]
    assert numbers[subject.number] == edited
    numbers[subject.number] = before[name][subject.owner]["numbers"][subject.number]
    assert after == before, "our application is gone and nothing else has changed"
    assert_nothing_is_left()


@pytest.mark.parametrize("name", WITH_APPLICATIONS)
def test_an_application_of_ours_that_somebody_edited_goes_all_the_same(
    sandbox: Sandbox, tenant: Tenant, name: str
) -> None:
    subject, before = SUBJECTS[name], sandbox.snapshot()
    id = Earlier(subject.good, subject.number).add(tenant)
    application_id = Account.objects.get().application_id
    sandbox.console(name, subject.owner, application=application_id, **{subject.good.answer_field: ELSEWHERE})
    assert restored(remove(tenant, id), id) is True
    assert_as_before(sandbox, before)
    assert_nothing_is_left()


def test_an_own_application_that_somebody_edited_stays_as_edited(sandbox: Sandbox, tenant: Tenant) -> None:
    app_id = prepare_spare_application(sandbox)
    before = sandbox.snapshot()
    id = ROUTES["telnyx: SIP connection, own application named"].add(tenant)
    sandbox.console("telnyx", seeds.TELNYX_ACCOUNT, application=app_id, voice_url=ELSEWHERE)
    edited = sandbox.snapshot()["telnyx"][seeds.TELNYX_ACCOUNT]["applications"][app_id]
    assert restored(remove(tenant, id), id) is True
    after = sandbox.snapshot()
    applications = after["telnyx"][seeds.TELNYX_ACCOUNT]["applications"]
    assert applications[app_id] == edited
    applications[app_id] = before["telnyx"][seeds.TELNYX_ACCOUNT]["applications"][app_id]
    assert after == before
    assert_nothing_is_left()


@pytest.mark.parametrize("name", WITH_APPLICATIONS)
def test_what_a_number_was_linked_to_may_be_gone_by_now(sandbox: Sandbox, tenant: Tenant, name: str) -> None:
    subject = SUBJECTS[name]
    id = Earlier(subject.good, subject.number).add(tenant)
    _, linked = subject.good.remembered
    del sandbox.state.account(name, subject.owner).applications[linked]
    assert restored(remove(tenant, id), id) is True
    there = sandbox.state.account(name, subject.owner).numbers[subject.number]
    assert not there.get("application") and not there.get("connection_id")
    assert our_applications(sandbox, subject) == []
    assert_nothing_is_left()


# -- after PUBLIC_URL was changed --------------------------------------------------------------------------------------


@pytest.fixture(params=["https://new.example.com", "https://phones.example.com:8443"])
def new_address(request: pytest.FixtureRequest, settings: Any) -> Callable[[], None]:
    """Gives the installation another PUBLIC_URL."""
    return lambda: setattr(settings, "PUBLIC_URL", request.param)


@each_route
def test_a_removal_recognizes_the_addresses_of_an_earlier_public_url(
    sandbox: Sandbox, tenant: Tenant, new_address: Callable[[], None], route: str
) -> None:
    earlier = ROUTES[route]
    earlier.prepare(sandbox)
    before = sandbox.snapshot()
    id = earlier.add(tenant)
    new_address()
    assert restored(remove(tenant, id), id) is True
    assert_as_before(sandbox, before)
    assert_nothing_is_left()


@each_route
def test_what_a_repair_wrote_anew_comes_back_too(
    sandbox: Sandbox, tenant: Tenant, new_address: Callable[[], None], route: str
) -> None:
    """The application, and a profile that was made with it, keep the name that they were given at first."""
    earlier = ROUTES[route]
    earlier.prepare(sandbox)
    before = sandbox.snapshot()
    id = earlier.add(tenant)
    new_address()
    repaired = data_of(send("POST", f"phones/{id}/check", tenant, {"repair": True}))
    assert {one["reason"] for one in repaired["reasons"]} <= {"signature_key_missing"}
    assert restored(remove(tenant, id), id) is True
    assert_as_before(sandbox, before)
    assert_nothing_is_left()


@pytest.mark.parametrize("edit", ["voice URL", "status callback"])
def test_what_somebody_has_set_since_stays_after_public_url_was_changed_too(
    sandbox: Sandbox, tenant: Tenant, new_address: Callable[[], None], edit: str
) -> None:
    fields, stays = EDITS[edit]
    number = TWILIO.routed_elsewhere
    before = sandbox.snapshot()["twilio"][seeds.TWILIO_SID]["numbers"][number]
    id = Earlier(TWILIO, number).add(tenant)
    sandbox.console("twilio", seeds.TWILIO_SID, number=number, **fields)
    edited = sandbox.snapshot()["twilio"][seeds.TWILIO_SID]["numbers"][number]
    new_address()
    remove(tenant, id)
    there = sandbox.snapshot()["twilio"][seeds.TWILIO_SID]["numbers"][number]
    assert there == before | {name: edited[name] for name in stays}


def test_the_addresses_of_another_account_are_not_taken_for_ours(sandbox: Sandbox, tenant: Tenant) -> None:
    """They differ in the secret alone."""
    id = Earlier(TWILIO, TWILIO.routed_elsewhere).add(tenant)
    there = sandbox.state.account("twilio", seeds.TWILIO_SID).numbers[TWILIO.routed_elsewhere]
    token = Account.objects.get().webhook_token
    another = there["voice_url"].replace(token, token.swapcase())
    sandbox.console("twilio", seeds.TWILIO_SID, number=TWILIO.routed_elsewhere, voice_url=another)
    remove(tenant, id)
    assert there["voice_url"] == another


# -- what is not so is not said ----------------------------------------------------------------------------------------


def test_settings_that_are_lost_are_not_said_to_be_back(
    sandbox: Sandbox, tenant: Tenant, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The key that sealed them is gone for good; the number leaves us all the same."""
    id = Earlier(TWILIO, TWILIO.routed_elsewhere).add(tenant)
    Line.objects.update(snapshot=Secret("not to be opened"))
    assert restored(remove(tenant, id), id) is False
    assert listed(tenant) == []
    assert "Restore them in the carrier's console" in caplog.text


# -- a carrier that has changed its mind ------------------------------------------------------------------------------


@each_carrier
@pytest.mark.parametrize("last", [True, False], ids=["last", "not last"])
def test_a_number_that_was_sold_can_be_removed(sandbox: Sandbox, tenant: Tenant, name: str, last: bool) -> None:
    subject, before = SUBJECTS[name], sandbox.snapshot()
    if not last:
        prepare_account(sandbox, tenant, subject)
        before = sandbox.snapshot()
    id = Earlier(subject.good, subject.number).add(tenant)
    owner = sandbox.state.account(name, subject.owner)
    sold = owner.numbers.pop(subject.number)
    owner.numbers_by_id = {key: one for key, one in owner.numbers_by_id.items() if one is not sold}

    assert restored(remove(tenant, id), id) is False, "there is nothing that could be put back"

    assert [line.split(":")[0] for line in changes(before, sandbox.snapshot())] == [
        f"/{name}/{subject.owner}/numbers/{subject.number}"
    ]
    assert listed(tenant) == ([] if last else [subject.another])
    if last:
        assert_nothing_is_left()


def suspend(sandbox: Sandbox, subject: Subject) -> Callable[[], None]:
    """The carrier suspends the account. Returns what ends that."""
    owner = sandbox.state.account(subject.integration, subject.owner)
    owner.status = "suspended"
    return lambda: setattr(owner, "status", "active")


def revoke(sandbox: Sandbox, subject: Subject) -> Callable[[], None]:
    """The token is good no more, another one is. Returns what ends that."""
    owner, old = sandbox.state.account(subject.integration, subject.owner), subject.good.auth_token

    def change(before: str, after: str) -> None:
        if subject.integration == "telnyx":
            del sandbox.state.ids_by_key[before]
            sandbox.state.ids_by_key[after] = owner.id
        owner.secret = after

    change(old, NEW_TOKEN)
    return lambda: change(NEW_TOKEN, old)


@each_carrier
@pytest.mark.parametrize("last", [True, False], ids=["last", "not last"])
@pytest.mark.parametrize("cause", [suspend, revoke])
def test_credentials_that_are_refused_delay_a_removal(
    sandbox: Sandbox, tenant: Tenant, name: str, last: bool, cause: Callable[..., Callable[[], None]]
) -> None:
    subject = SUBJECTS[name]
    if not last:
        prepare_account(sandbox, tenant, subject)
    rows_before, before = rows(), sandbox.snapshot()
    id = Earlier(subject.good, subject.number).add(tenant)
    end = cause(sandbox, subject)

    assert restored(remove(tenant, id), id) is False

    assert listed(tenant) == ([] if last else [subject.another])
    assert_not_found(send("GET", f"phones/{id}", tenant))
    assert_not_found(remove(tenant, id))
    outcome = reconcile()
    if cause is revoke:
        assert (outcome.failed, outcome.refused) == (0, 1), "it is not due before the credentials are good again"
    else:  # Twilio lets a suspended account read, and refuses to write
        assert outcome.failed + outcome.refused == 1
    assert PhoneNumber.objects.filter(state=State.REMOVING).count() == 1, "nothing is lost"
    end()
    assert reconcile().failed == 0
    assert_as_before(sandbox, before)
    assert rows() == rows_before


@each_carrier
def test_a_new_token_that_comes_with_another_number_finishes_the_removal(
    sandbox: Sandbox, tenant: Tenant, name: str
) -> None:
    subject, before = SUBJECTS[name], sandbox.snapshot()
    id = Earlier(subject.good, subject.number).add(tenant)
    revoke(sandbox, subject)
    assert restored(remove(tenant, id), id) is False

    other = Earlier(subject.good, subject.another, {"authToken": NEW_TOKEN}).add(tenant)

    assert reconcile().failed == 0
    assert listed(tenant) == [subject.another]
    assert Account.objects.get().token_digest == token_digest(NEW_TOKEN)
    assert restored(remove(tenant, other), other) is True
    assert_as_before(sandbox, before)
    assert_nothing_is_left()


@each_carrier
def test_the_number_itself_can_be_added_again_with_a_new_token(sandbox: Sandbox, tenant: Tenant, name: str) -> None:
    subject, before = SUBJECTS[name], sandbox.snapshot()
    id = Earlier(subject.good, subject.number).add(tenant)
    revoke(sandbox, subject)
    assert restored(remove(tenant, id), id) is False

    again = Earlier(subject.good, subject.number, {"authToken": NEW_TOKEN}).add(tenant)

    assert restored(remove(tenant, again), again) is True
    assert_as_before(sandbox, before)
    assert_nothing_is_left()


# -- each request fails -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "steps"), STEPS.items(), ids=STEPS)
def test_a_removal_makes_just_the_requests_listed_here(
    sandbox: Sandbox, tenant: Tenant, name: str, steps: list[Step]
) -> None:
    REMOVED[name].prepare(sandbox)
    id = REMOVED[name].add(tenant)
    sandbox.clear_ledger()
    assert restored(remove(tenant, id), id) is True
    made = sandbox.ledger
    assert [one.method for one in made] == [step.method for step in steps]
    assert all(re.search(step.path, one.path) for one, step in zip(made, steps, strict=True))


@each_fault(only_of_this_one, ("status 403", "status 503", "lost_reply"))
def test_a_removal_that_meets_a_fault_is_finished(
    sandbox: Sandbox, settings: Any, tenant: Tenant, name: str, step: Step, fault: str, for_ever: bool
) -> None:
    check_removal(sandbox, settings, tenant, name, step, fault, for_ever=for_ever)


@pytest.mark.engine
@each_carrier
def test_while_the_carrier_is_down_a_number_is_neither_there_nor_lost(
    sandbox: Sandbox, tenant: Tenant, name: str
) -> None:
    subject, before = SUBJECTS[name], sandbox.snapshot()
    earlier = Earlier(subject.good, subject.number)
    id = earlier.add(tenant)
    sandbox.fault("status", carrier=name, status=503, times=None)
    assert restored(remove(tenant, id), id) is False
    time.sleep(0.002)
    for _ in range(2):
        assert_envelope(add(tenant, subject.good.body(tenant.user, phoneNumber=subject.number)), "carrier_unavailable")
        assert reconcile().failed == 1
        assert listed(tenant) == []
        assert PhoneNumber.objects.get().state == State.REMOVING
    sandbox.clear_faults()
    again = earlier.add(tenant)
    assert_remembers(assert_active(sandbox, subject, tenant, subject.number), name)
    assert restored(remove(tenant, again), again) is True
    assert_as_before(sandbox, before)
    assert_nothing_is_left()


# -- late webhooks ----------------------------------------------------------------------------------------------------


@pytest.fixture
def reached(live_server: Any, settings: Any) -> None:
    """The carriers reach us."""
    settings.PUBLIC_URL = live_server.url


def still_routed(sandbox: Sandbox, subject: Subject) -> Callable[[], None]:
    """What makes the carrier bring us the number's calls again, as it does now."""
    owner = sandbox.state.account(subject.integration, subject.owner)
    number, applications = dict(owner.numbers[subject.number]), dict(owner.applications)

    def route() -> None:
        owner.numbers[subject.number].update(number)
        owner.applications.update(applications)

    return route


@each_carrier
def test_a_late_call_of_a_removed_number_hears_a_hang_up(
    sandbox: Sandbox, reached: None, tenant: Tenant, name: str
) -> None:
    subject, before = SUBJECTS[name], sandbox.snapshot()
    id = Earlier(subject.good, subject.number).add(tenant)
    sandbox.place_call(name, subject.number)
    route = still_routed(sandbox, subject)

    assert restored(remove(tenant, id), id) is True

    assert_as_before(sandbox, before)
    account = Account.objects.get()
    assert (account.application_id, account.application_is_made) == ("", False)
    assert (Line.objects.count(), PhoneNumber.objects.count()) == (0, 0)
    route()
    placed = sandbox.place_call(name, subject.number)
    assert placed.requests, "the carrier did not ask us"
    assert {one.reply_status for one in placed.requests} == {200}
    assert placed.spoken == placed.dialed == placed.recordings == []


@each_carrier
def test_a_late_call_of_an_account_that_is_gone_is_refused(
    sandbox: Sandbox, reached: None, tenant: Tenant, name: str
) -> None:
    subject = SUBJECTS[name]
    id = Earlier(subject.good, subject.number).add(tenant)
    route = still_routed(sandbox, subject)
    assert restored(remove(tenant, id), id) is True
    route()
    placed = sandbox.place_call(name, subject.number)
    assert placed.requests, "the carrier did not ask us"
    assert {one.reply_status for one in placed.requests} == {403}


@each_carrier
def test_an_account_that_is_kept_for_its_calls_is_used_again(
    sandbox: Sandbox, reached: None, tenant: Tenant, name: str
) -> None:
    subject, before = SUBJECTS[name], sandbox.snapshot()
    earlier = Earlier(subject.good, subject.number)
    id = earlier.add(tenant)
    sandbox.place_call(name, subject.number)
    assert restored(remove(tenant, id), id) is True
    kept = Account.objects.get()
    sandbox.clear_ledger()
    assert reconcile().failed == 0
    assert sandbox.ledger == [], "an account that is kept for its calls alone has nothing to do at the carrier"

    again = earlier.add(tenant)

    assert Account.objects.get().pk == kept.pk
    assert_remembers(assert_active(sandbox, subject, tenant, subject.number), name)
    assert {one.reply_status for one in sandbox.place_call(name, subject.number).requests} == {200}
    assert restored(remove(tenant, again), again) is True
    assert_as_before(sandbox, before)


# -- what is not there ------------------------------------------------------------------------------------------------


@each_carrier
def test_what_is_not_there_cannot_be_removed(sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, name: str) -> None:
    subject = SUBJECTS[name]
    ids = {"unknown": UNKNOWN_ID}
    ids["another workspace's"] = Earlier(subject.good, subject.another).add(other_tenant)
    for state in (State.RESERVED, State.APPLYING, State.REMOVING):
        number = f"1312555{len(ids)}000"
        line = None if state == State.RESERVED else Line.objects.get()
        lease_until = timezone.now() + timedelta(minutes=1)
        unfinished = PhoneNumber.objects.create(
            user=tenant.user, integration=name, number=number, state=state, line=line, lease_id=UNKNOWN_ID,
            lease_until=lease_until,
        )  # fmt: skip
        ids[state.value] = unfinished.pk
    removed = Earlier(subject.good, subject.number).add(tenant)
    assert restored(remove(tenant, removed), removed) is True
    ids["removed"] = removed
    malformed = ["nope", UNKNOWN_ID[:-1], UNKNOWN_ID + "0", "0123456789abcdef0123456g", "%00", "None"]
    rows_before, before = rows(), sandbox.snapshot()
    sandbox.clear_ledger()

    replies = {id: remove(tenant, id) for id in [*ids.values(), *malformed]}

    for reply in replies.values():
        assert_not_found(reply)
    assert len({reply.content for reply in replies.values()}) == 1
    assert sandbox.ledger == []
    assert rows() == rows_before
    assert sandbox.snapshot() == before


def test_upper_case_is_the_same_id(sandbox: Sandbox, tenant: Tenant) -> None:
    id = ROUTES["twilio: none"].add(tenant)
    assert restored(remove(tenant, id.upper()), id) is True


# -- races ------------------------------------------------------------------------------------------------------------


def test_a_workspace_can_remove_all_it_has(sandbox: Sandbox, tenant: Tenant) -> None:
    before = sandbox.snapshot()
    ids = [earlier.add(tenant) for earlier in ROUTES.values() if not earlier.raw and not earlier.fields]
    assert Workspace.objects.count() == 1
    random.shuffle(ids)
    for id in ids:
        assert restored(remove(tenant, id), id) is True
    assert_as_before(sandbox, before)
    assert_nothing_is_left()


@pytest.mark.engine
def test_an_account_is_not_deleted_under_an_add_that_begins_to_rely_on_it(sandbox: Sandbox, tenant: Tenant) -> None:
    """The add inserts its line and writes `used_by` right before the account's row would go."""
    id = Earlier(TWILIO, TWILIO.number).add(tenant)
    account = Account.objects.get()
    met: list[Statement] = []

    def rely(run: Callable[[], Any], statement: Statement) -> Any:
        if statement.act == DELETE and statement.table == Account._meta.db_table and not met:
            met.append(statement)
            Line.objects.create(
                account=account,
                integration="twilio",
                number=TWILIO.another,
                carrier_id="PN1",
                snapshot=Secret.seal("{}"),
            )
            Account.objects.filter(pk=account.pk).update(used_by="0" * 24)
        return run()

    with around_statements(rely):
        assert remove(tenant, id).status_code == 200

    assert met, "the account was not about to be deleted"
    assert Account.objects.filter(pk=account.pk).exists()


# -- credentials that stay refused ------------------------------------------------------------------------------------


def asked_by_rounds(sandbox: Sandbox, rounds: int) -> list[int]:
    """How many requests the carrier got in each of some rounds of `reconcile`."""
    counts = []
    for _ in range(rounds):
        sandbox.clear_ledger()
        reconcile()
        counts.append(len(sandbox.ledger))
    return counts


@pytest.mark.engine
@each_carrier
def test_reconcile_stops_asking_with_credentials_that_stay_refused(
    sandbox: Sandbox, tenant: Tenant, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither for missed calls nor for a removal; with new ones it goes on at once, and with these ones later."""
    subject = SUBJECTS[name]
    prepare_account(sandbox, tenant, subject)
    id = Earlier(subject.good, subject.number).add(tenant)
    revoke(sandbox, subject)
    assert restored(remove(tenant, id), id) is False

    asked = asked_by_rounds(sandbox, 8)
    assert asked[0] > 0 and asked[-3:] == [0, 0, 0]
    outcome = reconcile()
    assert (outcome.failed, outcome.refused, outcome.pulls) == (0, 1, {Done.REFUSED: 1})

    monkeypatch.setattr("core.clock.now", lambda: timezone.now() + timedelta(hours=1))
    assert asked_by_rounds(sandbox, 1)[0] > 0

    other = id_of(tenant, subject.another)
    assert send("PATCH", f"phones/{other}", tenant, {"authToken": NEW_TOKEN}).status_code == 200
    outcome = reconcile()
    assert (outcome.finished, outcome.failed, outcome.refused, outcome.pulls) == (1, 0, 0, {Done.YES: 1})


@each_carrier
def test_an_add_that_brought_a_newer_token_and_died_is_undone_with_it_although_the_old_one_stays_refused(
    sandbox: Sandbox, tenant: Tenant, name: str
) -> None:
    subject = SUBJECTS[name]
    prepare_account(sandbox, tenant, subject)
    before = sandbox.snapshot()
    id = Earlier(subject.good, subject.number).add(tenant)
    revoke(sandbox, subject)
    assert asked_by_rounds(sandbox, 5)[-1] == 0

    PhoneNumber.objects.filter(pk=id).update(
        state="applying",
        operation=Secret.seal(json.dumps({"auth_token": NEW_TOKEN})),
        lease_until=timezone.now() - timedelta(minutes=1),
    )
    assert reconcile().finished == 1

    assert not PhoneNumber.objects.filter(pk=id).exists()
    assert changes(before, sandbox.snapshot()) == []


@each_carrier
def test_an_account_that_cannot_be_released_is_left_in_peace_too(sandbox: Sandbox, tenant: Tenant, name: str) -> None:
    subject = SUBJECTS[name]
    Earlier(subject.good, subject.number).add(tenant)
    revoke(sandbox, subject)
    PhoneNumber.objects.all().delete()
    Line.objects.all().delete()

    asked = asked_by_rounds(sandbox, 8)

    assert asked[-3:] == [0, 0, 0]
    if name != "twilio":
        assert asked[0] > 0 and Account.objects.exists(), "an application of ours is still there"


def test_credentials_refused_to_one_account_keep_no_other_waiting(sandbox: Sandbox, tenant: Tenant) -> None:
    for subject in SUBJECTS.values():
        Earlier(subject.good, subject.number).add(tenant)
    revoke(sandbox, SUBJECTS["plivo"])
    asked_by_rounds(sandbox, 5)
    outcome = reconcile()
    others = Account.objects.count() - 1
    assert outcome.pulls == {Done.YES: others, Done.REFUSED: 1}
