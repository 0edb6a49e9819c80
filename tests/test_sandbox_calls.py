"""The simulated carriers place calls: they ask our webhooks, obey the documents, sign as the real ones do."""

import io
import wave
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import plivo
import pytest
import requests
from plivo.utils import validate_signature

from sandbox import state as seeds
from sandbox.calls import PlacedCall
from sandbox.deliveries import Delivery
from sandbox.sandbox import Sandbox
from sandbox.signing import signed
from tests.support.carrier_contract import violations
from tests.support.carriers import CARRIERS
from tests.support.customer import (
    LINES,
    OURS,
    PLIVO,
    TELNYX,
    TWILIO,
    Line,
    Webhooks,
    only,
    route,
    serving,
    telnyx_valid,
)
from tests.support.sandbox_clients import plivo_client, telnyx_client, twilio_client


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


def kinds(call: PlacedCall) -> list[str]:
    return [delivery.kind for delivery in call.requests]


def sound(content: bytes) -> tuple[int, float]:
    """The channels of a WAV file and its length in seconds."""
    with wave.open(io.BytesIO(content)) as file:
        assert (file.getframerate(), file.getsampwidth()) == (8000, 2)
        return file.getnchannels(), file.getnframes() / file.getframerate()


def fetch(line: Line, url: str, **headers: str) -> requests.Response:
    auth = (seeds.TWILIO_SID, seeds.TWILIO_TOKEN) if line.carrier == "twilio" else None
    return requests.get(url, auth=auth, headers=headers, timeout=5)


# What all carriers do


def test_voicemail_is_recorded_and_told_with_signatures_the_vendor_accepts(
    sandbox: Sandbox, webhooks: Webhooks, line: Line
) -> None:
    webhooks.documents["/answer"] = line.voicemail()
    call = sandbox.place_call(line.carrier, line.number, talk_s=5)
    assert all(one.valid for one in webhooks.received) and webhooks.received
    assert webhooks.paths()[-2:] == ["/status", "/recorded"]
    assert (call.status, call.duration_s, call.looped) == ("completed", 7, False)
    assert call.spoken == ["Leave a message."] and len(call.documents) == 2
    (recording,) = call.recordings
    told = webhooks.form("/recorded")
    assert (told[line.recording_id], told[line.call_id], told["RecordingDuration"]) == (recording, call.id, "5")
    assert webhooks.form("/answer")["CallStatus"] == "ringing"
    assert webhooks.form("/done")[line.recording_url]
    assert webhooks.forms("/status")[-1]["CallStatus"] == "completed"
    assert sound(fetch(line, told[line.recording_url]).content) == (1, 5.0)


def test_numbers_are_spelled_as_the_carrier_does(sandbox: Sandbox, webhooks: Webhooks, line: Line) -> None:
    sandbox.place_call(line.carrier, f"+{line.number}", caller="441632960083")
    told = webhooks.form("/answer")
    plus = "" if line.carrier == "plivo" else "+"
    assert (told["From"], told["To"], told["Direction"]) == (f"{plus}441632960083", plus + line.number, "inbound")
    assert webhooks.received[-1].form["From"] == told["From"]


def test_get_webhooks_carry_the_fields_in_a_signed_query(sandbox: Sandbox, webhooks: Webhooks, line: Line) -> None:
    route(sandbox, line, method="GET")
    call = sandbox.place_call(line.carrier, line.number)
    assert {one.method for one in webhooks.received} == {"GET"}
    assert all(one.valid for one in webhooks.received)
    assert webhooks.form("/answer")["line"] == "1" and webhooks.form("/answer")[line.call_id] == call.id
    assert call.requests[0].body == b"" and f"{OURS}/answer?line=1&" in "".join(one.url for one in call.requests)


def test_message_is_cut_at_its_greatest_length(sandbox: Sandbox, webhooks: Webhooks, line: Line) -> None:
    webhooks.documents["/answer"] = line.voicemail().replace('"120"', '"4"')
    call = sandbox.place_call(line.carrier, line.number, talk_s=30)
    assert webhooks.form("/recorded")["RecordingDuration"] == "4"
    assert call.duration_s == 6


def test_caller_who_hangs_up_leaves_no_recording(sandbox: Sandbox, webhooks: Webhooks, line: Line) -> None:
    webhooks.documents["/answer"] = line.voicemail()
    call = sandbox.place_call(line.carrier, line.number, talk_s=0)
    assert (call.status, call.recordings, call.duration_s) == ("completed", [], 2)
    assert "/recorded" not in webhooks.paths() and "/done" not in webhooks.paths()


def test_forwarded_call_is_recorded_in_two_channels(sandbox: Sandbox, webhooks: Webhooks, line: Line) -> None:
    webhooks.documents["/answer"] = f"<Response>{line.dial}</Response>"
    call = sandbox.place_call(line.carrier, line.number, talk_s=6)
    assert [to.lstrip("+") for to in call.dialed] == ["441632960001"]
    assert all(one.valid for one in webhooks.received)
    told = webhooks.form("/recorded")
    assert (told["RecordingDuration"], told[line.call_id]) == ("6", call.id)
    assert sound(fetch(line, told[line.recording_url]).content) == (2, 6.0)
    dialed = webhooks.form("/dialed")
    assert dialed.get("DialCallStatus", dialed.get("DialStatus")) == "completed"
    assert len(webhooks.forms("/leg")) == (3 if line is PLIVO else 4)


