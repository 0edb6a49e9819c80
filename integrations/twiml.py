"""What Telnyx's TeXML and Twilio share: the verbs of an answer and the fields of a webhook.

https://www.twilio.com/docs/voice/twiml and https://developers.telnyx.com/docs/voice/programmable-voice/texml-verbs
(read 2026-11-23)
"""

import re
from collections.abc import Mapping
from datetime import timedelta

from twilio.twiml import voice_response as verbs

from integrations.answers import CONNECTED_S, SILENCE_S, VOICEMAIL_S, Dial, HangUp, Plan, Record, Reject, Say, Stream
from integrations.events import (
    STREAM_FAILED,
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
from integrations.languages import VOICES
from integrations.webhooks import Urls

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
# https://www.twilio.com/docs/voice/twiml/stream#statuscallback names `stream-error`. Telnyx names it, too, and the page
# of its verb `stream-failed`. https://developers.telnyx.com/api-reference/callbacks/texml-stream (read 2026-11-30)
FAILED_STREAMS = ("stream-error", "stream-failed")
SIPS = re.compile("^sips:(.*)")
CHANNELS = {"1": 1, "2": 2, "single": 1, "mono": 1, "dual": 2, "stereo": 2}


def render(plan: Plan, urls: Urls, *, stream: Mapping[str, str], names_caller: bool) -> str:
    """The XML document for a plan. Recordings are reported to `urls.recording`, streams to `urls.status`.

    Args:
        stream: the attributes of a stream that only this carrier has.
        names_caller: whether the carrier tells a SIP target who is calling if the document names no caller.
    """
    response = verbs.VoiceResponse()
    for step in plan:
        match step:
            case Say(language=language):
                for part in step.parts():
                    response.say(part, voice=VOICES[language], language=language)
            case Record():
                # Without `action` the carrier requests this document again after the message and repeats the greeting
                # endlessly.
                response.record(
                    action=urls.done,
                    max_length=VOICEMAIL_S,
                    timeout=SILENCE_S,
                    finish_on_key="#",
                    play_beep=True,
                    **reported(urls),
                )
            case Dial():
                response.append(dial(step, urls, names_caller=names_caller))
            case Stream():
                response.append(connect(step, urls, stream))
            case Reject():
                response.reject()
            case HangUp():
                response.hangup()
    return response.to_xml()


def dial(step: Dial, urls: Urls, *, names_caller: bool) -> verbs.Dial:
    recorded = {"record": "record-from-answer-dual", **reported(urls)} if step.record else {}
    verb = verbs.Dial(
        caller_id=None if step.is_sip and names_caller else f"+{step.our_number}",
        answer_on_bridge=True,
        action=urls.done,
        timeout=step.ring_s,
        time_limit=CONNECTED_S,
        **recorded,
    )
    if step.is_sip:
        verb.sip(SIPS.sub(r"sip:\1;transport=tls", step.target))
    else:
        verb.number(f"+{step.target}")
    return verb


def connect(step: Stream, urls: Urls, options: Mapping[str, str]) -> verbs.Connect:
    verb = verbs.Connect()
    element = verb.stream(url=step.url, status_callback=urls.status, **options)
    for name, value in step.parameters.items():
        element.parameter(name=name, value=value)
    return verb


def reported(urls: Urls) -> dict[str, str]:
    return {"recording_status_callback": urls.recording, "recording_status_callback_event": "completed absent"}


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
        hangup_cause=STREAM_FAILED
        if payload.get("StreamEvent") in FAILED_STREAMS
        else text(payload.get("HangupCause") or payload.get("ErrorMessage")),
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
