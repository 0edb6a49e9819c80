"""The settings that the tests run under. Loaded as a pytest plugin, before Django reads its settings.

TEST_DATABASE=mongodb and TEST_DATABASE=postgresql run them on a server of their own.
"""

import base64
import os
import sys
import tempfile

import pytest

from tests.support.engines.base import Database
from tests.support.engines.mongodb import MongoDB
from tests.support.engines.postgresql import PostgreSQL
from tests.support.engines.sqlite import SQLite

ENGINES: dict[str, type[Database]] = {one.engine: one for one in (SQLite, MongoDB, PostgreSQL)}
ENGINE = os.environ.get("TEST_DATABASE", "sqlite")

os.environ.update(
    SECRET_KEY="a-key-for-tests-only-0123456789-abcdefghijklmnop",
    CREDENTIAL_KEYS=base64.urlsafe_b64encode(b"a key for the tests, 32 bytes...").decode(),
    PUBLIC_URL="https://phones.example.com",
    ENV_FILE=os.devnull,
    ALLOWED_HOSTS="phones.example.com,localhost,127.0.0.1,testserver",
    CARRIER_CONNECT_TIMEOUT_S="1",
    CARRIER_READ_TIMEOUT_S="2",
)
for name in list(os.environ):
    if name.startswith("LIMIT_") or name in (
        "DEBUG",
        "REDIS_URL",
        "TRUSTED_PROXY_COUNT",
        "BIND",
        "METRICS_TOKEN",
        "ACCESS_LOG",
        "STAFF_TOTP",
        "LOGIN_FAILURES",
    ):
        del os.environ[name]

try:
    os.environ["DATABASE_URL"] = ENGINES[ENGINE].start()
except LookupError as missing:
    # In CI they must not be.
    failed = "REQUIRE_ENGINES" in os.environ
    sys.stderr.write(f"The tests on {ENGINES[ENGINE].label} {'cannot run' if failed else 'are skipped'}: {missing}.\n")
    sys.exit(1 if failed else pytest.ExitCode.NO_TESTS_COLLECTED)


def pytest_configure(config: pytest.Config) -> None:
    """A folder for what all processes of a run share."""
    if "TESTS_FOLDER" not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="workspace-phones-tests-")
        os.environ["TESTS_FOLDER"] = folder.name
        config.add_cleanup(folder.cleanup)
