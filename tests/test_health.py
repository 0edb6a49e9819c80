"""`/healthz` and `/readyz`."""

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client

from phones.models import Account
from tests.support.database import unreachable
from workspace.secrets import Secret


def ready() -> tuple[int, list[str]]:
    reply = Client(raise_request_exception=False).get("/readyz")
    return reply.status_code, reply.json()["problems"]


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


@pytest.mark.django_db
def test_no_token_is_asked_for() -> None:
    client = Client(headers={"Authorization": "Bearer nonsense"})
    assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200
