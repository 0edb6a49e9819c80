"""Takes over a database that djongo 1.3.7 wrote, as `manage.py adopt_djongo_database` does.

What djongo leaves and how it keeps values was read in its source (sql2mongo/query.py, base.py) and seen in a database
that it made (docs/djongo-evidence, tests/djongo/dump.json; 2026-11-23).
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bson import Int64, encode
from bson.errors import InvalidDocument
from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.db.migrations.exceptions import InconsistentMigrationHistory
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState
from pymongo.database import Database
from pymongo.errors import OperationFailure

from workspace.mongodb.compiler import SEQUENCES
from workspace.mongodb.schema import unique_index

# djongo's own record of its tables: their columns, and the last key of each in `auto.seq`.
SCHEMA = "__schema__"
# On such a record: the JSON of this table is parsed. A JSON string in it could be taken for JSON again.
JSON_DONE = "json_is_parsed"
# How many groups of duplicates, or ids, a message names.
NAMED = 5


class NotDjongo(Exception):
    """There is nothing here that djongo made."""


@dataclass(frozen=True)
class Step:
    """Something that can be put right. `act` does it; it may be done again."""

    text: str
    act: Callable[[], Any]


@dataclass(frozen=True)
class Problem:
    """Something that a person has to decide. Holds no values of rows, as they may be secrets; ids only."""

    text: str


def findings(connection: Any) -> Iterator[Step | Problem]:
    """What is left to do, in the order in which it must be done.

    Args:
        connection: to the MongoDB database (workspace.mongodb). What is there is compared with what the migrations that
            are recorded in `django_migrations` should have made; the later ones are left to `migrate`.

    Raises NotDjongo, and InconsistentMigrationHistory when `migrate` would refuse to run.
    Effects: reads only. A step that is done before the next one is asked for is seen by the later ones.
    """
    database = connection.database
    if SCHEMA not in database.list_collection_names():
        raise NotDjongo
    loader = MigrationLoader(connection)
    loader.check_consistent_history(connection)
    tables = tables_of(loader, connection)
    yield from unusable_indexes(database)
    for model in tables:
        yield from short_integers(model, connection)
        yield from json_as_text(model, connection)
    yield from sequences(database)
    for model in tables:
        yield from missing_indexes(model, connection)
    for model in tables:
        yield from other_values(model, connection)
    yield from unrecorded_tables(loader, tables, database)


def tables_of(loader: MigrationLoader, connection: Any) -> list[type[models.Model]]:
    """The models as they were after the migrations that are recorded, each with a collection of its own."""
    recorded = [node for node in loader.applied_migrations or () if node in loader.graph.nodes]
    return with_collections(loader.project_state(recorded) if recorded else ProjectState())


def with_collections(state: ProjectState) -> list[type[models.Model]]:
    found = [
        model
        for model in state.apps.get_models(include_auto_created=True)
        if model._meta.managed and not model._meta.proxy and not model._meta.swapped
    ]
    return sorted(found, key=lambda model: model._meta.db_table)


def columns_of(model: type[models.Model], connection: Any) -> dict[str, tuple[models.Field, str]]:
    """Column -> its field and the name of the BSON type that our engine keeps there."""
    types = {field: field.db_type(connection) for field in model._meta.local_concrete_fields}
    return {str(field.column): (field, kind) for field, kind in types.items() if kind}


# -- what djongo made and should not have ------------------------------------------------------------------------------


def unusable_indexes(database: "Database[Any]") -> Iterator[Step]:
    """Indexes on a piece of SQL, such as `WHERE "active`: a unique one refuses every row but the first."""
    for name in sorted(database.list_collection_names()):
        collection = database[name]
        for index, about in sorted(collection.index_information().items()):
            if any('"' in column for column, _ in about["key"]):
                yield Step(
                    f"{name}: the index {index} is on a piece of SQL and refuses new rows. It is dropped.",
                    lambda collection=collection, index=index: collection.drop_index(index),  # type: ignore[misc]
                )


# -- how values are kept -----------------------------------------------------------------------------------------------


def short_integers(model: type[models.Model], connection: Any) -> Iterator[Step]:
    """Integers of 32 bits where our engine keeps 64: a unique index that allows nulls is for one type only."""
    collection = connection.database[model._meta.db_table]
    for column, (_, kind) in columns_of(model, connection).items():
        short = {column: {"$type": "int"}}
        if kind == "long" and (count := collection.count_documents(short)):
            yield Step(
                f"{collection.name}: {column} has 32 bits in {rows(count)}. They get 64.",
                lambda short=short, column=column: collection.update_many(  # type: ignore[misc]
                    short, [{"$set": {column: {"$toLong": f"${column}"}}}]
                ),
            )


def json_as_text(model: type[models.Model], connection: Any) -> Iterator[Step | Problem]:
    """JSON that djongo kept as a text. It stays one if the field is a text by now: a later migration made it so."""
    collection = connection.database[model._meta.db_table]
    record = connection.database[SCHEMA].find_one({"name": collection.name})
    columns = [column for column, (field, _) in columns_of(model, connection).items() if is_json_today(model, field)]
    if record is None or record.get(JSON_DONE) or not columns:
        return
    texts, broken = 0, []
    for column in columns:
        for row in collection.find({column: {"$type": "string"}}, {column: True}):
            try:
                parsed(row[column])
                texts += 1
            except ValueError:
                broken.append(row["_id"])
    named = f"{collection.name}: {', '.join(columns)}"
    if broken:
        yield Problem(
            f"{named} is no JSON that can be kept in {rows(len(broken))}: _id {listed(broken)}. Correct that, then run "
            "this again: the JSON of this table is parsed at once."
        )
    else:
        yield Step(
            f"{named} is JSON as a text in {rows(texts)}. It is parsed, and that is recorded.",
            lambda: parse_json(connection, collection, columns),
        )


def is_json_today(model: type[models.Model], field: models.Field) -> bool:
    if not isinstance(field, models.JSONField):
        return False
    try:
        return isinstance(apps.get_model(model._meta.label)._meta.get_field(field.name), models.JSONField)
    except (LookupError, FieldDoesNotExist):
        return True


def parsed(text: str) -> Any:
    """What a JSON text says. Raises ValueError if it says nothing, or nothing that BSON can hold."""
    value = json.loads(text)
    try:
        encode({"value": value})
    except (OverflowError, InvalidDocument):
        raise ValueError("not for BSON") from None
    return value


def parse_json(connection: Any, collection: Any, columns: list[str]) -> None:
    """A JSON string looks like a text that is yet to be parsed, so those come last, in one transaction with the record.

    What was killed before that is done by the next run.
    """

    def parse(*, strings: bool, session: Any = None) -> None:
        for column in columns:
            for row in collection.find({column: {"$type": "string"}}, {column: True}, session=session):
                value = parsed(row[column])
                if isinstance(value, str) == strings:
                    # Only what is still as it was read.
                    where = {"_id": row["_id"], column: row[column]}
                    collection.update_one(where, {"$set": {column: value}}, session=session)

    def finish(session: Any) -> None:
        parse(strings=True, session=session)
        done = {"$set": {JSON_DONE: True}}
        connection.database[SCHEMA].update_one({"name": collection.name}, done, session=session)

    parse(strings=False)
    with connection.connection.start_session() as session:
        session.with_transaction(finish)


def sequences(database: "Database[Any]") -> Iterator[Step]:
    """The last integer keys, of djongo's record or of the rows: a key that was given is not in the record."""
    for record in database[SCHEMA].find({"auto.seq": {"$exists": True}}).sort("name"):
        for column in record["auto"]["field_names"]:
            name = f"{record['name']}.{column}"
            highest = database[record["name"]].find_one(
                {column: {"$type": "number"}}, {column: True}, sort=[(column, -1)]
            )
            last = Int64(max(int(record["auto"]["seq"]), int(highest[column]) if highest else 0))
            ours = database[SEQUENCES].find_one({"_id": name}) or {"last": 0}
            if last > ours["last"]:
                yield Step(
                    f"{record['name']}: {column} goes on after {last}.",
                    lambda name=name, last=last: database[SEQUENCES].update_one(  # type: ignore[misc]
                        {"_id": name}, {"$max": {"last": last}}, upsert=True
                    ),
                )


