"""A number drifts: what a check finds, what a repair puts right, and `check_phones` for all lines.

Drift is made as in life: somebody edits a number or an application in the carrier's console, an account is suspended,
a carrier is down. After a repair every setting at the three carriers is as before the drift.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from phones.models import Account, Line, PhoneNumber
from phones.services import at_once, carriers, checking
from phones.services.reasons import in_words, public_setting
from sandbox import state as seeds
from sandbox.ledger import Exchange
from sandbox.sandbox import Sandbox
from tests.support.api import add, check, data_of, reasons, send
from tests.support.carriers import CARRIERS, TELNYX, TWILIO, Good, each_with_application
from tests.support.checking import (
    FIELDS,
    FOREIGN,
    REQUESTS_OF_A_REPAIR,
    SHOWN,
    SITUATIONS,
    Scene,
    as_told,
    assert_keeps_to_the_documents,
    assert_nothing_is_leased,
    assert_shown,
    by_reason,
    check_repair,
    edit,
    ours,
    several,
    stage,
    writes,
)
from tests.support.drifts import DRIFTS, HOPELESS, INACTIVE, REASONS, Drift, Hopeless, id_of
from tests.support.lines import many_lines
from tests.support.people import Tenant
from tests.support.races import jitter, repeated, together

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("unlimited")]
# For what is done in several threads or processes.
in_parallel = pytest.mark.django_db(transaction=True)


# -- the drifts that can be repaired ----------------------------------------------------------------------------------


@pytest.mark.parametrize("drift", DRIFTS, ids=id_of)
def test_drift_is_found_and_repaired_and_removal_still_restores(sandbox: Sandbox, tenant: Tenant, drift: Drift) -> None:
    before_us = sandbox.snapshot()
    scene = stage(sandbox, tenant, CARRIERS[drift.integration])
    with_us = scene.snapshot()
    drift.act(scene)
    drifted = scene.snapshot()
    assert drifted != with_us, "nothing drifted"

    found = check(scene.phone, tenant)

    told = as_told(scene, [(drift.reason, drift.expected, drift.actual)])
    assert found == {"_id": scene.phone.pk, "health": "drift", "reasons": told, "checkedAt": found["checkedAt"], "repaired": False}  # fmt: skip
    assert writes(sandbox) == []
    assert scene.snapshot() == drifted
    assert_shown(scene, tenant, found)
    assert_keeps_to_the_documents(sandbox)
    sandbox.clear_ledger()

    repaired = check(scene.phone, tenant, repair=True)

    assert (repaired["health"], repaired["reasons"], repaired["repaired"]) == ("ok", [], True)
    assert repaired["checkedAt"] >= found["checkedAt"]
    scene.names["made"] = Account.objects.get().application_id
    assert writes(sandbox) == [(method, kind, scene.fill(body)) for method, kind, body in drift.writes]
    assert scene.snapshot() == with_us
    assert_shown(scene, tenant, repaired)
    assert_keeps_to_the_documents(sandbox)
    assert_nothing_is_leased()
    sandbox.clear_ledger()

    for repair in (False, True):
        again = check(scene.phone, tenant, repair=repair)
        assert (again["health"], again["reasons"], again["repaired"]) == ("ok", [], False)
    assert writes(sandbox) == []

    assert data_of(send("DELETE", f"phones/{scene.phone.pk}", tenant))["restored"] is True
    assert sandbox.snapshot() == before_us
    assert not Account.objects.exists()


def test_each_reason_of_each_carrier_is_produced() -> None:
    produced = {name: {"carrier_unavailable", "carrier_refuses"} for name in REASONS}
    cases: list[Drift | Hopeless] = [*DRIFTS, *HOPELESS]
    for case in cases:
        produced[case.integration].add(case.reason)
    produced["telnyx"].add("signature_key_missing")
    assert produced == REASONS


# -- several at once --------------------------------------------------------------------------------------------------


def test_several_drifts_are_all_told_and_repaired_together(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> None:
    before_us = sandbox.snapshot()
    scene = stage(sandbox, tenant, carrier)
    with_us = scene.snapshot()
    expected, expected_writes = several(scene)

    found = check(scene.phone, tenant)
    assert found["health"] == "drift"
    assert by_reason(found["reasons"]) == by_reason(as_told(scene, expected))
    assert_shown(scene, tenant, found)

    assert check(scene.phone, tenant, repair=True)["repaired"] is True
    assert sorted(writes(sandbox), key=str) == sorted(
        [(method, kind, scene.fill(body)) for method, kind, body in expected_writes], key=str
    )
    assert scene.snapshot() == with_us
    assert check(scene.phone, tenant)["reasons"] == []
    assert_keeps_to_the_documents(sandbox)
    assert data_of(send("DELETE", f"phones/{scene.phone.pk}", tenant))["restored"] is True
    assert sandbox.snapshot() == before_us


@each_with_application
def test_a_missing_application_does_not_hide_for_good_what_else_has_drifted(
    sandbox: Sandbox, tenant: Tenant, good: Good
) -> None:
    scene = stage(sandbox, tenant, good)
    with_us = scene.snapshot()
    scene.delete_application()
    scene.link(good.trunk)
    assert reasons(check(scene.phone, tenant)) == {"application_missing"}
    assert check(scene.phone, tenant, repair=True)["repaired"] is True
    assert scene.snapshot() == with_us


def test_what_can_be_repaired_is_repaired_beside_what_cannot(sandbox: Sandbox, tenant: Tenant) -> None:
    scene = stage(sandbox, tenant, TWILIO)
    INACTIVE["twilio"](scene)
    inactive = scene.snapshot()
    scene.edit_number(voice_url=FOREIGN)
    assert reasons(check(scene.phone, tenant)) == {"number_inactive", "url_mismatch"}

    repaired = check(scene.phone, tenant, repair=True)

    assert reasons(repaired) == {"number_inactive"}
    assert (repaired["health"], repaired["repaired"]) == ("drift", False)
    assert scene.snapshot() == inactive


@each_with_application
def test_the_application_of_several_numbers_is_repaired_with_any_that_works(
    sandbox: Sandbox, tenant: Tenant, good: Good
) -> None:
    scene = stage(sandbox, tenant, good)
    another = stage(sandbox, tenant, good, phoneNumber=good.another)
    INACTIVE[good.integration](scene)
    inactive = scene.snapshot()
    edit(good.integration, **{next(iter(FIELDS[good.integration])): FOREIGN})(scene)
    assert reasons(check(scene.phone, tenant)) == {"number_inactive", "url_mismatch"}
    assert check(another.phone, tenant, repair=True)["repaired"] is True
    assert scene.snapshot() == inactive
    assert reasons(check(scene.phone, tenant, repair=True)) == {"number_inactive"}
    assert scene.snapshot() == inactive


# -- what cannot be repaired ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("repair", [False, True], ids=["check", "repair"])
@pytest.mark.parametrize("case", HOPELESS, ids=id_of)
def test_what_cannot_be_repaired_stays_told_and_nothing_is_written(
    sandbox: Sandbox, tenant: Tenant, case: Hopeless, repair: bool
) -> None:
    scene = stage(sandbox, tenant, CARRIERS[case.integration])
    case.act(scene)
    there = scene.snapshot()

    found = check(scene.phone, tenant, repair=repair)

    assert found["reasons"] == as_told(scene, [(case.reason, case.expected, case.actual)])
    assert (found["health"], found["repaired"]) == ("drift", False)
    assert writes(sandbox) == []
    assert scene.snapshot() == there
    assert_shown(scene, tenant, found)
    assert_keeps_to_the_documents(sandbox)
    assert_nothing_is_leased()


DOWN: dict[str, dict[str, Any]] = {
    "503": {"kind": "status", "status": 503},
    "500": {"kind": "status", "status": 500},
    "429": {"kind": "status", "status": 429},
    "reset": {"kind": "reset"},
    "slow": {"kind": "hang"},
    "drip": {"kind": "drip", "interval": 0.05},
    "html": {"kind": "html", "status": 200},
    "truncated": {"kind": "truncated"},
    "empty": {"kind": "empty"},
    "other JSON": {"kind": "status", "status": 200, "body": {"hello": "world"}},
    "a list": {"kind": "status", "status": 200, "body": []},
    "redirect": {"kind": "redirect", "location": "https://elsewhere.example.com/"},
}


@pytest.mark.parametrize("status", [400, 402, 422, 451])
def test_a_carrier_that_refuses_to_answer_is_not_one_that_is_down(
    sandbox: Sandbox, tenant: Tenant, carrier: Good, status: int
) -> None:
    scene = stage(sandbox, tenant, carrier)
    sandbox.fault("status", carrier.integration, status=status, times=None)

    for repair in (False, True):
        found = check(scene.phone, tenant, repair=repair)
        assert (found["health"], reasons(found), found["repaired"]) == ("unreachable", {"carrier_refuses"}, False)
    assert not any("again in a minute" in words for words in in_words("carrier_refuses"))
    assert writes(sandbox) == []


@pytest.mark.parametrize("down", DOWN)
def test_a_carrier_that_is_down_slow_or_talks_nonsense_is_unreachable(
    sandbox: Sandbox, settings: Any, tenant: Tenant, carrier: Good, down: str
) -> None:
    scene = stage(sandbox, tenant, carrier)
    with_us = scene.snapshot()
    settings.CARRIER_READ_TIMEOUT_S = 0.3
    sandbox.fault(carrier=carrier.integration, times=None, **DOWN[down])

    for repair in (False, True):
        found = check(scene.phone, tenant, repair=repair)
        assert reasons(found) == {"carrier_unavailable"}
        assert (found["health"], found["repaired"]) == ("unreachable", False)
        assert_shown(scene, tenant, found)
    assert writes(sandbox) == []
    assert scene.snapshot() == with_us

    settings.CARRIER_READ_TIMEOUT_S = 5.0
    sandbox.clear_faults()
    assert check(scene.phone, tenant)["health"] == "ok"


def test_drift_is_not_forgotten_for_a_moment_of_silence(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> None:
    """One failed read is asked again."""
    scene = stage(sandbox, tenant, carrier)
    several(scene)
    sandbox.fault("reset", carrier=carrier.integration)
    assert check(scene.phone, tenant)["health"] == "drift"


def test_an_account_that_twilio_does_not_know_means_refused_credentials(sandbox: Sandbox, tenant: Tenant) -> None:
    """SPEC 2: Twilio's 404 for the account. It is no news of the number."""
    scene = stage(sandbox, tenant, TWILIO)
    sandbox.fault("status", status=404, path=r"/Accounts/\w+\.json$", times=None)
    sandbox.fault("status", status=404, times=None)
    assert reasons(check(scene.phone, tenant)) == {"credentials_refused"}


