"""Files of numbers, and what adding them must leave."""

import csv
from collections import Counter
from io import StringIO
from typing import Any

from phones.bulk.files import FileRow
from phones.bulk.rows import RowOutcome
from phones.bulk.run import add_rows
from phones.models import Account, PhoneNumber
from sandbox.sandbox import Sandbox
from tests.support.carriers import Good, environment_of
from tests.support.database import shared_url
from tests.support.people import Tenant


def rows_of(tenant: Tenant, good: Good, numbers: list[str], **changes: Any) -> list[FileRow]:
    return [
        FileRow(line, good.body(tenant.user, phoneNumber=number, **changes)) for line, number in enumerate(numbers, 2)
    ]


def some(sandbox: Sandbox, good: Good, count: int) -> list[str]:
    """New numbers of a carrier's good account."""
    numbers = [f"{good.number[:4]}77{index:05}" for index in range(count)]
    for number in numbers:
        sandbox.add_number(good.integration, good.owner, number)
    return numbers


def done(rows: list[FileRow], **options: Any) -> dict[int, RowOutcome]:
    return {one.line: one for one in add_rows(rows, **options)}


def counted(outcomes: dict[int, RowOutcome]) -> dict[str, int]:
    return dict(Counter(one.error or one.outcome for one in outcomes.values()))


def assert_ours(sandbox: Sandbox, good: Good, numbers: list[str]) -> None:
    """Every number is active, once, and its calls come to us; nothing is held."""
    active = PhoneNumber.objects.filter(integration=good.integration, state="active", lease_id="", lease_until=None)
    assert sorted(active.values_list("number", flat=True)) == sorted(numbers)
    account = Account.objects.get(integration=good.integration)
    assert not account.lines.exclude(lease_id="").exists() and not account.lease_id
    there = sandbox.snapshot()[good.integration][good.owner]["numbers"]
    for number in numbers:
        assert good.routes_to(there[number], webhook_token=account.webhook_token, application_id=account.application_id)


def environment(sandbox: Sandbox) -> dict[str, str]:
    return {
        "DATABASE_URL": shared_url(),
        **environment_of(sandbox),
    }


def csv_of(rows: list[FileRow]) -> str:
    names = list(rows[0].fields)
    out = StringIO()
    writer = csv.writer(out)
    writer.writerow(names)
    writer.writerows([row.fields.get(name, "") for name in names] for row in rows)
    return out.getvalue()
