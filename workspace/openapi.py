"""The API's documentation. Loaded only when somebody reads it: drf-spectacular takes a while to import.

What a view answers is described beside it, in `<app>/openapi.py`.
"""

from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import OpenApiResponse, inline_serializer
from rest_framework import serializers

from workspace.envelope import ERRORS


class Generator(SchemaGenerator):
    """Knows the descriptions of all views."""

    def parse(self, request: object, public: bool) -> object:
        import phones.openapi  # noqa: F401  these two use this module
        import users.openapi  # noqa: F401

        return super().parse(request, public)


class ErrorData(serializers.Serializer):
    error = serializers.ChoiceField(sorted(ERRORS), help_text="Machine-readable code.")
    field = serializers.CharField(allow_null=True, help_text="The field to blame, if it is one.")


def envelope_of(name: str, data: serializers.Serializer, *, status: bool) -> serializers.Serializer:
    """A serializer for the reply that carries `data`."""
    return inline_serializer(
        name,
        {
            "message": serializers.CharField(),
            "status": serializers.BooleanField(default=status),
            "code": serializers.IntegerField(help_text="The HTTP status."),
            "errorMessage": serializers.CharField(allow_blank=True, help_text="Why it failed and what to do next."),
            "data": data,
        },
    )


def replies(data: serializers.Serializer, *, success: int) -> dict[int, OpenApiResponse]:
    """Every status that an API view may answer with, and its body."""
    name = type(data).__name__.removesuffix("Serializer")
    error = envelope_of("Error", ErrorData(), status=False)
    codes: dict[int, list[str]] = {}
    for code, (status, _) in ERRORS.items():
        codes.setdefault(status, []).append(f"`{code}`")
    return {success: OpenApiResponse(envelope_of(f"{name}Reply", data, status=True), "It is done.")} | {
        status: OpenApiResponse(error, ", ".join(codes[status])) for status in sorted(codes)
    }
