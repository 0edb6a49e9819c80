"""What Telnyx's webhooks and resources say about a call to a TeXML application.

Sources: developers.telnyx.com/api-reference/callbacks/texml-*, the vendor's OpenAPI document (2026-11-23).
"""

import secrets
import uuid
from datetime import UTC, datetime, timedelta
from xml.etree.ElementTree import Element

from . import media
from .calls import GREETING_S, Recording, Route
from .deliveries import Delivery, Form
from .resources import iso, rfc2822
from .streams import Messages, Subject, TelnyxMessages
from .twiml import Leg, TwimlCall


class TelnyxCall(TwimlCall):
    _steps = 0
    connection_id = ""

    def new_call_id(self) -> str:
        return "v3:" + secrets.token_urlsafe(40)

    new_leg_id = new_call_id

    def find_route(self) -> Route | None:
        number = self.account.numbers[self.placed.number]
        app = self.account.applications.get(number["connection_id"] or "", {})
        usable = app.get("record_type") == "texml_application" and app["active"] and app.get("voice_url")
        if not usable or number["status"] != "active" or self.account.status != "active":
            return None
        self.connection_id = app["id"]
        return Route(
            app["voice_url"],
            app["voice_method"],
            app.get("voice_fallback_url") or "",
            app["voice_method"],
            app.get("status_callback") or "",
            app["status_callback_method"],
        )

    def fields(self, status: str) -> Form:
        form = [
            ("AccountSid", self.account.user_id),
            ("CallSid", self.placed.id),
            ("CallSidLegacy", self.placed.id),
            ("ConnectionId", self.connection_id),
            ("From", self.placed.caller),
            ("To", f"+{self.placed.number}"),
            ("CallStatus", status),
            ("Direction", "inbound"),
        ]
        return form + ([("CallerId", self.options.caller_name)] if self.options.caller_name else [])

    def on_ringing(self) -> None:
        self._tell_status("ringing", self.started)

    def on_answer(self) -> None:
        self._tell_status("in-progress", self.started)

    def on_end(self) -> None:
        more = [("CallDuration", str(self.placed.duration_s))]
        if self.placed.status == "completed":
            more.append(("AnsweredTime", iso(self.started)))
        self._tell_status(self.placed.status, self.ended, more)

    def _tell_status(self, status: str, when: datetime, more: Form | None = None) -> None:
        self._steps += 1
        form = [
            *self.fields(status),
            ("CallInitiatedAt", iso(self.started)),
            ("CallbackSource", "call-progress-events"),
            ("SequenceNumber", str(self._steps)),
            ("Timestamp", iso(when)),
            *(more or []),
        ]
        self.tell("status", self.route.status, self.route.status_method, form)

    def leg_fields(self, leg: Leg, status: str) -> Form:
        form = [
            ("AccountSid", self.account.user_id),
            ("CallSid", leg.id),
            ("CallSidLegacy", leg.id),
            ("ParentCallSid", self.placed.id),
            ("ConnectionId", self.connection_id),
            ("From", leg.caller),
            ("To", leg.called),
            ("CallStatus", status),
            ("Direction", "outbound"),
            ("CallInitiatedAt", iso(self.started)),
            ("CallbackSource", "call-progress-events"),
            ("Timestamp", iso(self.started)),
        ]
        return form + ([("CallDuration", str(leg.duration_s))] if status == leg.status else [])

    def new_stream(self, noun: Element, parameters: dict[str, str]) -> Messages:
        codec = noun.get("codec", "default")
        encoding = "PCMU" if codec == "default" else codec
        stream, called = str(uuid.uuid4()), f"+{self.placed.number}"
        account, caller = self.account.user_id, self.placed.caller
        return TelnyxMessages(Subject(stream, self.placed.id, account, caller, called, encoding, parameters))

    def stream_fields(self) -> Form:
        id = self.placed.id
        return [("AccountSid", self.account.user_id), ("CallSid", id), ("CallSidLegacy", id)]

    def stream_refusal(self, noun: Element) -> str:
        """Telnyx would play MP3 files by default; the sandbox has none."""
        mode = noun.get("bidirectionalMode", "mp3")
        return "" if mode == "rtp" else f"the sandbox has no streams of {mode}"

    def connections(self, noun: Element) -> int:
        """By default, Telnyx connects again when the far end has closed the connection."""
        return 1 if noun.get("enableReconnect") == "false" else 2

    def recording_fields(self, recording: Recording) -> Form:
        return [
            ("AccountSid", self.account.user_id),
            ("CallSid", self.placed.id),
            ("CallSidLegacy", self.placed.id),
            ("ConnectionId", self.connection_id),
            ("RecordingChannels", str(recording.channels)),
            ("RecordingDuration", str(recording.duration_s)),
            ("RecordingSid", recording.id),
            ("RecordingSource", recording.source),
            ("RecordingUrl", recording.url),
        ]

    # Resources

    def new_recording(self, source: str, channels: int, duration_s: int) -> Recording:
        id = str(uuid.uuid4())
        url = media.telnyx_url(self.sandbox.state, self.account, id)
        return Recording(id, url, source, channels, duration_s, self.started + timedelta(seconds=GREETING_S))

    def keep_recording(self, recording: Recording) -> None:
        """Store the recording without `download_urls`, which are created anew for each request."""
        self.account.recordings[recording.id] = {
            "id": recording.id,
            "record_type": "recording",
            "call_control_id": self.placed.id,
            "call_leg_id": _uuid(self.placed.id + "leg"),
            "call_session_id": _uuid(self.placed.id),
            "connection_id": self.connection_id,
            "channels": "dual" if recording.channels == 2 else "single",
            "duration_millis": recording.duration_s * 1000,
            "from": self.placed.caller,
            "to": f"+{self.placed.number}",
            "initiated_by": recording.source,
            "source": "call",
            "status": "completed",
            "recording_started_at": iso(recording.started),
            "recording_ended_at": iso(recording.ended),
            "created_at": iso(recording.ended),
            "updated_at": iso(recording.ended),
        }

    def keep_call(self) -> None:
        called, placed = f"+{self.placed.number}", self.placed
        self._keep(placed.id, placed.caller, called, "inbound", placed.status, placed.duration_s)

    def keep_leg(self, leg: Leg) -> None:
        self._keep(leg.id, leg.caller, leg.called, "outbound", leg.status, leg.duration_s)

    def _keep(self, sid: str, caller: str, called: str, direction: str, status: str, duration_s: int) -> None:
        ended = self.started + timedelta(seconds=duration_s)
        self.account.calls[sid] = {
            "sid": sid,
            "account_sid": self.account.user_id,
            "caller_name": self.options.caller_name,
            "date_created": rfc2822(self.started),
            "date_updated": rfc2822(ended),
            "direction": direction,
            "duration": str(duration_s),
            "start_time": rfc2822(self.started),
            "end_time": rfc2822(ended),
            "from": caller,
            "from_formatted": caller,
            "to": called,
            "to_formatted": called,
            "price": "0.00",
            "price_unit": "USD",
            "status": status,
            "uri": f"/v2/texml/Accounts/{self.account.user_id}/Calls/{sid}.json",
        }

    def on_delivery(self, form: Form, attempts: list[Delivery], began: float) -> None:
        """Record the delivery: Telnyx lists every delivery with all its attempts."""
        started, finished = datetime.fromtimestamp(began, UTC), datetime.now(UTC)
        self.account.webhook_deliveries.append(
            {
                "id": str(uuid.uuid4()),
                "record_type": "webhook_delivery",
                "user_id": self.account.user_id,
                "status": _outcome(attempts[-1]),
                "started_at": started.isoformat(),
                "finished_at": finished.isoformat(),
                "attempts": [
                    {
                        "status": _outcome(attempt),
                        "started_at": started.isoformat(),
                        "finished_at": finished.isoformat(),
                        "http": {
                            "request": {
                                "url": attempt.url,
                                "headers": [list(item) for item in attempt.headers.items()],
                            },
                            "response": {
                                "status": attempt.reply_status or 0,
                                "headers": [],
                                "body": attempt.reply_body,
                            },
                        },
                        "errors": [],
                    }
                    for attempt in attempts
                ],
                "webhook": {
                    "id": str(uuid.uuid4()),
                    "record_type": "event",
                    "event_type": f"texml.{attempts[0].kind}",
                    "occurred_at": started.isoformat(),
                    "payload": dict(form),
                },
            }
        )


def _outcome(delivery: Delivery) -> str:
    return "delivered" if delivery.accepted else "failed"


def _uuid(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))
