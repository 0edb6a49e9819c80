import logging
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import hypothesis
import pytest
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Model
from django.test import Client, TransactionTestCase
from pytest_django.live_server_helper import LiveServer

from core import keys
from integrations import asking, load
from integrations.telnyx import provider as telnyx
from phones.models import PhoneNumber
from sandbox.ports import free_port
from sandbox.sandbox import Sandbox
from tests.support.api import add
from tests.support.carriers import CARRIERS, OTHERS, Good, api_urls
from tests.support.database import OURS, apart
from tests.support.dialects import DIALECTS, Dialect
from tests.support.environment import ENGINE
from tests.support.live import template
from tests.support.people import Tenant, colleague_of, new_staff, new_tenant, sign_in
from tests.support.races import wait_for
from tests.support.tally import pytest_terminal_summary, tally  # noqa: F401  pytest finds them here
from tests.support.webhooks import NOW, Party, join
from users.models import User

# How long an example takes says more of the machine than of the code.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        only = item.get_closest_marker("only")
        if only and ENGINE not in only.args:
            item.add_marker(pytest.mark.skip(reason=only.kwargs["reason"]))


@pytest.fixture(scope="session")
def django_db_setup(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: Any) -> Iterator[None]:
    """A migrated database for this process.

    On SQLite it is a file, as in production: threads and other processes share it, with WAL and its locks.
    """
    database = apart(tmp_path_factory.mktemp("database"))
    template().copy_to(database)
    connection.settings_dict["NAME"] = database.name
    with django_db_blocker.unblock(), pytest.MonkeyPatch.context() as patch:
        flush = quick_flush()
        flush()
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda case: flush())
        with django_db_blocker.block():
            yield


def quick_flush() -> Callable[[], None]:
    """Empties all tables but those that migrations filled, which are restored if a test changed them.

    Django's own flush makes all permissions anew, which takes longer than most tests.
    """
    migrations = MigrationRecorder(connection).Migration
    filled: tuple[type[Model], ...] = (migrations, ContentType, Permission, Group, Group.permissions.through)
    kept = {model._meta.db_table for model in filled}
    as_migrated = {model: list(model._base_manager.order_by("pk")) for model in filled}
    tables = [name for name in connection.introspection.django_table_names(only_existing=True) if name not in kept]

    def flush() -> None:
        OURS.flush(tables)
        for model, rows in as_migrated.items():
            there = model._base_manager.order_by("pk").values_list()
            if list(there) != [
                tuple(getattr(row, field.attname) for field in model._meta.concrete_fields) for row in rows
            ]:
                model._base_manager.all().delete()
                model._base_manager.bulk_create(rows)

    return flush


@pytest.fixture(autouse=True)
def no_static_files(settings: Any) -> None:
    """Each new test client would look through all of them first, which takes as long as most tests."""
    settings.WHITENOISE_USE_FINDERS = False


@pytest.fixture(autouse=True)
def retries_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "RETRY_PAUSE_S", (0.0, 0.01))


@pytest.fixture
def patient(settings: Any) -> None:
    """A busy machine may take longer than the tests' own time-outs."""
    settings.CARRIER_READ_TIMEOUT_S = 5.0


@pytest.fixture
def unlimited(settings: Any) -> None:
    """For tests about rows and carriers: how often somebody may ask is tested elsewhere."""
    settings.LIMITS = settings.LIMITS | {"requests": None, "adds": None}


@pytest.fixture
def new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a process that has not written a secret yet: it asks the database for its keys."""
    monkeypatch.setattr(keys, "_admitted", set())


@pytest.fixture(scope="session")
def running_sandbox() -> Iterator[Sandbox]:
    load(CARRIERS)  # or the first add would do it, while a carrier is waited for
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running_sandbox: Sandbox, settings: Any) -> Iterator[Sandbox]:
    """The simulated carriers, fresh, and our settings pointed at them."""
    running_sandbox.reset()
    running_sandbox.delay_s = 0.0
    settings.CARRIER_API_URLS = api_urls(running_sandbox)
    yield running_sandbox
    running_sandbox.reset()


@pytest.fixture
def tenant(db: None) -> Tenant:
    return new_tenant()


@pytest.fixture
def other_tenant(db: None) -> Tenant:
    return new_tenant("two")


@pytest.fixture
def colleague(tenant: Tenant) -> Tenant:
    """A second user of the tenant's workspace."""
    return colleague_of(tenant)


@pytest.fixture(params=["a colleague", "another workspace"])
def another(request: pytest.FixtureRequest, tenant: Tenant) -> Tenant:
    """Another user, of the tenant's workspace and of another one."""
    return colleague_of(tenant) if request.param == "a colleague" else new_tenant("two")


@pytest.fixture
def staff(db: None) -> User:
    """A member of the group support."""
    return new_staff("support@example.com", "support")


@pytest.fixture
def supervisor(db: None) -> User:
    return new_staff("supervisor@example.com", "supervisor")


@pytest.fixture
def desk(supervisor: User) -> Client:
    """A browser in which a supervisor has signed in."""
    return sign_in(supervisor)


@pytest.fixture(params=sorted(CARRIERS))
def carrier(request: pytest.FixtureRequest) -> Good:
    return CARRIERS[request.param]


@pytest.fixture(scope="session")
def live_server(django_db_setup: None) -> Iterator[LiveServer]:
    """The server in threads of its own, with the tests' database, which must be there when it starts."""
    server = LiveServer("127.0.0.1")
    yield server
    server.stop()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


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
        wait_for(lambda: listens(port))
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture
def phone(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> PhoneNumber:
    assert add(tenant, carrier.body(tenant.user)).status_code == 201
    return PhoneNumber.objects.get()


@pytest.fixture
def every_log_line(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], str]]:
    """All that any logger says, at DEBUG, tracebacks included."""
    levels = {
        name: logger.level
        for name, logger in logging.root.manager.loggerDict.items()
        if isinstance(logger, logging.Logger)
    }
    for name in levels:
        logging.getLogger(name).setLevel(logging.DEBUG)
    caplog.set_level(logging.DEBUG)
    formatter = logging.Formatter("%(name)s %(levelname)s %(message)s")

    def read() -> str:
        lines = [formatter.format(record) + str(vars(record)) for record in caplog.records]
        return "\n".join(lines)

    yield read
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture(params=sorted(DIALECTS))
def dialect(request: pytest.FixtureRequest) -> Dialect:
    return DIALECTS[request.param]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Telnyx' timestamps are compared with a clock that stands still."""
    stopped = SimpleNamespace(time=lambda: NOW)
    monkeypatch.setattr(telnyx, "time", stopped)
    return stopped


@pytest.fixture
def party(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> Party:
    return join(sandbox, tenant, carrier)


@pytest.fixture
def other(sandbox: Sandbox, tenant: Tenant, carrier: Good) -> Party:
    return join(sandbox, tenant, OTHERS[carrier.integration])
