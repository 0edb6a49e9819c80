"""The pages of the support desk with 100,000 numbers and 1,000,000 calls, compared with a tenth of that.

For each page: CPU seconds (medians), queries, and the plans of its queries. No plan may scan a growing table.
"""

import argparse
import base64
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bench.counting import scans, sent
from bench.report import Line, finish

SMALL, LARGE = (10_000, 100_000), (100_000, 1_000_000)
NUMBERS_OF_A_USER = 50
ROUNDS = 7
MOST_QUERIES = 20
ID = "{:024x}".format
# The numbers of a page to search for, present in both sizes.
LINE = 77


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is missed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        lines = compare(Path(directory))
    finish(lines, check=options.check)


def compare(directory: Path) -> list[Line]:
    os.environ.update(
        DJANGO_SETTINGS_MODULE="workspace.settings",
        SECRET_KEY="bench" * 12,
        CREDENTIAL_KEYS=base64.urlsafe_b64encode(bytes(32)).decode(),
        PUBLIC_URL="http://127.0.0.1:8000",
        ALLOWED_HOSTS="testserver",
        DATABASE_URL=f"sqlite:///{quote(str(directory / 'desk.sqlite3'))}",
        ENV_FILE=os.devnull,
        DEBUG="off",
        STAFF_TOTP="off",
    )
    import django
    from django.core.management import call_command

    django.setup()
    from phones.services.figures import count_figures

    call_command("migrate", verbosity=0)
    measured: list[dict[str, tuple[float, int]]] = []
    scans: set[str] = set()
    had = (0, 0)
    for size in (SMALL, LARGE):
        start = time.monotonic()
        fill(had, size)
        had = size
        count_figures()
        print(f"{size[0]:,} numbers and {size[1]:,} calls, created in {time.monotonic() - start:.0f} s")
        client = signed_in()
        measured.append({})
        for name, path in pages().items():
            get(client, path)
            took = statistics.median(get(client, path) for _ in range(ROUNDS))
            queries, found = look_into(client, path)
            scans |= {f"{name}: {scan}" for scan in found}
            measured[-1][name] = took, queries
    few, many = measured
    for name, (many_s, queries) in many.items():
        print(f"{name}: {many_s * 1000:.0f} ms of CPU, {queries} queries; with a tenth {few[name][0] * 1000:.0f} ms")
    for scan in sorted(scans):
        print(scan)
    more = [name for name in many if many[name][1] > few[name][1]]
    return [
        Line("most queries of a page", max(queries for _, queries in many.values()), MOST_QUERIES),
        Line("pages with more queries for more rows", len(more), 0, exact=True),
        Line("plans that scan a table", len(scans), 0, exact=True),
    ]


def signed_in() -> Any:
    from django.test import Client

    from users.models import User

    user = User.objects.filter(email="root@desk.example.com").first()
    client = Client()
    client.force_login(user or User.objects.create_superuser("root@desk.example.com"))
    return client


def pages() -> dict[str, str]:
    """Name and path of each page of the desk."""
    numbers, phone, workspace = "/admin/phones/phonenumber/", ID(LINE), ID(1)
    return {
        "dashboard": "/admin/",
        "numbers": numbers,
        "numbers, page 6": f"{numbers}?p=6",
        "numbers, by part of the number": f"{numbers}?q=000077",
        "numbers, by a common part": f"{numbers}?q=1212",
        "numbers, by e-mail": f"{numbers}?q=user7@",
        "numbers, by label": f"{numbers}?q=desk+77",
        "numbers, needs attention": f"{numbers}?health=unwell",
        "numbers, drift at Plivo": f"{numbers}?health=drift&carrier=plivo",
        "numbers, ok": f"{numbers}?health=ok",
        "numbers, one carrier": f"{numbers}?carrier=telnyx",
        "numbers, one workspace": f"{numbers}?workspace={workspace}",
        "numbers, past 7 days": f"{numbers}?created_at__gte={datetime.now(UTC) - timedelta(days=7):%Y-%m-%dT00:00:00Z}",
        "a number": f"{numbers}{phone}/change/",
        "remove it": f"{numbers}{phone}/delete/",
        "new auth token": f"{numbers}{phone}/token/",
        "add": f"{numbers}add/",
        "owners to choose": "/admin/autocomplete/?app_label=phones&model_name=phonenumber&field_name=user&term=user7",
        "imports": "/admin/phones/import/",
        "import": "/admin/phones/import/add/",
        "users": "/admin/users/user/",
        "users, searched": "/admin/users/user/?q=user77",
        "workspaces": "/admin/users/workspace/",
        "tokens": "/admin/users/apitoken/",
        "audit trail": "/admin/users/auditentry/",
        "audit trail of a number": f"/admin/users/auditentry/?q={number_of(LINE)}",
    }


def get(client: Any, path: str) -> float:
    """CPU seconds of one request."""
    start = time.process_time()
    response = client.get(path)
    if response.status_code != 200:
        sys.exit(f"{path}: {response.status_code}")
    return time.process_time() - start


def look_into(client: Any, path: str) -> tuple[int, set[str]]:
    """The number of queries of a page, and the scans in their plans."""
    with sent() as statements:
        get(client, path)
    return len(statements), scans(statements)


# -- the rows ---------------------------------------------------------------------------------------------------------


def health(index: int) -> str:
    return {0: "drift", 1: "drift", 2: "unreachable"}.get(index % 100, "ok")


def number_of(index: int) -> str:
    return f"1212{index:07d}"


def workspace_of(user: int) -> int:
    return 1 if user < 20 else user // 10 * 10


