"""The first database statement or carrier request fails, then the second, … until a run is clean.

For adding, removing, a new token and incoming webhooks. Whatever was answered: when the fault is over and `reconcile` has
run, everything is whole or gone, here and at the carrier.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any, NoReturn
from zlib import crc32

import httpx
import pytest
import requests
from django.db import OperationalError, connection
from requests.adapters import HTTPAdapter

from phones.models import Account, Call, CallEvent, PhoneNumber, token_digest
from phones.reconciling import reconcile
from sandbox.sandbox import Sandbox
from tests.support import EVERY_CASE
from tests.support.api import add, send
from tests.support.carriers import CARRIERS, SUBJECTS, Good, Subject
from tests.support.database import Statement, around_statements, fail
from tests.support.faults import prepare_account
from tests.support.killing import NEW_TOKEN, rotate_at_the_carrier
from tests.support.people import Tenant
from tests.support.state import age_leases, assert_active, assert_gone, assert_remembers, rows, start_over
from tests.support.tally import Tally
from tests.support.webhooks import event, join
from tests.support.webhooks import send as knock
from users.models import LimitCounter

pytestmark = [pytest.mark.engine, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("patient")]

# Without EVERY_CASE one position of so many is tried, others in each test.
SEED = os.environ.get("SAMPLE_SEED", "")
STRIDE = 1 if EVERY_CASE else 23
# What happens there: it is not done, or it is done and nobody hears of it; that once, or from there on.
MODES = ["not done", "not heard", "not done from there on", "not heard from there on"]


class Faults:
    """Counts statements and requests, and fails the one at `position` in this mode."""

    def __init__(self, position: int, mode: str) -> None:
        self.position, self.for_ever = position, "from there on" in mode
        self.is_done = mode.startswith("not heard")
        self.count, self.failed, self.lock = 0, 0, threading.Lock()

    def around(self, run: Callable[[], Any], fault: Callable[[], NoReturn], *, may_be_done: bool = True) -> Any:
        with self.lock:
            self.count += 1
            fails = self.count == self.position or (self.for_ever and self.count > self.position)
            self.failed += fails
        if not fails:
            return run()
        if self.is_done and may_be_done:
            run()
        return fault()

    def statement(self, run: Callable[[], Any], statement: Statement) -> Any:
        if statement.sql.startswith(("SAVEPOINT", "RELEASE", "ROLLBACK")):
            return run()  # what undoes must not fail alone: tests/test_events.py has that case
        return self.around(run, fail, may_be_done=not statement.sql.startswith("BEGIN"))

    @contextmanager
    def on(self) -> Iterator[None]:
        """Faults of the database in this thread; of requests to carriers in all."""

        def failing(send: Callable[..., Any], fault: Exception) -> Callable[..., Any]:
            return lambda *args, **kwargs: self.around(lambda: send(*args, **kwargs), raising(fault))

        with pytest.MonkeyPatch.context() as patch, around_statements(self.statement):
            patch.setattr(HTTPAdapter, "send", failing(HTTPAdapter.send, requests.ConnectionError("reset")))
            handle = httpx.HTTPTransport.handle_request
            patch.setattr(httpx.HTTPTransport, "handle_request", failing(handle, httpx.ReadError("reset")))
            if connection.features.supports_transactions:
                database: Any = connection  # the stubs leave out what begins with an underscore
                patch.setattr(database, "_commit", failing(database._commit, OperationalError("disk full")))
            yield


def raising(fault: Exception) -> Callable[[], NoReturn]:
    def fail() -> NoReturn:
        raise fault

    return fail


def loop(name: str, mode: str, tally: Tally, attempt: Callable[[Faults], None]) -> None:
    """Try each position until nothing fails any more; `attempt` judges what is left of it."""
    position = 1 + crc32(f"{SEED} {name} {mode}".encode()) % STRIDE
    while True:
        faults = Faults(position, mode)
        try:
            attempt(faults)
        except BaseException as error:
            tally("faults tried")
            error.add_note(f"{name}: {mode} at {position}")
            raise
        if not faults.failed:
            assert position > 6, "hardly anything was asked at all"
            return
        tally("faults tried")
        tally("faults survived")
        position += STRIDE


def settled() -> None:
    age_leases()
    assert reconcile().failed == 0


def begin(sandbox: Sandbox, tenant: Tenant, subject: Subject, *, known: bool) -> Callable[[], None]:
    """From nothing, or with another number of the account. Returns what asserts that it is so again."""
    start_over(sandbox)
    if known:
        prepare_account(sandbox, tenant, subject)
    rows_before, carriers_before = rows(), sandbox.snapshot()

    def assert_as_before() -> None:
        assert_gone(sandbox, rows_before, carriers_before)

    return assert_as_before


def may_say_less(faults: Faults) -> bool:
    """Whether more may be done than the reply says: nobody heard of something that was done."""
    return faults.failed > 0 and faults.is_done


each_mode = pytest.mark.parametrize("mode", MODES)


@each_mode
@pytest.mark.parametrize(("name", "known"), [*product(SUBJECTS, [False]), *product(CARRIERS, [True])])
def test_adding(sandbox: Sandbox, tenant: Tenant, tally: Tally, name: str, known: bool, mode: str) -> None:
    subject = SUBJECTS[name]

    def attempt(faults: Faults) -> None:
        assert_as_before = begin(sandbox, tenant, subject, known=known)
        with faults.on():
            reply = add(tenant, subject.good.body(tenant.user, phoneNumber=subject.number))
        settled()
        if PhoneNumber.objects.filter(number=subject.number).exists():
            assert_remembers(assert_active(sandbox, subject, tenant, subject.number), name)
            assert reply.status_code == 201 or may_say_less(faults)
        else:
            assert reply.status_code != 201
            assert_as_before()
        assert reply.status_code == 201 or faults.failed

    loop(f"add {name} {known}", mode, tally, attempt)


@each_mode
@pytest.mark.parametrize(("name", "last"), [*product(SUBJECTS, [True]), *product(CARRIERS, [False])])
def test_removing(sandbox: Sandbox, tenant: Tenant, tally: Tally, name: str, last: bool, mode: str) -> None:
    subject = SUBJECTS[name]

    def attempt(faults: Faults) -> None:
        assert_as_before = begin(sandbox, tenant, subject, known=not last)
        assert add(tenant, subject.good.body(tenant.user, phoneNumber=subject.number)).status_code == 201
        phone = PhoneNumber.objects.get(number=subject.number)
        with faults.on():
            reply = send("DELETE", f"phones/{phone.pk}", tenant)
        settled()
        if PhoneNumber.objects.filter(pk=phone.pk).exists():
            assert reply.status_code != 200
            assert_remembers(assert_active(sandbox, subject, tenant, subject.number), name)
        else:
            assert_as_before()
        assert reply.status_code == 200 or faults.failed

    loop(f"remove {name} {last}", mode, tally, attempt)


@each_mode
@pytest.mark.parametrize("name", CARRIERS)
def test_a_new_token(sandbox: Sandbox, tenant: Tenant, tally: Tally, name: str, mode: str) -> None:
    subject = SUBJECTS[name]

    def attempt(faults: Faults) -> None:
        start_over(sandbox)
        prepare_account(sandbox, tenant, subject)
        phone = PhoneNumber.objects.get()
        rotate_at_the_carrier(sandbox, subject)
        with faults.on():
            reply = send("PATCH", f"phones/{phone.pk}", tenant, {"authToken": NEW_TOKEN})
        account = Account.objects.get()
        token = account.auth_token.open()
        assert account.token_digest == token_digest(token)
        if token == NEW_TOKEN:
            assert account.previous_auth_token is not None
            assert account.previous_auth_token.open() == subject.good.auth_token
            # What cannot be told in the audit trail is done, and fails visibly.
            assert reply.status_code == 200 or faults.failed
        else:
            assert (token, account.previous_auth_token) == (subject.good.auth_token, None)
            assert reply.status_code != 200
        LimitCounter.objects.all().delete()
        assert send("PATCH", f"phones/{phone.pk}", tenant, {"authToken": NEW_TOKEN}).status_code == 200
        assert send("POST", f"phones/{phone.pk}/check", tenant, {}).json()["data"]["health"] == "ok"
        sandbox.reset()

    loop(f"token {name}", mode, tally, attempt)


@each_mode
@pytest.mark.parametrize("kind", ["answer", "status"])
@pytest.mark.parametrize("name", CARRIERS)
def test_incoming_webhooks(sandbox: Sandbox, tenant: Tenant, tally: Tally, name: str, kind: str, mode: str) -> None:
    good: Good = CARRIERS[name]
    start_over(sandbox)
    party = join(sandbox, tenant, good)

    def attempt(faults: Faults) -> None:
        CallEvent.objects.all().delete()
        Call.objects.all().delete()
        request = party.knock(kind, event(name), timestamp=None)
        with faults.on():
            reply = knock(request)
        assert reply.status_code == (503 if faults.failed and not is_kept() else reply.status_code)
        if reply.status_code == 200:
            assert is_kept(), "what was answered is lost"
        else:
            assert (reply.status_code, reply.content) == (503, b"")
            assert knock(request).status_code == 200, "it comes again"
        assert reconcile().failed == 0
        assert (CallEvent.objects.count(), Call.objects.count()) == (1, 1)
        assert CallEvent.objects.get().merged_at is not None

    def is_kept() -> bool:
        return CallEvent.objects.exists()

    loop(f"webhook {name} {kind}", mode, tally, attempt)
