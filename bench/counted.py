"""The cost of an add, a webhook, a list and a page in counts: rounds, requests, statements, plans, modules.

The counts are quick to take and identical on every machine, so that every change can be checked; `make bench` measures
times. The sandbox plays the carriers. The goals for statements are the counts at the last review: fewer is better.
"""

import argparse
import base64
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bench import add_phone, bulk, database, desk, startup, webhook
from bench.counting import listener, scans, sent
from bench.list import get, make_lines, plans, requests_to_measure
from bench.report import Line, finish
from sandbox import state as seeds
from sandbox.ledger import rounds
from sandbox.replica_set import ReplicaSet
from sandbox.sandbox import Sandbox

FEW, MANY = (600, 1800), (1200, 3600)
CALLS_OF_LOG = 2000
# Long enough that requests sent in parallel overlap.
DELAY_S = 0.25
BULK_ROWS, CROWD = 100, 60
# Maximum statements on SQLite and commands on MongoDB of any carrier or page. `answer` includes one more statement that
# records an account's first webhook; each webhook is the account's first in a minute, which creates its counter.
MOST = {
    "sqlite": {"add": 21, "answer": 15, "status": 15, "recording": 14, "log of calls": 14, "page": 17},
    "mongodb": {"add": 14, "answer": 8, "status": 8, "recording": 7, "log of calls": 14, "page": 17},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is missed")
    parser.add_argument("--count", metavar="URL", help=argparse.SUPPRESS)
    parser.add_argument("--rows", metavar="FILE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.count:
        lines = count(options.count, Path(options.rows))
        print(json.dumps([asdict(line) for line in lines]))
        return
    lines = startup.counted()
    with tempfile.TemporaryDirectory() as name, ReplicaSet() as replica_set:
        rows = Path(name) / "few.sqlite3"
        for url in (f"sqlite:///{quote(name)}/counted.sqlite3", replica_set.url("counted")):
            command = [sys.executable, "-m", "bench.counted", "--count", url, "--rows", str(rows)]
            told = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.splitlines()
            print(*(line.decode() for line in told[:-1]), sep="\n")
            lines += [Line(**line) for line in json.loads(told[-1])]
    finish(lines, check=options.check)


def count(url: str, rows: Path) -> list[Line]:
    """All counts on one engine, in a separate process. On SQLite the desk's rows are created, and a copy of the smaller
    set is left in the file `rows`; on MongoDB they are copied from that file."""
    listener()
    with Sandbox() as sandbox:
        os.environ.update(
            DJANGO_SETTINGS_MODULE="workspace.settings",
            SECRET_KEY="bench" * 12,
            CREDENTIAL_KEYS=base64.urlsafe_b64encode(bytes(32)).decode(),
            PUBLIC_URL=webhook.PUBLIC_URL,
            ALLOWED_HOSTS="testserver,127.0.0.1",
            DATABASE_URL=url,
            ENV_FILE=os.devnull,
            DEBUG="off",
            STAFF_TOTP="off",
            LIMIT_ADDS="off",
            LIMIT_REQUESTS="off",
            TWILIO_API_URL=sandbox.twilio_url,
            PLIVO_API_URL=sandbox.plivo_url,
            TELNYX_API_URL=sandbox.telnyx_url,
        )
        import django
        from django.core.management import call_command
        from django.db import connection

        django.setup()
        from integrations import PROVIDERS, load

        load(PROVIDERS)  # as the server does
        call_command("migrate", verbosity=0)
        most = MOST[connection.vendor]
        lines = on_sqlite(rows, most) if connection.vendor == "sqlite" else on_mongodb(rows, most)
        lines += count_adds(sandbox, most)
        lines += count_webhooks(most)
        if connection.vendor == "sqlite":  # what the carriers are asked does not depend on the engine
            lines += count_bulk(sandbox)
        lines += count_log(most)
        for line in lines:
            line.what = f"{connection.vendor}: {line.what}"
        return lines


def show(found: set[str]) -> None:
    for one in sorted(found):
        print(one)


# -- the support desk -------------------------------------------------------------------------------------------------


def on_sqlite(rows: Path, most: dict[str, int]) -> list[Line]:
    from django.db import connection

    from core import keys

    keys.admit_newest()  # the rows are not written by models, which would do it
    few = pages_among((0, 0), FEW)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM INTO %s", [str(rows)])
    many = pages_among(FEW, MANY)
    with sent() as statements, connection.cursor() as cursor:
        cursor.execute("SELECT * FROM phones_call WHERE callee LIKE '%1'")
    more = [name for name in many if many[name][0] > few[name][0]]
    return [
        *lines_of_pages(many, most),
        Line("desk: pages with more queries for more rows", len(more), 0, exact=True),
        Line("a plan that scans a table is detected", len(scans(statements)), 1, exact=True),
    ]


def on_mongodb(rows: Path, most: dict[str, int]) -> list[Line]:
    from django.core.management import call_command

    source = f"sqlite:///{quote(str(rows))}"
    call_command("copy_database", source=source, target="DATABASE_URL", stdout=StringIO())
    pages = look_at_pages()
    from phones.models import Call

    with sent() as statements:
        list(Call.objects.filter(hangup_cause="none has it"))
    return [
        *lines_of_pages(pages, most),
        Line("a plan that scans a table is detected", len(scans(statements)), 1, exact=True),
    ]


def pages_among(had: tuple[int, int], size: tuple[int, int]) -> dict[str, tuple[int, set[str]]]:
    from phones.services.figures import count_figures

    desk.fill(had, size)
    count_figures()
    return look_at_pages()


def look_at_pages() -> dict[str, tuple[int, set[str]]]:
    """For each page of the desk, on its second visit: the number of statements, and the scans."""
    client = desk.signed_in()
    for path in desk.pages().values():
        desk.get(client, path)
    return {name: desk.look_into(client, path) for name, path in desk.pages().items()}


def lines_of_pages(pages: dict[str, tuple[int, set[str]]], most: dict[str, int]) -> list[Line]:
    found = {f"{name}: {scan}" for name, (_, some) in pages.items() for scan in some}
    show(found)
    return [
        Line("desk: most statements of a page", max(sent for sent, _ in pages.values()), most["page"]),
        Line("desk: plans that scan a table", len(found), 0, exact=True),
    ]


# -- adds and webhooks ------------------------------------------------------------------------------------------------


def count_adds(sandbox: Sandbox, most: dict[str, int]) -> list[Line]:
    """Two adds at each carrier: the first creates the application."""
    from django.test import Client

    from users.models import ApiToken, User, Workspace

    workspace = Workspace.objects.create(name="Counted")
    user = User.objects.create_user("counted@example.com", workspace=workspace)
    client = Client(headers={"Authorization": f"Bearer {ApiToken.issue(workspace)[1]}"})
    statements: dict[str, int] = {}
    found: set[str] = set()

    def add(carrier: add_phone.Carrier, index: int) -> list[Any]:
        number = add_phone.number(carrier, index)
        sandbox.add_number(carrier.name, carrier.account, number)
        body = {
            "userId": user.pk, "phoneNumber": number, "integration": carrier.name, "authToken": carrier.token,
            **({"accSId": carrier.account_id} if carrier.account_id else {}),
        }  # fmt: skip
        sandbox.clear_ledger()
        with sent() as some:
            reply = client.post("/api/call/add-phone", body, content_type="application/json")
        if reply.status_code != 201:
            sys.exit(f"{carrier.name}: {reply.content.decode()}")
        statements[carrier.name] = len(some)
        found.update(f"{carrier.name}: {scan}" for scan in scans(some))
        return list(sandbox.ledger)

    lines = []
    sandbox.delay_s = DELAY_S
    for carrier in add_phone.CARRIERS:
        for index, what, most_rounds, most_requests in (
            (0, "application to be made", carrier.rounds_first, carrier.requests_first),
            (1, "application known", carrier.rounds_known, carrier.requests_known),
        ):
            asked = add(carrier, index)
            lines += [
                Line(f"{carrier.name}: rounds, {what}", rounds(asked), most_rounds, exact=True),
                Line(f"{carrier.name}: requests, {what}", len(asked), most_requests, exact=True),
            ]
    sandbox.delay_s = 0.0
    print("statements of an add:", statements)
    show(found)
    return [
        *lines,
        Line("statements of an add", max(statements.values()), most["add"]),
        Line("plans of an add that scan a table", len(found), 0, exact=True),
    ]


def count_webhooks(most: dict[str, int]) -> list[Line]:
    """A call that leaves a message, at each carrier, to the added numbers."""
    from phones.models import PhoneNumber
    from workspace.wsgi import application

    theirs = {one.name: seeds.seeded().account(one.name, one.account) for one in add_phone.CARRIERS}
    counts: dict[str, dict[str, int]] = {}
    found: set[str] = set()
    for phone in PhoneNumber.objects.filter(user__email="counted@example.com").select_related("line__account"):
        assert phone.line
        account = phone.line.account
        carrier = webhook.Carrier(theirs[phone.integration], phone.number, account.webhook_token)
        for kind, request in zip(("answer", "status", "recording"), webhook.requests_of_call(carrier), strict=True):
            with sent() as statements:
                webhook.cpu_s(application, [request])
            counts.setdefault(kind, {})[carrier.name] = len(statements)
            found.update(f"{carrier.name}, {kind}: {scan}" for scan in scans(statements))
    print("statements of a webhook:", counts)
    show(found)
    return [
        *(Line(f"statements of a webhook: {kind}", max(some.values()), most[kind]) for kind, some in counts.items()),
        Line("plans of a webhook that scan a table", len(found), 0, exact=True),
    ]


# -- bulk -------------------------------------------------------------------------------------------------------------


class InProcess:
    """The sandbox, with the interface that bench.bulk uses."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    def asked(self) -> dict[str, int]:
        return bulk.told_of(self.sandbox)


def count_bulk(sandbox: Sandbox) -> list[Line]:
    """Rows of five accounts, one by one and with the accounts' lists; and a carrier that accepts ten at a time."""
    from users.models import User

    user_id = User.objects.get(email="counted@example.com").pk
    for carrier in bulk.CARRIERS:
        for number in carrier.numbers(0, 1000):
            sandbox.add_number(carrier.name, carrier.account, number)
    carriers = InProcess(sandbox)
    bulk.run(carriers, bulk.mixed(user_id, 0, 10), 5)  # makes the applications
    alone = bulk.run(carriers, bulk.mixed(user_id, 10, BULK_ROWS), bulk.WORKERS, bulk.WORKERS, lists=False)
    listed = bulk.run(carriers, bulk.mixed(user_id, 40, BULK_ROWS), bulk.WORKERS)
    sandbox.concurrency_limit, sandbox.delay_s = bulk.ADMITTED, DELAY_S
    twilio = bulk.CARRIERS[0]
    crowd = bulk.run(carriers, twilio.rows(user_id, twilio.numbers(100, CROWD * 100 // twilio.share)), bulk.WORKERS)
    sandbox.concurrency_limit, sandbox.delay_s = None, 0.0
    return [
        Line("bulk: requests per number, one by one", alone["requests"] / alone["rows"], 3.6),
        Line("bulk: requests per number, with lists", listed["requests"] / listed["rows"], 2.6),
        Line("bulk: 429s of a carrier that accepts ten", crowd["refused"], 0, exact=True),
    ]


# -- the log of calls -------------------------------------------------------------------------------------------------


def count_log(most: dict[str, int]) -> list[Line]:
    from workspace.wsgi import application

    token, numbers = make_lines()
    database.fill(CALLS_OF_LOG)
    requests = requests_to_measure(application, token, numbers)
    looks: dict[str, Any] = {}
    for name, path in requests.items():
        get(application, path, token)
        looks[name] = plans(application, path, token)
    found = {f"{name}: {scan}" for name, look in looks.items() for scan in look["scans"]}
    show(found)
    asked = max(look["queries"] for look in looks.values())
    return [
        Line("call log: most statements of a request", asked, most["log of calls"]),
        Line("call log: plans that scan it", len(found), 0, exact=True),
    ]


if __name__ == "__main__":
    main()