# -- telnyx: key, profile, a customer's own application ---------------------------------------------------------------


@pytest.mark.engine
def test_a_missing_public_key_is_told_from_the_first_day_and_fetched_when_it_can_be(
    sandbox: Sandbox, tenant: Tenant
) -> None:
    owner = sandbox.state.account("telnyx", TELNYX.owner)
    owner.has_public_key = False
    scene = stage(sandbox, tenant, TELNYX)
    with_us = scene.snapshot()
    missing = [("signature_key_missing", "the account's webhook public key", "")]
    shown = data_of(send("GET", f"phones/{scene.phone.pk}", tenant))
    assert (shown["health"], shown["reasons"]) == ("drift", as_told(scene, missing))

    for repair in (False, True):
        found = check(scene.phone, tenant, repair=repair)
        assert (found["health"], found["repaired"]) == ("drift", False)
        assert found["reasons"] == as_told(scene, missing)
        assert_shown(scene, tenant, found)
    assert not Account.objects.get().public_key

    owner.has_public_key = True
    assert reasons(check(scene.phone, tenant)) == {"signature_key_missing"}
    assert check(scene.phone, tenant, repair=True)["repaired"] is True
    assert Account.objects.get().public_key == owner.public_key()
    assert writes(sandbox) == []
    assert scene.snapshot() == with_us