def account_of(number: int) -> int:
    """Each workspace has an account at each carrier."""
    return 3 * workspace_of(number // NUMBERS_OF_A_USER) + number % 3


def fill(had: tuple[int, int], size: tuple[int, int]) -> None:
    """Create the rows that are missing to reach this size: numbers, and everything that belongs to them."""
    from django.conf import settings

    from core.secrets import Secret
    from phones.models import PhoneNumber
    from phones.services.searching import terms_of
    from users.models import User

    connection = sqlite3.connect(settings.DATABASES["default"]["NAME"], isolation_level=None)
    insert = connection.executemany
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("BEGIN")
    sealed, now = Secret.seal("{}").sealed, datetime.now(UTC)
    carriers = ("plivo", "telnyx", "twilio")
    users = range(had[0] // NUMBERS_OF_A_USER, size[0] // NUMBERS_OF_A_USER)
    workspaces = [n for n in users if n % 10 == 0 or n == 1]
    insert(
        "INSERT INTO users_workspace (_id, name, is_active, created_at) VALUES (?, ?, 1, ?)",
        ((ID(n), f"Workspace {n}", text(now)) for n in workspaces),
    )
    insert(
        "INSERT INTO phones_account (_id, workspace_id, integration, account_id, auth_token, token_digest, public_key,"
        " application_id, application_is_customers, application_is_made, webhook_token, retired_digest, used_by,"
        " created_at, lease_id, refused_webhooks, refused_count)"
        " VALUES (?, ?, ?, ?, ?, '', '', '', 0, 0, ?, '', '', ?, '', '', 0)",
        (
            (ID(n), ID(workspace), carriers[n % 3], f"AC{n}", sealed, f"token{n}", text(now))
            for workspace in workspaces
            for n in range(3 * workspace, 3 * workspace + 3)
        ),
    )
    insert(
        "INSERT INTO users_user (_id, password, is_superuser, email, is_active, is_staff, created_at, workspace_id)"
        " VALUES (?, '', 0, ?, 1, 0, ?, ?)",
        ((ID(n), f"user{n}@example.com", text(now), ID(workspace_of(n))) for n in users),
    )
    numbers = range(had[0], size[0])
    insert(
        "INSERT INTO phones_line (_id, account_id, integration, number, carrier_id, snapshot, health, checked_at,"
        " unwell_since, held_since, created_at, lease_id) VALUES (?, ?, ?, ?, 'x', ?, ?, ?, ?, ?, ?, '')",
        (
            (
                ID(n),
                ID(account_of(n)),
                carriers[n % 3],
                number_of(n),
                sealed,
                one,
                text(now),
                None if one == "ok" else then,
                then,
                then,
            )
            for n, one, then in ((n, health(n), text(back(n))) for n in numbers)
        ),
    )
    insert(
        "INSERT INTO phones_phonenumber (_id, user_id, line_id, integration, number, state, label, action, greeting,"
        " language, forward_to, connect_to, ring_seconds, if_unanswered, record, lease_id, retired_for, created_at)"
        " VALUES (?, ?, ?, ?, ?, 'active', ?, 'voicemail', '', 'en-US', '', '', 30, 'voicemail', 0, '', '', ?)",
        (
            (ID(n), ID(n // NUMBERS_OF_A_USER), ID(n), carriers[n % 3], number_of(n), f"Desk {n}", text(back(n)))
            for n in numbers
        ),
    )

    def terms() -> Iterator[tuple[str, str, str]]:
        place = 1_000_000_000 + had[0] * 100
        for n in numbers:
            owner = User(email=f"user{n // NUMBERS_OF_A_USER}@example.com")
            for term in terms_of(PhoneNumber(number=number_of(n), label=f"Desk {n}", user=owner)):
                place += 1
                yield ID(place), ID(n), term

    insert("INSERT INTO phones_searchterm (_id, phone_number_id, term) VALUES (?, ?, ?)", terms())
    calls = range(had[1], size[1])
    insert(
        "INSERT INTO phones_call (_id, account_id, line_id, carrier_id, direction, caller, callee, status, started_at,"
        " duration_s, hangup_cause, currency, version, created_at)"
        " VALUES (?, ?, ?, ?, 'inbound', '14155550000', ?, 'completed', ?, 60, '', '', 2, ?)",
        (
            (
                ID(n),
                ID(account_of(n % size[0])),
                ID(n % size[0]),
                f"CA{n}",
                number_of(n % size[0]),
                text(back(n)),
                text(back(n)),
            )
            for n in calls
        ),
    )
    insert(
        "INSERT INTO phones_callevent (_id, account_id, call_id, dedupe_key, kind, payload, received_at, merged_at)"
        " VALUES (?, ?, ?, ?, 'status', 'x=1', ?, ?)",
        ((ID(n), ID(account_of(n % size[0])), ID(n), f"key{n}", text(back(n)), text(back(n))) for n in calls),
    )
    insert(
        "INSERT INTO users_auditentry (_id, at, actor_kind, actor, address, action, outcome, number, request_id,"
        " detail) VALUES (?, ?, 'token', 'wp_abcdefgh', '127.0.0.1', 'phone.add', 'ok', ?, '-', 'twilio')",
        ((ID(n), text(back(n)), number_of(n)) for n in numbers),
    )
    connection.execute("COMMIT")
    connection.close()


def back(index: int) -> datetime:
    """A random time in the last 90 days."""
    return datetime.now(UTC) - timedelta(seconds=index * 7919 % (90 * 86_400))


def text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d}000"


if __name__ == "__main__":
    main()
