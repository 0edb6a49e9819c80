"""How the API reads fields and writes values."""

from datetime import datetime
from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from rest_framework import serializers

from core.errors import NotFound, Unreadable
from core.fields import OBJECT_ID

Row = TypeVar("Row", bound=Model)
# A carrier's token, sent as a name by mistake, is longer. Of a longer name only the start is shown; our longest name
# has 12 characters.
LONGEST_SHOWN, SHOWN_START = 24, 11


class NoQuery(serializers.Serializer):
    """The query string of an address that has no filters."""


def validated(serializer: serializers.Serializer, fields: dict[str, Any]) -> dict[str, Any]:
    """Validate fields with a serializer, which may be reused.

    Raises Unreadable for a name that the serializer does not have, unless it sets `ignores_unknown_names`, and for the
    first invalid field.
    """
    if is_strict(serializer):
        refuse_unknown_names(serializer, fields)
    try:
        return serializer.run_validation(fields)
    except serializers.ValidationError as invalid:
        errors: Any = invalid.detail
        name: str = next(name for name in serializer.fields if name in errors)  # type: ignore[assignment]
        error = errors[name][0]
        known = error.code if error.code.startswith("invalid_") else "invalid_field"
        raise Unreadable(f"{name}: {error}", code=known, field=name) from None


def is_strict(serializer: object) -> bool:
    """Whether names that a serializer does not have are refused."""
    return not getattr(serializer, "ignores_unknown_names", False)


def refuse_unknown_names(serializer: serializers.Serializer, fields: dict[str, Any]) -> None:
    """Raise Unreadable for the first unknown name. It is often another spelling of a field that then seems missing."""
    for name in fields:
        if name not in serializer.fields:
            shown = name if len(name) <= LONGEST_SHOWN else f"{name[:SHOWN_START]}…"
            fault = f"{shown}: this name is not known here." if name else "A name is empty."
            known = ", ".join(serializer.fields)
            remedy = f"Send only {known}." if known else "This address takes no query parameters."
            raise Unreadable(f"{fault} {remedy}", field=shown)


def get_or_404(rows: QuerySet[Row], id: str) -> Row:
    """The row with this id. Raises NotFound if there is none among `rows` or if the id is malformed."""
    row = rows.filter(pk=id).first() if OBJECT_ID.fullmatch(id) else None
    if row is None:
        raise NotFound
    return row


def wire_time(moment: datetime | None) -> str | None:
    """A time as the API writes it: ISO 8601 in UTC, with milliseconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z" if moment else None


class WireField(serializers.CharField):
    """A JSON string, accepted unchanged: it is not trimmed, and numbers and booleans are rejected."""

    default_error_messages = {
        "required": "this field is missing.",
        "null": "send a string.",
        "invalid": "send a string.",
        "blank": "this field is blank.",
    }

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(trim_whitespace=False, **kwargs)

    def run_validation(self, data: Any = serializers.empty) -> Any:
        if isinstance(data, str) and not data.strip() and not self.allow_blank:
            self.fail("blank")
        return super().run_validation(data)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return data
