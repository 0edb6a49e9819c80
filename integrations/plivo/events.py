"""Plivo's reports about calls and recordings, normalised."""

from datetime import UTC, datetime
from typing import Any

from integrations.events import (
    CallReport,
    CallStatus,
    Direction,
    ParsedEvent,
    Payload,
    RecordingReport,
    RecordingStatus,
    amount,
    moment,
    party,
    text,
    translate,
    whole,
)
from integrations.types import identifier

# Costs come without a currency; Plivo bills in US dollars.
CURRENCY = "USD"
# https://docs.plivo.com/docs/voice/concepts/callbacks (read 2026-11-23); `cancel` occurs in practice.
CALL_STATUS = {
    "queued": CallStatus.QUEUED,
    "ringing": CallStatus.RINGING,
    "early media": CallStatus.RINGING,
    "in-progress": CallStatus.IN_PROGRESS,
    "completed": CallStatus.COMPLETED,
    "busy": CallStatus.BUSY,
    "failed": CallStatus.FAILED,
    "timeout": CallStatus.NO_ANSWER,
    "no-answer": CallStatus.NO_ANSWER,
    "cancel": CallStatus.CANCELED,
    "canceled": CallStatus.CANCELED,
}
# For an unanswered call, the list of past calls gives only the hangup cause. We found no vendor page that lists all
# causes, so any other cause counts as a failure. The vendor has changed the spelling of `canceled`.
# https://docs.plivo.com/docs/voice/troubleshooting/hangup-causes (read 2026-11-29)
UNANSWERED_STATUS = {
    "busy line": CallStatus.BUSY,
    "rejected": CallStatus.BUSY,
    "no answer": CallStatus.NO_ANSWER,
    "ring timeout reached": CallStatus.NO_ANSWER,
    "canceled": CallStatus.CANCELED,
    "cancelled": CallStatus.CANCELED,
}


def parse_event(payload: Payload) -> ParsedEvent:
    """Fields: https://docs.plivo.com/docs/voice/concepts/callbacks (read 2026-11-23); for recordings, the section
    "Record" of voice-xml-skill/SKILL.md in github.com/plivo/plivo-cli at 1f8839c (read 2026-11-29). Older field names
    are accepted too."""
    call_id = text(payload.get("CallUUID"))
    if not call_id:
        return ParsedEvent()
    cost = amount(payload.get("TotalCost"))
    call = CallReport(
        id=call_id,
        direction=direction_of(payload.get("Direction")),
        caller=party(payload.get("From")),
        callee=party(payload.get("To")),
        status=translate(CALL_STATUS, payload.get("CallStatus"), CallStatus.UNKNOWN),
        started_at=moment(payload.get("StartTime") or payload.get("SessionStart")),
        answered_at=moment(payload.get("AnswerTime")),
        ended_at=moment(payload.get("EndTime")),
        duration_s=whole(payload.get("Duration")),
        hangup_cause=text(payload.get("HangupCauseName") or payload.get("HangupCause")),
        cost=cost,
        currency="" if cost is None else CURRENCY,
    )
    recording_id = text(payload.get("RecordingID") or payload.get("recording_id"))
    if not recording_id:
        return ParsedEvent(call)
    urls = [payload.get(name) for name in ("RecordUrl", "RecordingUrl", "record_url")]
    # The `action` callback of a background recording comes when the recording starts.
    has_begun_only = payload.get("RecordingDuration") == "-1"
    return ParsedEvent(
        call,
        RecordingReport(
            id=recording_id,
            call_id=call_id,
            status=RecordingStatus.IN_PROGRESS if has_begun_only else RecordingStatus.COMPLETED,
            started_at=from_milliseconds(payload.get("RecordingStartMs")),
            duration_s=whole(payload.get("RecordingDuration")),
            url=str(next(filter(None, urls), "")),
        ),
    )


def call_of(call: Any) -> CallReport | None:
    """Convert an entry in the list of past calls; None for a leg of a forwarded call."""
    if getattr(call, "parent_call_uuid", None):
        return None
    cause = text(getattr(call, "hangup_cause_name", None))
    answered_at = moment(getattr(call, "answer_time", None))
    return CallReport(
        id=identifier(call.call_uuid),
        direction=direction_of(call.call_direction),
        caller=party(call.from_number),
        callee=party(call.to_number),
        status=CallStatus.COMPLETED if answered_at else UNANSWERED_STATUS.get(cause.lower(), CallStatus.FAILED),
        started_at=moment(getattr(call, "initiation_time", None)),
        answered_at=answered_at,
        ended_at=moment(call.end_time),
        duration_s=whole(call.call_duration),
        hangup_cause=cause,
        cost=amount(call.total_amount),
        currency=CURRENCY,
    )


def recording_of(recording: Any) -> RecordingReport | None:
    """Convert an entry in the list of recordings; None for a conference recording."""
    if not recording.call_uuid or getattr(recording, "recording_type", None) == "conference":
        return None
    milliseconds = whole(recording.recording_duration_ms)
    return RecordingReport(
        id=identifier(recording.recording_id),
        call_id=identifier(recording.call_uuid),
        status=RecordingStatus.COMPLETED,
        started_at=from_milliseconds(getattr(recording, "recording_start_ms", None)),
        duration_s=None if milliseconds is None else round(milliseconds / 1000),
        url=recording.recording_url or "",
    )


def direction_of(theirs: object) -> Direction | None:
    word = text(theirs).lower()
    return Direction(word) if word in ("inbound", "outbound") else None


def from_milliseconds(value: object) -> datetime | None:
    """Parse a time in milliseconds since 1970."""
    try:
        return datetime.fromtimestamp(float(str(value)) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
