"""The same call, told as each carrier tells it."""

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from typing import Any
from urllib.parse import urlencode

from tests.support.carriers import CARRIERS
from tests.support.webhooks import Form

BEGAN = datetime(2024, 3, 1, 10, 0, tzinfo=UTC)
CALLER = "441632960083"
Body = Form | bytes


def after(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def iso(seconds: float) -> str:
    return after(seconds).isoformat()


@dataclass(frozen=True)
class Dialect:
    """How a carrier tells of a call in seven events, and what the log must say in the end.

    `statuses` are those that we are told by each of the seven, `final` the carrier's own words for the end of a call.
    """

    carrier: str
    tell: Callable[[str], list[Body]]
    known: dict[str, Any]
    recorded: dict[str, Any]
    statuses: list[str]
    final: list[str]


def sids(carrier: str, call_id: str) -> Form:
    parties = [("From", f"+{CALLER}"), ("To", f"+{CARRIERS[carrier].number}"), ("Direction", "inbound")]
    return [("CallSid", call_id), *parties]


def tell_like_twilio(call_id: str) -> list[Body]:
    def status(word: str, at: float, **more: str) -> Form:
        told = {"CallStatus": word, "Timestamp": format_datetime(after(at)), **more}
        return [*sids("twilio", call_id), *told.items()]

    recording = [("CallSid", call_id), ("RecordingSid", f"RE-{call_id}"), ("RecordingChannels", "2")]
    recording.append(("RecordingStartTime", format_datetime(after(10))))
    link = ("RecordingUrl", f"https://api.twilio.com/RE-{call_id}")
    return [
        status("initiated", 0),
        status("ringing", 1),
        status("in-progress", 5),
        status("completed", 47, CallDuration="42"),
        [*sids("twilio", call_id), ("CallStatus", "ringing"), ("ErrorCode", "11200")],
        [*recording, ("RecordingStatus", "in-progress")],
        [*recording, ("RecordingStatus", "completed"), ("RecordingDuration", "17"), link],
    ]


def tell_like_texml(call_id: str) -> list[Body]:
    def status(word: str, at: float, **more: str) -> Form:
        told = {"CallStatus": word, "CallInitiatedAt": iso(0), "Timestamp": iso(at), **more}
        return [*sids("telnyx", call_id), *told.items()]

    recording = [("CallSid", call_id), ("RecordingSid", f"RE-{call_id}"), ("RecordingChannels", "2")]
    recording.append(("RecordingStartTime", iso(10)))
    link = ("RecordingUrl", f"https://api.twilio.com/RE-{call_id}")
    return [
        status("initiated", 0),
        status("ringing", 1),
        status("in-progress", 5),
        status("completed", 47, CallDuration="42", AnsweredTime=iso(5), HangupCause="normal_clearing"),
        status("ringing", 2),
        [*recording, ("RecordingStatus", "in-progress")],
        [*recording, ("RecordingStatus", "completed"), ("RecordingDuration", "17"), link],
    ]


def tell_like_call_control(call_id: str) -> list[Body]:
    numbers = itertools.count(1)

    def event(kind: str, at: float, **payload: Any) -> bytes:
        ids = {"call_control_id": call_id, "call_leg_id": "leg", "call_session_id": "session"}
        data = {"record_type": "event", "event_type": kind, "id": f"{call_id}-{next(numbers)}", "occurred_at": iso(at)}
        return json.dumps({"data": {**data, "payload": ids | payload}, "meta": {"attempt": 1}}).encode()

    numbers_of = {"from": f"+{CALLER}", "to": f"+{CARRIERS['telnyx'].number}"}
    recording = {"recording_id": f"RE-{call_id}", "recording_started_at": iso(10)}
    return [
        event("call.initiated", 0, direction="incoming", state="parked", start_time=iso(0), **numbers_of),
        event("call.answered", 5, start_time=iso(0), **numbers_of),
        event("call.bridged", 6, start_time=iso(0), **numbers_of),
        event("call.hangup", 47, hangup_cause="normal_clearing", start_time=iso(0), **numbers_of),
        event("call.answered", 7, start_time=iso(0), **numbers_of),
        event("call.recording.saved", 50, channels="dual", recording_ended_at=iso(27), **recording),
        event("call.recording.saved", 51, **recording),
    ]


def tell_like_plivo(call_id: str) -> list[Body]:
    def event(name: str, status: str, **more: str) -> Form:
        told = {"From": CALLER, "To": CARRIERS["plivo"].number, "Direction": "inbound", "CallStatus": status}
        return [("CallUUID", call_id), ("Event", name), *told.items(), *more.items()]

    def at(seconds: float) -> str:
        return f"{after(seconds):%Y-%m-%d %H:%M:%S}"

    recording = {"RecordingID": f"RE-{call_id}", "RecordUrl": f"https://media.plivo.com/RE-{call_id}.mp3"}
    milliseconds = {"RecordingStartMs": str(int(after(10).timestamp() * 1000)), "RecordingDurationMs": "17000"}
    times = {"StartTime": at(0), "AnswerTime": at(5), "EndTime": at(47), "Duration": "42"}
    why = {"HangupCause": "NORMAL_CLEARING", "HangupCauseName": "Normal Hangup", "TotalCost": "0.00550"}
    return [
        event("StartApp", "queued"),
        event("StartApp", "ringing", SessionStart=f"{at(0)}.000000"),
        event("Redirect", "in-progress"),
        event("Hangup", "completed", **times, **why),
        event("Ring", "ringing"),
        event("Record", "in-progress", RecordingDuration="-1", **recording),
        event("RecordStop", "in-progress", RecordingDuration="17", **recording, **milliseconds),
    ]


KNOWN = {
    "status": "completed",
    "direction": "inbound",
    "caller": CALLER,
    "started_at": after(0),
    "answered_at": after(5),
    "ended_at": after(47),
    "duration_s": 42,
    "hangup_cause": "",
    "cost": None,
    "currency": "",
    "forwarding": None,
    "reported_status": None,
}
RECORDED = {"status": "completed", "started_at": after(10), "duration_s": 17, "channels": 2}
STATUSES = ["queued", "ringing", "in-progress", "completed", "ringing", "unknown", "unknown"]
FINAL = ["completed", "busy", "failed", "no-answer", "canceled"]
DIALECTS = {
    "twilio": Dialect("twilio", tell_like_twilio, KNOWN, RECORDED, STATUSES, FINAL),
    "texml": Dialect("telnyx", tell_like_texml, KNOWN | {"hangup_cause": "normal_clearing"}, RECORDED, STATUSES, FINAL),
    "call control": Dialect(
        "telnyx",
        tell_like_call_control,
        KNOWN | {"duration_s": None, "hangup_cause": "normal_clearing"},
        RECORDED | {"url": ""},
        ["ringing", "in-progress", "in-progress", "completed", "in-progress", "unknown", "unknown"],
        ["normal_clearing", "user_busy", "unspecified", "no_answer", "originator_cancel", "timeout"],
    ),
    "plivo": Dialect(
        "plivo",
        tell_like_plivo,
        KNOWN | {"hangup_cause": "Normal Hangup", "cost": Decimal("0.0055"), "currency": "USD"},
        RECORDED | {"channels": None},
        ["queued", "ringing", "in-progress", "completed", "ringing", "in-progress", "in-progress"],
        ["completed", "busy", "failed", "timeout", "no-answer", "cancel"],
    ),
}


def encoded(body: Body) -> str:
    return body.decode() if isinstance(body, bytes) else urlencode(body)