def test_forward_without_recording_makes_none(sandbox: Sandbox, webhooks: Webhooks, line: Line) -> None:
    dial = line.dial.replace("record-from-answer-dual", "do-not-record")
    dial = dial[dial.index("<Dial") :]
    webhooks.documents["/answer"] = f"<Response>{dial}</Response>"
    call = sandbox.place_call(line.carrier, line.number)
    assert (call.status, call.recordings, call.duration_s) == ("completed", [], 5)


def test_forward_that_nobody_answers_goes_on_with_the_action(sandbox: Sandbox, webhooks: Webhooks, line: Line) -> None:
    webhooks.documents |= {"/answer": f"<Response>{line.dial}</Response>", "/dialed": line.voicemail()}
    call = sandbox.place_call(line.carrier, line.number, forward_answers=False)
    dialed = webhooks.form("/dialed")
    assert dialed.get("DialCallStatus", dialed.get("DialStatus")) == "no-answer"
    assert len(call.recordings) == 1, "only the message that follows"
    assert call.spoken == ["Leave a message."]


def test_rejected_call_is_never_answered(sandbox: Sandbox, webhooks: Webhooks, line: Line) -> None:
    webhooks.documents["/answer"] = f"<Response>{line.refuse}</Response>"
    call = sandbox.place_call(line.carrier, line.number)
    assert (call.status, call.duration_s) == (line.refused, 0)
    told = webhooks.forms("/status")[-1]
    assert told["CallStatus"] == line.refused
    if line is PLIVO:
        assert (told["HangupCauseName"], told["HangupCauseCode"], told["AnswerTime"]) == ("Busy Line", "3010", "")


def test_redirect_goes_on_with_another_document(sandbox: Sandbox, webhooks: Webhooks, line: Line) -> None:
    webhooks.documents["/answer"] = "<Response><Redirect>/other?x=1</Redirect></Response>"
    webhooks.documents["/other"] = f"<Response><{line.say}>There</{line.say}></Response>"
    call = sandbox.place_call(line.carrier, line.number)
    assert call.spoken == ["There"] and all(one.valid for one in webhooks.received)


def test_redirect_to_itself_is_a_loop(sandbox: Sandbox, webhooks: Webhooks, line: Line) -> None:
    webhooks.documents["/answer"] = "<Response><Redirect/></Response>"
    call = sandbox.place_call(line.carrier, line.number)
    assert call.looped and len(call.documents) == 10 and call.status == "completed"


@pytest.mark.parametrize(
    "bad",
    [
        (500, "", "text/html"),
        (302, "", "text/xml"),
        (200, "<Response>", "text/xml"),
        (200, "<Response/>", "text/plain"),
        (200, "<Response><Whistle/></Response>", "text/xml"),
        (200, "<html/>", "text/xml"),
    ],
)
def test_fallback_is_asked_when_the_answer_fails(
    sandbox: Sandbox, webhooks: Webhooks, line: Line, bad: tuple[int, str, str]
) -> None:
    webhooks.documents |= {"/answer": bad, "/fallback": line.voicemail()}
    call = sandbox.place_call(line.carrier, line.number)
    assert (call.status, call.spoken) == ("completed", ["Leave a message."])
    assert [kind for kind in kinds(call) if kind in ("answer", "fallback")] == ["answer", "fallback"]
    if line is TWILIO:
        assert webhooks.form("/fallback")["ErrorUrl"] == f"{OURS}/answer?line=1"
        assert webhooks.form("/fallback")["ErrorCode"] == ("12100" if bad[0] == 200 else "11200")


def test_call_fails_when_the_fallback_fails_too(sandbox: Sandbox, webhooks: Webhooks, line: Line) -> None:
    webhooks.documents |= {"/answer": (500, "", ""), "/fallback": (404, "", "")}
    call = sandbox.place_call(line.carrier, line.number)
    assert (call.status, call.duration_s, call.documents) == ("failed", 0, [])
    assert webhooks.forms("/status")[-1]["CallStatus"] == "failed"


def test_webhooks_that_are_down_fail_the_call(sandbox: Sandbox, webhooks: Webhooks, line: Line) -> None:
    sandbox.deliver_to = "http://127.0.0.1:1"
    call = sandbox.place_call(line.carrier, line.number)
    assert call.status == "failed" and {one.reply_status for one in call.requests} == {None}


def test_number_without_a_route_asks_nobody(sandbox: Sandbox, webhooks: Webhooks) -> None:
    for line in LINES.values():
        call = sandbox.place_call(line.carrier, line.number)
        assert (call.status, call.requests) == ("failed", [])
    for carrier, good in CARRIERS.items():
        assert sandbox.place_call(carrier, good.on_a_trunk).status == "failed", "a trunk has no webhooks"
    assert webhooks.received == []


