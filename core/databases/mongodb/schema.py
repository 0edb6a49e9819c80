"""Unique indexes that queries can use."""

from typing import Any

from django.db.models import Field, Index, Model
from django_mongodb_backend import schema


class WholeIndex(Index):
    """An index over all documents.

    To allow several nulls, the backend's own covers only values of one type. MongoDB then never uses it, not even to
    find the row of a token, and scans the collection instead.
    https://www.mongodb.com/docs/manual/core/index-partial/#query-coverage (its effect: `explain` of mongod 6.0.5)
    """

    def get_pymongo_index_model(self, *args: Any, **kwargs: Any) -> Any:
        made = super().get_pymongo_index_model(*args, **kwargs)  # type: ignore[misc]
        made.document.pop("partialFilterExpression", None)
        return made


def unique_index(model: type[Model], index: Index, field: "Field[Any, Any] | None") -> Index:
    """The index for a unique constraint: over all documents, unless a field may be null or it has a condition."""
    fields = [field] if field else [model._meta.get_field(name) for name, _ in index.fields_orders]
    if index.condition is not None or any(one.null for one in fields):
        return index
    return WholeIndex(fields=index.fields, name=index.name)


class DatabaseSchemaEditor(schema.DatabaseSchemaEditor):
    def add_index(
        self, model: type[Model], index: Index, *, field: Any = None, unique: bool = False, **kwargs: Any
    ) -> None:
        index = unique_index(model, index, field) if unique else index
        super().add_index(model, index, field=field, unique=unique, **kwargs)
