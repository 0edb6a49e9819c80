"""The base of every API view: how a request is read, limited and refused."""

from typing import Any, ClassVar

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.views import APIView

from users import limits
from workspace.errors import Refusal
from workspace.parsers import read_json


class ApiView(APIView):
    """Checks come in the order of the API's contract: token, limits, method, media type, JSON, fields."""

    limits: ClassVar[tuple[str, ...]] = ("requests",)

    def check_throttles(self, request: Request) -> None:
        limits.spend(*((name, request.auth.pk) for name in self.limits))

    def read(self, request: Request, serializer_class: type[serializers.Serializer]) -> dict[str, Any]:
        """The body's fields as the serializer understands them. Raises Refusal for the first that is wrong."""
        serializer = serializer_class(data=read_json(request._request))
        if not serializer.is_valid():
            name: str = next(name for name in serializer.fields if name in serializer.errors)  # type: ignore[assignment]
            error = serializer.errors[name][0]
            known = error.code if error.code.startswith("invalid_") else "invalid_field"
            raise Refusal(f"{name}: {error}", code=known, field=name)
        return serializer.validated_data


class WireField(serializers.CharField):
    """A JSON string, taken as it is: nothing is trimmed, and no number or boolean is read as one."""

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
