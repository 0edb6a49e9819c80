"""The simulated carriers stream a call's audio to a voice system, dial SIP addresses, and speak languages."""

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from threading import Thread
from typing import Any

import pytest
import requests
from twilio.request_validator import RequestValidator
from websockets.sync.server import ServerConnection, serve

from sandbox import state as seeds
from sandbox.caller import describe, place_call
from sandbox.ports import free_port
from sandbox.sandbox import Sandbox
from sandbox.streams import FRAME, PlacedStream
from sandbox.targets import Outcome
from sandbox.voice_system import VoiceSystem, mark
from tests.support import SAMPLES
from tests.support.carriers import CARRIERS
from tests.support.customer import CALLER, HOST, URL, Line, Webhooks, only, serving, stream

AGENT = "sip:agent@pbx.example.com"
FAILED = {"twilio": "stream-error", "plivo": "DroppedStream", "telnyx": "stream-error"}
STARTED = {"twilio": "stream-started", "plivo": "StartStream", "telnyx": "stream-started"}
STOPPED = {"twilio": "stream-stopped", "plivo": "StopStream", "telnyx": "stream-stopped"}


@pytest.fixture
def webhooks() -> Iterator[Webhooks]:
    with serving() as hooks:
        yield hooks


@pytest.fixture
def sandbox(webhooks: Webhooks) -> Iterator[Sandbox]:
    with Sandbox() as running:
        running.deliver_to = webhooks.url
        yield running


@pytest.fixture(params=sorted(CARRIERS))
def line(request: pytest.FixtureRequest, sandbox: Sandbox, webhooks: Webhooks) -> Line:
    return only(sandbox, webhooks, request.param)


def dial(line: Line, target: str, timeout: int) -> str:
    noun = "Number" if target.isdigit() else "User" if line.carrier == "plivo" else "Sip"
    return f'<Response><Dial action="/dialed" timeout="{timeout}"><{noun}>{target}</{noun}></Dial></Response>'


def told(webhooks: Webhooks) -> list[str]:
    """The events of streams that were reported."""
    return [form.get("StreamEvent") or form["Event"] for form in webhooks.forms("/stream")]


def test_the_voice_system_hears_the_caller_and_answers(sandbox: Sandbox, webhooks: Webhooks, line: Line) -> None:
    webhooks.documents["/answer"] = stream(line)
    with VoiceSystem(ends_after=20) as voice_system:
        sandbox.hosts[HOST] = voice_system.address
        call = sandbox.place_call(line.carrier, line.number, talk_s=60)
    (session,), (placed,) = voice_system.sessions, call.streams
    assert (session.host, session.path) == (HOST, "/calls/1")
    assert len(session.heard) >= 20 and base64.b64decode(session.heard[0]) == FRAME
    assert (placed.connected, placed.failure, placed.received, placed.marks) == (True, "", 20, 1)
    assert placed.sent >= 20 and placed.sent < 60 * 50
    assert call.status == "completed" and call.spoken == ["Goodbye"]
    assert told(webhooks) == [STARTED[line.carrier], STOPPED[line.carrier]]