def test_number_of_nobody_is_a_key_error(sandbox: Sandbox) -> None:
    with pytest.raises(KeyError):
        sandbox.place_call("twilio", "19998887777")
    with pytest.raises(KeyError):
        sandbox.place_call("twilio", TWILIO.number, account=seeds.TWILIO_OTHER_SID)
    assert sandbox.place_call("telnyx", "13125559999").account == seeds.TELNYX_OTHER_ACCOUNT


def test_two_accounts_with_the_same_number_are_told_apart(sandbox: Sandbox, webhooks: Webhooks) -> None:
    sandbox.add_number("twilio", seeds.TWILIO_OTHER_SID, TWILIO.number, voice_url=f"{OURS}/answer")
    call = sandbox.place_call("twilio", TWILIO.number, account=seeds.TWILIO_OTHER_SID)
    assert call.account == seeds.TWILIO_OTHER_SID and call.requests


def test_nothing_that_happens_changes_a_setting(sandbox: Sandbox, webhooks: Webhooks, line: Line) -> None:
    webhooks.documents["/answer"] = line.voicemail()
    before = sandbox.snapshot()
    sandbox.place_call(line.carrier, line.number)
    assert sandbox.snapshot() == before


def test_reset_forgets_calls_and_where_to_deliver(sandbox: Sandbox, webhooks: Webhooks, line: Line) -> None:
    sandbox.place_call(line.carrier, line.number)
    sandbox.media_not_ready, sandbox.media_redirect = 3, OURS
    sandbox.reset()
    assert sandbox.state.account(line.carrier, line.account).calls == {}
    assert (sandbox.deliver_to, sandbox.media_not_ready, sandbox.media_redirect) == (None, 0, None)


# What goes wrong with deliveries


def test_duplicates_are_signed_anew_and_have_the_same_body(sandbox: Sandbox, webhooks: Webhooks, line: Line) -> None:
    webhooks.documents["/answer"] = line.voicemail()
    call = sandbox.place_call(line.carrier, line.number, duplicate=3)
    assert all(one.valid for one in webhooks.received)
    assert len(webhooks.forms("/answer")) == 1 and len(webhooks.forms("/recorded")) == 3
    recorded = [one for one in call.requests if one.kind == "recording"]
    assert len({one.body for one in recorded}) == 1
    if line is PLIVO:
        assert len({one.headers["X-Plivo-Signature-V3-Nonce"] for one in recorded}) == 3


def test_reordered_callbacks_come_backwards_after_the_call(sandbox: Sandbox, webhooks: Webhooks, line: Line) -> None:
    webhooks.documents["/answer"] = line.voicemail()
    in_order = kinds(sandbox.place_call(line.carrier, line.number))
    call = sandbox.place_call(line.carrier, line.number, reorder=True)
    asked = [kind for kind in in_order if kind in ("answer", "action")]
    told = [kind for kind in in_order if kind not in ("answer", "action")]
    assert kinds(call) == asked + told[::-1] and kinds(call)[2] == "recording"


@pytest.mark.parametrize("drop", [{"status"}, ["recording"], ("action",), True])
def test_dropped_callbacks_never_come(sandbox: Sandbox, webhooks: Webhooks, line: Line, drop: Any) -> None:
    webhooks.documents["/answer"] = line.voicemail()
    call = sandbox.place_call(line.carrier, line.number, drop=drop)
    gone = {"status", "recording", "action"} if drop is True else set(drop)
    assert set(kinds(call)) == {"answer", "status", "recording", "action"} - gone
    assert len(call.recordings) == 1, "it was made all the same"


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_tampered_requests_are_what_the_vendor_calls_invalid(
    sandbox: Sandbox, webhooks: Webhooks, line: Line, method: str
) -> None:
    if line is TELNYX and method == "GET":
        pytest.skip("Telnyx signs no URL")
    route(sandbox, line, method)
    webhooks.documents["/answer"] = line.voicemail()
    call = sandbox.place_call(line.carrier, line.number, tamper=True)
    assert webhooks.received and not any(one.valid for one in webhooks.received)
    assert call.status == "failed" and {one.reply_status for one in call.requests} == {403}


def test_replayed_requests_are_the_same_to_the_byte(sandbox: Sandbox, webhooks: Webhooks, line: Line) -> None:
    webhooks.documents["/answer"] = line.voicemail()
    call = sandbox.place_call(line.carrier, line.number, replay=True)
    half = len(call.requests) // 2

    def sent(delivery: Delivery) -> tuple[object, ...]:
        return delivery.method, delivery.url, delivery.body, delivery.headers

    assert [sent(one) for one in call.requests[:half]] == [sent(one) for one in call.requests[half:]]
    assert all(one.valid for one in webhooks.received) and len(call.recordings) == 1


# Each carrier's own


