"""The engine for MongoDB: its address, and what it adds to MongoDB's own backend.

What all tests of the product show on it: TEST_DATABASE=mongodb.
"""

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import Int64, ObjectId
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.core import serializers
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, IntegrityError, connection
from django.test import Client
from django.utils import timezone

from core import clock, databases
from core.databases.clock import ServerClock
from core.databases.mongodb.compiler import names_one
from core.secrets import Secret
from phones.models import Account, Line, PhoneNumber
from phones.services import leases
from tests.support.people import sign_in
from users.models import User, Workspace

pytestmark = pytest.mark.engine

only_mongodb = pytest.mark.only("mongodb", reason="about the engine for MongoDB")


# -- the address ------------------------------------------------------------------------------------------------------


def test_an_address_is_passed_to_the_driver_with_what_the_promises_need() -> None:
    url = "mongodb://ann:p%40ss@h1:27017,h2/phones?replicaSet=rs&tls=true&authSource=admin&maxPoolSize=50"
    config = databases.from_url("DATABASE_URL", url)
    assert (config["ENGINE"], config["NAME"], config["HOST"]) == ("core.databases.mongodb", "phones", url)
    assert config["OPTIONS"] == {
        "w": "majority", "journal": True, "retrywrites": True, "readpreference": "primary",
        "serverselectiontimeoutms": 15_000, "connecttimeoutms": 5_000, "appname": "workspace-phones",
    }  # fmt: skip


def test_what_the_address_says_of_waiting_stands() -> None:
    config = databases.from_url(
        "DATABASE_URL", "mongodb://h/d?serverSelectionTimeoutMS=900&w=majority&retryWrites=true"
    )
    assert "serverselectiontimeoutms" not in config["OPTIONS"]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mongodb://", "cannot be read"),
        ("mongodb://ann:hunter2@", "cannot be read"),
        ("mongodb://ann:hunt:er2@host/d", "percent-encoded"),
        ("mongodb://host:notaport/d", "cannot be read"),
        ("mongodb://host", "names no database"),
        ("mongodb://host/?replicaSet=rs", "names no database"),
        ("mongodb://host/d?w=1", "the option w must be majority"),
        ("mongodb://host/d?w=0", "the option w must be majority"),
        ("mongodb://host/d?journal=false", "the option journal must be true"),
        ("mongodb://host/d?retryWrites=false", "the option retrywrites must be true"),
        ("mongodb://host/d?readPreference=secondary", "the option readpreference must be primary"),
        ("", "must be sqlite"),
    ],
)
def test_an_address_that_cannot_work_is_refused_without_its_password(url: str, told: str) -> None:
    with pytest.raises(ImproperlyConfigured) as refusal:
        databases.from_url("DATABASE_URL", url)
    assert told in str(refusal.value)
    assert str(refusal.value).startswith("DATABASE_URL")
    assert "er2" not in str(refusal.value)


def test_djongo_is_a_spelling_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        config = databases.from_url("DATABASE_URL", "djongo://ann:hunter2@host/d?replicaSet=rs")
    assert config["HOST"] == "mongodb://ann:hunter2@host/d?replicaSet=rs"
    assert config["ENGINE"] == "core.databases.mongodb"
    (warning,) = caplog.records
    assert "mongodb://" in warning.getMessage()
    assert "hunter2" not in caplog.text


# -- one document or many ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("criteria", "is_one"),
    [
        ({"_id": 1}, True),
        ({"$and": [{"state": "x"}, {"_id": 1}]}, True),
        ({"$and": [{"$and": [{"_id": 1}]}, {"state": "x"}]}, True),
        ({"_id": {"$in": (1,)}}, True),
        ({"key": "k", "state": "x"}, True),
        ({"_id": {"$in": (1, 2)}}, False),
        ({"_id": {"$gt": 1}}, False),
        ({"_id": None}, False),
        ({"$or": [{"_id": 1}, {"_id": 2}]}, False),
        ({"$nor": [{"_id": 1}]}, False),
        ({"state": "x"}, False),
        ({}, False),
    ],
)
def test_what_names_one_document(criteria: dict[str, Any], is_one: bool) -> None:
    assert names_one(criteria, {"_id", "key"}) is is_one


