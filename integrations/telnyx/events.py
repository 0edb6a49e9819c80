"""Telnyx's reports about calls and recordings, normalised: from TeXML, and from Call Control if a number uses it."""

import re
from datetime import datetime
from typing import Any

from integrations import twiml
from integrations.events import (
    CallReport,
    CallStatus,
    Direction,
    ParsedEvent,
    Payload,
    RecordingReport,
    RecordingStatus,
    amount,
    currency,
    in_seconds,
    moment,
    party,
    read_payload,
    text,
    translate,
    uncut,
    whole,
)
from integrations.types import identifier

# TeXML. https://developers.telnyx.com/api-reference/callbacks/texml-call-completed (read 2026-11-23)
CALL_STATUS = {
    "queued": CallStatus.QUEUED,
    "initiated": CallStatus.QUEUED,
    "ringing": CallStatus.RINGING,
    "answered": CallStatus.IN_PROGRESS,
    "in-progress": CallStatus.IN_PROGRESS,
    "completed": CallStatus.COMPLETED,
    "busy": CallStatus.BUSY,
    "failed": CallStatus.FAILED,
    "no-answer": CallStatus.NO_ANSWER,
    "canceled": CallStatus.CANCELED,
}
# Call Control, if a number is on such an application. OpenAPI document: CallInitiated, CallHangup, ...
EVENT_STATUS = {
    "call.initiated": CallStatus.RINGING,
    "call.answered": CallStatus.IN_PROGRESS,
    "call.bridged": CallStatus.IN_PROGRESS,
}
HANGUP_STATUS = {
    "normal_clearing": CallStatus.COMPLETED,
    "time_limit": CallStatus.COMPLETED,
    "originator_cancel": CallStatus.CANCELED,
    "timeout": CallStatus.NO_ANSWER,
    "no_answer": CallStatus.NO_ANSWER,
    "user_busy": CallStatus.BUSY,
    "call_rejected": CallStatus.BUSY,
    "not_found": CallStatus.FAILED,
    "unspecified": CallStatus.FAILED,
}
# Presigned links, wherever they lead: they expire, and the API says where the audio is by then.
OWN_HOSTS = re.compile(".*")
DIRECTIONS = {"incoming": Direction.INBOUND, "outgoing": Direction.OUTBOUND}


def parse_event(payload: Payload) -> ParsedEvent:
    if "CallSid" in payload:
        return twiml.parse_event(payload, CALL_STATUS, OWN_HOSTS)
    data = payload.get("data")
    details = data.get("payload") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(details, dict) or not uncut(details.get("call_control_id")):
        return ParsedEvent()
    return parse_call_control(text(data.get("event_type")), moment(data.get("occurred_at")), details)


def event_id(body: bytes) -> bytes:
    """The id of a Call Control event, because a repeated event has a different attempt count in its body."""
    try:
        data = read_payload(body.decode()).get("data") if body.startswith(b"{") else None
    except ValueError:
        return b""
    return text(data.get("id")).encode() if isinstance(data, dict) else b""


def parse_call_control(event_type: str, at: datetime | None, details: Payload) -> ParsedEvent:
    call_id = uncut(details["call_control_id"])
    cause = text(details.get("hangup_cause"))
    has_ended, was_answered = event_type == "call.hangup", event_type in ("call.answered", "call.bridged")
    status = translate(HANGUP_STATUS, cause, CallStatus.UNKNOWN) if has_ended else EVENT_STATUS.get(event_type)
    call = CallReport(
        id=call_id,
        direction=DIRECTIONS.get(text(details.get("direction"))),
        caller=party(details.get("from")),
        callee=party(details.get("to")),
        status=status or CallStatus.UNKNOWN,
        started_at=moment(details.get("start_time")) or at,
        answered_at=at if was_answered else None,
        ended_at=at if has_ended else None,
        hangup_cause=cause,
    )
    recording_id = uncut(details.get("recording_id"))
    if event_type != "call.recording.saved" or not recording_id:
        return ParsedEvent(call)
    started_at, ended_at = moment(details.get("recording_started_at")), moment(details.get("recording_ended_at"))
    return ParsedEvent(
        call,
        RecordingReport(
            id=recording_id,
            call_id=call_id,
            status=RecordingStatus.COMPLETED,
            started_at=started_at,
            duration_s=whole((ended_at - started_at).total_seconds()) if started_at and ended_at else None,
            channels=twiml.CHANNELS.get(text(details.get("channels"))),
        ),
    )


def call_of(call: Any) -> CallReport:
    """Convert an entry in TeXML's list of calls."""
    return CallReport(
        id=identifier(call.sid),
        direction=twiml.direction_of(call.direction),
        caller=party(call.from_),
        callee=party(call.to),
        status=translate(CALL_STATUS, call.status, CallStatus.UNKNOWN),
        started_at=moment(call.start_time),
        ended_at=moment(call.end_time),
        duration_s=whole(call.duration),
        cost=amount(call.price),
        currency="" if amount(call.price) is None else currency(call.price_unit),
    )


def recording_of(recording: Any) -> RecordingReport:
    return RecordingReport(
        id=identifier(recording.id),
        call_id=identifier(recording.call_control_id),
        status=translate(twiml.RECORDING_STATUS, recording.status, RecordingStatus.UNKNOWN),
        started_at=moment(recording.recording_started_at),
        duration_s=in_seconds(recording.duration_millis),
        channels=twiml.CHANNELS.get(text(recording.channels)),
    )