# -- indexes -----------------------------------------------------------------------------------------------------------


def declared_indexes(model: type[models.Model], connection: Any) -> list[Any]:
    """The indexes that our engine makes for a new table, as pymongo's models of them."""

    class Collecting(connection.SchemaEditorClass):
        def add_index(self, model: Any, index: Any, *, field: Any = None, unique: bool = False, **kwargs: Any) -> None:
            index = unique_index(model, index, field) if unique else index
            made = index.get_pymongo_index_model(model, schema_editor=self, field=field, unique=unique)
            if made is not None:
                found.append(made)

    found: list[Any] = []
    # Of django-mongodb-backend 5.2.4, as create_model() calls it.
    Collecting(connection)._create_model_indexes(model)
    return found


def missing_indexes(model: type[models.Model], connection: Any) -> Iterator[Step | Problem]:
    """Those that djongo did not make. One of its own that does the same stays, whatever it is called."""
    collection = connection.database[model._meta.db_table]
    may_be_empty = {column for column, (field, _) in columns_of(model, connection).items() if field.null}
    there = collection.index_information()
    for index in declared_indexes(model, connection):
        wanted = index.document
        columns = list(wanted["key"].items())
        is_unique = wanted.get("unique", False)
        same_keys = {name: about for name, about in there.items() if list(about["key"]) == columns}
        if any(does_the_same(about, wanted, may_be_empty) for about in same_keys.values()):
            continue
        label = f"{'unique ' if is_unique else ''}index {wanted['name']} ({', '.join(dict(columns))})"
        in_the_way = {
            name
            for name, about in there.items()
            if name == wanted["name"]
            or (
                name in same_keys
                and about.get("unique", False) == is_unique
                and not about.get("partialFilterExpression")
            )
        }
        if is_unique and (found := duplicates(collection, wanted)):
            yield Problem(f"{collection.name}: the {label} cannot be made: {found} Then run this again.")
            continue
        instead = f" instead of {', '.join(sorted(in_the_way))}" if in_the_way else ""
        yield Step(
            f"{collection.name}: the {label} is missing. It is made{instead}.",
            lambda index=index, in_the_way=in_the_way: make_index(collection, index, in_the_way),  # type: ignore[misc]
        )


