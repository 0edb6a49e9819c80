"""Calls that the sandbox places, from the answer to the log and the audio."""

import io
import wave
from datetime import timedelta
from typing import Any
from xml.etree import ElementTree

import pytest
import requests
from django.test import Client

from integrations.media import is_admitted, type_of_audio
from integrations.transport import Deadline
from phones.models import Call, CallEvent, Line, PhoneNumber, Recording
from phones.reconciling import Done, reconcile
from phones.services.carriers import connect
from sandbox.sandbox import Sandbox
from tests.support.api import add, get
from tests.support.carrier_contract import violations
from tests.support.carriers import CARRIERS, OTHERS, WITH_RECORDING_PATHS, Good
from tests.support.people import Tenant

pytestmark = pytest.mark.django_db(transaction=True)

CALLER, COLLEAGUE = "441632960083", "442079460000"


def added(sandbox: Sandbox, live_server: Any, settings: Any, tenant: Tenant, good: Good, **inbound: Any) -> PhoneNumber:
    """A number that was added, with its carrier reaching us."""
    settings.PUBLIC_URL = live_server.url
    reply = add(tenant, good.body(tenant.user))
    assert reply.status_code == 201, reply.content
    PhoneNumber.objects.update(**inbound)
    return PhoneNumber.objects.get()


@pytest.fixture
def phone(sandbox: Sandbox, live_server: Any, settings: Any, tenant: Tenant, carrier: Good) -> PhoneNumber:
    return added(sandbox, live_server, settings, tenant, carrier)


def log_of(tenant: Tenant, query: str = "") -> list[dict[str, Any]]:
    return get(f"/api/call/calls{query}", tenant).json()["data"]["items"]


def elements(document: str) -> list[str]:
    return [element.tag for element in ElementTree.fromstring(document).iter()]  # noqa: S314  our own


# -- each carrier, each way to answer ---------------------------------------------------------------------------------


@pytest.mark.engine
def test_a_voicemail_is_taken_and_can_be_heard(sandbox: Sandbox, phone: PhoneNumber, tenant: Tenant) -> None:
    PhoneNumber.objects.update(greeting="Ann & Bob's <office>: speak after the beep.")

    placed = sandbox.place_call(phone.integration, phone.number, talk_s=7)

    assert placed.status == "completed"
    assert placed.spoken == ["Ann & Bob's <office>: speak after the beep."]
    assert not placed.looped
    assert all(one.reply_status == 200 for one in placed.requests)
    (call,) = log_of(tenant)
    (recording,) = call.pop("recordings")
    row = Call.objects.get()
    assert call == {
        "_id": row.pk,
        "carrierCallId": placed.id,
        "phoneNumber": phone.number,
        "integration": phone.integration,
        "direction": "inbound",
        "from": CALLER,
        "to": phone.number,
        "status": "completed",
        "startedAt": call["startedAt"],
        "answeredAt": call["answeredAt"],
        "endedAt": call["endedAt"],
        "durationSeconds": placed.duration_s,
        "hangupCause": call["hangupCause"],
    }
    assert call["startedAt"] <= call["answeredAt"] < call["endedAt"]
    assert recording["status"] == "completed"
    assert recording["durationSeconds"] == 7
    assert Recording.objects.get().carrier_id == placed.recordings[0]
    audio = get(f"/api/call/recordings/{recording['_id']}/media", tenant)
    assert audio.status_code == 200
    assert audio["Content-Type"] in ("audio/wav", "audio/x-wav")
    with wave.open(io.BytesIO(audio.getvalue())) as sound:
        assert round(sound.getnframes() / sound.getframerate()) == 7


@pytest.mark.parametrize("record", [True, False])
def test_a_call_is_forwarded(sandbox: Sandbox, phone: PhoneNumber, tenant: Tenant, record: bool) -> None:
    PhoneNumber.objects.update(action="forward", forward_to=COLLEAGUE, record=record)

    placed = sandbox.place_call(phone.integration, phone.number, talk_s=70)

    assert [one.lstrip("+") for one in placed.dialed] == [COLLEAGUE]
    assert all(one.reply_status == 200 for one in placed.requests)
    (call,) = log_of(tenant)
    assert (call["direction"], call["from"], call["to"]) == ("inbound", CALLER, phone.number)
    assert call["status"] == "completed"
    assert [one["durationSeconds"] for one in call["recordings"]] == ([70] if record else [])


