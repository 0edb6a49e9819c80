"""What the services may rely on of each carrier's provider. Over HTTP against the sandbox, without a database."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from integrations import provider_class
from integrations.applications import ApplicationProvider, Applications
from integrations.base import Provider
from integrations.errors import IntegrationError, InvalidCredentials, WebhookSetupFailed
from integrations.transport import Deadline, Timeouts
from integrations.types import Application, Route, Site
from integrations.webhooks import Urls
from sandbox import state as seeds
from sandbox.sandbox import Sandbox
from tests.support.carrier_contract import violations
from tests.support.carriers import NO_PROFILE, TELNYX, TWILIO, Good, api_urls, each_with_application

PUBLIC_URL = "https://phones.example.com"
ELSEWHERE = "https://elsewhere.example.com/voice"
APPLICATION = r"/(Application|texml_applications)/\d+/?$"
NUMBERS = r"/(Number/|phone_numbers)$"

Connect = Callable[..., Provider]


@pytest.fixture
def connect(sandbox: Sandbox) -> Connect:
    """Makes a provider for a workspace."""

    def make(good: Good, workspace_id: str = "one", *, deadline_s: float = 20.0, **changes: str) -> Provider:
        site = Site(PUBLIC_URL, api_urls(sandbox)[good.integration], Timeouts(2.0, 5.0), workspace_id)
        fields = {"account_id": good.acc_sid, "auth_token": good.auth_token, **changes}
        return provider_class(good.integration)(**fields, site=site, deadline=Deadline(deadline_s))

    return make


@pytest.fixture(autouse=True)
def documented(sandbox: Sandbox) -> Iterator[None]:
    yield
    assert [problem for one in sandbox.ledger if not one.fault for problem in violations(one)] == []


def urls_of(workspace_id: str, good: Good) -> Urls:
    return Urls.under(f"{PUBLIC_URL}/api/webhooks/{good.integration}/token-of-{workspace_id}")


def made(provider: Provider, good: Good, workspace_id: str = "one") -> Application:
    """Our application, as an add makes it."""
    assert isinstance(provider, ApplicationProvider)
    return provider.applications.make(urls_of(workspace_id, good), None)


def applications_of(provider: Provider) -> Applications:
    assert provider.applications is not None
    return provider.applications


def route(provider: Provider, good: Good, number: str, workspace_id: str = "one") -> tuple[str, str]:
    """Route the number to us as an add does. Returns its id and that of the application."""
    application_id = made(provider, good, workspace_id).id if provider.applications else ""
    number_id = provider.verify(number, application_id="").id
    provider.apply(number_id, urls_of(workspace_id, good), application_id)
    return number_id, application_id


def account_of(sandbox: Sandbox, good: Good) -> Any:
    return sandbox.state.account(good.integration, good.owner)


def rename(sandbox: Sandbox, good: Good, application_id: str, name: str) -> None:
    sandbox.console(good.integration, good.owner, application=application_id, **{good.name_field: name})


def linked_to(good: Good, application_id: str) -> dict[str, str]:
    return {good.route_field: good.route_end.format(application_id=application_id)}


# -- names ------------------------------------------------------------------------------------------------------------


def test_names_tell_installations_and_workspaces_apart() -> None:
    def site(public_url: str, workspace_id: str) -> Site:
        return Site(public_url, "", Timeouts(1, 1), workspace_id)

    sites = [site(url, workspace) for url in ("https://a.example.com", "https://b.example.com") for workspace in "12"]
    assert len({one.application_name for one in sites}) == 4
    assert len({one.earlier_application_name for one in sites}) == 2
    # sha256 of "https://phones.example.com 0123456789abcdef01234567" and of the URL alone.
    one = site(PUBLIC_URL, "0123456789abcdef01234567")
    assert one.application_name == "workspace-phones-ee2e0ecf"
    assert one.earlier_application_name == "workspace-phones-f3133ac5"
    assert one.is_ours(one.application_name) and one.is_ours(one.earlier_application_name)
    assert not any(one.is_ours(name) for name in ("", "workspace-phones-", sites[0].application_name))


@each_with_application
def test_the_application_of_another_workspace_is_not_found_by_name(connect: Connect, good: Good) -> None:
    ours = made(connect(good), good)
    assert applications_of(connect(good)).find() == ours
    assert applications_of(connect(good, "two")).find() is None
    assert made(connect(good, "two"), good, "two").id != ours.id


@each_with_application
def test_an_application_under_the_earlier_name_is_ours_and_not_looked_for(
    sandbox: Sandbox, connect: Connect, good: Good
) -> None:
    provider = connect(good)
    id = made(provider, good).id
    rename(sandbox, good, id, provider.site.earlier_application_name)
    application = applications_of(provider).find(id)
    assert application is not None and application.name == provider.site.earlier_application_name
    assert applications_of(provider).find() is None
    assert provider.route_of({"application_id": id}, application) is Route.OURS
    rename(sandbox, good, id, "customer-ivr")
    assert provider.route_of({"application_id": id}, applications_of(provider).find(id)) is Route.NONE


@pytest.mark.parametrize(("name", "found"), [("", ["no_outbound_profile"]), ("customer-ivr", [])])
def test_only_an_application_of_ours_must_have_a_voice_profile(
    sandbox: Sandbox, connect: Connect, name: str, found: list[str]
) -> None:
    provider = connect(TELNYX)
    application_id = made(provider, TELNYX).id
    rename(sandbox, TELNYX, application_id, name or provider.site.earlier_application_name)
    sandbox.console("telnyx", TELNYX.owner, application=application_id, outbound={})
    application = applications_of(provider).find(application_id)
    assert application is not None
    assert [one.reason for one in applications_of(provider).compare(application, urls_of("one", TELNYX))] == found


# -- changes that the carrier may carry out later ---------------------------------------------------------------------

# The fault, whether it leaves a doubt, and whether an error comes of it although the request is sent twice.
FAULTS = {
    "answered": ("", None, False, False),
    "reply lost": ("lost_reply", None, True, False),
    "not answered": ("reset", None, True, False),
    "error": ("status", 500, True, False),
    "nonsense": ("html", None, True, False),
    "refused": ("status", 403, False, True),
    "too many requests": ("status", 429, False, False),
}
each_fault = pytest.mark.parametrize("fault", FAULTS)


def fail(sandbox: Sandbox, good: Good, fault: str, methods: tuple[str, ...], path: str = "") -> None:
    kind, status, _, _ = FAULTS[fault]
    for method in methods if kind else ():
        sandbox.fault(kind, carrier=good.integration, method=method, path=path, status=status)


@each_fault
def test_an_attempt_to_route_a_number_that_is_not_answered_leaves_a_doubt(
    sandbox: Sandbox, connect: Connect, carrier: Good, fault: str
) -> None:
    provider = connect(carrier)
    application_id = made(connect(carrier), carrier).id if provider.applications else ""
    number_id = provider.verify(carrier.number, application_id="").id
    fail(sandbox, carrier, fault, ("POST", "PATCH"))
    _, _, doubt, is_error = FAULTS[fault]
    try:
        provider.apply(number_id, urls_of("one", carrier), application_id)
        assert not is_error
    except WebhookSetupFailed:
        assert is_error
    assert provider.in_doubt is doubt
    assert not connect(carrier).in_doubt


@each_fault
def test_an_attempt_to_restore_a_number_that_is_not_answered_leaves_a_doubt(
    sandbox: Sandbox, connect: Connect, carrier: Good, fault: str
) -> None:
    provider, snapshot = connect(carrier), connect(carrier).verify(carrier.number, application_id="").settings
    number_id, application_id = route(connect(carrier), carrier, carrier.number)
    fail(sandbox, carrier, fault, ("POST", "PATCH"))
    _, _, doubt, is_error = FAULTS[fault]
    try:
        assert provider.restore(number_id, snapshot, urls_of("one", carrier), application_id) is True
        assert not is_error
    except WebhookSetupFailed:
        assert is_error
    assert provider.in_doubt is doubt


@each_fault
@each_with_application
def test_an_application_whose_creation_is_not_answered_leaves_a_doubt(
    sandbox: Sandbox, connect: Connect, good: Good, fault: str
) -> None:
    provider = connect(good)
    fail(sandbox, good, fault, ("POST",))
    if fault in ("answered", "reply lost"):
        assert made(provider, good).name == provider.site.application_name
    else:  # it is never asked for twice
        with pytest.raises(WebhookSetupFailed):
            made(provider, good)
    assert provider.in_doubt is FAULTS[fault][2]


@each_fault
@each_with_application
def test_a_change_of_an_application_that_is_not_answered_leaves_a_doubt(
    sandbox: Sandbox, connect: Connect, good: Good, fault: str
) -> None:
    provider, application = connect(good), made(connect(good), good)
    fail(sandbox, good, fault, ("POST", "PATCH"))
    if FAULTS[fault][3]:
        with pytest.raises(WebhookSetupFailed):
            applications_of(provider).point(application, urls_of("another", good))
    else:
        applications_of(provider).point(application, urls_of("another", good))
    assert provider.in_doubt is FAULTS[fault][2]


@pytest.mark.parametrize("fault", ["reply lost", "refused"])
def test_a_voice_profile_whose_creation_is_not_answered_leaves_a_doubt(
    sandbox: Sandbox, connect: Connect, fault: str
) -> None:
    provider = connect(NO_PROFILE)
    fail(sandbox, NO_PROFILE, fault, ("POST",), r"^/outbound_voice_profiles$")
    if fault == "refused":
        with pytest.raises(WebhookSetupFailed):
            made(provider, NO_PROFILE)
    else:
        assert made(provider, NO_PROFILE).profile_id
    assert provider.in_doubt is FAULTS[fault][2]


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != "answered"])
def test_a_read_that_is_not_answered_leaves_no_doubt(
    sandbox: Sandbox, connect: Connect, carrier: Good, fault: str
) -> None:
    provider = connect(carrier)
    number_id, _ = route(provider, carrier, carrier.number)
    kind, status, _, _ = FAULTS[fault]
    sandbox.fault(kind, method="GET", status=status, times=None)
    with pytest.raises(IntegrationError):
        provider.read(number_id)
    assert provider.in_doubt is False


def test_what_there_was_no_time_to_send_leaves_no_doubt(sandbox: Sandbox, connect: Connect, carrier: Good) -> None:
    number_id, application_id = route(connect(carrier), carrier, carrier.number)
    provider = connect(carrier, deadline_s=0.0)
    sandbox.clear_ledger()
    assert provider.apply(number_id, urls_of("two", carrier), application_id) is None
    assert (provider.in_doubt, sandbox.ledger) == (False, [])


def test_a_restoration_that_is_confirmed_and_not_there_leaves_a_doubt(
    sandbox: Sandbox, connect: Connect, carrier: Good
) -> None:
    snapshot = connect(carrier).verify(carrier.number, application_id="").settings
    number_id, application_id = route(connect(carrier), carrier, carrier.number)
    routed = dict(account_of(sandbox, carrier).numbers[carrier.number])
    reads_back = bool(application_id)
    sandbox.fault(
        "rewrite", carrier=carrier.integration, method="GET" if reads_back else "POST", skip=int(reads_back),
        change=lambda body: {"data": routed} if "data" in body else body | routed,
    )  # fmt: skip
    provider = connect(carrier)
    with pytest.raises(WebhookSetupFailed):
        provider.restore(number_id, snapshot, urls_of("one", carrier), application_id)
    assert provider.in_doubt is True


@each_with_application
def test_a_change_of_an_application_that_is_confirmed_and_not_there_leaves_a_doubt(
    sandbox: Sandbox, connect: Connect, good: Good
) -> None:
    provider, application = connect(good), made(connect(good), good)

    def as_before(body: Any) -> Any:
        if good.answer_field in body.get("data", body):
            body.get("data", body)[good.answer_field] = ELSEWHERE
        return body

    sandbox.fault("rewrite", carrier=good.integration, path=APPLICATION, times=None, change=as_before)
    with pytest.raises(WebhookSetupFailed):
        applications_of(provider).point(application, urls_of("another", good))
    assert provider.in_doubt is True


# -- restoring --------------------------------------------------------------------------------------------------------


def test_a_restoration_says_whether_something_of_ours_was_there(
    sandbox: Sandbox, connect: Connect, carrier: Good
) -> None:
    before, provider = sandbox.snapshot(), connect(carrier)
    snapshot = provider.verify(carrier.routed_elsewhere, application_id="").settings
    number_id, application_id = route(provider, carrier, carrier.routed_elsewhere)
    urls = urls_of("one", carrier)
    assert provider.restore(number_id, snapshot, urls, application_id) is True
    restored = sandbox.snapshot()
    assert provider.restore(number_id, snapshot, urls, application_id) is False
    assert sandbox.snapshot() == restored
    numbers = restored[carrier.integration][carrier.owner]["numbers"]
    assert numbers == before[carrier.integration][carrier.owner]["numbers"]


def test_a_number_routed_for_another_workspace_is_not_restored(
    sandbox: Sandbox, connect: Connect, carrier: Good
) -> None:
    snapshot = connect(carrier).verify(carrier.number, application_id="").settings
    number_id, _ = route(connect(carrier), carrier, carrier.number)
    application_id = made(connect(carrier, "two"), carrier, "two").id if connect(carrier).applications else ""
    there = sandbox.snapshot()
    provider = connect(carrier, "two")
    assert provider.restore(number_id, snapshot, urls_of("two", carrier), application_id) is False
    assert sandbox.snapshot() == there


def test_a_trunk_stays_detached_once_no_address_of_ours_is_left(sandbox: Sandbox, connect: Connect) -> None:
    provider = connect(TWILIO)
    snapshot = provider.verify(TWILIO.on_a_trunk, application_id="").settings
    assert snapshot["trunk_sid"] == TWILIO.trunk
    number_id, _ = route(provider, TWILIO, TWILIO.on_a_trunk)
    sandbox.console(
        "twilio", TWILIO.owner, number=TWILIO.on_a_trunk,
        voice_url=ELSEWHERE, voice_fallback_url=None, status_callback=None,
    )  # fmt: skip
    there = sandbox.snapshot()
    assert provider.restore(number_id, snapshot, urls_of("one", TWILIO), "") is False
    assert sandbox.snapshot() == there


@each_with_application
def test_the_restoration_of_an_application_says_whether_its_addresses_were_ours(
    sandbox: Sandbox, connect: Connect, good: Good
) -> None:
    applications = applications_of(connect(good))
    application = made(connect(good), good)
    snapshot = application.settings | {good.answer_field: ELSEWHERE}
    assert applications.restore(application.id, snapshot, urls_of("one", good)) is True
    found = applications.find(application.id)
    assert found is not None and found.settings == snapshot
    assert applications.restore(application.id, snapshot, urls_of("one", good)) is False
    assert applications.delete(application.id)
    assert applications.restore(application.id, snapshot, urls_of("one", good)) is False


# -- what is linked to an application ---------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 251, 500])
@each_with_application
def test_all_numbers_of_an_application_are_found(sandbox: Sandbox, connect: Connect, good: Good, count: int) -> None:
    provider = connect(good)
    application_id, another_id = made(provider, good).id, made(connect(good, "two"), good, "two").id
    numbers = [f"1617555{index:04}" for index in range(count)]
    for index, number in enumerate(numbers):
        sandbox.add_number(good.integration, good.owner, number, **linked_to(good, application_id))
        sandbox.add_number(good.integration, good.owner, f"1618555{index:04}", **linked_to(good, another_id))
    assert sorted(applications_of(provider).numbers_linked_to(application_id)) == numbers
    assert provider.in_doubt is False


@each_with_application
def test_who_has_no_access_is_not_told_that_nothing_is_linked(connect: Connect, good: Good) -> None:
    application_id = made(connect(good), good).id
    with pytest.raises(InvalidCredentials):
        applications_of(connect(good, auth_token="wrong")).numbers_linked_to(application_id)
    with pytest.raises(InvalidCredentials):
        applications_of(connect(good, auth_token="wrong")).delete(application_id)


@each_with_application
def test_an_application_stays_while_any_number_is_linked_to_it(sandbox: Sandbox, connect: Connect, good: Good) -> None:
    provider = connect(good)
    number_id, application_id = route(provider, good, good.another)
    there = sandbox.snapshot()
    assert applications_of(provider).delete(application_id) is False
    assert sandbox.snapshot() == there
    provider.apply(number_id, urls_of("one", good), good.another_link)
    assert applications_of(provider).delete(application_id) is True
    assert applications_of(provider).find(application_id) is None
    assert applications_of(provider).delete(application_id) is True, "it is gone"
    assert applications_of(provider).delete("") is True


@pytest.mark.parametrize("is_linked", [True, False])
@each_with_application
def test_a_refusal_to_delete_is_asked_about_once_more(
    sandbox: Sandbox, connect: Connect, good: Good, is_linked: bool
) -> None:
    provider = connect(good)
    _, application_id = route(provider, good, good.another)
    if is_linked:  # since it was asked
        sandbox.fault(
            "rewrite", carrier=good.integration, method="GET", path=NUMBERS,
            change=lambda body: body | ({"data": []} if "data" in body else {"objects": [], "meta": {"total_count": 0}}),
        )  # fmt: skip
    else:
        account_of(sandbox, good).numbers[good.another][good.route_field] = None
    there = sandbox.snapshot()
    sandbox.fault("status", carrier=good.integration, method="DELETE", status=422)
    if is_linked:
        assert applications_of(provider).delete(application_id) is False
    else:
        with pytest.raises(WebhookSetupFailed):
            applications_of(provider).delete(application_id)
    assert sandbox.snapshot() == there


def test_a_voice_profile_stays_with_its_application(sandbox: Sandbox, connect: Connect) -> None:
    provider = connect(NO_PROFILE)
    _, application_id = route(provider, NO_PROFILE, NO_PROFILE.number)
    (profile,) = account_of(sandbox, NO_PROFILE).profiles.values()
    assert profile["name"] == provider.site.application_name
    assert applications_of(provider).delete(application_id) is False
    assert list(account_of(sandbox, NO_PROFILE).profiles.values()) == [profile]
    account_of(sandbox, NO_PROFILE).numbers[NO_PROFILE.number].update(connection_id=None, connection_name=None)
    assert applications_of(provider).delete(application_id) is True
    assert account_of(sandbox, NO_PROFILE).profiles == {}


def test_each_workspace_has_a_voice_profile_of_its_own(sandbox: Sandbox, connect: Connect) -> None:
    first, second = made(connect(NO_PROFILE), NO_PROFILE), made(connect(NO_PROFILE, "two"), NO_PROFILE, "two")
    assert first.profile_id != second.profile_id
    assert applications_of(connect(NO_PROFILE)).delete(first.id) is True
    assert [*account_of(sandbox, NO_PROFILE).profiles] == [second.profile_id]
    assert applications_of(connect(NO_PROFILE, "two")).delete(second.id) is True
    assert account_of(sandbox, NO_PROFILE).profiles == {}


@pytest.mark.parametrize("is_gone", [False, True], ids=["", "application gone"])
def test_a_voice_profile_under_the_earlier_name_goes_with_its_application(
    sandbox: Sandbox, connect: Connect, is_gone: bool
) -> None:
    provider = connect(NO_PROFILE)
    application = made(provider, NO_PROFILE)
    earlier, account = provider.site.earlier_application_name, account_of(sandbox, NO_PROFILE)
    rename(sandbox, NO_PROFILE, application.id, earlier)
    account.profiles[application.profile_id]["name"] = earlier
    if is_gone:
        del account.applications[application.id]
    assert applications_of(provider).delete(application.id) is True
    assert account.profiles == {}


# -- an application that the customer named ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "others"), [(TELNYX.number, (TELNYX.routed_elsewhere,)), (TELNYX.routed_elsewhere, ())]
)
def test_the_other_numbers_of_a_named_application_are_told(
    connect: Connect, number: str, others: tuple[str, ...]
) -> None:
    id, provider = seeds.TELNYX_CUSTOMER_APP, connect(TELNYX)
    assert provider.verify(number, application_id=id, names_application=True).also_linked == others
    assert provider.verify(number, application_id=id).also_linked == ()


def test_an_unknown_application_has_no_numbers(connect: Connect) -> None:
    for unknown in ("1293384261075731400", "not-an-id"):
        found = connect(TELNYX).verify(TELNYX.number, application_id=unknown, names_application=True)
        assert (found.application, found.also_linked) == (None, ())


def test_they_are_asked_for_with_the_rest_and_only_if_it_is_named(
    sandbox: Sandbox, connect: Connect, carrier: Good
) -> None:
    application_id = made(connect(carrier), carrier).id if connect(carrier).applications else ""
    sandbox.delay_s = 0.5
    asked = {}
    for named in (False, True):
        sandbox.clear_ledger()
        connect(carrier).verify(carrier.number, application_id=application_id, names_application=named)
        asked[named] = len(sandbox.ledger)
        assert max(one.started for one in sandbox.ledger) < min(one.ended or 0 for one in sandbox.ledger)
    assert asked[True] - asked[False] == (carrier is TELNYX)


# -- the list of numbers ----------------------------------------------------------------------------------------------


def routes(provider: Provider) -> dict[str, Route]:
    found, cursor = provider.list_numbers("")
    assert not cursor
    return {listed.number: listed.route for listed in found}


def test_a_number_of_another_workspace_is_routed_to_us(connect: Connect, carrier: Good) -> None:
    route(connect(carrier), carrier, carrier.number)
    mine, theirs = routes(connect(carrier)), routes(connect(carrier, "two"))
    assert mine == theirs
    assert [number for number, found in mine.items() if found is Route.OURS] == [carrier.number]


@pytest.mark.parametrize("kind", ["earlier name", "address of ours", "neither"])
@each_with_application
def test_a_number_linked_to_any_application_of_ours_is_routed_to_us(
    sandbox: Sandbox, connect: Connect, good: Good, kind: str
) -> None:
    provider = connect(good)
    for index in range(30):  # so that it is on a later page
        assert made(connect(good, f"another-{index}"), good)
    _, application_id = route(provider, good, good.number)
    rename(sandbox, good, application_id, "customer-ivr")
    if kind != "address of ours":
        sandbox.console(good.integration, good.owner, application=application_id, **{good.answer_field: ELSEWHERE})
    if kind == "earlier name":
        rename(sandbox, good, application_id, provider.site.earlier_application_name)
    expected = Route.ELSEWHERE if kind == "neither" else Route.OURS
    assert routes(connect(good))[good.number] is expected
