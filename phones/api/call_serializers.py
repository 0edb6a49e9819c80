"""The fields of the call log: the filters of a request, and the calls in a reply."""

from typing import Any

from rest_framework import serializers

from integrations import PROVIDERS
from integrations.events import CallStatus, Direction, RecordingStatus
from phones.api.fields import (
    MAX_PAGE_SIZE,
    PAGE_SIZE,
    ChoiceOfTexts,
    ChoiceOrNullField,
    CursorField,
    IdField,
    LimitField,
    NumberField,
    TextOrNullField,
    TimeField,
)


class CallQuerySerializer(serializers.Serializer):
    """Filters for a list of calls."""

    status = ChoiceOfTexts(list(CallStatus), required=False)
    direction = ChoiceOfTexts(list(Direction), required=False)
    phoneNumber = NumberField(source="number", required=False, help_text="Only calls of this number of the workspace.")
    after = TimeField(required=False, help_text="Only calls that began at or after this time, in ISO 8601.")
    before = TimeField(required=False, help_text="Only calls that began before this time, in ISO 8601.")
    limit = LimitField(default=PAGE_SIZE, help_text=f"Calls per page, at most {MAX_PAGE_SIZE}.")
    cursor = CursorField(source="position", required=False, help_text="`nextCursor` of the previous page.")


class RecordingSerializer(serializers.Serializer):
    """A recording of a call; the audio is at /api/call/recordings/{_id}/media."""

    _id = IdField(source="pk")
    status = serializers.ChoiceField([one.value for one in RecordingStatus])
    durationSeconds = serializers.IntegerField(source="duration_s", allow_null=True)
    channels = serializers.IntegerField(allow_null=True)
    createdAt = TimeField(source="created_at")


class RecordingsField(serializers.ListSerializer):
    """The recordings of a call, oldest first."""

    def to_representation(self, data: Any) -> list[Any]:
        # Sort in Python: a query with an order would ignore the prefetched rows.
        return super().to_representation(sorted(data.all(), key=lambda recording: recording.created_at))


class CallSerializer(serializers.Serializer):
    """A call. A value that the carrier has not reported (yet) is null."""

    _id = IdField(source="pk")
    carrierCallId = serializers.CharField(source="carrier_id", help_text="The carrier's own id of the call.")
    phoneNumber = serializers.CharField(source="line.number", allow_null=True, help_text="The workspace's number.")
    integration = serializers.ChoiceField(sorted(PROVIDERS), source="account.integration")
    direction = ChoiceOrNullField([one.value for one in Direction])
    from_ = TextOrNullField(source="caller")
    to = TextOrNullField(source="callee")
    status = serializers.ChoiceField([one.value for one in CallStatus])
    startedAt = TimeField(source="started_at")
    answeredAt = TimeField(source="taken_at", allow_null=True)
    endedAt = TimeField(source="ended_at", allow_null=True)
    durationSeconds = serializers.IntegerField(source="talked_s", allow_null=True)
    hangupCause = TextOrNullField(source="hangup_cause")
    recordings = RecordingsField(child=RecordingSerializer())

    def get_fields(self) -> dict[str, serializers.Field]:
        # `from` is a keyword in Python.
        return {name.removesuffix("_"): field for name, field in super().get_fields().items()}


class CallPageSerializer(serializers.Serializer):
    """A page of calls, newest first."""

    items = CallSerializer(many=True)
    nextCursor = serializers.CharField(allow_null=True, help_text="The cursor of the next page; null on the last page.")
