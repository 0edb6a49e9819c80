"""What the API's documentation says of the views in views.py."""

from django.http import HttpResponse
from drf_spectacular.extensions import OpenApiSerializerFieldExtension, OpenApiViewExtension
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.views import APIView

from phones.serializers import AddedPhoneSerializer, AddPhoneSerializer
from workspace.fields import OBJECT_ID
from workspace.openapi import replies

REQUEST = {
    "userId": "64e5f12345abcdef12345678",
    "phoneNumber": "12125551234",
    "integration": "twilio",
    "authToken": "your_auth_token",
    "accSId": "your_account_sid",
}
REPLY = {
    "message": "Phone number added successfully",
    "status": True,
    "code": 201,
    "errorMessage": "",
    "data": {
        "_id": "64e5f12345abcdef87654321",
        "userId": "64e5f12345abcdef12345678",
        "phoneNumber": "12125551234",
        "integration": "twilio",
        "createdAt": "2025-05-15T10:30:00.000Z",
    },
}


class AddPhone(OpenApiViewExtension):
    target_class = "phones.views.AddPhoneView"

    def view_replacement(self) -> type[APIView]:
        class Described(self.target_class):  # type: ignore[name-defined]
            @extend_schema(
                operation_id="addPhone",
                tags=["Phone numbers"],
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
                responses=replies(AddedPhoneSerializer, success=201),
                examples=[
                    OpenApiExample("A Twilio number", REQUEST, request_only=True),
                    OpenApiExample("Added", REPLY, response_only=True, status_codes=["201"]),
                ],
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