def test_the_first_messages_name_the_call(sandbox: Sandbox, webhooks: Webhooks, line: Line) -> None:
    webhooks.documents["/answer"] = stream(line)
    with VoiceSystem(ends_after=1) as voice_system:
        sandbox.hosts[HOST] = voice_system.address
        call = sandbox.place_call(line.carrier, line.number)
    (session,) = voice_system.sessions
    start = session.start["start"]
    match line.carrier:
        case "twilio":
            assert session.events[:3] == ["connected", "start", "media"]
            assert (start["callSid"], start["accountSid"]) == (call.id, seeds.TWILIO_SID)
            assert start["customParameters"] == {"phoneId": "p1", "callId": "c1"}
            assert start["mediaFormat"] == {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
            signature = session.headers["X-Twilio-Signature"]
            assert RequestValidator(seeds.TWILIO_TOKEN).validate(URL, {}, signature)
        case "plivo":
            assert session.events[:2] == ["start", "media"]
            assert (start["callId"], start["accountId"]) == (call.id, seeds.PLIVO_ID)
            assert session.start["extra_headers"] == "phoneId=p1;callId=c1"
        case _:
            assert session.events[:3] == ["connected", "start", "media"]
            assert (start["call_control_id"], start["from"], start["to"]) == (call.id, CALLER, f"+{line.number}")
            assert start["custom_parameters"] == {"phoneId": "p1", "callId": "c1"}
            assert start["media_format"]["encoding"] == "PCMU"


def test_the_first_messages_have_the_form_that_the_vendor_documents(
    sandbox: Sandbox, webhooks: Webhooks, line: Line
) -> None:
    webhooks.documents["/answer"] = stream(line)
    with VoiceSystem(ends_after=1) as voice_system:
        sandbox.hosts[HOST] = voice_system.address
        sandbox.place_call(line.carrier, line.number)
    documented = json.loads((SAMPLES / "streams.json").read_text())[line.carrier]["messages"]
    sent = voice_system.sessions[0].messages[: len(documented)]
    assert [form(message) for message in sent] == [form(message) for message in documented]


def form(value: Any) -> Any:
    """The names and types of a message, in any order."""
    if isinstance(value, dict):
        return {name: form(item) for name, item in value.items()}
    return type(value)


def test_the_voice_system_may_take_back_what_is_not_yet_played(
    sandbox: Sandbox, webhooks: Webhooks, line: Line
) -> None:
    webhooks.documents["/answer"] = stream(line)
    replies: list[str] = []

    def clear(connection: ServerConnection) -> None:
        start = next(start for start in map(json.loads, connection) if start["event"] == "start")
        name = "clearAudio" if line.carrier == "plivo" else "clear"
        ids = {"streamSid": start.get("streamSid"), "streamId": start["start"].get("streamId")}
        connection.send(json.dumps({"event": name, **ids}))
        connection.send(json.dumps(mark(start)))
        events = (json.loads(text)["event"] for text in connection)
        replies.extend(takewhile(lambda event: event not in ("mark", "playedStream"), events))

    with far_end(clear) as address:
        sandbox.hosts[HOST] = address
        call = sandbox.place_call(line.carrier, line.number)
    (placed,) = call.streams
    assert (placed.cleared, placed.marks, placed.failure) == (1, 1, "")
    assert ("clearedAudio" in replies) == (line.carrier == "plivo")


@pytest.mark.parametrize("wrong", ['{"event": "hello"}', "hello", '{"event": "media"}', "[]"])
def test_a_message_that_the_carrier_does_not_know_breaks_the_stream(
    sandbox: Sandbox, webhooks: Webhooks, line: Line, wrong: str
) -> None:
    webhooks.documents["/answer"] = stream(line)
    with far_end(lambda connection: connection.send(wrong)) as address:
        sandbox.hosts[HOST] = address
        call = sandbox.place_call(line.carrier, line.number)
    assert call.streams[0].failure and told(webhooks)[-1] == FAILED[line.carrier]


@contextmanager
def far_end(handler: Callable[[ServerConnection], None]) -> Iterator[str]:
    """A voice system that does this. Yields its address."""
    with serve(handler, "127.0.0.1", 0, compression=None, max_queue=None) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.socket.getsockname()[1]}"


def test_a_caller_who_hangs_up_ends_the_stream_and_the_call(sandbox: Sandbox, webhooks: Webhooks, line: Line) -> None:
    webhooks.documents["/answer"] = stream(line)
    with VoiceSystem() as voice_system:
        sandbox.hosts[HOST] = voice_system.address
        call = sandbox.place_call(line.carrier, line.number, talk_s=1)
    (session,), (placed,) = voice_system.sessions, call.streams
    assert (placed.sent, placed.received, len(session.heard)) == (50, 50, 50)
    assert (session.events[-1] == "stop") == (line.carrier != "plivo")
    assert (call.status, call.duration_s, call.spoken) == ("completed", 3, [])


def test_a_stream_that_cannot_connect_is_reported(sandbox: Sandbox, webhooks: Webhooks, line: Line) -> None:
    webhooks.documents["/answer"] = stream(line)
    sandbox.hosts[HOST] = f"127.0.0.1:{free_port()}"
    call = sandbox.place_call(line.carrier, line.number)
    assert call.streams == [PlacedStream(URL, failure="the connection was refused")]
    assert told(webhooks) == [FAILED[line.carrier]] and call.spoken == ["Goodbye"]


