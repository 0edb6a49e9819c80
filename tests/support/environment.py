"""The settings that the tests run under. Loaded as a pytest plugin, before Django reads its settings.

TEST_DATABASE=mongodb runs them on a replica set of their own.
"""

import atexit
import base64
import os
import sys
import tempfile

import pytest

from sandbox.replica_set import ReplicaSet, mongod

ENGINE = os.environ.get("TEST_DATABASE", "sqlite")
ON_MONGODB = ENGINE == "mongodb"

os.environ.update(
    SECRET_KEY="a-key-for-tests-only-0123456789-abcdefghijklmnop",
    CREDENTIAL_KEYS=base64.urlsafe_b64encode(b"a key for the tests, 32 bytes...").decode(),
    PUBLIC_URL="https://phones.example.com",
    DATABASE_URL="sqlite:///:memory:",
    ENV_FILE=os.devnull,
    ALLOWED_HOSTS="localhost,127.0.0.1,testserver",
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
        "STAFF_TOTP",
        "LOGIN_FAILURES",
    ):
        del os.environ[name]

# Processes that a test starts have the address from it.
if ON_MONGODB and "TEST_DATABASE_URL" not in os.environ:
    if mongod() is None:
        sys.stderr.write("The tests on MongoDB are skipped: there is no mongod that runs on this machine.\n")
        sys.exit(0)
    replica_set = ReplicaSet()
    atexit.register(replica_set.__exit__)
    replica_set.__enter__()
    os.environ["TEST_DATABASE_URL"] = replica_set.url("tests")
if ON_MONGODB:
    os.environ["DATABASE_URL"] = os.environ["TEST_DATABASE_URL"]


def pytest_configure(config: pytest.Config) -> None:
    """A folder for what all processes of a run share."""
    if "TESTS_FOLDER" not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="workspace-phones-tests-")
        os.environ["TESTS_FOLDER"] = folder.name
        config.add_cleanup(folder.cleanup)
