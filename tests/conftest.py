import base64
import json
import os
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import hypothesis
import pytest
from django.conf import settings
from django.contrib.auth.models import Group
from django.test import Client, TransactionTestCase
from django_otp.oath import totp
from pytest_django.live_server_helper import LiveServer

from integrations.sandbox import Sandbox
from integrations.sandbox import state as seeds
from tests.database import mongodb
from tests.environment import ON_MONGODB
from tests.live import free_port
from tests.tally import pytest_terminal_summary, tally  # noqa: F401  pytest finds them here
from users.models import ApiToken, User, Workspace
from workspace import keys

# How long an example takes says more of the machine than of the code.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")
# Cases of one test that run without SOAK=1.
MOST_CASES = 1 if ON_MONGODB else 4
# Who has one of these, or the mark django_db, asks a database.
DATABASE_FIXTURES = {"db", "transactional_db", "live_server", "django_db_blocker", "desk"}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "sqlite_only(reason): about what only SQLite has")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On MongoDB only what asks a database runs: nothing else can come out otherwise than on SQLite.

    A test with very many cases runs some of them, the same each time and others on each engine; with SOAK=1 all.
    """
    chosen = [item for item in items if asks_a_database(item)] if ON_MONGODB else list(items)
    if "SOAK" not in os.environ and not config.option.keyword:
        chosen = sampled(chosen)
    kept = set(chosen)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = chosen
    for item in items:
        about_sqlite = item.get_closest_marker("sqlite_only")
        if ON_MONGODB and about_sqlite:
            item.add_marker(pytest.mark.skip(reason=about_sqlite.kwargs["reason"]))


def sampled(items: list[pytest.Item]) -> list[pytest.Item]:
    """Of each test the first cases in the order of a hash, which stands in no relation to what they are about."""
    cases: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        cases[item.nodeid.partition("[")[0]].append(item)
    kept: set[pytest.Item] = set()
    for some in cases.values():
        kept.update(sorted(some, key=lambda item: crc32(f"{ON_MONGODB}{item.nodeid}".encode()))[:MOST_CASES])
    return [item for item in items if item in kept]


def asks_a_database(item: pytest.Item) -> bool:
    fixtures = set(getattr(item, "fixturenames", ()))
    return bool(item.get_closest_marker("django_db") or fixtures & DATABASE_FIXTURES)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """On SQLite a file, as in production: threads and other processes share it, with WAL and its locks."""
    name = str(tmp_path_factory.mktemp("database") / "test.sqlite3")
    if ON_MONGODB:
        name = f"test_{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}"
    settings.DATABASES["default"].setdefault("TEST", {})["NAME"] = name


@pytest.fixture(scope="session", autouse=ON_MONGODB)
def quick_flush(request: pytest.FixtureRequest) -> Iterator[None]:
    """MongoDB has nothing to roll back, so every test ends with a flush. What migrations made stays as it was; to make
    all permissions anew takes longer than most tests."""
    kept = ["django_content_type", "auth_permission", "auth_group", "auth_group_permissions", "django_migrations"]
    request.getfixturevalue("django_db_setup")
    with request.getfixturevalue("django_db_blocker").unblock():
        as_migrated = {name: list(mongodb()[name].find().sort("_id")) for name in kept}

    def flush(self: TransactionTestCase) -> None:
        for name in set(mongodb().list_collection_names()) - {*kept, "django_sequences", "system.views"}:
            mongodb()[name].delete_many({})
        for name, rows in as_migrated.items():
            if list(mongodb()[name].find().sort("_id")) != rows:
                mongodb()[name].delete_many({})
                mongodb()[name].insert_many(rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", flush)
        yield


@pytest.fixture(autouse=True)
def no_static_files(settings: Any) -> None:
    """Each new test client would look through all of them first, which takes as long as most tests."""
    settings.WHITENOISE_USE_FINDERS = False


@pytest.fixture
def new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a process that has not written a secret yet: it asks the database for its keys."""
    monkeypatch.setattr(keys, "_admitted", set())


@pytest.fixture(scope="session")
def running_sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running_sandbox: Sandbox, settings: Any) -> Iterator[Sandbox]:
    """The simulated carriers, fresh, and our settings pointed at them."""
    running_sandbox.reset()
    running_sandbox.delay_s = 0.0
    settings.CARRIER_API_URLS = {
        "twilio": running_sandbox.twilio_url,
        "plivo": running_sandbox.plivo_url,
        "telnyx": running_sandbox.telnyx_url,
    }
    yield running_sandbox
    running_sandbox.reset()


