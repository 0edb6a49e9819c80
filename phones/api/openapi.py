"""What the API's documentation says of the views in views.py."""

import json
from datetime import UTC, datetime
from typing import Any

from django.http import HttpResponse
from drf_spectacular.extensions import OpenApiSerializerFieldExtension, OpenApiViewExtension
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.views import APIView

from core.fields import OBJECT_ID
from core.openapi import described, replies
from phones.api.serializers import (
    AddedPhoneSerializer,
    AddPhoneSerializer,
    AvailablePhonePageSerializer,
    AvailablePhonesSerializer,
    ChangePhoneSerializer,
    CheckedPhoneSerializer,
    CheckPhoneSerializer,
    InboundSerializer,
    PhonePageSerializer,
    PhoneQuerySerializer,
    PhoneSerializer,
    RemovedPhoneSerializer,
)
from phones.api.views import confirm_add
from phones.models import PhoneNumber

TAGS = ["Phone numbers"]
ID = OpenApiParameter("id", str, OpenApiParameter.PATH, description="`_id`, 24 hexadecimal digits.")
REQUEST = {
    "userId": "64e5f12345abcdef12345678",
    "phoneNumber": "12125551234",
    "integration": "twilio",
    "authToken": "your_auth_token",
    "accSId": "your_account_sid",
}
ADDED = PhoneNumber(
    pk="64e5f12345abcdef87654321",
    user_id=REQUEST["userId"],
    number=REQUEST["phoneNumber"],
    integration=REQUEST["integration"],
    created_at=datetime(2025, 5, 15, 10, 30, tzinfo=UTC),
)


class AddPhone(OpenApiViewExtension):
    target_class = "phones.api.views.AddPhoneView"

    def view_replacement(self) -> type[APIView]:
        class Described(self.target_class):  # type: ignore[name-defined]
            @extend_schema(
                operation_id="addPhone",
                tags=TAGS,
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
                    OpenApiExample(
                        "Added", json.loads(confirm_add(ADDED).content), response_only=True, status_codes=["201"]
                    ),
                ],
            )
            def post(self, request: Request) -> HttpResponse:
                return super().post(request)

        return Described


class Phones(OpenApiViewExtension):
    target_class = "phones.api.views.PhonesView"

    def view_replacement(self) -> type[APIView]:
        return described(
            self.target_class,
            get=extend_schema(
                operation_id="listPhones",
                tags=TAGS,
                summary="List the numbers of the workspace, newest first",
                parameters=[PhoneQuerySerializer],
                responses=replies(PhonePageSerializer, success=200),
            ),
        )


class Phone(OpenApiViewExtension):
    target_class = "phones.api.views.PhoneView"

    def view_replacement(self) -> type[APIView]:
        return described(
            self.target_class,
            get=extend_schema(
                operation_id="getPhone",
                tags=TAGS,
                summary="One number: its health, how it answers",
                parameters=[ID],
                responses=replies(PhoneSerializer, success=200),
            ),
            patch=extend_schema(
                operation_id="changePhone",
                tags=TAGS,
                summary="Change a number's label, how it answers, or the credentials of its account",
                description=(
                    "What is left out stays. A new `authToken` is proved at the carrier first and then holds for all "
                    "numbers of the account; webhooks signed with the old one still pass for a day."
                ),
                parameters=[ID],
                request=ChangePhoneSerializer,
                responses=replies(PhoneSerializer, success=200),
            ),
            delete=extend_schema(
                operation_id="removePhone",
                tags=TAGS,
                summary="Remove a number and give its line back",
                description="The carrier's settings return to what they were before, as far as they are still ours.",
                parameters=[ID],
                responses=replies(RemovedPhoneSerializer, success=200),
            ),
        )


class CheckPhone(OpenApiViewExtension):
    target_class = "phones.api.views.CheckPhoneView"

    def view_replacement(self) -> type[APIView]:
        return described(
            self.target_class,
            post=extend_schema(
                operation_id="checkPhone",
                tags=TAGS,
                summary="Compare what the carrier has with what we want, and put it right if asked to",
                parameters=[ID],
                request=CheckPhoneSerializer,
                responses=replies(CheckedPhoneSerializer, success=200),
            ),
        )


class AvailablePhones(OpenApiViewExtension):
    target_class = "phones.api.views.AvailablePhonesView"

    def view_replacement(self) -> type[APIView]:
        return described(
            self.target_class,
            post=extend_schema(
                operation_id="listAvailablePhones",
                tags=TAGS,
                summary="The numbers of a carrier account, to pick from",
                description="The credentials are used for this request and not kept.",
                request=AvailablePhonesSerializer,
                responses=replies(AvailablePhonePageSerializer, success=200),
            ),
        )


class Inbound(OpenApiSerializerFieldExtension):
    target_class = "phones.api.serializers.InboundField"

    def map_serializer_field(self, auto_schema: Any, direction: str) -> Any:
        return auto_schema.resolve_serializer(InboundSerializer(), direction).ref


class Flag(OpenApiSerializerFieldExtension):
    target_class = "phones.api.serializers.FlagField"

    def map_serializer_field(self, auto_schema: object, direction: str) -> dict[str, object]:
        return {"type": "boolean"}


class Choice(OpenApiSerializerFieldExtension):
    target_class = "phones.api.fields.ChoiceOfTexts"

    def map_serializer_field(self, auto_schema: object, direction: str) -> dict[str, object]:
        return {"type": "string", "enum": list(self.target.choices)}


class Pattern(OpenApiSerializerFieldExtension):
    target_class = "phones.api.fields.PatternField"

    def map_serializer_field(self, auto_schema: object, direction: str) -> dict[str, object]:
        return {"type": "string", "pattern": f"^{self.target.pattern.pattern}$"}


class UserId(OpenApiSerializerFieldExtension):
    target_class = "phones.api.fields.UserIdField"

    def map_serializer_field(self, auto_schema: object, direction: str) -> dict[str, object]:
        return {"type": "string", "pattern": f"^{OBJECT_ID.pattern}$"}
