"""Helpers for documenting views. Loaded only when somebody reads the API's documentation."""

from functools import cache
from typing import Any

from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.utils import OpenApiResponse, extend_schema_view, inline_serializer
from rest_framework import serializers
from rest_framework.views import APIView

from core.envelope import ERRORS
from core.wire import is_strict


def described(view: Any, **methods: Any) -> type[APIView]:
    """A documented copy of a view: `methods` maps each of its methods to an `extend_schema`."""
    return extend_schema_view(**methods)(type("Described", (view,), {}))


class KnownNames(OpenApiSerializerExtension):
    """Says of a request's body that other names are refused, unless they are ignored."""

    target_class = "rest_framework.serializers.Serializer"
    match_subclasses = True

    def map_serializer(self, auto_schema: Any, direction: str) -> Any:
        schema = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        refuses_others = direction == "request" and is_strict(self.target)
        return schema | {"additionalProperties": False} if refuses_others else schema


class ErrorData(serializers.Serializer):
    error = serializers.ChoiceField(sorted(ERRORS), help_text="Machine-readable code.")
    field = serializers.CharField(allow_null=True, help_text="The field to blame, if it is one.")


@cache
def envelope_of(data: type[serializers.Serializer], *, status: bool) -> serializers.Serializer:
    """A serializer for a response with this `data`. Cached, because views with the same data must share one."""
    return inline_serializer(
        data.__name__.removesuffix("Serializer").removesuffix("Data") + ("Reply" if status else ""),
        {
            "message": serializers.CharField(),
            "status": serializers.BooleanField(default=status),
            "code": serializers.IntegerField(help_text="The HTTP status."),
            "errorMessage": serializers.CharField(allow_blank=True, help_text="Why it failed and what to do next."),
            "data": data(),
        },
    )


def replies(data: type[serializers.Serializer], *, success: int) -> dict[int, OpenApiResponse]:
    """Every status that an API view may return, with its body."""
    return {success: OpenApiResponse(envelope_of(data, status=True), "It is done.")} | failures()


def failures() -> dict[int, OpenApiResponse]:
    """Every error status, with its body."""
    codes: dict[int, list[str]] = {}
    for code, (status, _) in ERRORS.items():
        codes.setdefault(status, []).append(f"`{code}`")
    error = envelope_of(ErrorData, status=False)
    return {status: OpenApiResponse(error, ", ".join(codes[status])) for status in sorted(codes)}
