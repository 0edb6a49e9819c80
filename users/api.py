"""The base of every API view: how a request is read, limited and refused."""

from typing import Any, ClassVar

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.views import APIView

from core.parsers import read_json
from core.wire import understood
from users import limits
from users.addresses import counted_address
from users.authentication import token_of


class ApiView(APIView):
    """Checks come in the order of the API's contract: token, limits, method, media type, JSON, fields."""

    # Of a token.
    limits: ClassVar[tuple[str, ...]] = ("requests",)

    def check_throttles(self, request: Request) -> None:
        limits.spend(
            ("address_requests", counted_address(request._request)),
            ("workspace_requests", token_of(request).workspace_id),
            *((name, request.auth.pk) for name in self.limits),
        )

    def read(self, request: Request, serializer_class: type[serializers.Serializer]) -> dict[str, Any]:
        """The body's fields as the serializer understands them. Raises Refusal for the first that is wrong."""
        return understood(serializer_class(), read_json(request._request))

    def read_query(self, request: Request, serializer_class: type[serializers.Serializer]) -> dict[str, Any]:
        """The same for the fields of the query string, of which the last counts if one is repeated."""
        return understood(serializer_class(), request.GET.dict())
