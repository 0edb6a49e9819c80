"""Permanent refusals of a carrier say what to check: nobody is told to try again."""

import time
from typing import Any

import pytest
import responses

from integrations import provider_class
from integrations.media import open_media
from integrations.transport import Deadline
from phones.bulk.account_queues import AccountQueue
from phones.bulk.gates import AccountGate, Breaker
from phones.bulk.listed_numbers import ListedNumbers
from phones.bulk.rows import Retry, RowOutcome
from phones.bulk.screening import screen
from phones.bulk.tasks import perform
from phones.models import Call, PhoneNumber, Recording
from phones.services.carriers import connect
from sandbox.sandbox import Sandbox
from tests.support.api import add, get
from tests.support.bulk import counted, done, rows_of, some
from tests.support.carriers import CARRIERS, OTHERS, SIGNING_WITH_TOKENS, Good
from tests.support.events import post
from tests.support.people import Tenant
from tests.support.state import assert_envelope
from tests.support.webhooks import LONG_AGO, Form, join

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("patient")]

PERMANENT = (400, 402, 405, 422, 451)


@pytest.mark.parametrize("status", PERMANENT)
def test_a_refused_read(sandbox: Sandbox, tenant: Tenant, carrier: Good, status: int) -> None:
    sandbox.fault("status", carrier.integration, method="GET", status=status, times=None)

    reply = add(tenant, carrier.body(tenant.user))

    assert_envelope(reply, "carrier_unavailable")
    assert "refuses to answer" in reply.json()["errorMessage"]
    assert "ry again" not in reply.json()["errorMessage"]


@pytest.mark.parametrize("status", [*PERMANENT, 403])
def test_a_refused_change(sandbox: Sandbox, tenant: Tenant, carrier: Good, status: int) -> None:
    for method in ("POST", "PATCH"):
        sandbox.fault("status", carrier.integration, method=method, status=status, times=None)

    reply = add(tenant, carrier.body(tenant.user))

    assert_envelope(reply, "webhook_setup_failed")
    assert "refused the webhook settings" in reply.json()["errorMessage"]
    assert "ry again" not in reply.json()["errorMessage"]
    assert not PhoneNumber.objects.exists()


@pytest.mark.parametrize(
    ("method", "status"),
    [("GET", 421), ("GET", 429), ("GET", 503), *(("POST", status) for status in (404, 409, 421, 423, 425, 500))],
)
def test_what_passes_may_be_tried_again(
    sandbox: Sandbox, tenant: Tenant, carrier: Good, method: str, status: int
) -> None:
    for one in ("GET",) if method == "GET" else ("POST", "PATCH"):
        sandbox.fault("status", carrier.integration, method=one, status=status, times=None)

    reply = add(tenant, carrier.body(tenant.user))

    assert reply.status_code == 500
    assert "ry again" in reply.json()["errorMessage"]


@pytest.mark.parametrize("name", SIGNING_WITH_TOKENS)  # whose paths name the account
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_account_that_is_refused_is_no_outage(sandbox: Sandbox, tenant: Tenant, name: str, method: str) -> None:
    """402: the account has not paid. Rows of other customers failed with its fifth."""
    unpaid, good = OTHERS[name], CARRIERS[name]
    numbers = [f"{good.not_owned[:4]}88{index:05}" for index in range(8)]
    for number in numbers:
        sandbox.add_number(name, unpaid.owner, number)
    rows = rows_of(tenant, unpaid, numbers) + rows_of(tenant, good, some(sandbox, good, 4))
    for line, row in enumerate(rows):
        row.line = line
    sandbox.fault("status", name, path=unpaid.owner, method=method, status=402, times=None)

    outcomes = done(rows, workers=1)

    error = "carrier_unavailable" if method == "GET" else "webhook_setup_failed"
    assert counted(outcomes) == {error: 8, "added": 4}
    assert not any("ry again" in one.message for one in outcomes.values())


