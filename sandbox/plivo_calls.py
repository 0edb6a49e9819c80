"""Calls that execute Plivo XML, and what Plivo's webhooks and resources say about them.

Sources: docs.plivo.com/docs/voice/xml, docs.plivo.com/docs/voice/troubleshooting/hangup-causes, plivo-python 4.63.0 and
its fixtures (2026-11-23); docs.plivo.com/docs/voice/xml/audiostream (2026-11-30), of which the fields of the status
callback besides `Event` are not certain.
"""

import uuid
from datetime import datetime, timedelta
from typing import NamedTuple
from urllib.parse import urljoin
from xml.etree.ElementTree import Element

from . import media
from .calls import GREETING_S, Document, Ended, PhoneCall, Recording, Route, element_text, seconds
from .deliveries import Form
from .streams import Messages, PlivoMessages, Subject
from .targets import TAKEN, Outcome

RATE = "0.00550"
RECORD_S = 60
"""The default maxLength of Record."""
RING_S = 30
"""The default timeout of Dial."""


class Hangup(NamedTuple):
    """Why a call ended: Plivo's code and name, who ended it, and the telephone network's name for the cause."""

    code: int
    name: str
    source: str
    cause: str = "NORMAL_CLEARING"


BY_CALLER = Hangup(4000, "Normal Hangup", "Caller")
BY_XML = Hangup(4000, "Normal Hangup", "Answer XML")
END_OF_XML = Hangup(4010, "End Of XML Instructions", "Plivo")
BUSY = Hangup(3010, "Busy Line", "Answer XML", "USER_BUSY")
REJECTED = Hangup(3020, "Rejected", "Answer XML", "CALL_REJECTED")
NO_DOCUMENT = Hangup(7011, "Error Reaching Answer URL", "Error")
NO_ANSWER = Hangup(3000, "No Answer", "Carrier", "NO_ANSWER")
LINE_BUSY = BUSY._replace(source="Carrier")
UNREACHABLE = Hangup(2020, "Unreachable", "Carrier", "DESTINATION_OUT_OF_ORDER")
DIALED: dict[Outcome, tuple[str, Hangup]] = {
    "answers": ("completed", BY_CALLER._replace(source="Call recipient")),
    "breaks off": ("completed", BY_CALLER._replace(source="Carrier")),
    "is busy": ("busy", LINE_BUSY),
    "rings out": ("no-answer", NO_ANSWER),
    "fails": ("failed", UNREACHABLE),
}
"""How a dialed call ended: the `DialStatus` and the reason."""
STREAM_EVENTS = {"started": "StartStream", "stopped": "StopStream", "failed": "DroppedStream"}
MULAW = "audio/x-mulaw;rate=8000"


