"""What Telnyx's TeXML and Twilio share: the verbs of an answer and the fields of a webhook.

https://www.twilio.com/docs/voice/twiml and https://developers.telnyx.com/docs/voice/programmable-voice/texml-verbs
(read 2026-11-23)
"""

import re
from collections.abc import Mapping
from datetime import timedelta

from twilio.twiml.voice_response import Dial, VoiceResponse

from integrations.events import (
    CallReport,
    CallStatus,
    Direction,
    ParsedEvent,
    Payload,
    RecordingReport,
    RecordingStatus,
    foreign_link,
    forwarding,
    moment,
    party,
    text,
    translate,
    uncut,
    whole,
)
from integrations.webhooks import FORWARDED_S, SILENCE_S, VOICEMAIL_S, Action, Answer, Urls

# https://www.twilio.com/docs/voice/api/recording#recording-status-values and
# https://developers.telnyx.com/api-reference/callbacks/texml-recording-status (read 2026-11-23)
RECORDING_STATUS = {
    "in-progress": RecordingStatus.IN_PROGRESS,
    "processing": RecordingStatus.IN_PROGRESS,
    "paused": RecordingStatus.IN_PROGRESS,
    "stopped": RecordingStatus.IN_PROGRESS,
    "completed": RecordingStatus.COMPLETED,
    "absent": RecordingStatus.ABSENT,
    "failed": RecordingStatus.FAILED,
}
CHANNELS = {"1": 1, "2": 2, "single": 1, "mono": 1, "dual": 2, "stereo": 2}


def render(answer: Answer, urls: Urls) -> str:
    """The XML document for an answer. Every recording is reported to `urls.recording`."""
    response = VoiceResponse()
    reported = {"recording_status_callback": urls.recording, "recording_status_callback_event": "completed absent"}
    match answer.action:
        case Action.VOICEMAIL:
            response.say(answer.spoken)
            # Without `action` the carrier requests this document again after the message and repeats the greeting
            # endlessly.
            response.record(
                action=urls.done,
                max_length=VOICEMAIL_S,
                timeout=SILENCE_S,
                finish_on_key="#",
                play_beep=True,
                **reported,
            )
            response.hangup()
        case Action.FORWARD:
            recorded = {"record": "record-from-answer-dual", **reported} if answer.record else {}
            dial = Dial(
                caller_id=f"+{answer.our_number}",
                answer_on_bridge=True,
                action=urls.done,
                time_limit=FORWARDED_S,
                **recorded,
            )
            dial.number(f"+{answer.forward_to}")
            response.append(dial)
        case Action.REJECT:
            response.reject()
        case Action.HANGUP:
            response.hangup()
    return response.to_xml()


def parse_event(payload: Payload, call_status: Mapping[str, CallStatus], own_hosts: re.Pattern[str]) -> ParsedEvent:
    """Normalise a webhook's fields: the call and, if present, its recording.

    Args:
        own_hosts: the hosts at which the carrier itself stores recordings. Their URLs are not kept: the API gives the
            present one.
    """
    call_id = uncut(payload.get("CallSid"))
    if not call_id or payload.get("ParentCallSid") or payload.get("Direction") == "outbound-dial":
        return ParsedEvent()
    return ParsedEvent(call_of(call_id, payload, call_status), recording_of(call_id, payload, own_hosts))


def call_of(call_id: str, payload: Payload, call_status: Mapping[str, CallStatus]) -> CallReport:
    status = translate(call_status, payload.get("CallStatus"), CallStatus.UNKNOWN)
    at, duration_s = moment(payload.get("Timestamp")), whole(payload.get("CallDuration"))
    # Telnyx's `Timestamp` is when the webhook was created, which is after the call ended.
    # https://developers.telnyx.com/api-reference/callbacks/texml-call-completed (read 2026-11-29)
    ended_at = (moment(payload.get("EndTime")) or at) if status.is_final else None
    # Twilio reports only when a call ended and how long it lasted.
    talked_since = ended_at - timedelta(seconds=duration_s) if ended_at and duration_s is not None else None
    return CallReport(
        id=call_id,
        direction=direction_of(payload.get("Direction")),
        caller=party(payload.get("From")),
        callee=party(payload.get("To")),
        status=status,
        started_at=moment(payload.get("CallInitiatedAt")) or talked_since or at,
        answered_at=moment(payload.get("AnsweredTime"))
        or (at if status is CallStatus.IN_PROGRESS else None)
        or (talked_since if duration_s else None),
        ended_at=ended_at,
        duration_s=duration_s,
        hangup_cause=text(payload.get("HangupCause") or payload.get("ErrorMessage")),
        forwarding=forwarding(payload.get("DialCallStatus")),
    )


def recording_of(call_id: str, payload: Payload, own_hosts: re.Pattern[str]) -> RecordingReport | None:
    recording_id = uncut(payload.get("RecordingSid"))
    if not recording_id:
        return None
    return RecordingReport(
        id=recording_id,
        call_id=call_id,
        status=translate(RECORDING_STATUS, payload.get("RecordingStatus"), RecordingStatus.UNKNOWN),
        started_at=moment(payload.get("RecordingStartTime")),
        duration_s=whole(payload.get("RecordingDuration")),
        channels=CHANNELS.get(text(payload.get("RecordingChannels"))),
        url=foreign_link(payload.get("RecordingUrl"), own_hosts),
    )


def direction_of(theirs: object) -> Direction | None:
    """Values: `inbound`, `outbound-api`, `outbound-dial`, `outbound`; Telnyx's TeXML may omit it."""
    word = text(theirs)
    if word.startswith("out"):
        return Direction.OUTBOUND
    return Direction.INBOUND if word.startswith("in") else None