def test_a_voice_profile_that_was_deleted_is_replaced(sandbox: Sandbox, tenant: Tenant) -> None:
    """The account has none any more, and the application has lost the one that it had."""
    before_us = sandbox.snapshot()
    scene = stage(sandbox, tenant, TELNYX)
    profile = scene.owner.profiles.pop(seeds.TELNYX_VOICE_PROFILE)
    scene.edit_application(outbound={})
    assert reasons(check(scene.phone, tenant)) == {"no_outbound_profile"}

    assert check(scene.phone, tenant, repair=True)["repaired"] is True

    (made,) = scene.owner.profiles
    assert scene.owner.applications[scene.application]["outbound"]["outbound_voice_profile_id"] == made
    assert [(method, kind) for method, kind, _ in writes(sandbox)] == [("POST", "profile"), ("PATCH", "application")]
    assert check(scene.phone, tenant)["health"] == "ok"
    assert data_of(send("DELETE", f"phones/{scene.phone.pk}", tenant))["restored"] is True
    assert not scene.owner.profiles
    scene.owner.profiles[seeds.TELNYX_VOICE_PROFILE] = profile
    assert sandbox.snapshot() == before_us


def test_a_customers_own_application_is_pointed_at_us_again_and_restored_in_the_end(
    sandbox: Sandbox, tenant: Tenant
) -> None:
    sandbox.console(
        "telnyx", TELNYX.owner, application=seeds.TELNYX_CUSTOMER_APP,
        outbound={"outbound_voice_profile_id": seeds.TELNYX_VOICE_PROFILE, "channel_limit": 5},
    )  # fmt: skip
    before_us = sandbox.snapshot()
    scene = stage(sandbox, tenant, TELNYX, accSId=seeds.TELNYX_CUSTOMER_APP)
    with_us = scene.snapshot()
    assert scene.owner.applications[scene.application]["outbound"]["channel_limit"] == 5
    scene.edit_application(voice_url=FOREIGN, voice_fallback_url="")
    scene.link("")

    assert reasons(check(scene.phone, tenant)) == {"url_mismatch", "not_set", "not_linked"}
    assert check(scene.phone, tenant, repair=True)["repaired"] is True
    assert scene.snapshot() == with_us

    assert data_of(send("DELETE", f"phones/{scene.phone.pk}", tenant))["restored"] is True
    assert sandbox.snapshot() == before_us