def does_the_same(about: Any, wanted: Any, may_be_empty: set[str]) -> bool:
    """Whether an index that is there serves. Unique without a filter, it takes one empty value; ours any number."""
    if bool(about.get("unique")) != bool(wanted.get("unique")):
        return False
    filters = wanted.get("partialFilterExpression", {}).values()
    only_of_types = all(isinstance(part, dict) and set(part) == {"$type"} for part in filters)
    if "partialFilterExpression" in about:
        return as_dict(about["partialFilterExpression"]) == as_dict(wanted.get("partialFilterExpression", {}))
    return not about.get("unique") or (only_of_types and not may_be_empty & set(wanted["key"]))


def as_dict(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: as_dict(part) for name, part in value.items()}
    return [as_dict(part) for part in value] if isinstance(value, list) else value


def make_index(collection: Any, index: Any, in_the_way: set[str]) -> None:
    for name in sorted(in_the_way):
        collection.drop_index(name)
    collection.create_indexes([index])


def duplicates(collection: Any, wanted: Any) -> str:
    """What keeps a unique index from being made, in words without any value; empty if nothing does."""
    columns = list(wanted["key"])
    # Integers of 32 bits are yet to become 64 in a dry run.
    filters = of_either_width(wanted.get("partialFilterExpression", {}))
    groups = list(
        collection.aggregate(
            [
                {"$match": filters},
                {
                    "$group": {
                        "_id": {str(place): f"${column}" for place, column in enumerate(columns)},
                        "ids": {"$push": "$_id"},
                    }
                },
                {"$match": {"ids.1": {"$exists": True}}},
                {"$sort": {"ids.0": 1}},
            ],
            allowDiskUse=True,
        )
    )
    if not groups:
        return ""
    extra = sum(len(group["ids"]) - 1 for group in groups)
    named = "; ".join(f"_id {listed(group['ids'])}" for group in groups[:NAMED])
    others = f"; and {len(groups) - NAMED} more such groups" if len(groups) > NAMED else ""
    return (
        f"{rows(extra)} repeat{'s' if extra == 1 else ''} the {', '.join(columns)} of another. "
        f"The same have {named}{others}. Keep one of each and delete or change the others."
    )