def test_twilio_tells_the_status_once_and_at_the_end(sandbox: Sandbox, webhooks: Webhooks) -> None:
    line = only(sandbox, webhooks, "twilio")
    webhooks.documents["/answer"] = line.voicemail()
    call = sandbox.place_call("twilio", line.number, talk_s=61, caller_name="SMITH JOHN")
    told = webhooks.form("/status")
    assert (told["CallDuration"], told["Duration"], told["SequenceNumber"]) == ("63", "2", "0")
    assert told["CallbackSource"] == "call-progress-events"
    assert told["Timestamp"].endswith(" +0000") and told["RecordingSid"] == call.recordings[0]
    assert webhooks.form("/answer")["CallerName"] == "SMITH JOHN"
    assert call.id.startswith("CA") and told["AccountSid"] == seeds.TWILIO_SID


@pytest.mark.parametrize("carrier", ["twilio", "telnyx"])
def test_greeting_without_end_is_a_record_without_action(sandbox: Sandbox, webhooks: Webhooks, carrier: str) -> None:
    line = only(sandbox, webhooks, carrier)
    webhooks.documents["/answer"] = line.voicemail().replace('action="/done"', "")
    call = sandbox.place_call(carrier, line.number)
    assert call.looped and len(call.spoken) == 10 and len(call.documents) == 10
    assert call.duration_s == 5


@pytest.mark.parametrize("carrier", ["twilio", "telnyx"])
def test_recording_events_are_those_asked_for(sandbox: Sandbox, webhooks: Webhooks, carrier: str) -> None:
    line = only(sandbox, webhooks, carrier)
    webhooks.documents["/answer"] = line.voicemail('recordingStatusCallbackEvent="in-progress completed absent"')
    sandbox.place_call(carrier, line.number)
    assert [form["RecordingStatus"] for form in webhooks.forms("/recorded")] == ["in-progress", "completed"]
    assert "From" not in webhooks.forms("/recorded")[0] and "RecordingUrl" not in webhooks.forms("/recorded")[0]
    sandbox.place_call(carrier, line.number, talk_s=0)
    absent = webhooks.forms("/recorded")[-1]
    assert absent["RecordingStatus"] == "absent" and "RecordingUrl" not in absent


@pytest.mark.parametrize("carrier", ["twilio", "telnyx"])
def test_reject_says_no_answer_if_not_busy_and_completed_once_answered(
    sandbox: Sandbox, webhooks: Webhooks, carrier: str
) -> None:
    line = only(sandbox, webhooks, carrier)
    webhooks.documents["/answer"] = "<Response><Reject/></Response>"
    assert sandbox.place_call(carrier, line.number).status == "no-answer"
    webhooks.documents["/answer"] = '<Response><Say>No.</Say><Reject reason="busy"/></Response>'
    assert sandbox.place_call(carrier, line.number).status == "completed"


@pytest.mark.parametrize("carrier", ["twilio", "telnyx"])
def test_leg_callbacks_follow_the_dialed_number(sandbox: Sandbox, webhooks: Webhooks, carrier: str) -> None:
    line = only(sandbox, webhooks, carrier)
    webhooks.documents["/answer"] = f"<Response>{line.dial}</Response>"
    call = sandbox.place_call(carrier, line.number)
    legs = webhooks.forms("/leg")
    assert [leg["CallStatus"] for leg in legs] == ["initiated", "ringing", "in-progress", "completed"]
    assert {leg["ParentCallSid"] for leg in legs} == {call.id}
    assert {leg["CallSid"] for leg in legs} == {webhooks.form("/dialed")["DialCallSid"]} != {call.id}
    assert {(leg["From"], leg["To"]) for leg in legs} == {("+12125551234", "+441632960001")}


def test_telnyx_tells_every_step(sandbox: Sandbox, webhooks: Webhooks) -> None:
    line = only(sandbox, webhooks, "telnyx")
    webhooks.documents["/answer"] = line.voicemail()
    call = sandbox.place_call("telnyx", line.number)
    steps = webhooks.forms("/status")
    assert [step["CallStatus"] for step in steps] == ["ringing", "in-progress", "completed"]
    assert [step["SequenceNumber"] for step in steps] == ["1", "2", "3"]
    assert steps[-1]["CallDuration"] == "5" and steps[-1]["AnsweredTime"] == steps[0]["CallInitiatedAt"]
    assert {step["ConnectionId"] for step in steps} == {seeds.TELNYX_CUSTOMER_APP}
    ended = datetime.fromisoformat(steps[-1]["Timestamp"])
    assert ended - datetime.fromisoformat(steps[-1]["CallInitiatedAt"]) == timedelta(seconds=5)
    assert abs(datetime.now(UTC) - ended) < timedelta(seconds=10)
    assert call.id.startswith("v3:")


