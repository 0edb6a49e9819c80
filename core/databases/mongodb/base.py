"""The connection: requires a replica set, and supports integer keys for the models of other packages."""

from datetime import UTC, datetime
from typing import Any

from bson import Int64
from django.core.exceptions import ImproperlyConfigured
from django_mongodb_backend import base, introspection, operations, validation
from django_mongodb_backend.query import wrap_database_errors

from core.databases.clock import ServerClock
from core.databases.mongodb.schema import DatabaseSchemaEditor

NEEDS_SET = (
    "DATABASE_URL names a MongoDB server that is not a replica set, so acknowledged writes could be lost. "
    "Start mongod with --replSet, run rs.initiate() once, and add ?replicaSet=NAME."
)


class DatabaseOperations(operations.DatabaseOperations):
    compiler_module = "core.databases.mongodb.compiler"
    # 5.2.4 puts the text into a regular expression unescaped.
    prep_for_iexact_query = operations.DatabaseOperations.prep_for_like_query

    def get_db_converters(self, expression: Any) -> list[Any]:
        converters = super().get_db_converters(expression)
        if expression.output_field.get_internal_type() in ("AutoField", "BigAutoField"):
            converters.append(self.convert_integerfield_value)
        return converters

    def validate_autopk_value(self, value: int) -> Int64:
        # The same type as the columns that refer to it: a unique index that allows nulls covers only one BSON type
        # (schema.py).
        return Int64(value)


class DatabaseIntrospection(introspection.DatabaseIntrospection):
    # 5.2.4 raises the driver's own errors, but `/readyz` catches Django's.
    table_names = wrap_database_errors(introspection.DatabaseIntrospection.table_names)


class DatabaseValidation(validation.DatabaseValidation):
    prohibited_fields = {"SmallAutoField"}


class DatabaseWrapper(base.DatabaseWrapper):
    data_types = {**base.DatabaseWrapper.data_types, "AutoField": "long", "BigAutoField": "long"}
    # 5.2.4 ends these with "$", which also matches before a trailing line break.
    mongo_operators = {
        **base.DatabaseWrapper.mongo_operators,
        "iexact": lambda field, text: {field: {"$regex": rf"^{text}\z", "$options": "i"}},
    }
    mongo_expr_operators = {
        **base.DatabaseWrapper.mongo_expr_operators,
        "iexact": lambda value, text: {
            "$regexMatch": {"input": value, "regex": {"$concat": ("^", text, r"\z")}, "options": "i"}
        },
    }
    introspection_class = DatabaseIntrospection
    SchemaEditorClass = DatabaseSchemaEditor
    ops_class = DatabaseOperations
    validation_class = DatabaseValidation
    _clocks: dict[str, ServerClock] = {}
    # Aliases whose server is known to be a replica set.
    _accepted: set[str] = set()

    @property
    def clock(self) -> ServerClock:
        """The primary's clock (core/clock.py)."""
        return self._clocks.setdefault(self.alias, ServerClock(self.read_clock))

    @wrap_database_errors
    def read_clock(self) -> datetime:
        self.ensure_connection()
        return self.connection.admin.command("hello")["localTime"].replace(tzinfo=UTC)

    @wrap_database_errors
    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        client = super().get_new_connection(conn_params)
        if self.alias not in self._accepted:
            hello = client.admin.command("hello")
            if "setName" not in hello and hello.get("msg") != "isdbgrid":
                raise ImproperlyConfigured(NEEDS_SET)
            self._accepted.add(self.alias)
        return client