def test_a_customers_own_application_without_a_profile_is_the_customers_matter(
    sandbox: Sandbox, tenant: Tenant
) -> None:
    scene = stage(sandbox, tenant, TELNYX, accSId=seeds.TELNYX_CUSTOMER_APP)
    scene.edit_application(outbound={})
    assert check(scene.phone, tenant)["health"] == "ok"


def test_a_customers_own_application_that_was_deleted_is_told_and_not_made_again(
    sandbox: Sandbox, tenant: Tenant
) -> None:
    scene = stage(sandbox, tenant, TELNYX, accSId=seeds.TELNYX_CUSTOMER_APP)
    scene.delete_application()
    there = scene.snapshot()
    for repair in (False, True):
        found = check(scene.phone, tenant, repair=repair)
        assert found["reasons"] == as_told(scene, [("application_missing", seeds.TELNYX_CUSTOMER_APP, "")])
        assert (found["health"], found["repaired"]) == ("drift", False)
    assert writes(sandbox) == []
    assert scene.snapshot() == there
    assert_nothing_is_leased()


@pytest.mark.engine
@in_parallel
def test_a_telnyx_application_that_was_made_again_names_the_account(
    sandbox: Sandbox, live_server: Any, settings: Any, tenant: Tenant, colleague: Tenant
) -> None:
    """The webhooks' address stays, calls come in, and later adds find the same account."""
    settings.PUBLIC_URL = live_server.url
    scene = stage(sandbox, tenant, TELNYX)
    webhook_token = Account.objects.get().webhook_token
    scene.delete_application()
    assert check(scene.phone, tenant, repair=True)["repaired"] is True

    account = Account.objects.get()
    assert account.webhook_token == webhook_token
    assert account.account_id == account.application_id != scene.application
    assert data_of(send("GET", f"phones/{scene.phone.pk}", tenant))["accSId"] == account.application_id
    sandbox.place_call("telnyx", scene.phone.number, talk_s=4)
    (call,) = data_of(send("GET", "calls", tenant))["items"]
    assert (call["status"], call["phoneNumber"]) == ("completed", scene.phone.number)

    for number, whose in ((TELNYX.number, tenant), (TELNYX.another, colleague)):
        assert add(whose, TELNYX.body(whose.user, phoneNumber=number)).status_code == 201
    assert Account.objects.count() == 1
    assert len(ours(scene)) == 1
    assert sandbox.place_call("telnyx", TELNYX.another).status == "completed"