def test_plivo_tells_the_hangup(sandbox: Sandbox, webhooks: Webhooks) -> None:
    line = only(sandbox, webhooks, "plivo")
    webhooks.documents["/answer"] = line.voicemail()
    sandbox.place_call("plivo", line.number, talk_s=61)
    told = webhooks.form("/status")
    assert (told["Event"], told["CallStatus"], told["Duration"], told["BillDuration"]) == (
        "Hangup",
        "completed",
        "63",
        "120",
    )
    assert (told["HangupCauseName"], told["HangupCauseCode"]) == ("End Of XML Instructions", "4010")
    started = datetime.strptime(told["StartTime"], "%Y-%m-%d %H:%M:%S")
    assert datetime.strptime(told["EndTime"], "%Y-%m-%d %H:%M:%S") - started == timedelta(seconds=63)
    assert (told["TotalCost"], told["BillRate"]) == ("0.01100", "0.00550")


def test_plivo_without_hangup_url_tells_the_answer_url(sandbox: Sandbox, webhooks: Webhooks) -> None:
    line = only(sandbox, webhooks, "plivo")
    sandbox.console("plivo", line.account, application=seeds.PLIVO_CUSTOMER_APP, hangup_url="")
    sandbox.place_call("plivo", line.number)
    assert [form["Event"] for form in webhooks.forms("/answer")] == ["StartApp", "Hangup"]


def test_plivo_record_is_cut_at_a_minute_if_not_told(sandbox: Sandbox, webhooks: Webhooks) -> None:
    line = only(sandbox, webhooks, "plivo")
    webhooks.documents["/answer"] = line.voicemail().replace('maxLength="120"', "")
    sandbox.place_call("plivo", line.number, talk_s=90)
    assert webhooks.form("/recorded")["RecordingDuration"] == "60"


def test_plivo_record_after_dial_records_nothing(sandbox: Sandbox, webhooks: Webhooks) -> None:
    line = only(sandbox, webhooks, "plivo")
    record, dial = line.dial[: line.dial.index("<Dial")], line.dial[line.dial.index("<Dial") :]
    webhooks.documents["/answer"] = f"<Response>{dial}{record}</Response>"
    call = sandbox.place_call("plivo", line.number)
    assert call.dialed and call.recordings == []


def test_plivo_records_a_session_in_the_background(sandbox: Sandbox, webhooks: Webhooks) -> None:
    line = only(sandbox, webhooks, "plivo")
    record = '<Record recordSession="true" maxLength="5" callbackUrl="/recorded"/>'
    webhooks.documents["/answer"] = f"<Response>{record}<Dial><Number>441632960001</Number></Dial></Response>"
    call = sandbox.place_call("plivo", line.number, talk_s=9)
    assert call.dialed == ["441632960001"] and webhooks.form("/recorded")["RecordingDuration"] == "5"


def test_plivo_action_that_does_not_redirect_is_told_only(sandbox: Sandbox, webhooks: Webhooks) -> None:
    line = only(sandbox, webhooks, "plivo")
    webhooks.documents["/answer"] = line.voicemail('redirect="false"').replace("<Hangup/>", "<Speak>Thanks.</Speak>")
    webhooks.documents["/done"] = "<Response><Speak>Not said.</Speak></Response>"
    assert sandbox.place_call("plivo", line.number).spoken == ["Leave a message.", "Thanks."]


# Files


@pytest.fixture
def file_url(sandbox: Sandbox, webhooks: Webhooks, line: Line) -> str:
    webhooks.documents["/answer"] = line.voicemail()
    sandbox.place_call(line.carrier, line.number, talk_s=2)
    return webhooks.form("/recorded")[line.recording_url]


@pytest.mark.parametrize(
    "asked, part", [("0-99", slice(0, 100)), ("100-", slice(100, None)), ("-50", slice(-50, None))]
)
def test_a_range_of_a_file_can_be_had(sandbox: Sandbox, line: Line, file_url: str, asked: str, part: slice) -> None:
    whole = fetch(line, file_url)
    assert whole.status_code == 200 and whole.headers["Accept-Ranges"] == "bytes"
    assert whole.headers["Content-Type"].startswith("audio/")
    reply = fetch(line, file_url, Range=f"bytes={asked}")
    assert (reply.status_code, reply.content) == (206, whole.content[part])
    size = len(whole.content)
    start, stop, _ = part.indices(size)
    assert reply.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{size}"


@pytest.mark.parametrize("asked", ["9999999-", "-0", "5-4"])
def test_a_range_outside_the_file_is_refused(line: Line, file_url: str, asked: str) -> None:
    reply = fetch(line, file_url, Range=f"bytes={asked}")
    assert (reply.status_code, reply.content) == (416, b"")
    assert reply.headers["Content-Range"].startswith("bytes */")


def test_a_file_may_not_be_ready_at_once(sandbox: Sandbox, line: Line, file_url: str) -> None:
    sandbox.media_not_ready = 2
    assert [fetch(line, file_url).status_code for _ in range(3)] == [404, 404, 200]


def test_a_file_may_be_elsewhere(sandbox: Sandbox, line: Line, file_url: str) -> None:
    sandbox.media_redirect = "http://169.254.169.254/latest"
    auth = (seeds.TWILIO_SID, seeds.TWILIO_TOKEN) if line is TWILIO else None
    reply = requests.get(file_url, auth=auth, allow_redirects=False, timeout=5)
    assert (reply.status_code, reply.headers["Location"]) == (302, "http://169.254.169.254/latest")


