"""`/healthz` and `/readyz`."""

import base64
import logging
import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Event
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
from users import limits
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
    assert len(problems) == 1 and problems[0].startswith("The database") and "DATABASE_URL" in problems[0]


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


@pytest.mark.engine
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("act", "written_s"),
    [(INSERT, 0), (UPDATE, -1), (UPDATE, 3600)],
    ids=["at first", "later", "on a clock that was fast"],
)
def test_it_is_not_ready_when_nothing_can_be_written(act: str, written_s: int) -> None:
    if act == UPDATE:  # it has written before
        assert ready() == (200, [])
        LimitCounter.objects.update(expires_at=timezone.now() + timedelta(seconds=written_s))
    with failing(act):
        status, problems = ready()
    assert (status, len(problems)) == (503, 1)
    assert "cannot be written" in problems[0]
    assert ready() == (200, [])


@pytest.mark.only("sqlite", reason="about its file")
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
    assert "disk" in problems[0]
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
@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "redis://127.0.0.1:port/0", "rediss://127.0.0.1:1/0"])
def test_it_is_not_ready_when_redis_is_away(settings: Any, url: str) -> None:
    settings.REDIS_URL = url
    status, (problem,) = ready()
    assert status == 503 and "Redis" in problem and "REDIS_URL" in problem


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("command", "undone"),
    [("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"), ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
     ("CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0"),
     ("ACL SETUSER default -@scripting", "ACL SETUSER default +@all")],
)  # fmt: skip
def test_it_is_not_ready_when_redis_answers_and_refuses_to_write(
    settings: Any, redis_url: str, command: str, undone: str
) -> None:
    """A replica after a failover (hibiken/asynq issue 854), or one without memory, replicas or rights."""
    settings.REDIS_URL = redis_url
    redis = limits.redis_store(redis_url).redis
    assert redis.ping() and ready() == (200, [])
    redis.execute_command(*command.split())
    try:
        assert redis.ping()
        status, (problem,) = ready()
    finally:
        redis.execute_command(*undone.split())
    assert status == 503 and "Redis" in problem
    assert ready() == (200, [])


def test_a_redis_that_says_nothing_keeps_one_thread_at_most(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strangers may call as often as they like, and webhooks need the threads."""
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    known = limits.find_problem()
    asked, answered = Event(), Event()

    def wait() -> str:
        asked.set()
        assert answered.wait(10)
        return "at last"

    monkeypatch.setattr(limits, "ask_redis", wait)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(limits.find_problem)
        assert asked.wait(10)
        assert [limits.find_problem() for _ in range(20)] == [known] * 20
        answered.set()
        assert first.result(10) == "at last"


# What probes name: Kubernetes and ELB the pod's address, Kamal the container (basecamp/kamal issue 992), Docker localhost
# (galexrt/container-healthchecks issue 31), a socket's client nothing of use.
HOSTS = [
    "10.0.0.5:8000", "7c7168a662c1:8000", "localhost:8000", "[fd00::5]:8000", "web_1", "a b c", "localhost:x", "[", "",
    "*", "evil.example\t", "a" * 300, "ph\u00f6nes",
]  # fmt: skip


@pytest.mark.django_db
def test_it_does_not_matter_by_which_name_a_probe_calls(staff: User, settings: Any) -> None:
    desk = sign_in(staff)
    settings.ALLOWED_HOSTS = ["phones.example.com"]
    for host in HOSTS:
        for path in ("/healthz", "/readyz"):
            reply = Client().get(path, headers={"Host": host})
            assert (reply.status_code, reply.json()) == (200, {"status": "ok"}), host
            head = Client().head(path, headers={"Host": host})
            assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(reply.content))), host
        assert desk.get("/readyz", headers={"Host": host}).json() == {"status": "ok", "problems": []}


@pytest.mark.django_db
def test_pages_are_shown_for_our_own_hosts_only() -> None:
    client = Client(raise_request_exception=False, headers={"Host": "10.0.0.5:8000"})
    assert [client.get(path).status_code for path in ("/admin/login/", "/", "/healthz/", "/nothing")] == [400] * 4


@pytest.mark.django_db
def test_no_token_is_asked_for() -> None:
    client = Client(headers={"Authorization": "Bearer nonsense"})
    assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200
