"""A database that real djongo wrote (tests/djongo/dump.json, made by docs/djongo-evidence) is taken over."""

import json
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from bson import encode, json_util
from django.apps import apps
from django.conf import settings as project
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection
from django.db.models import Manager
from django.test import Client, override_settings

from phones.models import Account, CallEvent
from tests.support import PROJECT
from tests.support.environment import ON_MONGODB
from tests.support.people import code_of, shown_key
from users.models import User

pytestmark = pytest.mark.engine

EVIDENCE = PROJECT / "docs" / "djongo-evidence"
on_mongodb = pytest.mark.skipif(not ON_MONGODB, reason="djongo wrote to MongoDB only: TEST_DATABASE=mongodb runs this")


def restore(database: Any) -> None:
    dump = json.loads((PROJECT / "tests" / "djongo" / "dump.json").read_text())
    for name, kept in dump.items():
        documents, indexes = (
            json_util.loads(json.dumps(kept[part]), json_options=CANONICAL) for part in ("documents", "indexes")
        )
        database.create_collection(name)
        for index in indexes:
            if index["name"] != "_id_":
                database.command("createIndexes", name, indexes=[index])
        if documents:
            database[name].insert_many(documents)


# Naive dates and integers of their own widths, as they are stored.
CANONICAL = json_util.JSONOptions(json_mode=json_util.JSONMode.CANONICAL, tz_aware=False)


def everything(database: Any) -> dict[str, Any]:
    """All documents byte for byte, and all indexes."""
    return {
        name: ([encode(row) for row in database[name].find().sort("_id")], database[name].index_information())
        for name in database.list_collection_names()
    }


