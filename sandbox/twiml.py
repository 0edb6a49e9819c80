"""Calls that execute TwiML: Twilio's own, and Telnyx's TeXML, which has the same verbs.

Sources: twilio.com/docs/voice/twiml, developers.telnyx.com/docs/voice/programmable-voice/texml-verbs (2026-11-23).
"""

from typing import NamedTuple
from urllib.parse import urljoin
from xml.etree.ElementTree import Element

from .calls import Document, Ended, PhoneCall, Recording, element_text, seconds
from .deliveries import Form

REJECTED = {"busy": "busy", "rejected": "no-answer"}
"""The reasons for Reject, and the final status of the call."""


class Leg(NamedTuple):
    """A finished call to a dialed number."""

    id: str
    caller: str
    called: str
    status: str
    duration_s: int


class TwimlCall(PhoneCall):
    verbs = {
        "Say": "say",
        "Play": "pass_by",
        "Pause": "pass_by",
        "Record": "record_message",
        "Dial": "dial",
        "Hangup": "hang_up",
        "Redirect": "redirect",
        "Reject": "reject",
    }
    refusals = ("Reject",)

    # Implemented by subclasses

    def recording_fields(self, recording: Recording) -> Form:
        """The fields of a recordingStatusCallback, without the status."""
        raise NotImplementedError

    def new_leg_id(self) -> str:
        raise NotImplementedError

    def leg_fields(self, leg: Leg, status: str) -> Form:
        """The fields of a Number's statusCallback when the leg reaches this status."""
        raise NotImplementedError

    def keep_leg(self, leg: Leg) -> None:
        """Add the leg to the account's list of calls."""
        raise NotImplementedError

    # Verbs

    def say(self, document: Document, verb: Element) -> None:
        self.placed.spoken.append(element_text(verb))

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

    def dial(self, document: Document, verb: Element) -> Document | None:
        """Only the first number can answer; it talks with the caller and then hangs up."""
        first, *others = verb.findall("Number") or [verb]
        duration_s = self.talk(seconds(verb, "timeLimit", 14400)) if self.options.forward_answers else 0
        leg = self._call(document, verb, first, duration_s)
        for number in others:
            self._call(document, verb, number, 0)
        more = [("DialCallStatus", leg.status), ("DialCallSid", leg.id)]
        if duration_s:
            more.append(("DialCallDuration", str(duration_s)))
        if duration_s and verb.get("record", "do-not-record") not in ("do-not-record", "false"):
            dual = verb.get("record", "").endswith("-dual")
            more += _result(self._record(document, verb, "DialVerb", dual, duration_s))
        url = document.url_of(verb, "action")
        return self.ask("action", url, verb.get("method", "POST"), more) if url else None

    def _call(self, document: Document, dial: Element, number: Element, duration_s: int) -> Leg:
        """Call a dialed number, which answers if `duration_s` is not 0."""
        caller, called = dial.get("callerId") or self.placed.caller, element_text(number)
        leg = Leg(self.new_leg_id(), caller, called, "completed" if duration_s else "no-answer", duration_s)
        self.placed.dialed.append(called)
        with self.sandbox.lock:
            self.keep_leg(leg)
        url, method = document.url_of(number, "statusCallback"), number.get("statusCallbackMethod", "POST")
        steps = {"initiated": "initiated", "ringing": "ringing", "answered": "in-progress", "completed": leg.status}
        if not duration_s:
            del steps["answered"]
        for event, status in steps.items():
            if event in number.get("statusCallbackEvent", "completed").split():
                self.tell("leg", url, method, self.leg_fields(leg, status))
        return leg

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