def test_a_host_that_nobody_has_cannot_connect(sandbox: Sandbox, webhooks: Webhooks, line: Line) -> None:
    webhooks.documents["/answer"] = stream(line)
    call = sandbox.place_call(line.carrier, line.number)
    assert call.streams == [PlacedStream(URL, failure="the host is not known")]


def test_a_stream_that_breaks_off_is_reported(sandbox: Sandbox, webhooks: Webhooks, line: Line) -> None:
    webhooks.documents["/answer"] = stream(line)
    with VoiceSystem(ends_after=5, breaks_off=True) as voice_system:
        sandbox.hosts[HOST] = voice_system.address
        call = sandbox.place_call(line.carrier, line.number)
    (placed,) = call.streams
    assert placed.connected and placed.failure == "the connection was lost"
    assert told(webhooks) == [STARTED[line.carrier], FAILED[line.carrier]]


@pytest.mark.parametrize("url", [f"{URL}?phone=1", f"wss://{HOST}:8443/", f"ws://{HOST}/"])
def test_twilio_connects_only_with_port_443_and_without_a_query(sandbox: Sandbox, webhooks: Webhooks, url: str) -> None:
    line = only(sandbox, webhooks, "twilio")
    webhooks.documents["/answer"] = stream(line, url)
    with VoiceSystem() as voice_system:
        sandbox.hosts[HOST] = voice_system.address
        call = sandbox.place_call("twilio", line.number)
    assert voice_system.sessions == [] and told(webhooks) == ["stream-error"] and call.streams[0].failure


def test_telnyx_connects_again_unless_told_otherwise(sandbox: Sandbox, webhooks: Webhooks) -> None:
    line = only(sandbox, webhooks, "telnyx")
    webhooks.documents["/answer"] = stream(line, enableReconnect="true")
    with VoiceSystem(ends_after=1) as voice_system:
        sandbox.hosts[HOST] = voice_system.address
        call = sandbox.place_call("telnyx", line.number)
    assert len(voice_system.sessions) == len(call.streams) == 2


@pytest.mark.parametrize(
    ("carrier", "changes"),
    [
        ("telnyx", {"bidirectionalMode": "mp3"}),
        ("plivo", {"contentType": "audio/x-l16;rate=8000"}),
        ("plivo", {"keepCallAlive": "false"}),
        ("plivo", {"bidirectional": "false"}),
    ],
)
def test_a_stream_that_would_not_carry_the_conversation_fails(
    sandbox: Sandbox, webhooks: Webhooks, carrier: str, changes: dict[str, str]
) -> None:
    line = only(sandbox, webhooks, carrier)
    webhooks.documents["/answer"] = stream(line, **changes)
    with VoiceSystem() as voice_system:
        sandbox.hosts[HOST] = voice_system.address
        call = sandbox.place_call(carrier, line.number)
    assert voice_system.sessions == [] and "the sandbox" in call.streams[0].failure


# Who is dialed


@pytest.mark.parametrize("target", [AGENT, "441632960001"])
@pytest.mark.parametrize(
    ("outcome", "rings_s", "status"),
    [
        ("answers", 5, "completed"),
        ("answers", 15, "no-answer"),
        ("breaks off", 5, "completed"),
        ("is busy", 0, "busy"),
        ("rings out", 0, "no-answer"),
        ("fails", 0, "failed"),
    ],
)
def test_the_outcome_of_a_dialed_call_reaches_the_action(
    sandbox: Sandbox, webhooks: Webhooks, line: Line, target: str, outcome: Outcome, rings_s: int, status: str
) -> None:
    webhooks.documents["/answer"] = dial(line, target, timeout=10)
    webhooks.documents["/dialed"] = line.voicemail()
    sandbox.add_target(f"{target};transport=tcp", outcome, rings_s)
    call = sandbox.place_call(line.carrier, line.number, talk_s=4)
    form = webhooks.form("/dialed")
    assert form["DialStatus" if line.carrier == "plivo" else "DialCallStatus"] == status
    assert call.dialed == [target] and call.outcomes == ["rings out" if status == "no-answer" else outcome]
    assert call.spoken == ["Leave a message."] and len(call.recordings) == 1