@pytest.fixture
def database(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The connection leads to a database that djongo wrote, with an app of its own beside ours."""
    ours = connection.settings_dict["NAME"]
    monkeypatch.syspath_prepend(str(EVIDENCE))
    with override_settings(INSTALLED_APPS=[*project.INSTALLED_APPS, "early.samples"]):
        connection.settings_dict["NAME"] = f"{ours}_djongo"
        connection.connect()
        found: Any = connection
        found.connection.drop_database(found.database.name)
        restore(found.database)
        ContentType.objects.clear_cache()
        yield found.database
        found.connection.drop_database(found.database.name)
        connection.settings_dict["NAME"] = ours
        connection.connect()
        ContentType.objects.clear_cache()


def adopt(*options: str) -> tuple[int, str]:
    """Run the command. Returns its exit status and what it printed."""
    out = StringIO()
    try:
        call_command("adopt_djongo_database", *options, stdout=out, stderr=out)
    except SystemExit as exit_:
        return int(str(exit_.code)), out.getvalue()
    return 0, out.getvalue()


def settle_duplicates(database: Any) -> None:
    """What the person does whom the command asks."""
    for name in ("phones_account", "samples_key"):
        seen = set()
        for row in database[name].find().sort("_id"):
            key = (row.get("account_id"), row.get("owner"), row.get("text"))
            if key in seen:
                database[name].delete_one({"_id": row["_id"]})
            seen.add(key)


def adopted(database: Any) -> None:
    settle_duplicates(database)
    status, output = adopt("--apply")
    assert (status, "LOOK" in output) == (0, False), output
    call_command("migrate", verbosity=0)


@on_mongodb
def test_without_apply_nothing_is_changed(database: Any) -> None:
    before = everything(database)
    status, output = adopt()
    assert everything(database) == before
    assert status == 3
    for told in (
        "samples_slot: the index slot_once_active is on a piece of SQL",
        "auth_group: id goes on after 2",
        "samples_note: id goes on after 500",
        "auth_permission: content_type_id has 32 bits",
        "samples_note: data is JSON as a text in 5 rows",
        "phones_account: the unique index account_once (integration, account_id) cannot be made: 2 rows repeat",
        "samples_key: the unique index key_once (owner, text) cannot be made: 1 row repeats",
        "phones_madeapplication: the unique index made_application_once (integration, application_id) is missing",
    ):
        assert told in output, output


@on_mongodb
def test_duplicates_are_reported_and_stay_and_the_rest_is_done(database: Any) -> None:
    accounts = [encode(row) for row in database.phones_account.find().sort("_id")]
    status, output = adopt("--apply")
    assert status == 3
    assert [encode(row) for row in database.phones_account.find().sort("_id")] == accounts
    assert database.samples_key.count_documents({}) == 4
    for row in database.phones_account.find():
        assert str(row["_id"]) in output
    assert "account_once" not in database.phones_account.index_information()
    assert "made_application_once" in database.phones_madeapplication.index_information()
    again, left = adopt("--apply")
    assert (again, "done " in left.replace("done 0", ""), left.count("LOOK")) == (3, False, 2), left
    settle_duplicates(database)
    assert adopt("--apply")[0] == 0
    assert "account_once" in database.phones_account.index_information()


@on_mongodb
def test_no_value_of_a_row_is_told(database: Any) -> None:
    database.phones_account.update_many({}, {"$unset": {"created_at": ""}})
    database.phones_account.drop_index("webhook_token_1")
    database.phones_account.update_many({}, {"$set": {"webhook_token": "webhook-secret"}})
    output = adopt()[1] + adopt("--apply")[1]
    assert "(webhook_token) cannot be made: 2 rows repeat" in output
    assert "created_at should be of the type date" in output
    session = database.django_session.find_one()
    for secret in ("webhook-secret", "sealed", "AC0000", "ann@", session["session_key"], session["session_data"]):
        assert secret not in output


@on_mongodb
def test_a_second_run_finds_nothing_to_do(database: Any) -> None:
    adopted(database)
    before = everything(database)
    assert adopt("--apply") == (0, "nothing to do\n")
    assert adopt() == (0, "nothing to do\n")
    assert everything(database) == before


@on_mongodb
def test_the_user_of_djongo_signs_in_and_makes_a_group(database: Any) -> None:
    adopted(database)
    ann = User.objects.get(email="ann@acme.example")
    assert list(ann.groups.values_list("name", flat=True)) == ["operators"]
    assert ann.get_group_permissions() >= {"admin.view_logentry", "admin.change_logentry"}
    client = Client()
    sign_in = {"username": ann.email, "password": "kept since djongo"}
    assert client.post("/admin/login/", {**sign_in, "password": "another"}).status_code == 200
    assert client.post("/admin/login/", sign_in).status_code == 302
    client.post("/admin/totp/", {"code": code_of(shown_key(client.get("/admin/totp/")))})
    known = max(Group.objects.values_list("pk", flat=True))
    assert client.post("/admin/auth/group/add/", {"name": "new", "permissions": []}).status_code == 302
    assert Group.objects.get(name="new").pk == known + 1 > 3
    assert client.get("/admin/phones/phonenumber/").content.decode().count("12125551234")


def samples(model: str) -> Manager[Any]:
    """The rows of a model of the app that stands beside ours."""
    return apps.get_model("samples", model)._default_manager


@on_mongodb
def test_what_is_unique_is_so_from_now_on(database: Any) -> None:
    adopted(database)
    slots, keys = samples("Slot"), samples("Key")
    account = Account.objects.get()
    with pytest.raises(IntegrityError):
        Account.objects.create(
            integration=account.integration, account_id=account.account_id, auth_token=account.auth_token
        )
    with pytest.raises(IntegrityError):
        Group.objects.create(name="operators")
    with pytest.raises(IntegrityError):
        keys.create(owner=1, text="a")
    slots.create(owner=2)
    slots.create(owner=1, active=False)
    slots.create(owner=1, active=False)
    with pytest.raises(IntegrityError):
        slots.create(owner=1)


@on_mongodb
def test_json_is_what_it_was_before_djongo_and_keys_go_on_after_the_highest(database: Any) -> None:
    adopted(database)
    notes = samples("Note")
    assert dict(notes.values_list("slug", "data")) == {
        "object": {"a": {"b": [1, 2.5, None, "ü"]}},
        "list": [1],
        "text": "123",
        "number": 5,
        "null": None,
        "given": {"at": "2021-05-01"},
    }
    assert notes.get(data__at="2021-05-01").slug == "given"
    assert [notes.create(slug=None, data="7").pk, notes.create(slug=None).pk] == [501, 502]
    adopt("--apply")
    assert notes.get(pk=501).data == "7", "a JSON string is no text that is yet to be parsed"
    # Its field was JSON once and is a text now.
    assert json.loads(CallEvent.objects.get().payload) == {"CallSid": "CA1"}


@on_mongodb
def test_a_sequence_is_never_lowered(database: Any) -> None:
    database.django_sequences.insert_one({"_id": "auth_group.id", "last": 90})
    adopted(database)
    assert Group.objects.create(name="another").pk > 90


@on_mongodb
def test_a_text_that_is_no_json_is_for_a_person(database: Any) -> None:
    note = database.samples_note.find_one({"slug": "list"})
    for text in ("{broken", str(10**30)):
        database.samples_note.update_one({"_id": note["_id"]}, {"$set": {"data": text}})
        output = adopt("--apply")[1]
        assert f"data is no JSON that can be kept in 1 row: _id {note['_id']}" in output
        assert database.samples_note.find_one({"slug": "list"})["data"] == text
    database.samples_note.update_one({"_id": note["_id"]}, {"$set": {"data": "[2]"}})
    adopt("--apply")
    assert database.samples_note.find_one({"slug": "list"})["data"] == [2]


@on_mongodb
def test_users_of_django_itself_cannot_be_taken_over(database: Any) -> None:
    database.django_migrations.delete_many({"app": "users"})
    with pytest.raises(CommandError, match="create_staff"):
        adopt("--apply")


@on_mongodb
def test_a_collection_that_no_migration_made_is_for_a_person(database: Any) -> None:
    database.django_migrations.delete_many({"app": "phones"})
    status, output = adopt()
    assert status == 3
    assert "phones_line: the collection is there, but no migration that made it is recorded" in output


@on_mongodb
def test_a_database_that_djongo_has_not_made_is_left_alone(database: Any) -> None:
    database.drop_collection("__schema__")
    before = everything(database)
    with pytest.raises(CommandError, match="djongo has not made this database"):
        adopt("--apply")
    assert everything(database) == before


@pytest.mark.skipif(ON_MONGODB, reason="about SQLite")
def test_sqlite_is_refused_in_a_sentence() -> None:
    with pytest.raises(CommandError, match="names no MongoDB database"):
        adopt("--apply")
