"""A call that goes on to a colleague, a telephone system or a media stream has the same story in the log at each carrier."""

from collections.abc import Callable
from typing import Any

import pytest

from phones.models import PhoneNumber
from phones.spoken import SENTENCES
from sandbox.sandbox import Sandbox
from sandbox.targets import Outcome
from sandbox.voice_system import VoiceSystem
from tests.support.api import data_of, get, send
from tests.support.carriers import Good
from tests.support.numbers import added
from tests.support.people import Tenant

pytestmark = pytest.mark.django_db(transaction=True)

NUMBER, SIP, HOST = "442079460018", "sip:desk@pbx.example.com", "voice.example.com"
TARGETS: dict[str, dict[str, Any]] = {
    "a forward": {"action": "forward", "forwardTo": NUMBER},
    "a number": {"action": "connect", "connectTo": NUMBER},
    "SIP": {"action": "connect", "connectTo": SIP},
}
# What the log says of each outcome.
STATUSES: dict[Outcome, str] = {
    "answers": "completed", "breaks off": "completed", "is busy": "busy", "rings out": "no-answer", "fails": "failed"
}  # fmt: skip
TAKEN = "answers", "breaks off"

Answer = Callable[..., None]


@pytest.fixture
def answer(sandbox: Sandbox, live_server: Any, settings: Any, tenant: Tenant, carrier: Good) -> Answer:
    """Change how the tenant's number answers."""
    settings.PUBLIC_URL = live_server.url
    phone = added(tenant, carrier)

    def change(**inbound: Any) -> None:
        data_of(send("PATCH", f"phones/{phone.pk}", tenant, {"inbound": inbound}))

    return change


def logged(tenant: Tenant) -> dict[str, Any]:
    (call,) = get("/api/call/calls", tenant).json()["data"]["items"]
    return call


@pytest.mark.parametrize("outcome", STATUSES)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("follows", ["voicemail", "hangup"])
def test_what_became_of_a_call_that_went_on(
    sandbox: Sandbox, tenant: Tenant, carrier: Good, answer: Answer, target: str, outcome: Outcome, follows: str
) -> None:
    answer(**TARGETS[target], ifUnanswered=follows, language="de-DE")
    sandbox.add_target(SIP if target == "SIP" else NUMBER, outcome)
    placed = sandbox.place_call(carrier.integration, carrier.number)
    call = logged(tenant)
    assert call["status"] == STATUSES[outcome]
    assert (call["answeredAt"] is not None) == (outcome in TAKEN)
    ours = SENTENCES["de"]
    then = {"voicemail": [ours.greeting], "hangup": [ours.unanswered]}[follows]
    assert placed.spoken == ([] if outcome in TAKEN else then)
    left_message = outcome not in TAKEN and follows == "voicemail"
    assert len(call["recordings"]) == left_message


@pytest.mark.parametrize(("ring_s", "status"), [(10, "no-answer"), (30, "completed")])
def test_it_rings_as_long_as_it_was_told(
    sandbox: Sandbox, tenant: Tenant, carrier: Good, answer: Answer, ring_s: int, status: str
) -> None:
    answer(**TARGETS["SIP"], ringSeconds=ring_s)
    sandbox.add_target(SIP, "answers", rings_s=20)
    sandbox.place_call(carrier.integration, carrier.number)
    assert logged(tenant)["status"] == status


def test_a_stream_is_heard_and_knows_our_ids(sandbox: Sandbox, tenant: Tenant, carrier: Good, answer: Answer) -> None:
    answer(action="connect", connectTo=f"wss://{HOST}/calls")
    with VoiceSystem() as system:
        sandbox.hosts[HOST] = system.address
        placed = sandbox.place_call(carrier.integration, carrier.number)
    (stream,) = placed.streams
    assert (stream.connected, stream.failure) == (True, "") and stream.received > 0
    call = logged(tenant)
    assert call["status"] == "completed" and call["hangupCause"] != "stream_failed"
    (session,) = system.sessions
    told = str(session.start)
    assert PhoneNumber.objects.get().pk in told and call["_id"] in told


@pytest.mark.parametrize("reason", ["nobody is there", "it breaks off"])
def test_a_stream_that_fails_is_in_the_log(
    sandbox: Sandbox, tenant: Tenant, carrier: Good, answer: Answer, reason: str
) -> None:
    answer(action="connect", connectTo=f"wss://{HOST}/calls")
    with VoiceSystem(ends_after=5, breaks_off=True) as system:
        if reason == "it breaks off":
            sandbox.hosts[HOST] = system.address
        (stream,) = sandbox.place_call(carrier.integration, carrier.number).streams
    assert (stream.connected, bool(stream.failure)) == (reason == "it breaks off", True)
    call = logged(tenant)
    assert (call["status"], call["hangupCause"]) == ("completed", "stream_failed")