@pytest.mark.engine
def test_a_call_is_rejected(sandbox: Sandbox, phone: PhoneNumber, tenant: Tenant) -> None:
    PhoneNumber.objects.update(action="reject")

    placed = sandbox.place_call(phone.integration, phone.number)

    assert placed.spoken == placed.dialed == placed.recordings == []
    (call,) = log_of(tenant)
    assert call["status"] == CARRIERS[phone.integration].rejected_status
    assert call["recordings"] == []


@pytest.mark.engine
def test_a_colleague_who_does_not_answer_is_no_recording(sandbox: Sandbox, phone: PhoneNumber, tenant: Tenant) -> None:
    PhoneNumber.objects.update(action="forward", forward_to=COLLEAGUE, record=True, if_unanswered="hangup")

    sandbox.place_call(phone.integration, phone.number, forward_answers=False)

    (call,) = log_of(tenant)
    assert call["recordings"] == []


def test_a_caller_who_leaves_no_message_is_in_the_log(sandbox: Sandbox, phone: PhoneNumber, tenant: Tenant) -> None:
    sandbox.place_call(phone.integration, phone.number, talk_s=0)

    (call,) = log_of(tenant)
    assert call["status"] == "completed"
    assert {one["status"] for one in call["recordings"]} <= {"absent"}


def test_a_number_that_is_not_active_hangs_up(sandbox: Sandbox, phone: PhoneNumber) -> None:
    PhoneNumber.objects.update(state="removing")

    placed = sandbox.place_call(phone.integration, phone.number)

    assert [elements(document) for document in placed.documents] == [["Response", "Hangup"]]
    assert placed.requests[0].reply_status == 200


@pytest.mark.engine
def test_the_earliest_user_of_a_shared_line_decides(
    sandbox: Sandbox, phone: PhoneNumber, carrier: Good, colleague: Tenant
) -> None:
    assert add(colleague, carrier.body(colleague.user)).status_code == 201
    PhoneNumber.objects.filter(user=colleague.user).update(greeting="Second")
    PhoneNumber.objects.filter(pk=phone.pk).update(greeting="First")

    assert sandbox.place_call(phone.integration, phone.number).spoken == ["First"]
    PhoneNumber.objects.filter(pk=phone.pk).update(state="removing")
    assert sandbox.place_call(phone.integration, phone.number).spoken == ["Second"]
    assert len(log_of(colleague)) == 2


# -- what callers and owners write ------------------------------------------------------------------------------------