def of_either_width(filters: Any) -> Any:
    """A filter in which a column of 64 bits may have 32."""
    if isinstance(filters, dict):
        return {
            name: ["long", "int"] if (name, part) == ("$type", "long") else of_either_width(part)
            for name, part in filters.items()
        }
    return [of_either_width(part) for part in filters] if isinstance(filters, list) else filters


# -- what nobody here can put right ------------------------------------------------------------------------------------


def other_values(model: type[models.Model], connection: Any) -> Iterator[Problem]:
    """Values that are not of their column's type, and columns that may not be empty and are."""
    collection = connection.database[model._meta.db_table]
    for column, (field, kind) in columns_of(model, connection).items():
        if isinstance(field, models.JSONField):
            continue
        fitting = [kind, *(["int"] if kind == "long" else []), *(["null"] if field.null else [])]
        odd: dict[str, Any] = {column: {"$not": {"$type": fitting}}}
        if field.null:
            odd[column]["$exists"] = True
        ids = [row["_id"] for row in collection.find(odd, {"_id": True}).limit(NAMED + 1)]
        if ids:
            count = collection.count_documents(odd)
            yield Problem(
                f"{collection.name}: {column} should be of the type {kind} and is not, or is empty, in {rows(count)}: "
                f"_id {listed(ids)}. This command does not know how to change that."
            )


def unrecorded_tables(loader: MigrationLoader, tables: list[Any], database: "Database[Any]") -> Iterator[Problem]:
    """Collections that a migration which is not recorded would make: `migrate` would fail on them."""
    later = with_collections(loader.project_state())
    there = set(database.list_collection_names()) - {model._meta.db_table for model in tables}
    for model in later:
        if model._meta.db_table in there:
            yield Problem(
                f"{model._meta.db_table}: the collection is there, but no migration that made it is recorded; "
                "`migrate` would fail on it. Rename the collection, or find out which build made it."
            )


# -- words -------------------------------------------------------------------------------------------------------------


def rows(count: int) -> str:
    return f"{count} row{'' if count == 1 else 's'}"


def listed(ids: list[Any]) -> str:
    return ", ".join(str(key) for key in ids[:NAMED]) + (f" and {len(ids) - NAMED} more" if len(ids) > NAMED else "")


def why_not(error: Exception) -> str:
    """In a sentence, without what the server says: it quotes the values."""
    if isinstance(error, InconsistentMigrationHistory):
        return (
            "django_migrations does not fit: " + str(error).split(" on database")[0].rstrip(".") + ". A database whose "
            "users are Django's own (auth_user) cannot be taken over: make its staff anew with create_staff."
        )
    if isinstance(error, OperationFailure):
        return f"the server refused with code {error.code}. Run this again."
    return f"{type(error).__name__}."