def test_requests_for_files_are_in_the_ledger_and_can_fail(sandbox: Sandbox, line: Line, file_url: str) -> None:
    fetch(line, file_url)
    exchange = sandbox.ledger[-1]
    assert (exchange.carrier, exchange.status, exchange.applied) == (line.carrier, 200, True)
    assert exchange.response == "<32044 bytes>" and urlsplit(file_url).path.endswith(exchange.path)
    sandbox.fault("status", carrier=line.carrier, path=r"\.wav|/RE", status=503)
    assert [fetch(line, file_url).status_code for _ in range(2)] == [503, 200]


def test_twilio_files_want_credentials_unless_told_otherwise(sandbox: Sandbox, webhooks: Webhooks) -> None:
    line = only(sandbox, webhooks, "twilio")
    webhooks.documents["/answer"] = line.voicemail()
    sandbox.place_call("twilio", line.number)
    url = webhooks.form("/recorded")["RecordingUrl"]
    assert requests.get(url, timeout=5).status_code == 401
    assert requests.get(url, auth=(seeds.TWILIO_OTHER_SID, seeds.TWILIO_OTHER_TOKEN), timeout=5).status_code == 401
    assert fetch(line, url).content == fetch(line, f"{url}.wav").content
    assert fetch(line, f"{url}.mp3").status_code == 404
    sandbox.state.account("twilio", line.account).media_auth = False
    assert requests.get(url, timeout=5).status_code == 200


def test_plivo_files_are_public_unless_told_otherwise(sandbox: Sandbox, webhooks: Webhooks) -> None:
    line = only(sandbox, webhooks, "plivo")
    webhooks.documents["/answer"] = line.voicemail()
    sandbox.place_call("plivo", line.number)
    url = webhooks.form("/recorded")["RecordUrl"]
    assert requests.get(url, timeout=5).status_code == 200
    sandbox.state.account("plivo", line.account).media_auth = True
    assert requests.get(url, timeout=5).status_code == 401
    assert requests.get(url, auth=(seeds.PLIVO_ID, seeds.PLIVO_TOKEN), timeout=5).status_code == 200


def test_telnyx_links_expire_and_take_no_second_permission(sandbox: Sandbox, webhooks: Webhooks) -> None:
    line = only(sandbox, webhooks, "telnyx")
    webhooks.documents["/answer"] = line.voicemail()
    sandbox.place_call("telnyx", line.number)
    told = webhooks.form("/recorded")
    url = told["RecordingUrl"]
    assert requests.get(url, timeout=5).status_code == 200
    refused = requests.get(url, headers={"Authorization": f"Bearer {seeds.TELNYX_KEY}"}, timeout=5)
    assert refused.status_code == 400 and b"InvalidArgument" in refused.content
    assert requests.get(url.replace("X-Amz-Signature=", "X-Amz-Signature=0"), timeout=5).status_code == 403
    assert requests.get(url.partition("?")[0], timeout=5).status_code == 403
    sandbox.expire_links()
    assert requests.get(url, timeout=5).status_code == 403
    fresh = telnyx_client(sandbox).recordings.retrieve(told["RecordingSid"]).data.download_urls.wav
    assert requests.get(fresh, timeout=5).status_code == 200


# Lists, through the vendors' SDKs


def place_two(sandbox: Sandbox, webhooks: Webhooks, line: Line) -> tuple[PlacedCall, PlacedCall]:
    """A voicemail and a forwarded call."""
    webhooks.documents["/answer"] = line.voicemail()
    first = sandbox.place_call(line.carrier, line.number, talk_s=4)
    webhooks.documents["/answer"] = f"<Response>{line.dial}</Response>"
    return first, sandbox.place_call(line.carrier, line.number, caller="+441632960084", talk_s=9)


def test_twilio_lists_calls_and_recordings(sandbox: Sandbox, webhooks: Webhooks) -> None:
    line = only(sandbox, webhooks, "twilio")
    first, second = place_two(sandbox, webhooks, line)
    client = twilio_client(sandbox)
    now = datetime.now(UTC)
    calls = client.calls.list(to=f"+{line.number}")
    assert [call.sid for call in calls] == [second.id, first.id], "the newest first"
    assert (calls[1].status, calls[1].duration, calls[1].direction) == ("completed", "6", "inbound")
    (child,) = client.calls.list(parent_call_sid=second.id)
    assert (child.direction, child.to, child.from_formatted) == ("outbound-dial", "+441632960001", "+12125551234")
    assert [call.sid for call in client.calls.list(from_="+441632960083")] == [first.id]
    assert len(client.calls.list(start_time_after=now - timedelta(hours=1), page_size=1)) == 3
    assert client.calls.list(start_time_after=now + timedelta(hours=1)) == []
    assert client.calls.list(start_time_before=now - timedelta(hours=1)) == []
    assert len(client.calls.list(start_time=calls[0].start_time.date())) >= 1
    assert client.calls.list(status="busy") == []
    assert client.calls(first.id).fetch().start_time + timedelta(seconds=6) == client.calls(first.id).fetch().end_time
    (recording,) = client.recordings.list(call_sid=second.id)
    assert (recording.sid, recording.channels, recording.source) == (second.recordings[0], 2, "DialVerb")
    assert len(client.recordings.list(date_created_after=now - timedelta(hours=1))) == 2
    assert client.recordings(first.recordings[0]).fetch().duration == "4"
    assert [problem for exchange in sandbox.ledger for problem in violations(exchange)] == []