@pytest.mark.parametrize(("outcome", "duration_s"), [("answers", 12), ("breaks off", 7)])
def test_a_call_that_breaks_off_is_shorter(
    sandbox: Sandbox, webhooks: Webhooks, line: Line, outcome: Outcome, duration_s: int
) -> None:
    webhooks.documents["/answer"] = dial(line, AGENT, timeout=30)
    sandbox.add_target(AGENT, outcome)
    assert sandbox.place_call(line.carrier, line.number, talk_s=10).duration_s == duration_s


def test_a_sip_address_that_nobody_has_fails(sandbox: Sandbox, webhooks: Webhooks, line: Line) -> None:
    webhooks.documents["/answer"] = dial(line, AGENT, timeout=30)
    assert sandbox.place_call(line.carrier, line.number).outcomes == ["fails"]


@pytest.mark.parametrize("carrier", ["twilio", "telnyx"])
@pytest.mark.parametrize(("outcome", "answered"), [("answers", True), ("is busy", False)])
def test_answer_on_bridge_leaves_the_call_ringing_until_somebody_answers(
    sandbox: Sandbox, webhooks: Webhooks, carrier: str, outcome: Outcome, answered: bool
) -> None:
    line = only(sandbox, webhooks, carrier)
    webhooks.documents["/answer"] = dial(line, AGENT, timeout=30).replace("<Dial", '<Dial answerOnBridge="true"')
    sandbox.add_target(AGENT, outcome)
    sandbox.place_call(carrier, line.number)
    assert webhooks.form("/dialed")["CallStatus"] == ("in-progress" if answered else "ringing")


# In which language


def test_the_language_that_is_heard_is_told(sandbox: Sandbox, webhooks: Webhooks, line: Line) -> None:
    said = line.say
    webhooks.documents["/answer"] = (
        f'<Response><{said} voice="Polly.Vicki" language="de-DE">Guten Tag</{said}><{said}>Hello</{said}></Response>'
    )
    call = sandbox.place_call(line.carrier, line.number)
    assert (call.spoken, call.languages) == (["Guten Tag", "Hello"], ["de-DE", "en-US"])


@pytest.mark.parametrize(
    "spoken",
    ['language="xx-XX"', 'voice="Polly.Joanna" language="de-DE"', 'voice="Polly.Nobody"', 'language="fi-FI"'],
)
def test_a_document_in_a_language_that_no_voice_speaks_is_refused(
    sandbox: Sandbox, webhooks: Webhooks, line: Line, spoken: str
) -> None:
    webhooks.documents["/answer"] = f"<Response><{line.say} {spoken}>Hello</{line.say}></Response>"
    webhooks.documents["/fallback"] = f"<Response><{line.say}>Fallback</{line.say}></Response>"
    assert sandbox.place_call(line.carrier, line.number).spoken == ["Fallback"]


# From another process


def test_another_process_sets_hosts_and_targets_and_is_told_what_happened(sandbox: Sandbox, webhooks: Webhooks) -> None:
    line = only(sandbox, webhooks, "twilio")
    webhooks.documents["/answer"] = stream(line).replace("</Response>", f"<Dial><Sip>{AGENT}</Sip></Dial></Response>")
    with VoiceSystem(ends_after=3) as voice_system:
        for name, body in {
            "hosts": {HOST: voice_system.address},
            "targets": {"address": AGENT, "outcome": "is busy"},
        }.items():
            assert requests.post(f"{sandbox.url}/_sandbox/{name}", json=body, timeout=5).ok
        lines = list(describe(place_call(sandbox.url, line.number)))
    assert 'Heard: "Goodbye" (en-US)' in lines and f"Dialed {AGENT}: is busy" in lines
    assert any(text.startswith(f"Streamed to {URL}: ") and text.endswith(" 3 received") for text in lines), lines


def test_a_reset_forgets_hosts_and_targets(sandbox: Sandbox) -> None:
    sandbox.hosts[HOST] = "127.0.0.1:1"
    sandbox.add_target(AGENT, "answers")
    sandbox.reset()
    assert sandbox.hosts == sandbox.targets == {}