class PlivoCall(PhoneCall):
    verbs = {
        "Speak": "speak",
        "Play": "pass_by",
        "Wait": "pass_by",
        "Record": "record_message",
        "Dial": "dial",
        "Stream": "connect",
        "Hangup": "hang_up",
        "Redirect": "redirect",
    }
    refusals = ("Hangup",)
    speech = "Speak"
    hangup = END_OF_XML
    _in_dial: tuple[Document, Element] | None = None
    """The Record that starts when a Dial is answered."""
    _in_session: tuple[Document, Element] | None = None
    """The Record that runs in the background for the whole call."""

    def new_call_id(self) -> str:
        return str(uuid.uuid4())

    def find_route(self) -> Route | None:
        number = self.account.numbers[self.placed.number]
        app_id = (number["application"] or "").rstrip("/").rpartition("/")[2]
        app = self.account.applications.get(app_id, {})
        usable = number["active"] and number["voice_enabled"] and app.get("enabled") and app["answer_url"]
        if not usable or self.account.status != "active":
            return None
        return Route(
            app["answer_url"],
            app["answer_method"],
            app["fallback_answer_url"],
            app["fallback_method"],
            app["hangup_url"] or app["answer_url"],  # Plivo's default: docs.plivo.com/docs/account/api/application
            app["hangup_method"],
        )

    def fields(self, status: str) -> Form:
        event = "StartApp" if status == "ringing" else "Redirect"
        form = [*self._parties(status), ("Event", event), ("BillRate", RATE)]
        return [*form, ("SessionStart", str(self.started.replace(tzinfo=None)))]

    def _parties(self, status: str) -> Form:
        return [
            ("CallUUID", self.placed.id),
            ("From", self._caller),
            ("To", self.placed.number),
            ("CallerName", self.options.caller_name or self.placed.caller),
            ("CallStatus", status),
            ("Direction", "inbound"),
            ("ParentAuthID", self.account.id),
        ]

    @property
    def _caller(self) -> str:
        return self.placed.caller.lstrip("+")

    def on_end(self) -> None:
        if self._in_session and self.talked_s:
            document, record = self._in_session
            self._record(document, record, min(self.talked_s, seconds(record, "maxLength", RECORD_S)))
        duration_s = self.placed.duration_s
        form = [
            *self._parties(self.placed.status),
            ("Event", "Hangup"),
            ("Duration", str(duration_s)),
            ("BillDuration", str(_billed(duration_s))),
            ("BillRate", RATE),
            ("TotalCost", _cost(duration_s)),
            ("HangupCause", self._hangup.cause),
            ("HangupCauseName", self._hangup.name),
            ("HangupCauseCode", str(self._hangup.code)),
            ("HangupSource", self._hangup.source),
            ("StartTime", _utc(self.started)),
            ("AnswerTime", _utc(self.started) if self.answered else ""),
            ("EndTime", _utc(self.ended)),
        ]
        self.tell("status", self.route.status, self.route.status_method, form)

    @property
    def _hangup(self) -> Hangup:
        return NO_DOCUMENT if self.placed.status == "failed" else self.hangup

    # Verbs

    def pass_by(self, document: Document, verb: Element) -> None:
        """Does nothing: the verb only takes time, and time is simulated."""

    def hang_up(self, document: Document, verb: Element) -> None:
        """End the call; as the first element, with a reason, reject it. According to the docs page on callbacks, the
        status of a rejected inbound call is completed too."""
        reason = verb.get("reason")
        if reason and not self.answered:
            self.hangup = BUSY if reason == "busy" else REJECTED
        else:
            if not self.answered:
                self.answer()
            self.hangup = BY_XML
        raise Ended

    def redirect(self, document: Document, verb: Element) -> Document:
        return self.ask("answer", urljoin(document.url, element_text(verb)), verb.get("method", "POST"))

    def record_message(self, document: Document, verb: Element) -> Document | None:
        """Record a message. With startOnDialAnswer, recording starts when a later Dial is answered; with recordSession,
        it lasts as long as the call."""
        if verb.get("startOnDialAnswer") == "true":
            self._in_dial = (document, verb)
            return None
        if verb.get("recordSession") == "true":
            self._in_session = (document, verb)
            return None
        duration_s = self.talk(seconds(verb, "maxLength", RECORD_S))
        if not duration_s:
            self.hangup = BY_CALLER
            raise Ended
        recording = self._record(document, verb, duration_s)
        return self._act(document, verb, [*_recording_fields(recording), ("Digits", verb.get("finishOnKey", "#")[-1:])])

    def dial(self, document: Document, verb: Element) -> Document | None:
        """Only the first number or SIP address can answer; it talks with the caller and then hangs up."""
        targets = [element_text(noun) for noun in verb if noun.tag in ("Number", "User")]
        outcomes = [self.ring(target, seconds(verb, "timeout", RING_S)) for target in targets]
        if not targets:
            return None
        outcome = outcomes[0]
        duration_s = self.talk_to(outcome, seconds(verb, "timeLimit", 14400))
        if outcome in TAKEN and not duration_s:
            outcome = "rings out"
        legs = [(str(uuid.uuid4()), to) for to in targets]
        for position, (leg, to) in enumerate(legs):
            with self.sandbox.lock:
                self._keep_leg(leg, to, verb, *((outcome, duration_s) if position == 0 else ("rings out", 0)))
        leg, to = legs[0]
        if duration_s:
            self._tell_of_leg(document, verb, leg, to, duration_s)
            if self._in_dial:
                record_document, record = self._in_dial
                self._record(record_document, record, min(duration_s, seconds(record, "maxLength", RECORD_S)))
        status, hangup = DIALED[outcome]
        more = [
            ("DialStatus", status),
            ("DialRingStatus", str(outcome in (*TAKEN, "rings out")).lower()),
            ("DialHangupCause", hangup.cause),
            ("DialALegUUID", self.placed.id),
            ("DialBLegUUID", leg if duration_s else ""),
        ]
        return self._act(document, verb, more)

    def connect(self, document: Document, verb: Element) -> None:
        """Exchange the audio with a voice system. The document goes on if that ends the stream."""
        messages = self._new_stream(verb)
        told = document.url_of(verb, "statusCallbackUrl"), verb.get("statusCallbackMethod", "POST")
        url = element_text(verb)

        def tell(what: str, failure: str) -> None:
            form = [
                ("Event", STREAM_EVENTS[what]),
                ("CallUUID", self.placed.id),
                ("StreamID", messages.about.stream),
                ("From", self._caller),
                ("To", self.placed.number),
                ("ServiceURL", url),
                ("Timestamp", _utc(self.started)),
            ]
            self.tell("stream", *told, form)

        asked = verb.get("bidirectional"), verb.get("keepCallAlive"), verb.get("contentType")
        usable = asked == ("true", "true", MULAW)
        refusal = "" if usable else f"the sandbox streams only both ways, alone and as {MULAW}"
        if self.stream(url, messages, tell, refusal=refusal):
            self.hangup = BY_CALLER
            raise Ended

    def _new_stream(self, verb: Element) -> Messages:
        pairs = (pair.partition("=") for pair in verb.get("extraHeaders", "").split(",") if pair)
        headers = {name: value for name, _, value in pairs}
        account, caller, called = self.account.id, self._caller, self.placed.number
        encoding = MULAW.partition(";")[0]
        return PlivoMessages(Subject(str(uuid.uuid4()), self.placed.id, account, caller, called, encoding, headers))

    def sign_handshake(self) -> bool:
        return True

    def _act(self, document: Document, verb: Element, more: Form) -> Document | None:
        """Request the action URL of an element; its document is executed unless the element has redirect="false"."""
        url, method = document.url_of(verb, "action"), verb.get("method", "POST")
        if verb.get("redirect") == "false":
            self.tell("action", url, method, [*self.fields("in-progress"), *more])
            return None
        return self.ask("action", url, method, more) if url else None

    def _record(self, document: Document, verb: Element, duration_s: int) -> Recording:
        recording = self.record("Record", 2 if verb.get("recordChannelType") == "stereo" else 1, duration_s)
        form = [*self._parties("in-progress"), ("Event", "RecordStop"), *_recording_fields(recording)]
        url = document.url_of(verb, "callbackUrl")
        self.tell_after_the_end("recording", url, verb.get("callbackMethod", "POST"), form)
        return recording

    def _tell_of_leg(self, document: Document, verb: Element, leg: str, to: str, duration_s: int) -> None:
        for action in ("answer", "connected", "hangup"):
            form = [
                *self._parties("in-progress"),
                ("Event", "DialHangup" if action == "hangup" else "DialAnswer"),
                ("DialAction", action),
                ("DialALegUUID", self.placed.id),
                ("DialBLegUUID", leg),
                ("DialBLegFrom", verb.get("callerId") or self._caller),
                ("DialBLegTo", to),
                ("DialBLegStatus", action),
            ]
            if action == "hangup":
                form += [
                    ("DialBLegDuration", str(duration_s)),
                    ("DialBLegBillDuration", str(_billed(duration_s))),
                    ("DialBLegBillRate", RATE),
                    ("DialBLegTotalCost", _cost(duration_s)),
                    ("DialBLegHangupCause", BY_CALLER.cause),
                    ("DialBLegHangupCauseName", BY_CALLER.name),
                    ("DialBLegHangupCauseCode", str(BY_CALLER.code)),
                    ("DialBLegHangupSource", "Call recipient"),
                ]
            url = document.url_of(verb, "callbackUrl")
            self.tell("leg", url, verb.get("callbackMethod", "POST"), form)

    # Resources

    def new_recording(self, source: str, channels: int, duration_s: int) -> Recording:
        id = str(uuid.uuid4())
        url = media.plivo_url(self.sandbox.state, self.account, id)
        return Recording(id, url, source, channels, duration_s, self.started + timedelta(seconds=GREETING_S))

    def keep_recording(self, recording: Recording) -> None:
        self.account.recordings[recording.id] = {
            "recording_id": recording.id,
            "call_uuid": self.placed.id,
            "conference_name": None,
            "recording_url": recording.url,
            "recording_format": "wav",
            "recording_type": "normal",
            "recording_duration_ms": f"{recording.duration_s * 1000}.00000",
            "recording_start_ms": f"{_ms(recording.started)}.00000",
            "recording_end_ms": f"{_ms(recording.ended)}.00000",
            "add_time": str(recording.ended),
            "rounded_recording_duration": _billed(recording.duration_s),
            "recording_storage_duration": 0,
            "recording_storage_rate": 0.0,
            "monthly_recording_storage_amount": 0.0,
            "resource_uri": f"/v1/Account/{self.account.id}/Recording/{recording.id}/",
        }

    def keep_call(self) -> None:
        self._keep(
            self.placed.id, None, "inbound", self._caller, self.placed.number, self.placed.duration_s, self._hangup
        )

    def _keep_leg(self, leg: str, to: str, verb: Element, outcome: Outcome, duration_s: int) -> None:
        caller = verb.get("callerId") or self._caller
        self._keep(leg, self.placed.id, "outbound", caller, to, duration_s, DIALED[outcome][1])

    def _keep(
        self, id: str, parent: str | None, direction: str, caller: str, called: str, duration_s: int, hangup: Hangup
    ) -> None:
        self.account.calls[id] = {
            "call_uuid": id,
            "parent_call_uuid": parent,
            "call_direction": direction,
            "call_state": "ANSWER" if duration_s else "NO_ANSWER",
            "from_number": caller,
            "to_number": called,
            "initiation_time": str(self.started),
            "answer_time": str(self.started) if duration_s else None,
            "end_time": str(self.started + timedelta(seconds=duration_s)),
            "call_duration": duration_s,
            "bill_duration": duration_s,
            "billed_duration": _billed(duration_s),
            "total_amount": _cost(duration_s),
            "total_rate": RATE,
            "hangup_cause_code": hangup.code,
            "hangup_cause_name": hangup.name,
            "hangup_source": hangup.source,
            "resource_uri": f"/v1/Account/{self.account.id}/Call/{id}/",
        }


def _recording_fields(recording: Recording) -> Form:
    return [
        ("RecordUrl", recording.url),
        ("RecordingID", recording.id),
        ("RecordingDuration", str(recording.duration_s)),
        ("RecordingDurationMs", str(recording.duration_s * 1000)),
        ("RecordingStartMs", str(_ms(recording.started))),
        ("RecordingEndMs", str(_ms(recording.ended))),
    ]


def _billed(duration_s: int) -> int:
    """The duration rounded up to whole minutes, in seconds."""
    return (duration_s + 59) // 60 * 60


def _cost(duration_s: int) -> str:
    return f"{_billed(duration_s) // 60 * float(RATE):.5f}"


def _utc(when: datetime) -> str:
    return when.strftime("%Y-%m-%d %H:%M:%S")


def _ms(when: datetime) -> int:
    return int(when.timestamp() * 1000)