@contextmanager
def first_reply_lost(command: str) -> Iterator[None]:
    """The server does the next such command about workspaces, and the connection breaks before it can say so.

    Other tests share the server: what they send at this moment must not be the one that fails.
    """
    client = connection.connection
    lost = {"code": 91, "errmsg": "shut down", "errorLabels": ["RetryableWriteError"]}
    table = f"{connection.settings_dict['NAME']}.{Workspace._meta.db_table}"
    client.admin.command(
        "configureFailPoint", "failCommand", mode={"times": 1},
        data={"failCommands": [command], "namespace": table, "writeConcernError": lost},
    )  # fmt: skip
    try:
        yield
    finally:
        client.admin.command("configureFailPoint", "failCommand", mode="off")


@only_mongodb
@pytest.mark.django_db(transaction=True)
def test_a_change_whose_reply_was_lost_is_done_once() -> None:
    one = Workspace.objects.create(name="one")
    with first_reply_lost("update"):
        assert Workspace.objects.filter(pk=one.pk, name="one").update(name="two") == 1
    with first_reply_lost("delete"):
        assert Workspace.objects.filter(pk=one.pk).delete()[0] == 1
    with first_reply_lost("insert"):
        Workspace.objects.create(name="three")
    assert [row.name for row in Workspace.objects.all()] == ["three"]


# -- keys of other packages -------------------------------------------------------------------------------------------


@only_mongodb
@pytest.mark.django_db(transaction=True)
def test_integer_keys_go_up_and_are_long() -> None:
    groups = Group.objects.bulk_create([Group(name=f"g{index}") for index in range(20)])
    keys = [group.pk for group in groups]
    assert keys == list(range(keys[0], keys[0] + 20))
    raw = connection.database["auth_group"].find_one({"name": "g7"})  # type: ignore[attr-defined]
    assert isinstance(raw["id"], Int64)
    assert isinstance(raw["_id"], ObjectId)
    assert type(Group.objects.get(name="g7").pk) is int


@only_mongodb
@pytest.mark.django_db(transaction=True)
def test_of_fifty_threads_each_gets_its_own_key() -> None:
    start = threading.Barrier(50)

    def make(index: int) -> int:
        start.wait(10)
        return Group.objects.create(name=f"g{index}").pk

    with ThreadPoolExecutor(50) as pool:
        keys = list(pool.map(make, range(50)))
    assert len(set(keys)) == 50


@only_mongodb
@pytest.mark.django_db(transaction=True)
def test_a_key_that_was_brought_is_not_met_later() -> None:
    given = Group.objects.create(name="first").pk + 3
    text = f'[{{"model": "auth.group", "pk": {given}, "fields": {{"name": "brought", "permissions": []}}}}]'
    for brought in serializers.deserialize("json", text):
        brought.save()
    made = [Group.objects.create(name=f"after {index}").pk for index in range(5)]
    assert made == [given + 1 + index for index in range(5)]


# -- look-ups and deletes ---------------------------------------------------------------------------------------------


@only_mongodb
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("text", [".*", "a.c", "(", "a|b", "^abc$", "[a-c]+", "\\w+", "abc\n", "abc%"])
def test_what_is_looked_up_is_no_pattern(text: str) -> None:
    Group.objects.create(name="abc")
    Group.objects.create(name="b")
    for lookup in ("iexact", "exact", "contains", "icontains", "startswith", "istartswith", "endswith", "iendswith"):
        assert not Group.objects.filter(**{f"name__{lookup}": text}).exists(), lookup
    Group.objects.create(name=text)
    assert [row.name for row in Group.objects.filter(name__iexact=text.upper())] in ([text], [])
    assert Group.objects.filter(name__iexact="ABC").get().name == "abc"