@pytest.mark.parametrize(("status", "result"), [(402, RowOutcome), (503, Retry)])
def test_only_what_passes_is_retried_while_the_account_waits(
    sandbox: Sandbox, tenant: Tenant, status: int, result: type
) -> None:
    good = CARRIERS["twilio"]
    (row,), _ = screen(rows_of(tenant, good, some(sandbox, good, 1)), workspace_id=None)
    gate = AccountGate(8)
    gate.closed_until = time.monotonic() + 60  # by another row's 429
    queue = AccountQueue(gate, Breaker(), ListedNumbers(row.credentials), is_verified=False)
    sandbox.fault("status", good.integration, method="GET", status=status, times=None)

    assert isinstance(perform(queue, row, workspace_id=None, dry_run=False), result)


# -- the audio --------------------------------------------------------------------------------------------------------


def recording_of(good: Good, **fields: str) -> Form:
    if good.integration == "plivo":
        own = {"CallUUID": "CA-1", "RecordingID": "RE-1", "RecordingDuration": "17", "RecordUrl": fields.get("url", "")}
    else:
        own = {
            "CallSid": "CA-1", "RecordingSid": "RE-1", "RecordingDuration": "17", "RecordingStatus": "completed",
            "RecordingUrl": fields.get("url", ""),
        }  # fmt: skip
    return list(own.items())


def media(tenant: Tenant) -> Any:
    return get(f"/api/call/recordings/{Recording.objects.get().pk}/media", tenant)


STORES = [
    "https://my-recordings.s3.amazonaws.com/AC1/RE1",
    "https://my-recordings.s3.eu-central-1.amazonaws.com/calls/RE1.wav",
    "https://storage.googleapis.com/my-recordings/RE1.wav",
    "https://myrecordings.blob.core.windows.net/calls/RE1.wav",
]


@pytest.mark.parametrize("url", STORES)
@pytest.mark.parametrize("name", [name for name, good in CARRIERS.items() if good.recording_paths])
def test_audio_in_the_customers_own_bucket_is_told_at_once(
    sandbox: Sandbox, tenant: Tenant, name: str, url: str
) -> None:
    """Twilio: https://www.twilio.com/en-us/blog/announcing-external-aws-s3-storage-support-for-voice-recordings"""
    good = CARRIERS[name]
    party = join(sandbox, tenant, good)
    assert post(party, [*recording_of(good, url=url), ("To", good.number)], "recording").status_code == 200
    Call.objects.update(line=party.row.lines.get())
    sandbox.clear_ledger()

    reply = media(tenant)

    assert (reply.status_code, reply.json()["data"]["error"]) == (404, "not_found")
    assert "where the account stores its recordings" in reply.json()["errorMessage"]
    assert "ry again" not in reply.json()["errorMessage"]
    assert sandbox.ledger == []


# As the docstring says, and what else is the same place or none.
OWN = [
    "http://api.twilio.com/2010-04-01/Accounts/AC1/Recordings/RE-1",
    "HTTPS://API.TWILIO.COM/2010-04-01/Accounts/AC1/Recordings/RE-1",
    "https://api.twilio.com:443/2010-04-01/Accounts/AC1/Recordings/RE-1",
    " https://api.dublin.ie1.twilio.com/2010-04-01/Accounts/AC1/Recordings/RE-1.wav\n",
    "https://api.twilio.com./2010-04-01/Accounts/AC1/Recordings/RE-1",
    "//api.twilio.com/2010-04-01/Accounts/AC1/Recordings/RE-1",
    "/2010-04-01/Accounts/AC1/Recordings/RE-1",
    "RE-1.wav",
    "https://[api.twilio.com/RE-1",
    "undefined",
]
FOREIGN = [*STORES, "http://twilio.com.example.com/RE-1", "https://nottwilio.com/RE-1", "s3://my-recordings/RE-1"]


