"""What the API's documentation says of the views in views.py."""

from django.http import HttpResponse
from drf_spectacular.extensions import OpenApiViewExtension
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.views import APIView

from phones.serializers import AddedPhoneSerializer, AddPhoneSerializer
from workspace.openapi import replies


class AddPhone(OpenApiViewExtension):
    target_class = "phones.views.AddPhoneView"

    def view_replacement(self) -> type[APIView]:
        class Described(self.target_class):  # type: ignore[name-defined,misc]
            @extend_schema(
                operation_id="addPhone",
                summary="Add a phone number to your workspace",
                description=(
                    "The credentials and the ownership are proved, the carrier's webhooks are pointed at us, and only "
                    "then is the number kept. Any other reply than 201 leaves everything as it was."
                ),
                request=AddPhoneSerializer,
                parameters=[
                    OpenApiParameter(
                        "Idempotency-Key",
                        str,
                        OpenApiParameter.HEADER,
                        description="Send the same key to get the first reply again instead of a second add.",
                    )
                ],
                responses=replies(AddedPhoneSerializer(), success=201),
            )
            def post(self, request: Request) -> HttpResponse:
                return super().post(request)

        return Described