@dataclass
class Tenant:
    """A workspace with a user and a token."""

    workspace: Workspace
    user: User
    token: str


def new_tenant(name: str = "one") -> Tenant:
    workspace = Workspace.objects.create(name=name)
    user = User.objects.create_user(f"user@{name}.example.com", workspace=workspace)
    return Tenant(workspace, user, ApiToken.issue(workspace)[1])


@pytest.fixture
def tenant(db: None) -> Tenant:
    return new_tenant()


@pytest.fixture
def other_tenant(db: None) -> Tenant:
    return new_tenant("two")


def new_staff(email: str, *groups: str, **fields: Any) -> User:
    user = User.objects.create_user(email, None, is_staff=True, **fields)
    user.groups.set(Group.objects.filter(name__in=groups))
    return user


@pytest.fixture
def staff(db: None) -> User:
    """A member of the group support."""
    return new_staff("support@example.com", "support")


@pytest.fixture
def supervisor(db: None) -> User:
    return new_staff("supervisor@example.com", "supervisor")


def code_of(key: str, *, steps: int = 0) -> str:
    """What an authenticator app shows for a key now, or some half minutes later."""
    return f"{totp(base64.b32decode(key.replace(' ', '')), drift=steps):06}"


def shown_key(page: Any) -> str:
    """The key on the page that sets up a second factor."""
    match = re.search(r"<code>([A-Z2-7 ]+)</code>", page.content.decode())
    assert match, page.content.decode()
    return match[1]


def sign_in(user: User) -> Client:
    """A browser in which this user has signed in; the second factor is set up with a real code."""
    client = Client()
    client.force_login(user)
    done = client.post("/admin/totp/", {"code": code_of(shown_key(client.get("/admin/totp/")))})
    assert (done.status_code, done["Location"]) == (302, "/admin/")
    return client


@dataclass(frozen=True)
class Good:
    """Credentials and numbers that the sandbox knows, for one carrier."""

    integration: str
    acc_sid: str
    auth_token: str
    number: str
    another: str
    routed_elsewhere: str
    not_owned: str

    def body(self, user: User, **changes: Any) -> dict[str, Any]:
        """The body of an add; a field changed to None is left out."""
        body = {
            "userId": user.pk,
            "phoneNumber": self.number,
            "integration": self.integration,
            "authToken": self.auth_token,
            "accSId": self.acc_sid or None,
            **changes,
        }
        return {name: value for name, value in body.items() if value is not None}


TWILIO = Good(
    "twilio", seeds.TWILIO_SID, seeds.TWILIO_TOKEN, "12125551234", "12125550007", "12125550001", "12125559999"
)
PLIVO = Good("plivo", seeds.PLIVO_ID, seeds.PLIVO_TOKEN, "14155551234", "14155550007", "14155550001", "14155559999")
TELNYX = Good("telnyx", "", seeds.TELNYX_KEY, "13125551234", "13125550007", "13125550001", "13125559999")
CARRIERS = {good.integration: good for good in (TWILIO, PLIVO, TELNYX)}


@pytest.fixture(params=sorted(CARRIERS))
def carrier(request: pytest.FixtureRequest) -> Good:
    return CARRIERS[request.param]


def post(path: str, body: Any, token: str | None, **headers: str) -> Any:
    """POST JSON as a client does and return the response."""
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = body if isinstance(body, bytes | str) else json.dumps(body)
    return Client(raise_request_exception=False).post(path, data, content_type="application/json", headers=headers)


def add(tenant: Tenant, body: dict[str, Any], **headers: str) -> Any:
    return post("/api/call/add-phone", body, tenant.token, **headers)


@pytest.fixture(scope="session")
def live_server(django_db_setup: None) -> Iterator[LiveServer]:
    """The server in threads of its own, with the tests' database, which must be there when it starts."""
    server = LiveServer("127.0.0.1")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("there is no redis-server on PATH")
    port, folder = free_port(), str(tmp_path_factory.mktemp("redis"))
    server = subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder], stdout=subprocess.DEVNULL
    )
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait(10)