# -- a number that is well --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("repair", [False, True], ids=["check", "repair"])
def test_a_check_of_a_number_that_is_well_asks_little_and_writes_nothing(
    sandbox: Sandbox, tenant: Tenant, carrier: Good, repair: bool
) -> None:
    scene = stage(sandbox, tenant, carrier)
    with_us = scene.snapshot()

    found = check(scene.phone, tenant, repair=repair)

    assert (found["health"], found["reasons"], found["repaired"]) == ("ok", [], False)
    assert [one.method for one in sandbox.ledger] == ["GET"] * carrier.check_requests
    assert_keeps_to_the_documents(sandbox)
    assert scene.snapshot() == with_us
    assert_shown(scene, tenant, found)


def test_a_check_without_a_body_repairs_nothing(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> None:
    scene = stage(sandbox, tenant, carrier)
    several(scene)
    drifted = scene.snapshot()
    assert data_of(send("POST", f"phones/{scene.phone.pk}/check", tenant))["repaired"] is False
    assert data_of(send("POST", f"phones/{scene.phone.pk}/check", tenant, {}))["repaired"] is False
    no_booleans: list[Any] = ["true", 1, None, []]
    for nonsense in no_booleans:
        reply = send("POST", f"phones/{scene.phone.pk}/check", tenant, {"repair": nonsense})
        assert reply.status_code == 400
        assert reply.json()["data"] == {"error": "invalid_field", "field": "repair"}
    assert scene.snapshot() == drifted


# -- a repair that fails ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "situation"), REQUESTS_OF_A_REPAIR)
def test_a_repair_makes_just_so_many_requests(sandbox: Sandbox, tenant: Tenant, name: str, situation: str) -> None:
    scene = stage(sandbox, tenant, CARRIERS[name])
    SITUATIONS[situation](scene)
    assert check(scene.phone, tenant, repair=True)["repaired"] is True
    made = [(one.method, one.path) for one in sandbox.ledger]
    assert len(made) == REQUESTS_OF_A_REPAIR[name, situation], made
    assert_keeps_to_the_documents(sandbox)


@pytest.mark.parametrize(
    ("name", "situation", "nth"),
    [(*case, nth) for case, count in REQUESTS_OF_A_REPAIR.items() for nth in range(count)],
)
def test_a_repair_that_fails_once_tells_the_truth_and_a_later_one_mends_it(
    sandbox: Sandbox, tenant: Tenant, name: str, situation: str, nth: int
) -> None:
    check_repair(sandbox, tenant, name, situation, nth, "lost", 1)


def test_a_write_that_changes_nothing_is_not_told_as_a_repair(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> None:
    """The carrier says yes and does nothing: what is read back counts."""
    scene = stage(sandbox, tenant, carrier)
    expected, _ = several(scene)
    drifted = scene.snapshot()
    for method in ("POST", "PATCH"):
        sandbox.fault("status", status=200, body={"message": "changed"}, method=method, times=None)
    told = check(scene.phone, tenant, repair=True)
    assert (told["health"], told["repaired"]) == ("drift", False)
    assert by_reason(told["reasons"]) == by_reason(as_told(scene, expected))
    assert scene.snapshot() == drifted


def test_a_lease_that_somebody_holds_does_not_make_the_carrier_unreachable(
    sandbox: Sandbox, tenant: Tenant, carrier: Good, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that died while it held the line; its lease runs out in a minute."""
    monkeypatch.setattr(checking, "ADD_BUDGET_S", 0.5)
    scene = stage(sandbox, tenant, carrier)
    expected, _ = several(scene)
    drifted = scene.snapshot()
    assert checking.leases.acquire(scene.line, "0" * 24)

    told = check(scene.phone, tenant, repair=True)

    assert (told["health"], told["repaired"]) == ("drift", False)
    assert by_reason(told["reasons"]) == by_reason(as_told(scene, expected))
    assert writes(sandbox) == []
    assert scene.snapshot() == drifted


@pytest.mark.engine
@in_parallel
def test_a_number_that_is_removed_during_its_repair_stays_removed(
    sandbox: Sandbox, tenant: Tenant, carrier: Good
) -> None:
    """The repair ends at once and does not wait for a line that is gone."""
    before_us = sandbox.snapshot()
    scene = stage(sandbox, tenant, carrier)
    scene.edit_number(**({"voice_method": "GET"} if carrier is TWILIO else {}))
    if carrier is not TWILIO:
        edit(carrier.integration, **{next(iter(FIELDS[carrier.integration])): FOREIGN})(scene)
    removed = threading.Event()

    def remove(body: Any) -> Any:
        if not removed.is_set():
            removed.set()
            try:
                assert data_of(send("DELETE", f"phones/{scene.phone.pk}", tenant))["restored"] is True
            finally:
                connections.close_all()
        return body

    sandbox.fault("rewrite", carrier=carrier.integration, change=remove)
    started = time.monotonic()

    reply = send("POST", f"phones/{scene.phone.pk}/check", tenant, {"repair": True})

    assert removed.is_set()
    assert (time.monotonic() - started) / carriers.ADD_BUDGET_S < 1 / 2, "it waits for a line that is gone"
    assert reply.status_code == 404
    assert not PhoneNumber.objects.exists() and not Line.objects.exists()
    if carrier is TWILIO:
        # Of a pair of fields that somebody has changed nothing is put back.
        for name in ("voice_url", "voice_method"):
            before_us["twilio"][TWILIO.owner]["numbers"][scene.phone.number][name] = scene.there[name]
    assert sandbox.snapshot() == before_us


# -- at the same time -------------------------------------------------------------------------------------------------


@in_parallel
@repeated(3)
@each_with_application
def test_repairs_and_adds_at_once_make_one_application(
    sandbox: Sandbox, tenant: Tenant, colleague: Tenant, good: Good, attempt: int
) -> None:
    scene = stage(sandbox, tenant, good)
    second = stage(sandbox, colleague, good, phoneNumber=good.number)
    scene.delete_application()
    jitter(sandbox)

    first, other, added = together(
        lambda: check(scene.phone, tenant, repair=True),
        lambda: check(second.phone, colleague, repair=True),
        lambda: add(tenant, good.body(tenant.user, phoneNumber=good.another)),
    )

    assert added.status_code == 201, added.content
    assert (first["repaired"], other["repaired"]) == (True, True)
    (made,) = ours(scene)
    assert Account.objects.get().application_id == made
    for number in (good.routed_elsewhere, good.number, good.another):
        assert made in scene.owner.numbers[number][good.route_field]
    sandbox.clear_faults()
    for phone in PhoneNumber.objects.all():
        assert check(phone, tenant)["health"] == "ok"
    assert_nothing_is_leased()


@in_parallel
@repeated(3)
def test_two_repairs_of_one_number_at_once_both_end_well(
    sandbox: Sandbox, tenant: Tenant, carrier: Good, attempt: int
) -> None:
    scene = stage(sandbox, tenant, carrier)
    with_us = scene.snapshot()
    several(scene)
    jitter(sandbox)
    told = together(*[lambda: check(scene.phone, tenant, repair=True)] * 2)
    assert [one["reasons"] for one in told] == [[], []]
    assert scene.snapshot() == with_us
    assert_nothing_is_leased()


# -- check_phones -----------------------------------------------------------------------------------------------------


@dataclass
class Ran:
    status: int
    out: str
    err: str

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        return {row["phoneNumber"]: row for row in map(json.loads, self.out.splitlines())}


def run_check_phones(*arguments: str) -> Ran:
    out, err, status = StringIO(), StringIO(), 0
    try:
        call_command("check_phones", *arguments, stdout=out, stderr=err)
    except SystemExit as stopped:
        status = int(stopped.code or 0)
    return Ran(status, out.getvalue(), err.getvalue().strip())


@pytest.fixture
def scenes(sandbox: Sandbox, tenant: Tenant) -> dict[str, Scene]:
    """A number at each carrier."""
    return {name: stage(sandbox, tenant, good) for name, good in CARRIERS.items()}


@in_parallel
def test_check_phones_finds_drift_and_repairs_it(sandbox: Sandbox, tenant: Tenant, scenes: dict[str, Scene]) -> None:
    well = run_check_phones()
    assert (well.status, well.err) == (0, "ok 3")
    assert re.fullmatch(r"(\d{11}  (twilio|plivo|telnyx) +ok\n){3}", well.out)
    with_us = sandbox.snapshot()
    for scene in scenes.values():
        several(scene)

    found = run_check_phones("--output", "json")

    assert (found.status, found.err) == (3, "drift 3")
    for name, scene in scenes.items():
        row = found.rows[scene.phone.number]
        shown = data_of(send("GET", f"phones/{scene.phone.pk}", tenant))
        assert row == {name: shown[name] for name in SHOWN} | {
            "phoneNumber": scene.phone.number, "integration": name, "repaired": False,
        }  # fmt: skip
        assert row["health"] == "drift"
    table = run_check_phones()
    assert table.status == 3
    for scene in scenes.values():
        (line,) = [line for line in table.out.splitlines() if line.startswith(scene.phone.number)]
        assert "drift" in line and "overridden_by_trunk" in line and "wrong_http_method" in line
    assert writes(sandbox) == []

    repaired = run_check_phones("--repair", "--output", "json")

    assert (repaired.status, repaired.err) == (0, "repaired 3")
    assert {row["repaired"] for row in repaired.rows.values()} == {True}
    assert sandbox.snapshot() == with_us
    assert run_check_phones().status == 0
    several(scenes["twilio"])
    assert re.search(r"^\d+  twilio +ok +repaired$", run_check_phones("--repair").out, re.MULTILINE)


@pytest.mark.engine
@in_parallel
def test_check_phones_of_one_workspace_leaves_the_others_alone(
    sandbox: Sandbox, tenant: Tenant, other_tenant: Tenant, scenes: dict[str, Scene]
) -> None:
    other = stage(sandbox, other_tenant, TWILIO, phoneNumber=TWILIO.another)
    several(other)
    several(scenes["twilio"])
    mine = run_check_phones("--workspace", tenant.workspace.pk, "--output", "json")
    assert mine.status == 3
    assert mine.rows.keys() == {scene.phone.number for scene in scenes.values()}
    assert (
        run_check_phones("--workspace", tenant.workspace.pk.upper(), "--output", "json").rows.keys() == mine.rows.keys()
    )
    theirs = run_check_phones("--workspace", other_tenant.workspace.pk, "--output", "json", "--repair")
    assert theirs.rows.keys() == {other.phone.number}
    assert theirs.status == 0
    assert scenes["twilio"].there["trunk_sid"] == seeds.TWILIO_TRUNK


@pytest.mark.parametrize("workspace", ["", "x", "0" * 23, "0" * 25, "0" * 23 + "g", " " + "0" * 24, "0" * 24 + "\n"])
def test_check_phones_refuses_what_is_no_id_of_a_workspace(
    sandbox: Sandbox, scenes: dict[str, Scene], workspace: str
) -> None:
    """An empty one is a variable that was not set, and does not mean all."""
    with pytest.raises(CommandError) as refused:
        call_command("check_phones", f"--workspace={workspace}")
    assert refused.value.returncode == 2
    assert sandbox.ledger == []


@in_parallel
def test_check_phones_without_numbers_is_well(db: None) -> None:
    ran = run_check_phones()
    assert (ran.status, ran.out, ran.err) == (0, "", "no numbers")


@pytest.mark.engine
@in_parallel
def test_check_phones_checks_active_numbers_only_and_each_line_once(
    sandbox: Sandbox, tenant: Tenant, colleague: Tenant, scenes: dict[str, Scene]
) -> None:
    stage(sandbox, colleague, TWILIO)
    PhoneNumber.objects.filter(integration="plivo").update(state=PhoneNumber.State.REMOVING)
    ran = run_check_phones("--output", "json")
    assert len(ran.out.splitlines()) == len(CARRIERS) - 1
    assert {row["integration"] for row in ran.rows.values()} == CARRIERS.keys() - {"plivo"}


@pytest.mark.engine
@in_parallel
def test_one_line_that_fails_does_not_stop_the_others(
    sandbox: Sandbox, tenant: Tenant, scenes: dict[str, Scene], caplog: pytest.LogCaptureFixture
) -> None:
    Account.objects.filter(integration="twilio").update(integration="unknown")
    sandbox.fault("reset", carrier="plivo", times=None)
    several(scenes["telnyx"])

    ran = run_check_phones("--output", "json", "--repair")

    assert (ran.status, ran.err) == (3, "failed 1, repaired 1, unreachable 1")
    health = {row["integration"]: row["health"] for row in ran.rows.values()}
    assert (health.pop("unknown"), health.pop("plivo")) == ("failed", "unreachable")
    assert set(health.values()) == {"ok"} and len(health) == len(CARRIERS) - 2
    assert f"+{scenes['twilio'].phone.number} of unknown {TWILIO.acc_sid} could not be checked" in caplog.text
    assert re.search(r"^\d+  unknown +failed: see the log$", run_check_phones().out, re.MULTILINE)
    assert_nothing_is_leased()


# -- many lines -------------------------------------------------------------------------------------------------------


def most_at_once(exchanges: list[Exchange]) -> int:
    """How many were under way at the same moment."""
    changes = [(one.started, 1) for one in exchanges] + [(one.ended or one.started, -1) for one in exchanges]
    count = most = 0
    for _, change in sorted(changes):
        count += change
        most = max(most, count)
    return most


@pytest.fixture
def concurrency_limit(sandbox: Sandbox) -> Iterator[Callable[[int], None]]:
    yield lambda count: setattr(sandbox, "concurrency_limit", count)
    sandbox.concurrency_limit = None


@in_parallel
def test_a_few_lines_of_an_account_are_checked_at_a_time(
    sandbox: Sandbox, tenant: Tenant, concurrency_limit: Callable[[int], None]
) -> None:
    """A check makes its two reads at once. The carrier refuses more than it is meant to get, and is never asked for it."""
    most = at_once.PER_ACCOUNT * TWILIO.check_requests
    owners = ["AC" + digit * 32 for digit in "67"]
    for index, owner in enumerate(owners):
        many_lines(sandbox, tenant, owner, 40, first=1000 * index)
    concurrency_limit(most)
    sandbox.delay_s = 0.05

    ran = run_check_phones()

    assert (ran.status, ran.err) == (0, "ok 80")
    for owner in owners:
        of_account = [one for one in sandbox.ledger if one.account == owner]
        assert len(of_account) == 80
        assert {one.status for one in of_account} == {200}
        assert at_once.PER_ACCOUNT < most_at_once(of_account) <= most
    assert most_at_once(sandbox.ledger) > most, "one account waited for the other"


# -- what is shown of it ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", ["user:s3cret-word@", "", "s3cret-word@"], ids=["password", "query", "user"])
def test_no_reason_shows_our_token_or_what_is_secret_in_a_customers_address(
    sandbox: Sandbox, tenant: Tenant, carrier: Good, hidden: str
) -> None:
    scene = stage(sandbox, tenant, carrier)
    account = Account.objects.get()
    theirs = f"https://{hidden}elsewhere.example.com/voice" + ("" if hidden else "?key=s3cret-word#s3cret-word")
    if carrier.integration == "twilio":
        scene.edit_number(voice_url=theirs)
    else:
        scene.edit_application(**{"answer_url" if carrier.integration == "plivo" else "voice_url": theirs})

    checked = check(scene.phone, tenant)

    (told,) = checked["reasons"]
    assert told["actual"] == f"https://{'…@' if hidden else ''}elsewhere.example.com/voice{'' if hidden else '?…'}"
    assert told["expected"].endswith(f"/{account.webhook_token[:4]}…/answer")
    shown = [json.dumps(data_of(send("GET", path, tenant))) for path in ("phones", f"phones/{scene.phone.pk}")]
    for text in (json.dumps(checked), *shown):
        assert account.webhook_token not in text and "s3cret-word" not in text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("", ""), ("AP0123", "AP0123"), ("post", "post"), ("https://a.example/b", "https://a.example/b"),
        ("HTTPS://u:p@a.example:8443/b?c=d", "HTTPS://…@a.example:8443/b?…"), ("https://u:p@q@a.example", "https://…@a.example"),
        ("https://a.example/b@c", "https://a.example/b@c"), ("https://[::1/b?c", "https://[::1/b?…"), ("sip:u:p@a.example", "sip:…@a.example"),
        ("https://a.example/#c", "https://a.example/#…"), ("https://a.example/?b\nc", "https://a.example/?…"),
        ("https://old.example/api/webhooks/twilio/abcdefgh-_12/answer", "https://old.example/api/webhooks/twilio/abcd…/answer"),
    ],
)  # fmt: skip
def test_what_is_shown_of_a_setting(value: str, shown: str) -> None:
    assert public_setting(value) == shown
