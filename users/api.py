"""The base of every API view: reads, limits and refuses requests."""

from typing import Any, ClassVar

from django.core.exceptions import TooManyFieldsSent
from django.http import HttpRequest
from rest_framework import serializers
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.views import APIView

from core.errors import Unreadable
from core.parsers import read_json
from core.wire import NoQuery, validated
from users import limits
from users.addresses import counted_address
from users.authentication import token_of


class ApiView(APIView):
    """Checks a request in the order of the API's contract: token, limits, method, media type, JSON, fields.

    `query` holds the validated filters of the query string.
    """

    # The filters that may be in the query string; None if it is ignored.
    query_class: ClassVar[type[serializers.Serializer] | None] = NoQuery

    # The limits that apply to each token; names in settings.LIMITS.
    limits: ClassVar[tuple[str, ...]] = ("requests",)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if request.method == "GET" and "get" in self.http_method_names:  # otherwise read() does it, after the body
            self.check_query(request)

    def check_query(self, request: Request) -> None:
        if self.query_class:
            self.query = read_query(request._request, self.query_class())

    def check_throttles(self, request: Request) -> None:
        spend = limits.spend_if_possible if request.method in SAFE_METHODS else limits.spend
        spend(
            ("address_requests", counted_address(request._request)),
            ("workspace_requests", token_of(request).workspace_id),
            *((name, request.auth.pk) for name in self.limits),
        )

    def read(
        self, request: Request, serializer_class: type[serializers.Serializer], *, is_optional: bool = False
    ) -> dict[str, Any]:
        """Return the validated fields of the JSON body.

        Raises Unreadable for a body that is no JSON object, and for the first wrong name of the query string or field
        of the body. If the body is optional, a request without one is read as one without fields.
        """
        body = {} if is_optional and not request.body else read_json(request._request)
        self.check_query(request)
        return validated(serializer_class(), body)


def read_query(request: HttpRequest, serializer: serializers.Serializer) -> dict[str, Any]:
    """Return the validated query string. Raises Unreadable for the first filter that is unknown, wrong or repeated."""
    try:
        given = request.GET
    except TooManyFieldsSent:
        raise Unreadable("The query string has too many names. Send each filter once.") from None
    filters = validated(serializer, given.dict())
    for name in given:
        if len(given.getlist(name)) > 1:
            raise Unreadable(f"{name}: send this filter once.", field=name)
    return filters
