"""Translation of Django's statements to MongoDB's, where the backend's own is not sufficient."""

import time
from typing import Any

import pymongo
from bson import Int64
from django.core.exceptions import EmptyResultSet
from django.db.models import AutoField
from django.db.models.sql import query as sql
from django_mongodb_backend import compiler
from django_mongodb_backend.query import MongoQuery, wrap_database_errors
from pymongo import ReturnDocument
from pymongo.errors import AutoReconnect

__all__ = ["SQLAggregateCompiler", "SQLCompiler", "SQLDeleteCompiler", "SQLInsertCompiler", "SQLUpdateCompiler"]

# Somewhat longer than an election takes.
RETRY_FOR_S, RETRY_PAUSE_S = 15.0, 0.2
# Documents read at a time. By default MongoDB sends up to 16 MB, so iterating over many rows would hold them all in
# memory.
BATCH = 200
# This collection has the last integer key of each collection with integer keys.
SEQUENCES = "django_sequences"


def names_one(criteria: dict[str, Any], keys: set[str]) -> bool:
    """Whether at most one document can match, because the criteria give one of these unique fields."""
    for name, wanted in criteria.items():
        if name == "$and" and any(names_one(part, keys) for part in wanted):
            return True
        if name in keys and (not isinstance(wanted, dict) or ("$in" in wanted and len(wanted["$in"]) == 1)):
            return wanted is not None
    return False


class Query(MongoQuery):
    @wrap_database_errors
    def get_cursor(self) -> Any:
        give_up_at = time.monotonic() + RETRY_FOR_S
        while True:
            try:
                return self.compiler.collection.aggregate(
                    self.get_pipeline(), session=self.compiler.connection.session, batchSize=BATCH
                )
            except AutoReconnect:
                if time.monotonic() > give_up_at:
                    raise
                time.sleep(RETRY_PAUSE_S)


class SQLCompiler(compiler.SQLCompiler):
    query_class = Query

    def build_query(self, columns: Any = None) -> Query:
        query = super().build_query(columns)
        # 5.2.4 sets each field that rows are sorted by to itself, after which no index provides the order.
        query.extra_fields = {name: by for name, by in (query.extra_fields or {}).items() if by != f"${name}"}
        return query


class SQLAggregateCompiler(compiler.SQLAggregateCompiler):
    query_class = Query


class SingleDocument(compiler.SQLCompiler):
    """Changes a single document with `update_one` and `delete_one`.

    If a primary steps down before it has answered, the driver retries these commands, and the server does not apply
    them twice; `update_many` and `delete_many` would fail without anybody knowing whether they were applied. Within a
    timeout the driver retries more than once.
    https://www.mongodb.com/docs/manual/core/retryable-writes/ (read 2026-11-23)
    """

    def is_about_one(self, criteria: dict[str, Any]) -> bool:
        return names_one(criteria, {field.column for field in self.query.get_meta().concrete_fields if field.unique})


class SQLInsertCompiler(compiler.SQLInsertCompiler):
    @wrap_database_errors
    def insert(self, docs: list[dict[str, Any]], returning_fields: Any = None) -> list[Any]:
        with pymongo.timeout(RETRY_FOR_S):
            key = self.query.get_meta().pk
            if isinstance(key, AutoField):
                return self.insert_with_keys(docs, str(key.column), returning_fields)
            return super().insert(docs, returning_fields)

    def insert_with_keys(self, docs: list[dict[str, Any]], column: str, returning_fields: Any) -> list[Any]:
        name = f"{self.collection_name}.{column}"
        sequence = self.connection.database[SEQUENCES]
        given = [doc[column] for doc in docs if doc.get(column) is not None]
        if given:
            # Explicit keys (loaddata, a copied database) raise the sequence, so that it never reuses them.
            sequence.update_one({"_id": name}, {"$max": {"last": Int64(max(given))}}, upsert=True)
        missing = [doc for doc in docs if doc.get(column) is None]
        if missing:
            last = sequence.find_one_and_update(
                {"_id": name},
                {"$inc": {"last": Int64(len(missing))}},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )["last"]
            for place, doc in enumerate(missing, 1):
                doc[column] = Int64(last - len(missing) + place)
        super().insert(docs, returning_fields)
        return [(int(doc[column]),) for doc in docs] if returning_fields else []


class SQLUpdateCompiler(SingleDocument, compiler.SQLUpdateCompiler):
    @wrap_database_errors
    def update(self, criteria: dict[str, Any], pipeline: list[dict[str, Any]]) -> int:
        if not self.is_about_one(criteria):
            return super().update(criteria, pipeline)
        with pymongo.timeout(RETRY_FOR_S):
            return self.collection.update_one(criteria, pipeline, session=self.connection.session).matched_count


class SQLDeleteCompiler(SingleDocument, compiler.SQLDeleteCompiler):
    @wrap_database_errors
    def execute_sql(self, result_type: Any = None) -> int:
        if not self.single_alias:
            return self.delete_across()
        try:
            query = self.build_query()
        except EmptyResultSet:
            return 0
        if not self.is_about_one(query.match_mql):
            return query.delete()
        with pymongo.timeout(RETRY_FOR_S):
            return self.collection.delete_one(query.match_mql, session=self.connection.session).deleted_count

    def delete_across(self) -> int:
        """Delete by a condition that spans collections: read the keys first, then delete by them."""
        rows = self.query.clone()
        rows.__class__ = sql.Query
        rows.clear_select_clause()
        rows.clear_ordering(force=True)
        meta = self.query.get_meta()
        rows.select = (meta.pk.get_col(rows.get_initial_alias()),)
        keys = [row[0] for row in rows.get_compiler(self.using).results_iter()]
        return meta.model._base_manager.using(self.using).filter(pk__in=keys)._raw_delete(self.using) if keys else 0