@pytest.mark.parametrize(("theirs", "kept"), [*((url, "") for url in OWN), *((url, url) for url in FOREIGN)])
def test_only_a_store_of_the_accounts_own_is_remembered(theirs: str, kept: str) -> None:
    """RecordingUrl=http%3A%2F%2Fapi.twilio.com…: github.com/eurica/PagerDutyCallDesk. It was taken for a store."""
    said = provider_class("twilio").parse_event(dict(recording_of(CARRIERS["twilio"], url=theirs)))

    assert said.recording and said.recording.url == kept


@pytest.mark.parametrize(
    "theirs",
    [
        "http://s3.amazonaws.com/recordings_2013/c2186400.mp3",
        "HTTP://S3.amazonaws.com/recordings_2013/c2186400.mp3",
        "  https://s3.amazonaws.com:443/recordings_2013/c2186400.mp3",
    ],
)
@responses.activate
def test_the_carriers_own_store_is_asked_however_its_address_is_written(theirs: str) -> None:
    """Plivo's recordings of 2013 to 2015, as in its published examples."""
    responses.get("https://s3.amazonaws.com/recordings_2013/c2186400.mp3", b"ID3", content_type="audio/mpeg")
    responses.get("https://s3.amazonaws.com:443/recordings_2013/c2186400.mp3", b"ID3", content_type="audio/mpeg")
    said = provider_class("plivo").parse_event(dict(recording_of(CARRIERS["plivo"], url=theirs)))
    assert said.recording

    plivo = connect("plivo", "MA1", "token", Deadline(1), None)
    media = open_media(plivo, "RE-1", said.recording.url, "", may_be_new=False)

    assert (media.status, b"".join(media)) == (200, b"ID3")


@pytest.mark.parametrize(("status", "part"), [(410, "no longer has it"), (400, "handed out"), (451, "handed out")])
def test_audio_that_is_refused_for_good(
    sandbox: Sandbox, live_server: Any, settings: Any, tenant: Tenant, carrier: Good, status: int, part: str
) -> None:
    settings.PUBLIC_URL = live_server.url
    assert add(tenant, carrier.body(tenant.user)).status_code == 201
    sandbox.place_call(carrier.integration, carrier.number, talk_s=1)
    sandbox.fault("status", carrier.integration, method="GET", path=r"\.wav", status=status, times=None)

    reply = media(tenant)

    assert (reply.status_code, reply.json()["data"]["error"]) == (404, "not_found")
    assert part in reply.json()["errorMessage"]
    assert "ry again" not in reply.json()["errorMessage"]


@pytest.mark.parametrize(
    ("status", "is_new", "code", "part"),
    [
        (403, True, 500, "not finished this recording yet"),
        (404, True, 500, "not finished this recording yet"),
        (403, False, 404, "handed out"),
        (404, False, 404, "no longer has it"),
    ],
)
def test_audio_that_a_store_does_not_have_yet(
    sandbox: Sandbox,
    live_server: Any,
    settings: Any,
    tenant: Tenant,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    is_new: bool,
    code: int,
    part: str,
) -> None:
    """Amazon S3 answers 403 for a file that is not there to those who may not list the bucket."""
    monkeypatch.setattr("integrations.media.NOT_READY_PAUSES_S", (0.01, 0.01))
    settings.PUBLIC_URL = live_server.url
    good = CARRIERS["telnyx"]
    assert add(tenant, good.body(tenant.user)).status_code == 201
    sandbox.place_call(good.integration, good.number, talk_s=1)
    if not is_new:
        Recording.objects.update(created_at=LONG_AGO)
    fault = sandbox.fault("status", good.integration, method="GET", path=r"\.wav", status=status, times=2)

    if is_new:  # the third time, it is there
        assert media(tenant).status_code == 200
    fault.times = None
    reply = media(tenant)

    assert (reply.status_code, part in reply.json()["errorMessage"]) == (code, True)
    assert ("ry again" in reply.json()["errorMessage"]) == is_new