def test_twilio_refuses_strange_dates_and_unknown_calls(sandbox: Sandbox) -> None:
    auth = (seeds.TWILIO_SID, seeds.TWILIO_TOKEN)
    account = f"{sandbox.twilio_url}/2010-04-01/Accounts/{seeds.TWILIO_SID}"
    for name in ("StartTime", "StartTime>", "EndTime<"):
        sandbox.state.account("twilio", seeds.TWILIO_SID).calls["CA1"] = {
            "start_time": "2026-01-01",
            "end_time": "2026-01-01",
        }
        reply = requests.get(f"{account}/Calls.json", params={name: "yesterday"}, auth=auth, timeout=5)
        assert reply.status_code == 400
    assert requests.get(f"{account}/Calls/CA0.json", auth=auth, timeout=5).status_code == 404
    assert requests.get(f"{account}/Recordings/RE0.json", auth=auth, timeout=5).status_code == 404


def test_plivo_lists_calls_and_recordings(sandbox: Sandbox, webhooks: Webhooks) -> None:
    line = only(sandbox, webhooks, "plivo")
    first, second = place_two(sandbox, webhooks, line)
    client = plivo_client(sandbox)
    now = datetime.now(UTC).replace(tzinfo=None)
    calls = client.calls.list(call_direction="inbound", to_number=line.number)
    assert [call["call_uuid"] for call in calls["objects"]] == [second.id, first.id]
    assert (calls["objects"][1]["call_duration"], calls["objects"][1]["hangup_cause_code"]) == (6, 4010)
    assert client.calls.list(call_direction="outbound")["objects"][0]["parent_call_uuid"] == second.id
    assert client.calls.list(limit=1)["meta"]["total_count"] == 3
    assert client.calls.list(end_time__gte=str(now - timedelta(hours=1)))["meta"]["total_count"] == 3
    assert client.calls.list(end_time__gt=str(now + timedelta(hours=1)))["meta"]["total_count"] == 0
    assert client.calls.list(end_time__lt=str(now - timedelta(hours=1)))["meta"]["total_count"] == 0
    assert client.calls.get(first.id)["from_number"] == "441632960083"
    recordings = client.recordings.list(call_uuid=second.id)
    assert recordings["objects"][0]["recording_id"] == second.recordings[0]
    assert client.recordings.list(add_time__gte=now - timedelta(hours=1))["meta"]["total_count"] == 2
    assert client.recordings.get(first.recordings[0]).recording_duration_ms == "4000.00000"
    with pytest.raises(plivo.exceptions.ResourceNotFoundError):
        client.recordings.get("0-0")
    # The document lacks the bounds with "or equal"; the SDK repeats a call's id in the query.
    known = [one for one in sandbox.ledger if not any(name.endswith(("gte", "call_uuid")) for name in one.query)]
    assert [problem for exchange in known for problem in violations(exchange)] == []


def test_telnyx_lists_calls_recordings_and_deliveries(sandbox: Sandbox, webhooks: Webhooks) -> None:
    line = only(sandbox, webhooks, "telnyx")
    first, second = place_two(sandbox, webhooks, line)
    client = telnyx_client(sandbox)
    account = sandbox.state.account("telnyx", line.account)
    listed = client.texml.accounts.calls.retrieve_calls(account.user_id, to=f"+{line.number}", page_size=1)
    assert listed.calls[0].sid == second.id and listed.next_page_uri
    today, tomorrow = (f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%d}" for days in (-1, 1))
    listed = client.texml.accounts.calls.retrieve_calls(account.user_id, start_time_gt=today, status="completed")
    assert {call.sid for call in listed.calls} > {first.id, second.id}
    assert client.texml.accounts.calls.retrieve_calls(account.user_id, start_time_gt=tomorrow).calls == []
    recordings = client.recordings.list(filter={"call_control_id": second.id}).data
    assert [(one.id, one.channels, one.duration_millis) for one in recordings] == [(second.recordings[0], "dual", 9000)]
    since = f"{datetime.now(UTC) - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
    assert len(client.recordings.list(filter={"created_at": {"gte": since}}).data) == 2
    assert client.recordings.list(filter={"created_at": {"lte": since}}).data == []
    key = {"Authorization": f"Bearer {seeds.TELNYX_KEY}"}
    path = f"/texml/Accounts/{account.user_id}/Recordings/{first.recordings[0]}.json"
    reply = requests.get(sandbox.telnyx_url + path, headers=key, timeout=5).json()
    assert (reply["duration"], reply["call_sid"], reply["source"]) == ("4", first.id, "RecordVerb")
    assert requests.get(reply["media_url"], timeout=5).status_code == 200
    deliveries = client.webhook_deliveries.list(page_size=250).data
    assert len(deliveries) == len(first.requests) + len(second.requests)
    assert {one.status for one in deliveries} == {"delivered"} and {one.user_id for one in deliveries} == {
        account.user_id
    }
    assert deliveries[0].webhook.payload["CallSid"] == second.id
    # The SDK spells a bound `StartTime>`, the vendor's own document `StartTime_gt`.
    known = [one for one in sandbox.ledger if "StartTime>" not in one.query and "media" not in one.path]
    assert [problem for exchange in known for problem in violations(exchange)] == []
    for name in ("StartTime_gt", "StartTime_lt", "StartTime"):
        url = f"{sandbox.telnyx_url}/texml/Accounts/{account.user_id}/Calls"
        reply = requests.get(url, params={name: tomorrow}, headers=key, timeout=5)
        assert len(reply.json()["calls"]) == (3 if name == "StartTime_lt" else 0)


