"""The base of every API view: reads, limits and refuses requests."""

from typing import Any, ClassVar

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.views import APIView

from core.parsers import read_json
from core.wire import validated
from users import limits
from users.addresses import counted_address
from users.authentication import token_of


class ApiView(APIView):
    """Checks a request in the order of the API's contract: token, limits, method, media type, JSON, fields."""

    # The limits that apply to each token; names in settings.LIMITS.
    limits: ClassVar[tuple[str, ...]] = ("requests",)

    def check_throttles(self, request: Request) -> None:
        limits.spend(
            ("address_requests", counted_address(request._request)),
            ("workspace_requests", token_of(request).workspace_id),
            *((name, request.auth.pk) for name in self.limits),
        )

    def read(self, request: Request, serializer_class: type[serializers.Serializer]) -> dict[str, Any]:
        """Return the validated fields of the JSON body. Raises Unreadable for the first one that is wrong."""
        return validated(serializer_class(), read_json(request._request))

    def read_query(self, request: Request, serializer_class: type[serializers.Serializer]) -> dict[str, Any]:
        """The same for the query string, in which the last value of a repeated name counts."""
        return validated(serializer_class(), request.GET.dict())
