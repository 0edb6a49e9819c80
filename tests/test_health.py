"""`/healthz` and `/readyz`."""

import base64
import logging
import resource
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from django.utils import timezone

from core.secrets import Secret
from phones.models import Account
from tests.support.database import INSERT, UPDATE, failing, seen, unreachable
from tests.support.people import Tenant, sign_in
from users.models import LimitCounter, User


def ready() -> tuple[int, list[str]]:
    """What strangers are told, and what the log says."""
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("workspace.health")
    logger.addHandler(handler)
    try:
        reply = Client(raise_request_exception=False).get("/readyz")
    finally:
        logger.removeHandler(handler)
    assert reply.json() == {"status": "not ready" if messages else "ok"}
    return reply.status_code, [message.removeprefix("Not ready: ") for message in messages]


@pytest.fixture
def database_away(settings: Any, tmp_path: Any, django_db_blocker: Any) -> Iterator[None]:
    with django_db_blocker.unblock(), unreachable(tmp_path):
        yield


@pytest.mark.django_db
def test_a_working_installation_is_up_and_ready() -> None:
    assert Client().get("/healthz").json() == {"status": "ok"}
    assert ready() == (200, [])


def test_the_process_is_up_even_without_its_database(database_away: None) -> None:
    assert Client().get("/healthz").status_code == 200


def test_it_is_not_ready_without_its_database(database_away: None) -> None:
    status, problems = ready()
    assert status == 503
    assert problems == ["The database cannot be used. Check DATABASE_URL."]


@pytest.mark.engine
@pytest.mark.django_db
def test_it_is_not_ready_before_the_migrations() -> None:
    MigrationRecorder.Migration.objects.filter(app="phones").delete()
    status, problems = ready()
    assert status == 503
    assert "manage.py migrate" in problems[0]


@pytest.mark.django_db
def test_it_is_not_ready_when_the_stored_credentials_cannot_be_opened(new_process: None, settings: Any) -> None:
    Account.objects.create(integration="twilio", account_id="AC1", auth_token=Secret.seal("x"), token_digest="x")
    settings.CREDENTIAL_KEYS = [base64.urlsafe_b64encode(b"k" * 32).decode()]
    status, problems = ready()
    assert status == 503
    assert "CREDENTIAL_KEYS" in problems[0]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "value"), [("CREDENTIAL_KEYS", []), ("CREDENTIAL_KEYS", ["short"]), ("PUBLIC_URL", "http://example.com")]
)
def test_it_is_not_ready_with_settings_that_cannot_work(settings: Any, name: str, value: Any) -> None:
    setattr(settings, name, value)
    status, problems = ready()
    assert status == 503
    assert name in problems[0]


@pytest.mark.engine
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("act", [INSERT, UPDATE])
def test_it_is_not_ready_when_nothing_can_be_written(act: str) -> None:
    if act == UPDATE:  # it has written before
        assert ready() == (200, [])
        LimitCounter.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    with failing(act):
        status, problems = ready()
    assert (status, len(problems)) == (503, 1)
    assert "cannot be written" in problems[0]
    assert ready() == (200, [])


@pytest.mark.sqlite_only(reason="about its file")
@pytest.mark.django_db(transaction=True)
def test_it_is_not_ready_when_its_files_cannot_grow() -> None:
    """As on a full disk, or with a quota: reading works, and each write fails."""
    file = Path(connection.settings_dict["NAME"])
    sizes = [one.stat().st_size for one in file.parent.glob(f"{file.name}*")]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        resource.setrlimit(resource.RLIMIT_FSIZE, (min(sizes, default=0) and 1, before[1]))
        status, problems = ready()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert status == 503
    assert "cannot be written" in problems[0]
    assert ready() == (200, [])


@pytest.mark.django_db
def test_strangers_make_it_write_once_a_second_at_most() -> None:
    ready()
    with seen() as statements:
        for _ in range(5):
            assert ready() == (200, [])
    assert LimitCounter.objects.count() == 1
    assert not [one for one in statements if one.act == INSERT]


@pytest.mark.django_db
def test_staff_are_told_what_is_wrong_and_nobody_else(staff: User, tenant: Tenant, settings: Any) -> None:
    desk, half = sign_in(staff), Client()
    half.force_login(staff)
    settings.CREDENTIAL_KEYS = []
    told = desk.get("/readyz").json()
    assert told["status"] == "not ready" and "CREDENTIAL_KEYS" in told["problems"][0]
    with_token = Client(headers={"Authorization": f"Bearer {tenant.token}"})
    for stranger in (Client(), half, with_token):
        assert stranger.get("/readyz").json() == {"status": "not ready"}


def test_a_cookie_does_not_break_it_without_its_database(database_away: None) -> None:
    client = Client(raise_request_exception=False)
    client.cookies["sessionid"] = "x" * 32
    reply = client.get("/readyz")
    assert (reply.status_code, reply.json()) == (503, {"status": "not ready"})


@pytest.mark.django_db
def test_no_token_is_asked_for() -> None:
    client = Client(headers={"Authorization": "Bearer nonsense"})
    assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200
