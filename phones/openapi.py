"""What the API's documentation says of the views in views.py."""

from django.http import HttpResponse
from drf_spectacular.extensions import OpenApiSerializerFieldExtension, OpenApiViewExtension
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.views import APIView

from phones.serializers import AddedPhoneSerializer, AddPhoneSerializer
from workspace.fields import OBJECT_ID
from workspace.openapi import replies


class AddPhone(OpenApiViewExtension):
    target_class = "phones.views.AddPhoneView"

    def view_replacement(self) -> type[APIView]:
        class Described(self.target_class):  # type: ignore[name-defined]
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


class Choice(OpenApiSerializerFieldExtension):
    target_class = "phones.serializers.ChoiceOfTexts"

    def map_serializer_field(self, auto_schema: object, direction: str) -> dict[str, object]:
        return {"type": "string", "enum": list(self.target.choices)}


class Pattern(OpenApiSerializerFieldExtension):
    target_class = "phones.serializers.PatternField"

    def map_serializer_field(self, auto_schema: object, direction: str) -> dict[str, object]:
        return {"type": "string", "pattern": f"^{self.target.pattern.pattern}$"}


class UserId(OpenApiSerializerFieldExtension):
    target_class = "phones.serializers.UserIdField"

    def map_serializer_field(self, auto_schema: object, direction: str) -> dict[str, object]:
        return {"type": "string", "pattern": f"^{OBJECT_ID.pattern}$"}