@only_mongodb
@pytest.mark.django_db(transaction=True)
def test_rows_are_deleted_by_what_another_collection_says() -> None:
    kinds = ContentType.objects.create(app_label="gone", model="gone")
    for index in range(3):
        Permission.objects.create(content_type=kinds, codename=f"c{index}", name="c")
    before = Permission.objects.count()
    assert Permission.objects.filter(content_type__app_label="gone")._raw_delete("default") == 3
    assert Permission.objects.count() == before - 3
    assert Permission.objects.filter(content_type__app_label="nowhere").delete()[0] == 0
    kinds.delete()
    ContentType.objects.clear_cache()


@only_mongodb
@pytest.mark.django_db(transaction=True)
def test_the_admin_deletes_several_rows_at_once() -> None:
    chief = User.objects.create_superuser("chief@example.com")
    browser: Client = sign_in(chief)
    made = [Group.objects.create(name=f"temp {index}") for index in range(3)]
    chosen = {"action": "delete_selected", "_selected_action": [group.pk for group in made], "post": "yes"}
    assert browser.post("/admin/auth/group/", chosen).status_code in (302, 404)
    workspace = Workspace.objects.create(name="w")
    users = [User.objects.create_user(f"u{index}@example.com", workspace=workspace) for index in range(3)]
    chosen = {"action": "delete_selected", "_selected_action": [user.pk for user in users], "post": "yes"}
    assert browser.post("/admin/users/user/", chosen).status_code == 302


# -- unique, whatever happens at once ---------------------------------------------------------------------------------


@only_mongodb
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("attempt", range(5))
def test_of_fifty_inserts_of_the_same_one_wins(attempt: int) -> None:
    workspace = Workspace.objects.create(name="w")
    user = User.objects.create_user("u@example.com", workspace=workspace)
    start = threading.Barrier(50)

    def insert(_: int) -> bool:
        start.wait(10)
        try:
            PhoneNumber.objects.create(user=user, number="12125550000", integration="twilio")
        except IntegrityError:
            return False
        return True

    with ThreadPoolExecutor(50) as pool:
        assert sum(pool.map(insert, range(50))) == 1


# -- the clock --------------------------------------------------------------------------------------------------------


def test_the_servers_clock_is_followed() -> None:
    ahead = timedelta(minutes=7)
    there = ServerClock(lambda: datetime.now(UTC) + ahead)
    assert abs(there.ahead() - ahead) < timedelta(seconds=1)


def test_a_server_that_does_not_answer_leaves_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Any] = [datetime(2030, 1, 1, tzinfo=UTC), DatabaseError("away")]

    def read() -> datetime:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    there = ServerClock(read)
    first = there.ahead()
    assert first > timedelta(days=300)
    monkeypatch.setattr("core.databases.clock.MEASURE_EVERY_S", 0.0)
    there._measure_at = 0.0
    assert there.ahead() == first
    assert not answers


@only_mongodb
@pytest.mark.django_db(transaction=True)
def test_a_machine_whose_clock_is_wrong_does_not_take_a_lease_that_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    account = Account.objects.create(
        integration="twilio", account_id="a", auth_token=Secret.seal("t"), token_digest="d"
    )
    line = Line.objects.create(
        account=account, integration="twilio", number="1", carrier_id="c", snapshot=Secret.seal("s")
    )
    assert leases.acquire(line, "a" * 24)
    wrong = timedelta(minutes=10)
    now = timezone.now
    real = time.time
    monkeypatch.setattr("django.utils.timezone.now", lambda: now() + wrong)
    monkeypatch.setattr("core.databases.clock.time.time", lambda: real() + wrong.total_seconds())
    monkeypatch.setattr(connection, "_clocks", {})
    assert abs(clock.now() - now()) < timedelta(seconds=2)
    assert not leases.acquire(line, "b" * 24)


@pytest.mark.only("sqlite", reason="the other engines have a server with a clock")
def test_here_is_now_without_a_server() -> None:
    assert abs(clock.now() - timezone.now()) < timedelta(seconds=1)
