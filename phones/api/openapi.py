"""The API documentation of the views in views.py."""

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
                    "We verify the credentials and that the account owns the number, then point the carrier's webhooks "
                    "at us, and only then save the number. Any reply other than 201 leaves everything as it was.\n\n"
                    "Digits that are possible in no country are looked up in the account all the same, because "
                    "carriers know new ranges first. If the account does not have them, the reply is "
                    "`invalid_phone_number`; for a possible number it is `number_not_owned`."
                ),
                request=AddPhoneSerializer,
                parameters=[
                    OpenApiParameter(
                        "Idempotency-Key",
                        str,
                        OpenApiParameter.HEADER,
                        description="A retry with the same key gets the first reply again instead of adding twice.",
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
                summary="List the workspace's numbers, newest first",
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
                summary="Get a number, its health and how it answers",
                parameters=[ID],
                responses=replies(PhoneSerializer, success=200),
            ),
            patch=extend_schema(
                operation_id="changePhone",
                tags=TAGS,
                summary="Change a number's label, how it answers, or its account's auth token",
                description=(
                    "Fields that you leave out stay as they are. A new `authToken` is verified with the carrier first "
                    "and then applies to all numbers of the account. Webhooks signed with the old token are still "
                    "accepted for a day."
                ),
                parameters=[ID],
                request=ChangePhoneSerializer,
                responses=replies(PhoneSerializer, success=200),
            ),
            delete=extend_schema(
                operation_id="removePhone",
                tags=TAGS,
                summary="Remove a number and restore the carrier's settings",
                description="We restore a setting at the carrier only if it still has the value that we wrote.",
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
                summary="Check a number's settings at the carrier and, on request, repair them",
                description="If the carrier cannot be reached or refuses to answer, the reply is 200 with the health "
                "`unreachable`.",
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
                summary="List the numbers of a carrier account",
                description="The credentials are used for this request only and are not stored.",
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


class Seconds(OpenApiSerializerFieldExtension):
    target_class = "phones.api.fields.SecondsField"

    def map_serializer_field(self, auto_schema: object, direction: str) -> dict[str, object]:
        return {"type": "integer", "minimum": self.target.least, "maximum": self.target.most}


class Choice(OpenApiSerializerFieldExtension):
    target_class = "phones.api.fields.ChoiceOfTexts"
    match_subclasses = True

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