def test_telnyx_lists_failed_deliveries(sandbox: Sandbox, webhooks: Webhooks) -> None:
    line = only(sandbox, webhooks, "telnyx")
    webhooks.documents["/status"] = (500, "", "")
    sandbox.place_call("telnyx", line.number, duplicate=2)
    client = telnyx_client(sandbox)
    failed = client.webhook_deliveries.list(filter={"status": {"eq": "failed"}}).data
    assert len(failed) == 3 and {len(one.attempts) for one in failed} == {2}
    assert failed[0].attempts[0].http.response.status == 500


# Signing, and the control API


@pytest.mark.parametrize("carrier", sorted(LINES))
def test_signing_helper_signs_repeated_names_and_empty_values(carrier: str) -> None:
    line = LINES[carrier]
    account = seeds.seeded().account(carrier, line.account)
    form = [("b", "2"), ("a", "x y+&é"), ("b", "1"), ("empty", "")]
    for url in (f"{OURS}/a", f"{OURS}:8443/a?z=1&c=%20d"):
        body, headers = signed(account, url, form, timestamp=1_700_000_000, nonce="n1")
        assert line.validate("POST", url, body, headers)
        assert not line.validate("POST", url, body + b"1", headers)
        assert parse_qsl(body.decode(), keep_blank_values=True) == form
        assert signed(account, url, form, timestamp=1_700_000_000, nonce="n1") == (body, headers)


def test_signing_helper_signs_raw_bodies_and_plivo_v2() -> None:
    account = seeds.seeded().account("telnyx", seeds.TELNYX_ACCOUNT)
    body, headers = signed(account, OURS, b'{"data": {}}')
    assert headers["Content-Type"] == "application/json" and telnyx_valid("POST", OURS, body, headers)
    account = seeds.seeded().account("plivo", seeds.PLIVO_ID)
    _, headers = signed(account, f"{OURS}/a?b=1", [("c", "d")])
    nonce, signature = headers["X-Plivo-Signature-V2-Nonce"], headers["X-Plivo-Signature-V2"]
    assert validate_signature(f"{OURS}/a", nonce, signature, seeds.PLIVO_TOKEN)


@pytest.mark.parametrize("wrong", [{"drop": ("answer",)}, {"drop": "status"}, {"duplicate": 0}, {"talk_s": -1}])
def test_options_that_make_no_sense_are_refused(sandbox: Sandbox, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        sandbox.place_call("twilio", TWILIO.number, **wrong)


def test_calls_can_be_placed_over_the_control_api(sandbox: Sandbox, webhooks: Webhooks) -> None:
    line = only(sandbox, webhooks, "twilio")
    webhooks.documents["/answer"] = line.voicemail()
    sandbox.deliver_to = None
    settings = {"deliver_to": webhooks.url, "media_not_ready": 1}
    assert requests.post(f"{sandbox.url}/_sandbox/settings", json=settings, timeout=5).status_code == 200
    wanted = {"carrier": "twilio", "number": line.number, "talk_s": 4, "drop": ["status"]}
    reply = requests.post(f"{sandbox.url}/_sandbox/calls", json=wanted, timeout=30)
    assert reply.status_code == 200, reply.text
    call = reply.json()
    assert (call["status"], call["duration_s"], len(call["recordings"])) == ("completed", 6, 1)
    assert "CallSid=" in call["requests"][0]["body"]
    assert sandbox.media_not_ready == 1
    requests.get(webhooks.form("/recorded")["RecordingUrl"], timeout=5)
    assert requests.get(f"{sandbox.url}/_sandbox/ledger", timeout=5).status_code == 200
    wanted["number"] = "19998887777"
    assert requests.post(f"{sandbox.url}/_sandbox/calls", json=wanted, timeout=5).status_code == 400
