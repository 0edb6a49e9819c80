"""The API documentation of the views in call_views.py."""

from drf_spectacular.extensions import OpenApiSerializerFieldExtension, OpenApiViewExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.views import APIView

from core.openapi import described, failures, replies
from phones.api.call_serializers import CallPageSerializer, CallQuerySerializer, CallSerializer
from phones.api.fields import MAX_PAGE_SIZE, PAGE_SIZE
from phones.api.openapi import ID

TAGS = ["Calls"]
AUDIO = {(code, "audio/wav"): OpenApiTypes.BINARY for code in (200, 206)}


class Calls(OpenApiViewExtension):
    target_class = "phones.api.call_views.CallsView"

    def view_replacement(self) -> type[APIView]:
        return described(
            self.target_class,
            get=extend_schema(
                operation_id="listCalls",
                tags=TAGS,
                summary="List the workspace's calls, newest first",
                description="Each page ends with a cursor for the next one. You may change the filters between pages.",
                parameters=[CallQuerySerializer],
                responses=replies(CallPageSerializer, success=200),
            ),
        )


class PhoneCalls(OpenApiViewExtension):
    target_class = "phones.api.call_views.PhoneCallsView"

    def view_replacement(self) -> type[APIView]:
        return described(
            self.target_class,
            get=extend_schema(
                operation_id="listPhoneCalls",
                tags=TAGS,
                summary="List a number's calls, newest first",
                parameters=[ID, CallQuerySerializer],
                responses=replies(CallPageSerializer, success=200),
            ),
        )


class Call(OpenApiViewExtension):
    target_class = "phones.api.call_views.CallView"

    def view_replacement(self) -> type[APIView]:
        return described(
            self.target_class,
            get=extend_schema(
                operation_id="getCall",
                tags=TAGS,
                summary="Get a call with its recordings",
                parameters=[ID],
                responses=replies(CallSerializer, success=200),
            ),
        )


class RecordingMedia(OpenApiViewExtension):
    target_class = "phones.api.call_views.RecordingMediaView"

    def view_replacement(self) -> type[APIView]:
        return described(
            self.target_class,
            get=extend_schema(
                operation_id="getRecordingMedia",
                tags=TAGS,
                summary="Get the audio of a recording",
                description=(
                    "The audio is streamed from the carrier. If the recording has just been made, the reply may take a "
                    "few seconds."
                ),
                parameters=[
                    ID,
                    OpenApiParameter(
                        "Range", str, OpenApiParameter.HEADER, description="A single range, such as `bytes=0-1023`."
                    ),
                ],
                responses=AUDIO | failures(),
            ),
        )


class Time(OpenApiSerializerFieldExtension):
    target_class = "phones.api.fields.TimeField"

    def map_serializer_field(self, auto_schema: object, direction: str) -> dict[str, object]:
        return {"type": "string", "format": "date-time"}


class Limit(OpenApiSerializerFieldExtension):
    target_class = "phones.api.fields.LimitField"

    def map_serializer_field(self, auto_schema: object, direction: str) -> dict[str, object]:
        return {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE, "default": PAGE_SIZE}


class Cursor(OpenApiSerializerFieldExtension):
    target_class = "phones.api.fields.CursorField"

    def map_serializer_field(self, auto_schema: object, direction: str) -> dict[str, object]:
        return {"type": "string"}