HOSTILE = [
    "</Say></Speak><Dial>+15005550006</Dial><Say>",
    '" onload="x',
    "'<![CDATA[<Hangup/>]]>&amp;&#60;Dial&#62;",
    "\x00\x01\x08\x0b\x1b\ud800\ufffe\uffff" + "ok",
    "<cont>a</cont>&lt;cont&gt;",
    "<?xml version='1.0'?><!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>&e;",
    "é 你好 🎉 \u202e \r\n\t",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_changes_the_structure_of_a_document(sandbox: Sandbox, phone: PhoneNumber, text: str) -> None:
    plain = sandbox.place_call(phone.integration, phone.number).documents
    storable = text.encode("utf-8", "replace").decode()
    PhoneNumber.objects.update(greeting=storable)

    name = "".join(character for character in storable if character.isprintable())
    placed = sandbox.place_call(phone.integration, phone.number, caller_name=name)

    assert [elements(document) for document in placed.documents] == [elements(document) for document in plain]
    assert all(one.reply_status == 200 for one in placed.requests)
    assert len(placed.spoken) == 1


def test_a_caller_without_a_number_is_written_as_the_carrier_says(
    sandbox: Sandbox, phone: PhoneNumber, tenant: Tenant
) -> None:
    sandbox.place_call(phone.integration, phone.number, caller="anonymous")

    (call,) = log_of(tenant)
    assert call["from"] == "anonymous"


# -- carriers as they are ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unruly", [{"duplicate": 3}, {"reorder": True}, {"replay": True}])
def test_repeats_and_disorder_make_the_same_log(
    sandbox: Sandbox, phone: PhoneNumber, tenant: Tenant, unruly: dict[str, Any]
) -> None:
    PhoneNumber.objects.update(action="forward", forward_to=COLLEAGUE, record=True)
    sandbox.place_call(phone.integration, phone.number, talk_s=9)
    events = CallEvent.objects.count()

    sandbox.place_call(phone.integration, phone.number, talk_s=9, **unruly)

    assert CallEvent.objects.count() == 2 * events
    calls = log_of(tenant)
    assert len(calls) == 2
    told = [
        (one["status"], one["durationSeconds"], one["from"], [r["durationSeconds"] for r in one["recordings"]])
        for one in calls
    ]
    assert told[0] == told[1]


def test_what_was_tampered_with_is_refused(sandbox: Sandbox, phone: PhoneNumber) -> None:
    placed = sandbox.place_call(phone.integration, phone.number, tamper=True)

    assert {one.reply_status for one in placed.requests} == {403}
    assert all(one.reply_body == "" for one in placed.requests)
    assert CallEvent.objects.count() == Call.objects.count() == 0


@pytest.mark.engine
def test_missed_webhooks_are_made_good_by_reconcile(sandbox: Sandbox, phone: PhoneNumber, tenant: Tenant) -> None:
    sandbox.place_call(phone.integration, phone.number, talk_s=5)
    (whole,) = log_of(tenant)
    placed = sandbox.place_call(phone.integration, phone.number, talk_s=5, drop=True)
    (missed,) = (one for one in log_of(tenant) if one["_id"] != whole["_id"])
    assert missed["status"] == "ringing"

    outcome = reconcile()

    assert outcome.pulls == {Done.YES: 1}
    (mended,) = (one for one in log_of(tenant) if one["_id"] == missed["_id"])
    assert mended["status"] == "completed"
    assert mended["durationSeconds"] == placed.duration_s
    assert [one["durationSeconds"] for one in mended["recordings"]] == [5]
    before = list(Call.objects.order_by("pk").values())
    reconcile()
    assert list(Call.objects.order_by("pk").values()) == before
    assert Recording.objects.count() == 2


@pytest.mark.engine
def test_calls_from_before_the_number_was_ours_are_not_pulled(
    sandbox: Sandbox, live_server: Any, settings: Any, tenant: Tenant, carrier: Good
) -> None:
    phone = added(sandbox, live_server, settings, tenant, carrier)
    sandbox.place_call(phone.integration, phone.number, drop=True)
    Call.objects.all().delete()
    Line.objects.update(held_since=Line.objects.get().held_since + timedelta(minutes=1))

    reconcile()

    assert not Call.objects.exists()


def test_a_carrier_that_is_down_does_not_stop_reconcile(sandbox: Sandbox, phone: PhoneNumber) -> None:
    sandbox.fault("status", carrier=phone.integration, status=503, times=None)

    outcome = reconcile()

    assert (outcome.failed, outcome.pulls) == (0, {Done.NOT_YET: 1})


def test_what_is_asked_for_missed_calls_keeps_to_the_carriers_documents(
    sandbox: Sandbox, phone: PhoneNumber, tenant: Tenant
) -> None:
    sandbox.place_call(phone.integration, phone.number)
    sandbox.clear_ledger()

    assert reconcile().pulls == {Done.YES: 1}
    media(Recording.objects.get(), tenant)

    asked = [exchange for exchange in sandbox.ledger if "-media/" not in exchange.path and ".wav" not in exchange.path]
    assert len(asked) >= 2
    problems = {problem for exchange in asked for problem in violations(exchange)}
    # So says the vendor's page, and so writes its SDK; only its OpenAPI document calls it StartTime_gt.
    assert problems <= {"query: StartTime> is unknown"}


def test_a_forwarded_call_is_one_entry_whoever_tells_of_it(
    sandbox: Sandbox, phone: PhoneNumber, tenant: Tenant
) -> None:
    PhoneNumber.objects.update(action="forward", forward_to=COLLEAGUE, record=True)
    sandbox.place_call(phone.integration, phone.number)

    reconcile()

    assert len(log_of(tenant)) == 1


# -- the audio --------------------------------------------------------------------------------------------------------


@pytest.fixture
def recording(sandbox: Sandbox, phone: PhoneNumber) -> Recording:
    sandbox.place_call(phone.integration, phone.number, talk_s=3)
    return Recording.objects.get()


def media(recording: Recording, tenant: Tenant, **headers: str) -> Any:
    return get(f"/api/call/recordings/{recording.pk}/media", tenant, **headers)


def test_a_part_of_the_audio_can_be_had(recording: Recording, tenant: Tenant) -> None:
    whole = media(recording, tenant).getvalue()

    part = media(recording, tenant, Range="bytes=10-19")

    assert part.status_code == 206
    assert part.getvalue() == whole[10:20]
    assert part["Content-Range"] == f"bytes 10-19/{len(whole)}"
    beyond = media(recording, tenant, Range=f"bytes={len(whole) + 1}-")
    assert (beyond.status_code, beyond.json()["data"]["error"]) == (416, "range_not_satisfiable")
    for not_understood in ("bytes=0-1,3-4", "seconds=0-1", "bytes=x"):
        assert media(recording, tenant, Range=not_understood).getvalue() == whole


def test_audio_that_is_not_ready_is_waited_for(
    sandbox: Sandbox, recording: Recording, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("integrations.media.NOT_READY_PAUSES_S", (0.01, 0.01))
    tries = 3 + bool(recording.url)  # first where it was said to be
    sandbox.media_not_ready = tries - 1
    assert media(recording, tenant).status_code == 200
    sandbox.media_not_ready = tries
    refused = media(recording, tenant)
    assert (refused.status_code, refused.json()["data"]["error"]) == (500, "carrier_unavailable")


@pytest.mark.engine
def test_audio_that_is_gone_is_a_404(sandbox: Sandbox, recording: Recording, tenant: Tenant) -> None:
    Recording.objects.update(created_at=recording.created_at.replace(year=recording.created_at.year - 1))
    sandbox.media_not_ready = 1 + bool(recording.url)

    gone = media(recording, tenant)

    assert (gone.status_code, gone.json()["data"]["error"]) == (404, "not_found")
    assert "audio" in gone.json()["errorMessage"]


def test_links_that_ran_out_are_renewed(sandbox: Sandbox, recording: Recording, tenant: Tenant) -> None:
    sandbox.expire_links()

    assert media(recording, tenant).status_code == 200


@pytest.mark.parametrize(
    "elsewhere",
    [
        "http://127.0.0.1:1/x.wav",
        "https://169.254.169.254/latest/meta-data",
        "https://evil.example.com/x.wav",
        "https://twilio.com.evil.example.com/x.wav",
        "https://api.twilio.com@evil.example.com/x",
        "https://api.twilio.com:8443/x",
        "http://api.twilio.com/x",
        "file:///etc/passwd",
        "//evil.example.com/x",
        "https://evil.example.com\\.plivo.com/x",
        "https://evil.example.com\\@api.twilio.com/x",
        "https://api.twilio.com:abc/x",
        "https://[::1/x",
        "https://evil.example.com#.plivo.com/x",
        "https://evil.example.com?.plivo.com/x",
        "https://api.plivo.com\t.evil.example.com/x",
    ],
)
def test_audio_comes_from_the_carrier_and_from_nowhere_else(
    sandbox: Sandbox, recording: Recording, tenant: Tenant, elsewhere: str
) -> None:
    sandbox.media_redirect = elsewhere
    redirected = media(recording, tenant)
    assert (redirected.status_code, redirected.json()["data"]["error"]) == (404, "not_found")

    sandbox.media_redirect = None
    if recording.account.integration == "plivo":  # the only carrier whose links we keep
        Recording.objects.update(url=elsewhere)
        assert media(recording, tenant).status_code == 404


def test_another_workspace_sees_nothing(
    sandbox: Sandbox, recording: Recording, phone: PhoneNumber, other_tenant: Tenant
) -> None:
    call = Call.objects.get()
    unknown = get("/api/call/calls/" + "f" * 24, other_tenant)
    assert unknown.status_code == 404
    for path in (f"calls/{call.pk}", f"phones/{phone.pk}/calls", f"recordings/{recording.pk}/media", "calls/x"):
        reply = get(f"/api/call/{path}", other_tenant)
        assert (reply.status_code, reply.content) == (404, unknown.content)
    assert log_of(other_tenant) == []


def test_nobody_hears_anything_without_a_token(recording: Recording) -> None:
    reply = Client().get(f"/api/call/recordings/{recording.pk}/media")

    assert reply.status_code == 401


def test_the_carriers_credentials_go_to_the_carrier(sandbox: Sandbox, recording: Recording, tenant: Tenant) -> None:
    """The sandbox's Twilio asks for them, and its Telnyx refuses a request that has any."""
    good = CARRIERS[recording.account.integration]
    sandbox.clear_ledger()

    assert media(recording, tenant).status_code == 200
    assert {one.status for one in sandbox.ledger} == {200}
    assert good.auth_token not in repr(sandbox.ledger)


# -- where recordings are ---------------------------------------------------------------------------------------------


def elsewhere_at_the_carrier(recording: Recording, sandbox: Sandbox) -> dict[str, str]:
    """Addresses at the carrier's API that are of no recording of this account's, by what is there."""
    account = recording.account
    paths = CARRIERS[account.integration].recording_paths
    assert paths is not None
    api, recordings = sandbox.url + paths.accounts, paths.recordings
    own, other = f"{api}{account.account_id}/", OTHERS[account.integration].acc_sid
    return {
        "the account": own,
        "another resource": f"{own}{paths.another}",
        "the list of recordings": f"{own}{recordings}/",
        "another account's recording": f"{api}{other}/{recordings}/{recording.carrier_id}.wav",
        "up and down": f"{own}{recordings}/../Application/{recording.carrier_id}.wav",
        "up, escaped": f"{own}{recordings}/..%2FApplication%2Fx.wav",
        "below another resource": f"{own}Application/{recordings}/{recording.carrier_id}.wav",
        "after two slashes": f"{own}{recordings}//x.wav",
    }


PLACES = (
    "the account", "another resource", "the list of recordings", "another account's recording", "up and down",
    "up, escaped", "below another resource", "after two slashes",
)  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", WITH_RECORDING_PATHS)
@pytest.mark.parametrize("by", ["webhook", "redirect"])
def test_of_the_carriers_api_only_the_accounts_recordings_are_fetched(
    sandbox: Sandbox, live_server: Any, settings: Any, tenant: Tenant, name: str, place: str, by: str
) -> None:
    added(sandbox, live_server, settings, tenant, CARRIERS[name])
    sandbox.place_call(name, CARRIERS[name].number, talk_s=1)
    recording = Recording.objects.get()
    url = elsewhere_at_the_carrier(recording, sandbox)[place]
    if by == "redirect":
        sandbox.media_redirect = url
    elif name == "plivo":
        Recording.objects.update(url=url)  # as a webhook that a stolen token has signed would say
    else:
        Recording.objects.update(carrier_id=url.partition("/Recordings/")[2] or "../Balance.json")
    sandbox.clear_ledger()

    reply = media(recording, tenant)

    assert (reply.status_code, reply.json()["data"]["error"]) == (404, "not_found")
    asked = [one.path for one in sandbox.ledger]
    assert all(one.endswith(f"{recording.carrier_id}.wav") and "pplication" not in one for one in asked), asked
    assert len(asked) == (by == "redirect")


@pytest.mark.parametrize(
    ("name", "url"),
    [(name, url) for name, good in CARRIERS.items() for url in good.foreign_stores],
)
def test_a_store_that_is_not_the_carriers_own_is_told_and_not_asked(
    sandbox: Sandbox, live_server: Any, settings: Any, tenant: Tenant, name: str, url: str
) -> None:
    added(sandbox, live_server, settings, tenant, CARRIERS[name])
    sandbox.place_call(name, CARRIERS[name].number, talk_s=1)
    sandbox.media_redirect = url

    reply = media(Recording.objects.get(), tenant)

    assert (reply.status_code, reply.json()["data"]["error"]) == (404, "not_found")
    assert "stores its recordings" in reply.json()["errorMessage"]


@pytest.mark.parametrize(
    ("name", "url", "good"),
    [(name, url, good) for name, of_carrier in CARRIERS.items() for url, good in of_carrier.recording_urls],
)
def test_the_addresses_that_carriers_give_are_admitted(name: str, url: str, good: bool) -> None:
    assert is_admitted(connect(name, "AC1", "token", Deadline(1), None), url) is good


def test_nothing_but_audio_is_handed_out(sandbox: Sandbox, live_server: Any, settings: Any, tenant: Tenant) -> None:
    """The description of a recording is at a path of its own; it is JSON."""
    added(sandbox, live_server, settings, tenant, CARRIERS["plivo"])
    sandbox.place_call("plivo", CARRIERS["plivo"].number, talk_s=1)
    recording = Recording.objects.get()
    Recording.objects.update(url=recording.url.removesuffix(".wav") + "/")

    reply = media(recording, tenant)

    assert (reply.status_code, reply.json()["data"]["error"]) == (500, "carrier_unavailable")
    assert recording.carrier_id.encode() not in reply.content


@pytest.mark.parametrize(
    ("given", "path", "expected"),
    [
        ("audio/x-wav", "/x", "audio/x-wav"),
        ("binary/octet-stream", "/x.mp3", "audio/mpeg"),
        ("", "/x.WAV", "audio/wav"),
        ("application/octet-stream", "/x", ""),
        ("application/json", "/x.wav", ""),
        ("text/html; charset=utf-8", "/x.mp3", ""),
        ("audio/<script>", "/x.wav", ""),
        ("application/xml", "/x", ""),
    ],
)
def test_what_counts_as_audio(given: str, path: str, expected: str) -> None:
    response = requests.Response()
    response.url, response.headers["Content-Type"] = f"https://s3.amazonaws.com{path}", given
    assert type_of_audio(response) == expected
