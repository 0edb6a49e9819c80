"""What Twilio's webhooks and resources say about a call.

Sources: twilio.com/docs/voice/twiml (request parameters), twilio.com/docs/voice/api/recording (status callbacks), the
vendor's OpenAPI document (2026-11-23).
"""

import secrets
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element

from .calls import GREETING_S, Recording, Route
from .deliveries import Delivery, Form
from .resources import rfc2822
from .streams import Messages, Subject, TwilioMessages
from .twiml import Leg, TwimlCall

VERSION = "2010-04-01"
STEPS = ("initiated", "ringing", "in-progress")
"""The statuses of a leg in progress, in order."""


class TwilioCall(TwimlCall):
    def new_call_id(self) -> str:
        return "CA" + secrets.token_hex(16)

    new_leg_id = new_call_id

    def find_route(self) -> Route | None:
        """A trunk, a TwiML application or fax mode overrides the number's own URLs."""
        number = self.account.numbers[self.placed.number]
        overridden = number["trunk_sid"] or number["voice_application_sid"] or number["voice_receive_mode"] == "fax"
        if (
            overridden
            or not number["capabilities"]["voice"]
            or not number["voice_url"]
            or self.account.status != "active"
        ):
            return None
        return Route(
            number["voice_url"],
            number["voice_method"],
            number["voice_fallback_url"] or "",
            number["voice_fallback_method"],
            number["status_callback"] or "",
            number["status_callback_method"],
        )

    def fields(self, status: str) -> Form:
        caller, called = self.placed.caller, f"+{self.placed.number}"
        form = [
            ("AccountSid", self.account.id),
            ("ApiVersion", VERSION),
            ("CallSid", self.placed.id),
            ("CallStatus", status),
            ("Called", called),
            ("Caller", caller),
            ("Direction", "inbound"),
            ("From", caller),
            ("To", called),
            ("ToCountry", "US"),
        ]
        return form + ([("CallerName", self.options.caller_name)] if self.options.caller_name else [])

    def failure_fields(self, failed: Delivery) -> Form:
        """Error codes (twilio.com/docs/api/errors): 11200, no document received; 12100, the document is invalid."""
        return [("ErrorCode", "12100" if failed.accepted else "11200"), ("ErrorUrl", failed.url)]

    def on_end(self) -> None:
        """Twilio sends the status callback of a number once, when the call ends."""
        duration_s = self.placed.duration_s
        form = [
            *self.fields(self.placed.status),
            ("CallDuration", str(duration_s)),
            ("Duration", str((duration_s + 59) // 60)),
            ("Timestamp", rfc2822(self.ended)),
            ("CallbackSource", "call-progress-events"),
            ("SequenceNumber", "0"),
        ]
        messages = [recording for recording in self.recordings if recording.source == "RecordVerb"]
        for recording in messages[-1:]:
            form += [("RecordingUrl", recording.url), ("RecordingSid", recording.id)]
            form.append(("RecordingDuration", str(recording.duration_s)))
        self.tell("status", self.route.status, self.route.status_method, form)

    def leg_fields(self, leg: Leg, status: str) -> Form:
        form = [
            ("AccountSid", self.account.id),
            ("ApiVersion", VERSION),
            ("CallSid", leg.id),
            ("ParentCallSid", self.placed.id),
            ("CallStatus", status),
            ("Called", leg.called),
            ("Caller", leg.caller),
            ("Direction", "outbound-dial"),
            ("From", leg.caller),
            ("To", leg.called),
            ("Timestamp", rfc2822(self.started)),
            ("CallbackSource", "call-progress-events"),
            ("SequenceNumber", str(STEPS.index(status) if status in STEPS else len(STEPS))),
        ]
        return form + ([("CallDuration", str(leg.duration_s))] if status not in STEPS else [])

    def new_stream(self, noun: Element, parameters: dict[str, str]) -> Messages:
        caller, called = self.placed.caller, f"+{self.placed.number}"
        stream = "MZ" + secrets.token_hex(16)
        about = Subject(stream, self.placed.id, self.account.id, caller, called, "audio/x-mulaw", parameters)
        return TwilioMessages(about)

    def stream_fields(self) -> Form:
        return [("AccountSid", self.account.id), ("CallSid", self.placed.id)]

    def stream_refusal(self, noun: Element) -> str:
        """Twilio connects only with port 443, and not if the URL has a query (error 31920)."""
        url = urlsplit(noun.get("url", ""))
        return "31920 Stream - WebSocket - Handshake Error" if url.query or (url.port or 443) != 443 else ""

    def sign_handshake(self) -> bool:
        return True

    def recording_fields(self, recording: Recording) -> Form:
        return [
            ("AccountSid", self.account.id),
            ("CallSid", self.placed.id),
            ("RecordingSid", recording.id),
            ("RecordingUrl", recording.url),
            ("RecordingDuration", str(recording.duration_s)),
            ("RecordingChannels", str(recording.channels)),
            ("RecordingStartTime", rfc2822(recording.started)),
            ("RecordingSource", recording.source),
            ("RecordingTrack", "both"),
        ]

    # Resources

    def new_recording(self, source: str, channels: int, duration_s: int) -> Recording:
        sid = "RE" + secrets.token_hex(16)
        url = f"{self.sandbox.twilio_url}/{VERSION}/Accounts/{self.account.id}/Recordings/{sid}"
        return Recording(sid, url, source, channels, duration_s, self.started + timedelta(seconds=GREETING_S))

    def keep_recording(self, recording: Recording) -> None:
        path = f"/{VERSION}/Accounts/{self.account.id}/Recordings/{recording.id}"
        self.account.recordings[recording.id] = {
            "sid": recording.id,
            "account_sid": self.account.id,
            "api_version": VERSION,
            "call_sid": self.placed.id,
            "conference_sid": None,
            "channels": recording.channels,
            "duration": str(recording.duration_s),
            "date_created": rfc2822(recording.started),
            "date_updated": rfc2822(recording.ended),
            "start_time": rfc2822(recording.started),
            "source": recording.source,
            "status": "completed",
            "error_code": None,
            "encryption_details": None,
            "price": None,
            "price_unit": "USD",
            "media_url": recording.url,
            "uri": f"{path}.json",
            "subresource_uris": {"transcriptions": f"{path}/Transcriptions.json"},
        }

    def keep_call(self) -> None:
        self._keep(
            self.placed.id,
            to=f"+{self.placed.number}",
            **{"from": self.placed.caller},
            status=self.placed.status,
            duration=str(self.placed.duration_s),
            direction="inbound",
            phone_number_sid=self.account.numbers[self.placed.number]["sid"],
            caller_name=self.options.caller_name or None,
        )

    def keep_leg(self, leg: Leg) -> None:
        self._keep(
            leg.id,
            to=leg.called,
            **{"from": leg.caller},
            status=leg.status,
            duration=str(leg.duration_s),
            direction="outbound-dial",
            parent_call_sid=self.placed.id,
        )

    def _keep(self, sid: str, **fields: Any) -> None:
        path = f"/{VERSION}/Accounts/{self.account.id}/Calls/{sid}"
        ended = self.started + timedelta(seconds=int(fields["duration"]))
        self.account.calls[sid] = {
            "sid": sid,
            "account_sid": self.account.id,
            "parent_call_sid": None,
            "phone_number_sid": None,
            "date_created": rfc2822(self.started),
            "date_updated": rfc2822(ended),
            "start_time": rfc2822(self.started),
            "end_time": rfc2822(ended),
            "to_formatted": fields["to"],
            "from_formatted": fields["from"],
            "price": None,
            "price_unit": "USD",
            "answered_by": None,
            "api_version": VERSION,
            "forwarded_from": None,
            "group_sid": None,
            "caller_name": None,
            "queue_time": "0",
            "trunk_sid": None,
            "uri": f"{path}.json",
            "subresource_uris": {"recordings": f"{path}/Recordings.json"},
        } | fields
