"""Who hears a recording is in the audit trail, however the player asks for it."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.http import StreamingHttpResponse
from django.test import Client, RequestFactory

from phones.models import PhoneNumber, Recording
from phones.services import slots
from sandbox.sandbox import Sandbox
from tests.support.api import add, get
from tests.support.carriers import TWILIO
from tests.support.database import INSERT, failing
from tests.support.people import Tenant, new_staff, sign_in
from users.models import ApiToken, AuditEntry, User
from workspace.asgi import answer

pytestmark = [pytest.mark.engine, pytest.mark.django_db(transaction=True)]

Listen = Callable[..., Any]
# Each of these gives all or nearly all of it.
RANGES = ["", "bytes=0-", "bytes=1-", "bytes=44-", "bytes=-48000", "bytes=0-48043", "bytes=0-0"]


@pytest.fixture
def recording(sandbox: Sandbox, live_server: Any, settings: Any, tenant: Tenant) -> Recording:
    settings.PUBLIC_URL = live_server.url
    assert add(tenant, TWILIO.body(tenant.user)).status_code == 201
    sandbox.place_call("twilio", TWILIO.number, talk_s=3)
    return Recording.objects.get()


@pytest.fixture(params=["the desk", "the API"])
def listen(request: pytest.FixtureRequest, recording: Recording, tenant: Tenant, staff: User) -> Listen:
    """Asks for the audio at one of the doors, in the same session each time."""
    if request.param == "the API":
        return lambda **headers: get(f"/api/call/recordings/{recording.pk}/media", tenant, **headers)
    desk = sign_in(staff)
    return lambda **headers: at_desk(desk, recording, **headers)


def at_desk(desk: Client, recording: Recording, **headers: str) -> Any:
    desk.raise_request_exception = False
    return desk.get(f"/admin/phones/phonenumber/recordings/{recording.pk}/media", headers=headers)


def heard() -> list[tuple[str, str, str]]:
    entries = AuditEntry.objects.filter(action="recording.hear")
    return sorted(entries.values_list("actor_kind", "number", "detail"))


@pytest.mark.parametrize("byte_range", RANGES)
def test_whoever_hears_a_part_is_told_once(
    listen: Listen, recording: Recording, tenant: Tenant, byte_range: str, request: pytest.FixtureRequest
) -> None:
    reply = listen(**({"Range": byte_range} if byte_range else {}))
    assert reply.status_code in (200, 206) and reply.getvalue()
    kind = "token" if "API" in request.node.name else "staff"
    assert heard() == [(kind, TWILIO.number, f"recording {recording.pk}")]
    for another in RANGES:
        listen(**({"Range": another} if another else {})).close()
    assert len(heard()) == 1, "a player asks for one recording in many parts"


def test_each_session_and_each_recording_counts_for_itself(
    sandbox: Sandbox, recording: Recording, tenant: Tenant, staff: User
) -> None:
    for user in (staff, new_staff("other@example.com", "support")):
        at_desk(sign_in(user), recording).close()
    sandbox.place_call("twilio", TWILIO.number, talk_s=3)
    desk = sign_in(new_staff("third@example.com", "support"))
    for one in Recording.objects.all():
        at_desk(desk, one).close()
    token = ApiToken.issue(tenant.workspace)[1]
    for text in (tenant.token, token):
        get(f"/api/call/recordings/{recording.pk}/media", Tenant(tenant.workspace, tenant.user, text)).close()
    actors = AuditEntry.objects.filter(action="recording.hear").values_list("actor", flat=True)
    assert sorted(actors) == sorted(
        [staff.email, "other@example.com", "third@example.com", "third@example.com", tenant.token[:11], token[:11]]
    )


def test_the_workspace_of_a_token_is_told(recording: Recording, tenant: Tenant) -> None:
    get(f"/api/call/recordings/{recording.pk}/media", tenant).close()
    assert AuditEntry.objects.get(action="recording.hear").workspace_id == tenant.workspace.pk


def test_who_is_given_nothing_has_heard_nothing(listen: Listen, sandbox: Sandbox, recording: Recording) -> None:
    assert listen(Range="bytes=99999999-").status_code in (416, 502)
    PhoneNumber.objects.all().delete()
    assert listen().status_code == 404
    assert heard() == []


def test_without_an_entry_nothing_is_heard_and_the_slot_is_free_again(listen: Listen, recording: Recording) -> None:
    listen(Range="bytes=99999999-")  # so that nothing else is written now
    free = slots.slots._value
    with failing(INSERT, AuditEntry):
        assert listen().status_code == 500
    assert slots.slots._value == free
    assert heard() == []
    listen().close()
    assert len(heard()) == 1


def test_while_it_is_streamed_its_thread_has_no_database_connection(
    recording: Recording, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PostgreSQL, which has fewer than we have threads. Django closes it in the thread that ends the reply."""
    done = []
    monkeypatch.setattr(connection, "give_back", lambda: done.append("gave back"), raising=False)

    def query(execute: Callable[..., Any], *arguments: Any) -> Any:
        done.append("asked")
        return execute(*arguments)

    headers = {"Authorization": f"Bearer {tenant.token}"}
    environ = RequestFactory().get(f"/api/call/recordings/{recording.pk}/media", headers=headers).environ
    with connection.execute_wrapper(query):
        start, reply = answer(environ)
    assert start["status"] == 200 and isinstance(reply, StreamingHttpResponse)
    reply.close()
    assert done[-1] == "gave back"
