"""The settings that the tests run under. Loaded as a pytest plugin, before Django reads its settings."""

import base64
import os

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
        "STAFF_TOTP",
        "LOGIN_FAILURES",
    ):
        del os.environ[name]
