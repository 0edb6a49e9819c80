"""How the filters of the log of calls are read, and calls are shown."""

from typing import Any

from rest_framework import serializers

from core.fields import OBJECT_ID
from core.wire import wire_time
from integrations import PROVIDERS
from integrations.events import CallStatus, Direction, RecordingStatus
from phones.api.fields import MAX_PAGE_SIZE, PAGE_SIZE, ChoiceOfTexts, CursorField, LimitField, NumberField, TimeField
from phones.models import Call, Recording


class CallQuerySerializer(serializers.Serializer):
    """The filters of a list of calls."""

    status = ChoiceOfTexts(list(CallStatus), required=False)
    direction = ChoiceOfTexts(list(Direction), required=False)
    phoneNumber = NumberField(source="number", required=False, help_text="One of the workspace's numbers.")
    after = TimeField(required=False, help_text="Calls that began then or later, in ISO 8601.")
    before = TimeField(required=False, help_text="Calls that began earlier, in ISO 8601.")
    limit = LimitField(default=PAGE_SIZE, help_text=f"Calls on a page, at most {MAX_PAGE_SIZE}.")
    cursor = CursorField(source="position", required=False, help_text="`nextCursor` of the page before.")


def shown_call(call: Call) -> dict[str, Any]:
    """A call in `data`."""
    return {
        "_id": call.pk,
        "phoneNumber": call.line.number if call.line else None,
        "integration": call.account.integration,
        "direction": call.direction or None,
        "from": call.caller or None,
        "to": call.callee or None,
        "status": call.status,
        "startedAt": wire_time(call.started_at),
        "answeredAt": wire_time(call.answered_at),
        "endedAt": wire_time(call.ended_at),
        "durationSeconds": call.talked_s,
        "hangupCause": call.hangup_cause or None,
        "recordings": [shown_recording(one) for one in sorted(call.recordings.all(), key=lambda one: one.created_at)],
    }


def shown_recording(recording: Recording) -> dict[str, Any]:
    return {
        "_id": recording.pk,
        "status": recording.status,
        "durationSeconds": recording.duration_s,
        "channels": recording.channels,
        "createdAt": wire_time(recording.created_at),
    }


class RecordingSerializer(serializers.Serializer):
    """A recording of a call; the audio is at /api/call/recordings/{_id}/media."""

    _id = serializers.RegexField(OBJECT_ID.pattern)
    status = serializers.ChoiceField([one.value for one in RecordingStatus])
    durationSeconds = serializers.IntegerField(allow_null=True)
    channels = serializers.IntegerField(allow_null=True)
    createdAt = serializers.DateTimeField()


class CallSerializer(serializers.Serializer):
    """A call. What the carrier has not said, or not yet, is null."""

    _id = serializers.RegexField(OBJECT_ID.pattern)
    phoneNumber = serializers.CharField(allow_null=True, help_text="The workspace's number.")
    integration = serializers.ChoiceField(sorted(PROVIDERS))
    direction = serializers.ChoiceField([one.value for one in Direction], allow_null=True)
    to = serializers.CharField(allow_null=True)
    status = serializers.ChoiceField([one.value for one in CallStatus])
    startedAt = serializers.DateTimeField()
    answeredAt = serializers.DateTimeField(allow_null=True)
    endedAt = serializers.DateTimeField(allow_null=True)
    durationSeconds = serializers.IntegerField(allow_null=True)
    hangupCause = serializers.CharField(allow_null=True)
    recordings = RecordingSerializer(many=True)

    def get_fields(self) -> dict[str, serializers.Field]:
        # `from` is a word of Python's.
        return super().get_fields() | {"from": serializers.CharField(allow_null=True)}


class CallPageSerializer(serializers.Serializer):
    """A page of calls, newest first."""

    items = CallSerializer(many=True)
    nextCursor = serializers.CharField(allow_null=True, help_text="For the next page; null at the end.")
