"""Calls that execute TwiML: Twilio's own, and Telnyx's TeXML, which has the same verbs.

Sources: twilio.com/docs/voice/twiml, developers.telnyx.com/docs/voice/programmable-voice/texml-verbs (2026-11-30).
"""

from typing import NamedTuple
from urllib.parse import urljoin
from xml.etree.ElementTree import Element

from .calls import Document, Ended, PhoneCall, Recording, element_text, seconds
from .deliveries import Form
from .resources import iso
from .streams import Messages
from .targets import TAKEN, Outcome

REJECTED = {"busy": "busy", "rejected": "no-answer"}
"""The reasons for Reject, and the final status of the call."""
RING_S = 30
"""The default timeout of Dial."""


STATUS: dict[Outcome, str] = {
    "answers": "completed",
    "breaks off": "completed",
    "is busy": "busy",
    "rings out": "no-answer",
    "fails": "failed",
}
"""How a dialed call ended (`DialCallStatus`)."""
STREAM_EVENTS = {"started": "stream-started", "stopped": "stream-stopped", "failed": "stream-error"}


class Leg(NamedTuple):
    """A finished call to a dialed number or SIP address."""

    id: str
    caller: str
    called: str
    status: str
    duration_s: int


class TwimlCall(PhoneCall):
    verbs = {
        "Say": "speak",
        "Play": "pass_by",
        "Pause": "pass_by",
        "Record": "record_message",
        "Dial": "dial",
        "Connect": "connect",
        "Hangup": "hang_up",
        "Redirect": "redirect",
        "Reject": "reject",
    }
    refusals = ("Reject",)
    speech = "Say"

    # Implemented by subclasses

    def recording_fields(self, recording: Recording) -> Form:
        """The fields of a recordingStatusCallback, without the status."""
        raise NotImplementedError

    def new_leg_id(self) -> str:
        raise NotImplementedError

    def leg_fields(self, leg: Leg, status: str) -> Form:
        """The fields of a statusCallback of Number or Sip when the leg reaches this status."""
        raise NotImplementedError

    def keep_leg(self, leg: Leg) -> None:
        """Add the leg to the account's list of calls."""
        raise NotImplementedError

    def new_stream(self, noun: Element, parameters: dict[str, str]) -> Messages:
        raise NotImplementedError

    def stream_fields(self) -> Form:
        """The fields of a Stream's statusCallback that name the call."""
        raise NotImplementedError

    def stream_refusal(self, noun: Element) -> str:
        """Why the carrier does not connect this stream; empty if it does."""
        return ""

    def connections(self, noun: Element) -> int:
        """How often the carrier connects the stream, if the far end always ends it."""
        return 1

    # Verbs

    def pass_by(self, document: Document, verb: Element) -> None:
        """Does nothing: the verb only takes time, and time is simulated."""

    def hang_up(self, document: Document, verb: Element) -> None:
        raise Ended

    def reject(self, document: Document, verb: Element) -> None:
        raise Ended("" if self.answered else REJECTED.get(verb.get("reason", "rejected"), "no-answer"))

    def redirect(self, document: Document, verb: Element) -> Document:
        return self.ask("answer", urljoin(document.url, element_text(verb)), verb.get("method", "POST"))

    def record_message(self, document: Document, verb: Element) -> Document:
        """Record a message. Without an action the same document is requested again: a greeting repeats endlessly."""
        duration_s = self.talk(seconds(verb, "maxLength", 3600))
        if not duration_s:
            self._tell_of_recording(document, verb, self.new_recording("RecordVerb", 1, 0), "absent")
            raise Ended
        recording = self._record(document, verb, "RecordVerb", verb.get("channels") == "dual", duration_s)
        more = [*_result(recording), ("Digits", verb.get("finishOnKey", "#")[-1:])]
        return self.ask("action", document.url_of(verb, "action") or document.url, verb.get("method", "POST"), more)

    def leaves_ringing(self, verb: Element) -> bool:
        return super().leaves_ringing(verb) or verb.get("answerOnBridge") == "true"

    def dial(self, document: Document, verb: Element) -> Document | None:
        """Only the first target can answer; it talks with the caller and then hangs up."""
        targets = [noun for noun in verb if noun.tag in ("Number", "Sip")] or [verb]
        leg, *_ = [self._call(document, verb, target, can_answer=target is targets[0]) for target in targets]
        more = [("DialCallStatus", leg.status), ("DialCallSid", leg.id)]
        if leg.duration_s:
            more.append(("DialCallDuration", str(leg.duration_s)))
        if leg.duration_s and verb.get("record", "do-not-record") not in ("do-not-record", "false"):
            dual = verb.get("record", "").endswith("-dual")
            more += _result(self._record(document, verb, "DialVerb", dual, leg.duration_s))
        url = document.url_of(verb, "action")
        return self.ask("action", url, verb.get("method", "POST"), more) if url else None

    def _call(self, document: Document, dial: Element, target: Element, *, can_answer: bool) -> Leg:
        caller, called = dial.get("callerId") or self.placed.caller, element_text(target)
        outcome = self.ring(called, seconds(dial, "timeout", RING_S))
        if outcome in TAKEN and can_answer and not self.answered:
            self.answer()
        duration_s = self.talk_to(outcome, seconds(dial, "timeLimit", 14400)) if can_answer else 0
        status = STATUS["rings out" if outcome in TAKEN and not duration_s else outcome]
        leg = Leg(self.new_leg_id(), caller, called, status, duration_s)
        with self.sandbox.lock:
            self.keep_leg(leg)
        url, method = document.url_of(target, "statusCallback"), target.get("statusCallbackMethod", "POST")
        steps = {"initiated": "initiated", "ringing": "ringing", "answered": "in-progress", "completed": leg.status}
        if not duration_s:
            del steps["answered"]
        for event, status in steps.items():
            if event in target.get("statusCallbackEvent", "completed").split():
                self.tell("leg", url, method, self.leg_fields(leg, status))
        return leg

    def connect(self, document: Document, verb: Element) -> Document | None:
        """Exchange the audio with a voice system. The document goes on if that ends the stream."""
        noun = verb.find("Stream")
        if noun is None:
            return None
        for _ in range(self.connections(noun)):
            if self._stream(document, noun):
                raise Ended
        url = document.url_of(verb, "action")
        return self.ask("action", url, verb.get("method", "POST")) if url else None

    def _stream(self, document: Document, noun: Element) -> bool:
        messages = self.new_stream(noun, {one.get("name", ""): one.get("value", "") for one in noun.iter("Parameter")})
        told = document.url_of(noun, "statusCallback"), noun.get("statusCallbackMethod", "POST")

        def tell(what: str, failure: str) -> None:
            form = [
                *self.stream_fields(),
                ("StreamSid", messages.about.stream),
                ("StreamName", noun.get("name") or messages.about.stream),
                ("StreamEvent", STREAM_EVENTS[what]),
                ("Timestamp", iso(self.started)),
            ]
            self.tell("stream", *told, form + ([("StreamError", failure)] if failure else []))

        return self.stream(noun.get("url", ""), messages, tell, refusal=self.stream_refusal(noun))

    # Callbacks

    def _record(self, document: Document, verb: Element, source: str, dual: bool, duration_s: int) -> Recording:
        recording = self.record(source, 2 if dual else 1, duration_s)
        self._tell_of_recording(document, verb, recording, "in-progress")
        self._tell_of_recording(document, verb, recording, "completed")
        return recording

    def _tell_of_recording(self, document: Document, verb: Element, recording: Recording, status: str) -> None:
        """Send the callback if the verb asks for this status. Only a completed recording has a file."""
        if status not in verb.get("recordingStatusCallbackEvent", "completed").split():
            return
        form = [*self.recording_fields(recording), ("RecordingStatus", status)]
        if status != "completed":
            form = [field for field in form if field[0] not in ("RecordingUrl", "RecordingDuration")]
        url, method = (
            document.url_of(verb, "recordingStatusCallback"),
            verb.get("recordingStatusCallbackMethod", "POST"),
        )
        tell = self.tell if status == "in-progress" else self.tell_after_the_end
        tell("recording", url, method, form)


def _result(recording: Recording) -> Form:
    """The fields about a recording in an action request."""
    return [
        ("RecordingUrl", recording.url),
        ("RecordingSid", recording.id),
        ("RecordingDuration", str(recording.duration_s)),
    ]
