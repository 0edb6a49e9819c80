"""Twilio's reports about calls and recordings, normalised. What its webhooks share with Telnyx's is in twiml.py."""

from typing import Any

from integrations import twiml
from integrations.events import (
    CallReport,
    CallStatus,
    RecordingReport,
    RecordingStatus,
    amount,
    party,
    translate,
    whole,
)
from integrations.types import identifier

# https://www.twilio.com/docs/voice/api/call-resource#call-status-values (read 2026-11-23)
CALL_STATUS = {
    "queued": CallStatus.QUEUED,
    "initiated": CallStatus.QUEUED,
    "ringing": CallStatus.RINGING,
    "in-progress": CallStatus.IN_PROGRESS,
    "completed": CallStatus.COMPLETED,
    "busy": CallStatus.BUSY,
    "failed": CallStatus.FAILED,
    "no-answer": CallStatus.NO_ANSWER,
    "canceled": CallStatus.CANCELED,
}


def call_of(call: Any) -> CallReport:
    """Convert an entry in the list of calls. Twilio does not report when a call was answered."""
    return CallReport(
        id=identifier(call.sid),
        direction=twiml.direction_of(call.direction),
        caller=party(call._from),
        callee=party(call.to),
        status=translate(CALL_STATUS, call.status, CallStatus.UNKNOWN),
        started_at=call.start_time,
        ended_at=call.end_time,
        duration_s=whole(call.duration),
        cost=amount(call.price),
        currency=call.price_unit or "" if call.price else "",
    )


def recording_of(recording: Any) -> RecordingReport:
    return RecordingReport(
        id=identifier(recording.sid),
        call_id=identifier(recording.call_sid),
        status=translate(twiml.RECORDING_STATUS, recording.status, RecordingStatus.UNKNOWN),
        started_at=recording.start_time,
        duration_s=whole(recording.duration),
        channels=recording.channels,
    )
