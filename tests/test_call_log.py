"""The log of calls as the API shows it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from core.lookups import read_related
from core.secrets import Secret
from phones.models import Account, Call, Line, PhoneNumber, Recording
from tests.support.api import get
from tests.support.database import seen, walks
from tests.support.people import Tenant

pytestmark = [pytest.mark.engine, pytest.mark.django_db]

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def account_of(tenant: Tenant) -> Account:
    return Account.objects.create(
        workspace=tenant.workspace,
        integration="twilio",
        account_id="AC1",
        auth_token=Secret.seal("x"),
        token_digest="x",
    )


@pytest.fixture
def account(tenant: Tenant) -> Account:
    return account_of(tenant)


def own(tenant: Tenant, account: Account, number: str, **fields: Any) -> PhoneNumber:
    line, _ = Line.objects.get_or_create(
        account=account,
        integration="twilio",
        number=number,
        defaults={"carrier_id": number, "snapshot": Secret.seal("{}")},
    )
    return PhoneNumber.objects.create(
        user=tenant.user, line=line, integration="twilio", number=number, **{"state": "active", **fields}
    )


@pytest.fixture
def phones(tenant: Tenant, account: Account) -> list[PhoneNumber]:
    return [own(tenant, account, number) for number in ("12125550001", "12125550002")]


def call(phone: PhoneNumber, started_at: datetime, **fields: Any) -> Call:
    return Call.objects.create(
        carrier_id=f"CA{Call.objects.count()}",
        **{
            "account": phone.line.account,  # type: ignore[union-attr]
            "line": phone.line,
            "direction": "inbound",
            "status": "completed",
            "started_at": started_at,
            **fields,
        },
    )


@pytest.fixture
def calls(phones: list[PhoneNumber]) -> list[Call]:
    """Newest first: of the last minutes and of years, some at the same moment, on both numbers in turn."""
    now = timezone.now()
    ages = [timedelta(minutes=1)] * 3 + [timedelta(hours=5**power) for power in range(7)] + [timedelta(days=3650)] * 2
    made = [call(phones[index % 2], now - age) for index, age in enumerate(ages)]
    return sorted(made, key=lambda one: (one.started_at, one.pk), reverse=True)


def page(tenant: Tenant, query: str, path: str = "calls") -> dict[str, Any]:
    reply = get(f"/api/call/{path}?{query}", tenant)
    assert reply.status_code == 200, reply.content
    return reply.json()["data"]


def ids(tenant: Tenant, query: str = "", path: str = "calls") -> list[str]:
    return [one["_id"] for one in page(tenant, query, path)["items"]]


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 11, 12, 13, 100])
def test_pages_bring_every_call_once_newest_first(tenant: Tenant, calls: list[Call], limit: int) -> None:
    seen, cursor = [], ""
    while True:
        data = page(tenant, f"limit={limit}" + (f"&cursor={cursor}" if cursor else ""))
        seen += [one["_id"] for one in data["items"]]
        assert len(data["items"]) == limit or data["nextCursor"] is None
        cursor = data["nextCursor"]
        if not cursor:
            break
    assert seen == [one.pk for one in calls]


def test_a_call_that_comes_in_between_does_not_shift_the_pages(
    tenant: Tenant, phones: list[PhoneNumber], calls: list[Call]
) -> None:
    first = page(tenant, "limit=5")
    call(phones[0], timezone.now())

    assert ids(tenant, f"limit=100&cursor={first['nextCursor']}") == [one.pk for one in calls[5:]]


def test_filters_choose(tenant: Tenant, phones: list[PhoneNumber]) -> None:
    early = call(phones[0], NOON, status="busy")
    late = call(phones[1], NOON + timedelta(hours=1), direction="outbound")

    assert ids(tenant) == [late.pk, early.pk]
    assert ids(tenant, "status=busy") == [early.pk]
    assert ids(tenant, "direction=outbound") == [late.pk]
    assert ids(tenant, "direction=outbound&status=busy") == []
    assert ids(tenant, "phoneNumber=%2B1 (212) 555-0001") == [early.pk]
    assert ids(tenant, "phoneNumber=13125550001") == []
    assert ids(tenant, "after=2026-11-20T13:00:00Z") == [late.pk]
    assert ids(tenant, "before=2026-11-20T13:00:00Z") == [early.pk]
    assert ids(tenant, "before=2026-11-20T14:00:00.001%2B01:00") == [late.pk, early.pk]
    assert ids(tenant, "after=2026-11-20T12:00:00&before=2026-11-20T12:00:00.001") == [early.pk]
    assert ids(tenant, path=f"phones/{phones[0].pk}/calls") == [early.pk]
    assert ids(tenant, "status=completed", path=f"phones/{phones[0].pk.upper()}/calls") == []


@pytest.mark.parametrize("query", ["", "status=busy", "direction=outbound", "status=busy&direction=outbound"])
def test_a_page_is_read_in_the_order_of_an_index(tenant: Tenant, phones: list[PhoneNumber], query: str) -> None:
    now = timezone.now()
    for number in range(120):
        call(phones[number % 2], now - timedelta(minutes=number), status="busy", direction="outbound")

    for path, lines in {"calls": 2, f"phones/{phones[0].pk}/calls": 1}.items():
        with seen() as statements:
            assert len(ids(tenant, f"limit=10&{query}", path)) == 10
        reads = [one for one in statements if one.table == "phones_call"]
        # Only MongoDB has an order of several lines.
        assert reads and not any(walks(one, may_sort=lines > 1) for one in reads)


# Of the length of a token of ours, Twilio's, Plivo's and Telnyx's; and the shortest name that is not shown.
TOKENS = ["wp_" + "t" * 43, "0123456789abcdef" * 2, "N2Q5" * 10, "KEY0" + "A1b2_" * 10 + "Zz9x", "a2" * 12 + "b"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=-1", "limit"),
        ("limit=1.0", "limit"),
        ("limit=", "limit"),
        ("limit=1&limit=1", "limit"),
        ("status=", "status"),
        ("status=busy&status=failed", "status"),
        ("phoneNumber=%20", "phoneNumber"),
        ("from=442079460000", "from"),
        ("Status=busy", "Status"),
        ("status[]=busy", "status[]"),
        ("status%00=busy", "status\0"),
        ("%ff=1", "\ufffd"),
        ("=1", ""),
        ("api_key=x&limit=0", "api_key"),
        ("endOldTokenAndOthers", "endOldTokenAndOthers"),
        *((token, f"{token[:11]}…") for token in TOKENS),
        ("&".join(f"a{number}=1" for number in range(1001)), None),
        ("limit=٣", "limit"),
        ("cursor=x", "cursor"),
        ("cursor=bnVsbA", "cursor"),
        ("cursor=WzEsMl0", "cursor"),
        ("cursor=WzFlMzk5LCAiNjRlNWYxMjM0NWFiY2RlZjEyMzQ1Njc4Il0", "cursor"),
        ("cursor=" + "W1tb" * 900, "cursor"),
        ("cursor=%00", "cursor"),
        ("cursor=LTk5OTk5OTk5OTk5OTkgNjRlNWYxMjM0NWFiY2RlZjEyMzQ1Njc4", "cursor"),
        ("status=ended", "status"),
        ("direction=in", "direction"),
        ("after=yesterday", "after"),
        ("after=0001-01-01T00:00:00%2B14:00", "after"),
        ("before=9999-12-31T23:59:59-14:00", "before"),
    ],
)
def test_a_wrong_filter_is_told(tenant: Tenant, query: str, field: str | None) -> None:
    reply = get(f"/api/call/calls?{query}", tenant)

    assert reply.status_code == 400
    assert reply.json()["data"] == {"error": "invalid_field", "field": field}
    assert not any(token[:12] in reply.content.decode() for token in TOKENS)


def test_only_active_numbers_of_the_own_workspace_count(
    tenant: Tenant, colleague: Tenant, other_tenant: Tenant, account: Account, phones: list[PhoneNumber]
) -> None:
    shared, foreign = (
        own(colleague, account, phones[0].number),
        own(other_tenant, account_of(other_tenant), "12125550003"),
    )
    of_both, mine, theirs = call(shared, NOON), call(phones[1], NOON), call(foreign, NOON)
    call(phones[0], NOON, line=None)
    before_us = call(phones[1], NOON, account=foreign.line.account)  # type: ignore[union-attr]

    assert set(ids(tenant)) == {of_both.pk, mine.pk}
    assert ids(other_tenant) == [theirs.pk]
    assert get(f"/api/call/calls/{before_us.pk}", tenant).status_code == 404
    PhoneNumber.objects.filter(pk=phones[0].pk).update(state="removing")
    assert set(ids(tenant)) == {of_both.pk, mine.pk}, "a colleague still has it"
    PhoneNumber.objects.filter(pk__in=[shared.pk, foreign.pk]).update(state="removing")
    assert (ids(tenant), ids(other_tenant)) == ([mine.pk], [])
    for whose, one in ((tenant, of_both), (other_tenant, theirs)):
        assert get(f"/api/call/calls/{one.pk}", whose).status_code == 404


def test_a_call_can_be_had_by_its_id(tenant: Tenant, phones: list[PhoneNumber]) -> None:
    one = call(phones[0], NOON, answered_at=NOON + timedelta(seconds=2), ended_at=NOON + timedelta(seconds=9))

    reply = get(f"/api/call/calls/{one.pk}", tenant).json()

    assert reply["data"] == page(tenant, "")["items"][0]
    assert reply["data"]["durationSeconds"] == 7
    assert reply["data"]["startedAt"] == "2026-11-20T12:00:00.000Z"


def test_what_is_not_known_of_a_call_is_null(tenant: Tenant, phones: list[PhoneNumber]) -> None:
    one = call(phones[0], NOON, direction="", status="unknown")
    Recording.objects.create(account=one.account, call=one, carrier_id="RE1", status="completed")

    shown = get(f"/api/call/calls/{one.pk}", tenant).json()["data"]

    told = {"_id", "carrierCallId", "phoneNumber", "integration", "status", "startedAt", "recordings"}
    assert {name for name, value in shown.items() if value is not None} == told
    assert {name for name, value in shown["recordings"][0].items() if value is None} == {"durationSeconds", "channels"}


def test_the_calls_of_a_number_that_is_removed_while_they_are_read_are_of_no_number(
    tenant: Tenant, phones: list[PhoneNumber], monkeypatch: pytest.MonkeyPatch
) -> None:
    call(phones[0], NOON)

    def read_later(*rows: Any) -> None:
        PhoneNumber.objects.all().delete()
        Line.objects.all().delete()
        read_related(*rows)

    monkeypatch.setattr("phones.services.call_log.read_related", read_later)
    assert [one["phoneNumber"] for one in page(tenant, "")["items"]] == [None]


@pytest.mark.parametrize("path", ["calls", "calls/x", "phones/x/calls", "recordings/x/media"])
def test_the_log_needs_a_token_and_is_read_only(tenant: Tenant, path: str) -> None:
    from django.test import Client

    assert Client().get(f"/api/call/{path}").status_code == 401
    reply = Client().post(f"/api/call/{path}", headers={"Authorization": f"Bearer {tenant.token}"})
    assert (reply.status_code, reply.json()["data"]["error"]) == (405, "method_not_allowed")
