"""Plivo's reports about calls and recordings, normalised."""

from datetime import UTC, datetime
from typing import Any

from integrations.events import (
    STREAM_FAILED,
    CallReport,
    CallStatus,
    Direction,
    ParsedEvent,
    Payload,
    RecordingReport,
    RecordingStatus,
    amount,
    forwarding,
    in_seconds,
    link,
    moment,
    outcome_of_leg,
    party,
    text,
    translate,
    uncut,
    whole,
)
from integrations.types import identifier

# Costs come without a currency; Plivo bills in US dollars.
CURRENCY = "USD"
# https://docs.plivo.com/docs/voice/concepts/callbacks (read 2026-11-23); `cancel` occurs in practice.
# [U: plivo-canceled]
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
# The causes of a hang-up that only an answered call has.
ANSWERED = ("normal hangup", "end of xml instructions")
# For an unanswered call, the list of past calls gives only the hangup cause. We found no vendor page that lists all
# causes, so any other cause counts as a failure. The vendor has changed the spelling of `canceled`.
# [U: plivo-hangup-causes]
# https://docs.plivo.com/docs/voice/troubleshooting/hangup-causes (read 2026-11-29)
UNANSWERED_STATUS = {
    "busy line": CallStatus.BUSY,
    "rejected": CallStatus.BUSY,
    "no answer": CallStatus.NO_ANSWER,
    "ring timeout reached": CallStatus.NO_ANSWER,
    "canceled": CallStatus.CANCELED,
    "cancelled": CallStatus.CANCELED,
}


# https://www.plivo.com/docs/voice/xml/audio-streaming (read 2026-11-29); another of the vendor's pages says `failed`.
FAILED_STREAMS = ("DroppedStream", "failed")


def parse_event(payload: Payload) -> ParsedEvent:
    """Fields: https://docs.plivo.com/docs/voice/concepts/callbacks (read 2026-11-23); for recordings, the section
    "Record" of voice-xml-skill/SKILL.md in github.com/plivo/plivo-cli at 1f8839c (read 2026-11-29). Older field names
    are accepted too. [U: plivo-recording-fields]"""
    call_id = uncut(payload.get("CallUUID"))
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
        hangup_cause=STREAM_FAILED
        if payload.get("Event") in FAILED_STREAMS
        else text(payload.get("HangupCauseName") or payload.get("HangupCause")),
        cost=cost,
        currency="" if cost is None else CURRENCY,
        forwarding=forwarding(payload.get("DialStatus")),
    )
    recording_id = uncut(payload.get("RecordingID") or payload.get("recording_id"))
    if not recording_id:
        return ParsedEvent(call)
    duration_s = duration_of(payload)
    urls = [payload.get(name) for name in ("RecordUrl", "RecordingUrl", "record_url")]
    return ParsedEvent(
        call,
        RecordingReport(
            id=recording_id,
            call_id=call_id,
            status=recording_status(payload, duration_s),
            started_at=from_milliseconds(payload.get("RecordingStartMs")),
            duration_s=duration_s,
            url=next(filter(None, map(link, urls)), ""),
        ),
    )


def recording_status(payload: Payload, duration_s: int | None) -> RecordingStatus:
    """The status of a recording, which only its duration tells. It is -1 in the `action` callback of a recording in the
    background, which comes when that starts."""
    if "-1" in (payload.get("RecordingDuration"), payload.get("RecordingDurationMs")):
        return RecordingStatus.IN_PROGRESS
    return RecordingStatus.UNKNOWN if duration_s is None else RecordingStatus.COMPLETED


def duration_of(payload: Payload) -> int | None:
    """How long a recording is, in seconds; None while it is not known."""
    duration_s = whole(payload.get("RecordingDuration"))
    return in_seconds(payload.get("RecordingDurationMs")) if duration_s is None else duration_s


def listed(call: Any) -> CallReport | None:
    """Convert an entry in the list of past calls. Of the leg of a forwarded call, only its outcome is of interest."""
    parent = getattr(call, "parent_call_uuid", None)
    return outcome_of_leg(identifier(parent), status_of(call)) if parent else call_of(call)


def call_of(call: Any) -> CallReport:
    """Convert an entry in the list of past calls."""
    cause = text(getattr(call, "hangup_cause_name", None))
    answered_at = moment(getattr(call, "answer_time", None))
    return CallReport(
        id=identifier(call.call_uuid),
        direction=direction_of(call.call_direction),
        caller=party(call.from_number),
        callee=party(call.to_number),
        status=status_of(call),
        started_at=moment(getattr(call, "initiation_time", None)),
        answered_at=answered_at,
        ended_at=moment(call.end_time),
        duration_s=whole(call.call_duration),
        hangup_cause=cause,
        cost=amount(call.total_amount),
        currency=CURRENCY,
    )


def status_of(call: Any) -> CallStatus:
    cause = uncut(getattr(call, "hangup_cause_name", None)).lower()
    if moment(getattr(call, "answer_time", None)) or cause in ANSWERED:
        return CallStatus.COMPLETED
    # Causes are words; anything else says nothing.
    return UNANSWERED_STATUS.get(cause, CallStatus.FAILED) if cause[:1].isalpha() else CallStatus.UNKNOWN


def recording_of(recording: Any) -> RecordingReport | None:
    """Convert an entry in the list of recordings; None for a conference recording."""
    is_conference = getattr(recording, "recording_type", None) == "conference"
    if not recording.call_uuid or is_conference or getattr(recording, "conference_name", None):
        return None
    return RecordingReport(
        id=identifier(recording.recording_id),
        call_id=identifier(recording.call_uuid),
        status=RecordingStatus.COMPLETED,
        started_at=from_milliseconds(getattr(recording, "recording_start_ms", None)),
        duration_s=in_seconds(recording.recording_duration_ms),
        url=link(recording.recording_url),
    )


def direction_of(theirs: object) -> Direction | None:
    word = text(theirs).lower()
    return Direction(word) if word in ("inbound", "outbound") else None


def from_milliseconds(value: object) -> datetime | None:
    """Parse a time in milliseconds since 1970."""
    try:
        return moment(datetime.fromtimestamp(float(str(value)) / 1000, UTC))
    except (ValueError, OverflowError, OSError):
        return None
