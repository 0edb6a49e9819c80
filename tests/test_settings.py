"""What the settings take and refuse, and docs/start.md, which lists each sentence."""

import os
import re
import socket
import tempfile
from pathlib import Path
from typing import Any

import dns.resolver
import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError

import manage
from core import keys
from core.databases import from_url, readiness
from tests.support import PROJECT
from tests.support.starting import GOOD, faults, start, with_file
from users import limits
from workspace import health
from workspace.checks import WORKSPACE
from workspace.management.commands.serve import address
from workspace.values import passwords_of
from workspace.variables import Variables

KEY = "0123456789abcdef-not-a-real-key-0123456789"
DOLLAR = "$q-eo-c-2-u9-tpd6f-0szxt6-th-jz9-1mh-kyen-36-t"
REST = f"CREDENTIAL_KEYS={GOOD['CREDENTIAL_KEYS']}\nPUBLIC_URL=https://phones.example.test\n"


# -- .env: what is read -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (f"SECRET_KEY={KEY}", KEY),
        (f"SECRET_KEY = {KEY}", KEY),
        (f"\t SECRET_KEY\t=\t{KEY} \t", KEY),
        (f"export SECRET_KEY={KEY}", KEY),
        (f"\ufeffSECRET_KEY={KEY}", KEY),
        (f"SECRET_KEY='{KEY}'", KEY),
        (f'SECRET_KEY="{KEY}"', KEY),
        (f"SECRET_KEY='{KEY}' # since May", KEY),
        (f"SECRET_KEY='{KEY} # 1'", f"{KEY} # 1"),
        (f"SECRET_KEY={KEY}#1", f"{KEY}#1"),
        (f"SECRET_KEY=#{KEY}", f"#{KEY}"),
        (f"SECRET_KEY={KEY}=a==", f"{KEY}=a=="),
        (f"SECRET_KEY={KEY}\\n", f"{KEY}\\n"),
        (f"SECRET_KEY='{KEY}\\n\"'", f'{KEY}\\n"'),
        (f"SECRET_KEY=it's-{KEY}", f"it's-{KEY}"),
        (f"SECRET_KEY={KEY} and more", f"{KEY} and more"),
        # joke2k/django-environ took these for references to other variables; Django's startproject makes such keys.
        (f"SECRET_KEY={DOLLAR}", DOLLAR),
        (f"SECRET_KEY='{DOLLAR}'", DOLLAR),
        (f'SECRET_KEY="{DOLLAR}"', DOLLAR),
        (f"SECRET_KEY={KEY}${{HOME}}$$", f"{KEY}${{HOME}}$$"),  # docker/compose#11058
        (f"SECRET_KEY={KEY}é", f"{KEY}é"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_value_is_what_the_line_says(tmp_path: Path, line: str, value: str, end: str) -> None:
    text = f"{line}\n\n# a comment\n  # another\n{REST}".replace("\n", end)
    assert start(**with_file(tmp_path, text))["SECRET_KEY"] == value


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    settings = start(**with_file(tmp_path, f"SECRET_KEY={KEY}\nWORKERS=3\nBIND=[::]:80\n{REST}", WORKERS="4"))
    assert (settings["WORKERS"], settings["BIND"]) == (4, "[::]:80")


def test_variables_of_others_reach_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as proxies and certificates for the carriers' SDKs."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    (tmp_path / ".env").write_text(f"REQUESTS_CA_BUNDLE=/etc/ca.pem\nSECRET_KEY={KEY}\n{REST}")
    told: dict[str, str] = {}
    monkeypatch.setattr("core.redaction.hide", lambda *secrets: told.update(os.environ))
    start(ENV_FILE=str(tmp_path / ".env"))
    assert told["REQUESTS_CA_BUNDLE"] == "/etc/ca.pem"


@pytest.mark.parametrize(
    "line", ["TMPDIR=/var/tmp", "TMP=/x", "ENV_FILE=other", "export TMPDIR = '/var/tmp'", "TMPDIR="]
)
def test_what_is_used_before_the_file_is_read_is_refused_in_it(tmp_path: Path, line: str) -> None:
    name = re.findall("[A-Z_]+", line)[0]
    said = faults(**with_file(tmp_path, f"SECRET_KEY={KEY}\n\n{line}\n{REST}"))
    assert said == [f".env, line 3 ({name}) must be set in the environment: it is used before this file is read."]


def test_a_file_may_repeat_what_the_environment_says(tmp_path: Path) -> None:
    """systemd's EnvironmentFile= has already read it."""
    assert faults(**with_file(tmp_path, f"SECRET_KEY={KEY}\nTMPDIR=/scratch\n{REST}", TMPDIR="/scratch")) == []


@pytest.mark.parametrize(
    ("name", "meant"), [("workers", "WORKERS"), ("database_url", "DATABASE_URL"), ("public_url", "PUBLIC_URL"), ("ALLOWED_HOST", "ALLOWED_HOSTS")]
)  # fmt: skip
def test_a_name_without_effect_is_refused_in_the_file(tmp_path: Path, name: str, meant: str) -> None:
    assert faults(**with_file(tmp_path, f"{name}=3\nhttps_proxy=http://p\nSECRET_KEY={KEY}\n{REST}")) == [
        f"{name} is not a setting. Did you mean {meant}?"
    ]
    assert faults(**{name: "3"}) == [], "others use the environment as well"


def test_no_file_is_needed(tmp_path: Path) -> None:
    assert faults(ENV_FILE=None, **dict.fromkeys(["SECRET_KEY"])) != faults(ENV_FILE=None)
    assert faults(ENV_FILE=str(tmp_path / "none")) == ["ENV_FILE names a file that does not exist."]


# -- .env: what is refused --------------------------------------------------------------------------------------------

UNREADABLE_LINES = {
    "is not NAME=value, with the name in capital letters.": [
        f"SECRET_KEY: {KEY}", f"SECRET_KEY {KEY}", f"set SECRET_KEY={KEY}", f'"SECRET_KEY": "{KEY}",', f"SECRET_KEY;{KEY}",
        f"- SECRET_KEY={KEY}", f"$SECRET_KEY={KEY}", f"=SECRET_KEY={KEY}", "SECRET_KEY", f"Secret_Key={KEY}",
    ],
    "contains an invisible character. Type it again.": [
        f"SECRET_KEY={KEY}\u200b", f"SECRET_KEY={KEY}\u00a0x", f"SECRET_KEY={KEY}\tx", f"SECRET_KEY=\u202e{KEY}", f"SECRET_KEY={KEY}\x1b[0m",
        # str.strip() and the \s of a pattern take most of these for blanks.
        *(text for blank in "\u200b\u00a0\x0b\x0c\x85\u2028\u3000" for text in (
            f"{blank}SECRET_KEY={KEY}", f"SECRET_KEY{blank}={KEY}", f"SECRET_KEY={blank}{KEY}", f"SECRET_KEY={KEY}{blank}",
            f"SECRET_KEY='{KEY}'{blank}", f"export{blank}SECRET_KEY={KEY}",
        )),
    ],
    "has a quote that does not end at the end of the line. Write 'value'.": [
        f"SECRET_KEY='{KEY}", f'SECRET_KEY="{KEY}', f"SECRET_KEY='{KEY}\"", f"SECRET_KEY='{KEY}'x", f"SECRET_KEY='it\\'s {KEY}'", f"SECRET_KEY='{KEY}'#x",
    ],
    "contains a backslash between double quotes. Use single quotes.": [f'SECRET_KEY="{KEY}\\n"', f'SECRET_KEY="{KEY}\\x"'],
    "contains a # after a blank. Put a comment on a line of its own, or the value in 'quotes'.": [
        f"SECRET_KEY={KEY} # {KEY}", f"SECRET_KEY={KEY}\t#x", "SECRET_KEY= # " + KEY,
    ],
    "ends with a backslash, but a value cannot continue on the next line.": [f"SECRET_KEY={KEY}\\"],
    "sets a name that an earlier line sets as well. Keep one of them.": [f"SECRET_KEY={KEY}\nSECRET_KEY={KEY}2"],
}  # fmt: skip


@pytest.mark.parametrize(("what", "line"), [(what, line) for what, lines in UNREADABLE_LINES.items() for line in lines])
def test_an_unreadable_line_is_told_by_its_number_and_name(tmp_path: Path, what: str, line: str) -> None:
    number = 2 + line.count("\n")
    said = faults(**with_file(tmp_path, f"# settings\n{line}\n{REST}"))
    assert [f".env, line {number} (SECRET_KEY) {what}"] == said, "and not that the key is not set"


@pytest.mark.parametrize("second_line", [f"{KEY}=", KEY, f"  {KEY} = x", f"Ab{KEY[:3]}=="])
def test_what_may_be_a_part_of_a_value_is_never_shown(tmp_path: Path, second_line: str) -> None:
    """The second line of a wrapped key: neither its text nor what looks like its name."""
    said = faults(**with_file(tmp_path, f"METRICS_TOKEN={KEY}\nSECRET_KEY={KEY}\n{second_line}\n{REST}"))
    assert said == [".env, line 3 is not NAME=value, with the name in capital letters."]


@pytest.mark.parametrize(
    "data",
    [
        f"SECRET_KEY={KEY}\n{REST}".encode("utf-16"), f"SECRET_KEY={KEY}\n{REST}".encode("utf-16-le"),
        f"SECRET_KEY={KEY}\n{REST}".encode("utf-16-be"), f"SECRET_KEY={KEY}\n{REST}".encode("utf-32"),
        f"# Schlüssel\nSECRET_KEY={KEY}\n{REST}".encode("latin-1"), f"SECRET_KEY={KEY}\0\n{REST}".encode(), os.urandom(64) + b"\xff",
    ],
    ids=["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "zero", "binary"],
)  # fmt: skip
def test_a_file_in_another_encoding_is_one_sentence(tmp_path: Path, data: bytes) -> None:
    said = faults(**with_file(tmp_path, data))
    assert said == [".env is not in UTF-8 (some Windows programs write UTF-16). Save it again as UTF-8."]


def test_a_folder_in_the_place_of_the_file_is_one_sentence(tmp_path: Path) -> None:
    """Docker makes one where a file to mount is missing: docker/compose#8703, coollabsio/coolify#9612."""
    (tmp_path / ".env").mkdir()
    said = faults(**dict.fromkeys(GOOD) | {"ENV_FILE": str(tmp_path / ".env")})
    assert said == [".env cannot be read (Is a directory). It must be a file that this user may read."]


def test_a_file_of_another_user_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(file: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(file))

    variables = with_file(tmp_path, REST)
    monkeypatch.setattr(Path, "read_bytes", deny)
    assert faults(**variables) == [
        ".env cannot be read (Permission denied). It must be a file that this user may read."
    ]


# -- values -----------------------------------------------------------------------------------------------------------

NO_HOST, NO_HTTPS = "PUBLIC_URL must be an https:// address with a host", "PUBLIC_URL must be an https:// address (http"
NO_PATH, NOT_TAKEN = "PUBLIC_URL must have no path", "PUBLIC_URL must have a host that carriers take"
PRIVATE, PRIVATE_NAME = (
    "PUBLIC_URL must not have a private or multicast address",
    "PUBLIC_URL must not have a name of a private net",
)
PORTS, USUAL = "PUBLIC_URL must have a port from 1 to 65535", "PUBLIC_URL must not name port 443"
SQLITE = "DATABASE_URL must be sqlite:///file"
HOSTS, BIND = "ALLOWED_HOSTS must be host names", "BIND must be host:port or unix:/path/to/socket"

REFUSED: dict[str, dict[str, list[str | None]]] = {
    "SECRET_KEY": {
        "SECRET_KEY is not set": [None, "", "  "],
        "SECRET_KEY can be guessed": ["x7Kq" * 8, "x7Kqw9Zt2Lm5", "changeme" * 5, f"django-insecure-{KEY}"],
        "SECRET_KEY begins or ends with a blank or a line end": [f"{KEY}\n", f" {KEY}", f"{KEY} "],
        "SECRET_KEY is in quotes": [f"'{KEY}'", f'"{DOLLAR}"'],  # docker/cli#4665
        "SECRET_KEY contains an invisible character": [f"{KEY}\u200b{KEY}", f"{KEY}\n{KEY}"],
    },
    "CREDENTIAL_KEYS": {
        "CREDENTIAL_KEYS is not set": [None, "", "  "],
        "CREDENTIAL_KEYS must be url-safe base64 of 32 bytes each; wrong: key 1 of 1": ["short", "garbage!" * 6, "A" * 44],
        "CREDENTIAL_KEYS must be url-safe base64 of 32 bytes each; wrong: key 1, key 3 of 3": [f"x,{GOOD['CREDENTIAL_KEYS']},y"],
        "CREDENTIAL_KEYS must be url-safe base64 of 32 bytes each; wrong: no key": [",", " , "],
    },
    "METRICS_TOKEN": {
        "METRICS_TOKEN must have at least 32 characters": ["short", KEY + " " + KEY, KEY + "é", "“" + KEY + "”"],
        "METRICS_TOKEN begins or ends with a blank or a line end": [f"{KEY}\n"],
    },
    "PUBLIC_URL": {
        "PUBLIC_URL is not set": [None, "", " "],
        NO_HOST: ["phones.example.com", "https://", "https:///x", "https://[::1", "https://user:pass@phones.example.com", "https:/phones.example.com",
                  "https://user@phones.example.com", "ftp://phones.example.com", "${URL}", "https://phones.example.com, https://b.example.com"],
        NO_HTTPS: ["http://phones.example.com", "http://10.0.0.1"],
        NO_PATH: ["https://phones.example.com/base", "https://phones.example.com/päth", "https://phones.example.com?b=c", "https://phones.example.com/#x",
                  "http://localhost:8000/phones", "https://example.com//phones/"],
        NOT_TAKEN: ["https://phones_api.example.com", "https://téléphone.example.com", "https://-bad-.example.com", "https://phones..example.com",
                    "https://example", "https://a b.example.com", "https://phones.example.com.", "https://*.example.com", "https://.example.com",
                    "https://bad-.example.com", f"https://{'a' * 64}.example.com", f"https://{'a.' * 126}example.com", "https://3232235777", "https://0x7f.1",
                    "https://[2001:4860:4860::8888]", "https://phones.example.com,b.example.com", "https://１２.example.com", "https://300.300.300.300",
                    "https://1.0x7f", "https://127.0.0.0x1", "https://phones.example.c0m", "https://phones.example.c"],
        PRIVATE: ["https://192.168.1.10", "https://10.0.0.1:8443", "https://172.16.0.1", "https://169.254.1.1", "https://100.64.0.1", "https://0.0.0.0", "https://127.0.0.2",
                  "https://224.0.0.1", "https://239.255.255.250", "https://255.255.255.255"],
        PRIVATE_NAME: ["https://phones.local", "https://phones.internal", "https://web.localhost", "https://pbx.lan", "https://a.home.arpa", "https://phones.corp",
                       "https://PHONES.LOCAL", "https://phones.localdomain", "https://localhost.localdomain", "https://a.onion", "https://a.alt"],
        PORTS: ["https://phones.example.com:0", "https://phones.example.com:99999", f"https://phones.example.com:{'9' * 5000}"],
        USUAL: ["https://phones.example.com:443"],
    },
    "ALLOWED_HOSTS": {
        f"{HOSTS}": ["https://phones.example.com", "phones.example.com:8000", "phones.example.com/x", '["phones.example.com"]', "a b", "a;b", "::1", "10.0.0.0/8",
                     '"127.0.0.1","localhost"',  # joke2k/django-environ#432
                     "*.example.com", "phones.example.com.", "web_1", "télé.example.com", "[::1"],
    },
    "BIND": {
        BIND: ["8000", ":8000", "http://0.0.0.0:8000", "0.0.0.0", "0.0.0.0:$PORT", "0.0.0.0:99999", "::1:", "fd://3", "unix:", "127.0.0.1:1,[::]:2", "", "a b:1"],  # noqa: S104  refused
        "BIND must have a path of at most 107 bytes": ["unix:/run/" + "x" * 110],
    },
    "SCRIPT_NAME": {"SCRIPT_NAME must not be set": ["/phones", "/"]},
    "FORCE_SCRIPT_NAME": {"FORCE_SCRIPT_NAME must not be set": ["/phones"]},
    "DEBUG": {"DEBUG must be on or off": ["maybe", "", "2", "o n"]},
    "STAFF_TOTP": {"STAFF_TOTP must be on or off": ["maybe", "", "none"]},
    "ACCESS_LOG": {"ACCESS_LOG must be on or off": ["maybe", "json"]},
    "LOG_FORMAT": {"LOG_FORMAT must be text or json": ["xml", ""]},
    "WORKERS": {"WORKERS must be a whole number, 1 or more": ["0", "x", "-1", "1.5", "٢", "", "auto", "1_0"]},
    "TRUSTED_PROXY_COUNT": {"TRUSTED_PROXY_COUNT must be a whole number, 0 or more": ["-1", "x", "on"]},
    "LOGIN_FAILURES": {"LOGIN_FAILURES must be a whole number, 0 or more": ["-1", "off"]},
    "CARRIER_SLOTS": {"CARRIER_SLOTS must be a whole number, 1 or more": ["0"]},
    "KEEP_AUDIT_DAYS": {
        "KEEP_AUDIT_DAYS must be a number of days from 1 to 36500, or forever": ["0", "-1", "1y", "36501", "never"]
    },
    "TOKEN_ROTATION_WINDOW_S": {"TOKEN_ROTATION_WINDOW_S must be a whole number, 0 or more": ["1d", "-1"]},
    "CARRIER_CONNECT_TIMEOUT_S": {"CARRIER_CONNECT_TIMEOUT_S must be a number of seconds above 0 and at most 60": ["0", "x", "3s"]},
    "CARRIER_READ_TIMEOUT_S": {"CARRIER_READ_TIMEOUT_S must be a number of seconds above 0 and at most 60": ["-1", "nan", "inf", "61", "1e1", "1,5"]},
    "REQUEST_READ_TIMEOUT_S": {"REQUEST_READ_TIMEOUT_S must be a number of seconds above 0 and at most 60": ["0", ""]},
    **{
        name: {f"{name} must be N/second, N/minute, N/hour or N/day with N above 0, or off": ["0/minute", "10", "10/week", "-1/hour", "ten/hour", "", "5/min"]}
        for name in ("LIMIT_REQUESTS", "LIMIT_WORKSPACE_REQUESTS", "LIMIT_ADDRESS_REQUESTS", "LIMIT_ADDS", "LIMIT_REFUSED_CREDENTIALS",
                     "LIMIT_REFUSED_CREDENTIALS_TOTAL", "LIMIT_FAILED_TOKENS", "LIMIT_UNKNOWN_USERS", "LIMIT_CODES", "LIMIT_EVENTS")
    },
    "TWILIO_API_URL": {"TWILIO_API_URL must be an https:// address (http": ["http://evil.example"], "TWILIO_API_URL must be an https:// address with a host": ["nonsense", ""], "TWILIO_API_URL must have no query": ["https://a/?"]},
    "PLIVO_API_URL": {"PLIVO_API_URL must have no query": ["https://a?b=c", "https://a/b c"]},
    "TELNYX_API_URL": {"TELNYX_API_URL must have no query": ["https://a#b"]},
    "REDIS_URL": {
        "REDIS_URL must be redis://host:port/number": ["localhost:6379", "redis://", "redis://h:x", "redis://h:0", "redis://:p#ss@h/0", "redis://h/name", "http://h", "unix://", "rediss://[::1",
            "redis://:hunt@er2@h/0", "rediss://ann:hunter2@@h", "unix://:hunt@er2@/run/redis.sock", "REDIS://h", "Redis://h", "unix:/x", "redis:h",
            "redis://h?foo=1", "redis://h?db=x", "redis://h?socket_timeout=abc", "redis://h?ssl_ca_certs=x", "redis://h?protocol=9", "unix:///x?host=h",
            "rediss://h?ssl_cert_reqs=x", "redis://h?connection_class=x", "redis://h?cache_config=x", f"redis://h:{'9' * 5000}"],
    },
    "DATABASE_URL": {
        SQLITE: ["sqlite://db.sqlite3",  # joke2k/django-environ#171: an empty database in memory at every start
                 "sqlite://", "sqlite:///", "sqlite:/var/db.sqlite3", "sqlite3:///db.sqlite3", "sqlite:///db.sqlite3?timeout=5", "sqlite:///a#b", "sqlite://:memory:",
                 "POSTGRES://ann:hunter2@localhost/x", "mysql://h/x", "nonsense", "", "/var/lib/phones/db.sqlite3", "file:///db"],
        "DATABASE_URL names a file in a folder that does not exist": ["sqlite:////no/such/folder/db.sqlite3"],
        "DATABASE_URL names a file that cannot be used (File name too long).": [f"sqlite:////tmp/{'x' * 256}", f"sqlite:////tmp/{'x/' * 4000}db"],
        "DATABASE_URL names a file that cannot be used (Invalid argument).": ["sqlite:////tmp/%00"],
        "DATABASE_URL names a path that begins with file:": ["sqlite:///file%3Ax%3Fmode%3Dmemory", "sqlite:///file::memory:", "sqlite:///file:/tmp/x%3Fvfs=memdb"],
        "DATABASE_URL names a folder": ["sqlite:////tmp", "sqlite:////tmp/"],
        "DATABASE_URL cannot be read": ["mongodb://ann:hunt:er2@h/d", "mongodb://h:x/d", "mongodb+srv://ann:hunter2@10.0.0.1/d", "mongodb+srv://a,b/d", "mongodb+srv://ann:hunter2@h:1/d",
                                        "mongodb://h:99999/d", f"mongodb://h:{'9' * 5000}/d", "mongodb://ann:1?hunter2@h/d", "mongodb://ann:hunter2@/d?tls=true",
                                        *(f"postgres://{rest}" for rest in (
                                            "ann:hunt@er2@h/d", "ann:hunt/er2@h/d", "ann:hunt?er2=1@h/d", "ann:hunt#er2@h/d", "ann:hunt%zzer2@h/d", "ann:hunter2%00@h/d",
                                            "h:99999/d", "h:0/d", "h:x/d", f"h:{'9' * 5000}/d", "a b/d", "h,/d", "[::1/d", "h/d/e", "h/d#x", "h/d?application_name=a@b"))],
        "DATABASE_URL has an option after the ?": [*(f"mongodb://ann:hunter2@{rest}" for rest in (
            "h/d?tls=1", "h/d?retryWrite=true", "h/d?readPreference=Secondary", "h/d?wTimeoutMS=abc", "h1,h2/d?directConnection=true", "h/d?tls",
            "h/d?authMechanism=FOO", "h/d?connectTimeoutMS=-1")), *(f"postgresql://ann:hunter2@{rest}" for rest in (
            "h/d?sslmode=bogus", "h/d?sslmode", "h/d?=x", "h/d?port=1,2", "h/d?connect_timeout=3s", "h/d?keepalives_idle=x", "h/d?channel_binding=maybe",
            "h/d?sslmode=require&sslrootcert=system", "h/d?target_session_attrs=master", "h/d?service=none"))],
        "DATABASE_URL has an option foo, which libpq does not know": ["postgres://ann:hunter2@h/d?sslmode=require&foo=1", "postgres://h/d?foo"],
        "DATABASE_URL names a file, such as tlsCAFile,": ["mongodb://ann:hunter2@h/d?tls=true&tlsCAFile=/nope", "mongodb://h/d?tlsCertificateKeyFile=/tmp"],
        "DATABASE_URL names a file, such as sslrootcert,": ["postgres://ann:hunter2@h/d?sslmode=verify-full&sslrootcert=/nope", "postgres://h/d?sslcert=/tmp"],
        "DATABASE_URL names no host": ["postgres:///d", "postgres://ann:hunter2@/d"],
        "DATABASE_URL names no database": ["mongodb://h", "mongodb://ann:hunter2@h/?replicaSet=rs", "postgres://ann:hunter2@h", "postgresql://h/?sslmode=require"],
        "DATABASE_URL names a database with more than 63 bytes": [f"postgres://h/{'x' * 64}"],
        "DATABASE_URL: the option target_session_attrs must be read-write or primary, or be left out": ["postgres://h/d?target_session_attrs=standby", "postgres://h1,h2/d?target_session_attrs=any"],
        "DATABASE_URL: the option w must be majority, journal must be true, or be left out": ["mongodb://h/d?w=1&journal=false"],
    },
}  # fmt: skip

EACH_REFUSED = [
    (name, sentence, value)
    for name, sentences in REFUSED.items()
    for sentence, values in sentences.items()
    for value in values
]


@pytest.mark.parametrize(("name", "sentence", "value"), EACH_REFUSED)
def test_a_value_that_cannot_work_is_refused_without_being_shown(name: str, sentence: str, value: str | None) -> None:
    said = faults(**{name: value})
    assert len(said) == 1 and said[0].startswith(sentence), said
    for secret in ("hunt", "user:pass@phones", "garbage!", KEY, DOLLAR, "p#ss"):
        assert secret not in said[0]


@pytest.mark.parametrize(
    "variables",
    [
        {}, {"LIMIT_ADDS": "off"}, {"LIMIT_ADDS": "OFF"}, {"LIMIT_ADDS": "Off"}, {"LIMIT_ADDS": "5/Minute"}, {"LIMIT_ADDS": " 5/second "}, {"DEBUG": "on", "PUBLIC_URL": "http://localhost:8000"}, {"TRUSTED_PROXY_COUNT": "2"},
        {"REDIS_URL": ""}, {"REDIS_URL": "redis://:p%23ss@h:6379/0"}, {"REDIS_URL": "rediss://h"}, {"REDIS_URL": "unix:///run/redis.sock"},
        {"REDIS_URL": "redis://ann@h"}, {"REDIS_URL": "rediss://:p%40ss@h?ssl_cert_reqs=none"}, {"REDIS_URL": "redis://h?db=1&socket_timeout=0.5"},
        {"DATABASE_URL": "sqlite:///:memory:"}, {"DATABASE_URL": "sqlite:////tmp/file%3Ax"}, {"DATABASE_URL": "mongodb://h/d?appName=a@b&tls=true"},
        *({"DATABASE_URL": f"postgres://{rest}"} for rest in (
            "ann:p%40ss@h1:5432,h2:5433/d?sslmode=verify-full", "ann@/d?host=/var/run/postgresql", "%2Frun%2Fpostgresql/d", "ann:a:b@[::1]:5432/d", "h1,h2:1,h3/d",
            "h/d?target_session_attrs=any&connect_timeout=2", "h/d?options=-csearch_path%3Dx", "h/d?user=ann&password=x", "h/d?sslmode=verify-full&sslrootcert=system", "h/d?ssl=true", "h/d?gssencmode=require")),
        {"SECRET_KEY": "0123456789abcdef" * 2}, {"SECRET_KEY": DOLLAR}, {"METRICS_TOKEN": "$abcdefghijklmnopqrstuvwxyz0123456789"}, {"METRICS_TOKEN": ""},
        {"PUBLIC_URL": "http://127.0.0.1:8000"}, {"PUBLIC_URL": "http://[::1]:8000/"}, {"PUBLIC_URL": "https://LOCALHOST"}, {"PUBLIC_URL": "HTTPS://Phones.Example.com"},
        {"PUBLIC_URL": "https://phones.example.com/"}, {"PUBLIC_URL": "https://phones.example.com:8443"}, {"PUBLIC_URL": "https://xn--tlphone-byaa.example.com"},
        {"PUBLIC_URL": "https://8.8.8.8"}, {"PUBLIC_URL": " https://phones.example.com\n"}, {"PUBLIC_URL": "https://a--b.xn--p1ai"},
        {"ALLOWED_HOSTS": ""}, {"ALLOWED_HOSTS": "*"}, {"ALLOWED_HOSTS": ".example.com, 10.0.0.5 ,[::1],"}, {"BIND": "0.0.0.0:8000"}, {"BIND": "unix:/run/x.sock"},
        {"BIND": "[::]:8000"}, {"SCRIPT_NAME": ""}, {"STAFF_TOTP": "No"}, {"LOG_FORMAT": "JSON"}, {"DATABASE_URL": "sqlite:////tmp/a%20b%3F+.sqlite3"},
        {"DATABASE_URL": "mongodb://ann:p%40ss@h1:27017,h2/phones?replicaSet=rs"}, {"CREDENTIAL_KEYS": f" {GOOD['CREDENTIAL_KEYS']} , {GOOD['CREDENTIAL_KEYS']},"},
        {"TWILIO_API_URL": "http://127.0.0.1:8100/twilio/"}, {"CARRIER_READ_TIMEOUT_S": "0.5"},
    ],
)  # fmt: skip
def test_a_value_that_works_is_taken(variables: dict[str, str]) -> None:
    assert faults(**variables) == []


def test_all_faults_are_told_at_once_and_sorted(tmp_path: Path) -> None:
    text = f"PUBLIC_URL=http://phones_api.local/x\nSECRET_KEY {KEY}\nDEBUG=maybe\nALLOWED_HOSTS=a:1,b,c/d\n"
    assert faults(**with_file(tmp_path, text, WORKERS="0", DATABASE_URL="mysql://h/x", LIMIT_ADDS="9")) == [
        ".env, line 2 (SECRET_KEY) is not NAME=value, with the name in capital letters.",
        "ALLOWED_HOSTS must be host names, separated by commas, without scheme, port, path and quotes, such as "
        "phones.example.com,10.0.0.5,[::1]; wrong: entry 1, entry 3.",
        "CREDENTIAL_KEYS is not set. Make one with: openssl rand -base64 32 | tr '+/' '-_'",
        "DATABASE_URL must be sqlite:///file, with four slashes if the path begins with one "
        "(sqlite:////var/lib/phones/db.sqlite3), postgres://user:password@host/database, or "
        "mongodb://host1,host2/database?replicaSet=name.",
        "DEBUG must be on or off.",
        "LIMIT_ADDS must be N/second, N/minute, N/hour or N/day with N above 0, or off.",
        "PUBLIC_URL must be an https:// address (http:// only on this machine), and must have no path, query or fragment: "
        "give the server a host name of its own, and must not have a name of a private network: carriers cannot reach it.",
        "WORKERS must be a whole number, 1 or more.",
    ]


@pytest.mark.parametrize(
    ("public_url", "allowed", "origin"),
    [
        ("https://phones.example.com", "phones.example.com", "https://phones.example.com"),
        ("https://Phones.Example.com:8443/", "phones.example.com", "https://phones.example.com:8443"),
        ("http://[::1]:8000", "[::1]", "http://[::1]:8000"),
    ],
)
def test_the_host_of_the_public_url_is_served_and_its_origin_trusted(
    public_url: str, allowed: str, origin: str
) -> None:
    settings = start(PUBLIC_URL=public_url, ALLOWED_HOSTS="10.0.0.5")
    assert settings["ALLOWED_HOSTS"] == ["10.0.0.5", allowed]
    assert settings["CSRF_TRUSTED_ORIGINS"] == [origin]


@pytest.mark.parametrize(
    "failure",
    [dns.resolver.NXDOMAIN(), dns.resolver.NoNameservers(), dns.resolver.LifetimeTimeout(timeout=5, errors=[]), dns.resolver.NoAnswer,
     dns.resolver.NoResolverConfiguration()],
    ids=["no such name", "no server", "no answer in time", "no hosts", "no resolver"],
)  # fmt: skip
def test_a_dns_that_does_not_answer_is_told_apart_from_a_wrong_address(
    monkeypatch: pytest.MonkeyPatch, failure: Any
) -> None:
    def resolve(*args: Any, **kwargs: Any) -> Any:
        if failure is dns.resolver.NoAnswer:
            raise dns.resolver.NoAnswer(response=dns.message.make_query("x", "SRV"))
        raise failure

    monkeypatch.setattr(dns.resolver, "resolve", resolve)
    (said,) = faults(DATABASE_URL="mongodb+srv://user:secret@cluster0.example.invalid/phones?w=majority&appName=C")
    assert said.startswith("DATABASE_URL: the host could not be looked up.") and "secret" not in said


@pytest.mark.parametrize("bad", [PermissionError(13, "Permission denied"), OSError(5, "Input/output error")])
def test_a_database_in_a_folder_of_another_user_is_one_sentence(monkeypatch: pytest.MonkeyPatch, bad: OSError) -> None:
    real = Path.stat

    def stat(path: Path, **options: Any) -> os.stat_result:
        if "theirs" in str(path):
            raise bad
        return real(path, **options)

    monkeypatch.setattr(Path, "stat", stat)
    said = faults(DATABASE_URL="sqlite:////theirs/phones/db.sqlite3")
    assert said == [f"DATABASE_URL names a file that cannot be used ({bad.strerror})."]


def test_a_default_that_fails_hides_no_other_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """For example if db.sqlite3 is a folder, which Docker makes where a file to mount is missing."""

    def from_url(variable: str, url: str) -> Any:
        raise ImproperlyConfigured(f"{variable} names a folder.")

    monkeypatch.setattr("core.databases.from_url", from_url)
    names = ["DATABASE_URL names a folder.", "WORKERS must be a whole number, 1 or more."]
    assert faults(WORKERS="0") == names
    assert faults(WORKERS="0", DATABASE_URL="x") == names


@pytest.mark.parametrize("failure", [FileNotFoundError(2, "No such file"), PermissionError(13, "Permission denied")])
def test_a_value_that_names_an_unusable_file_is_one_sentence(monkeypatch: pytest.MonkeyPatch, failure: OSError) -> None:
    def parse(text: str) -> str:
        raise failure

    monkeypatch.setenv("ENV_FILE", os.devnull)
    variables = Variables(Path(os.devnull))
    assert variables.read("KEY_FILE", parse, "x") == ""
    assert variables.faults == [f"KEY_FILE names a file that cannot be used ({failure.strerror})."]


@pytest.mark.parametrize(
    ("url", "passwords"),
    [
        ("redis://:hunter2@h/0", {"hunter2"}),
        ("redis://ann:p%40ss%3A@h?db=1", {"p%40ss%3A", "p@ss:"}),
        ("redis://h?password=hunter2&db=1", {"hunter2"}),
        ("unix://ann:hunter2@/run/redis.sock", {"hunter2"}),
        ("mongodb://ann:hunter2@h1:27017,h2/d?replicaSet=rs&tlsCertificateKeyFilePassword=b%2Fcde", {"hunter2", "b%2Fcde", "b/cde"}),
        # Each p in each line of the log would become ***.
        ("redis://:p@ss@h/0", {"p@ss"}),
        ("postgres://ann:hunter%402@h1,h2/d?sslpassword=opensesame&oauth_client_secret=mellon", {"hunter%402", "hunter@2", "opensesame", "mellon"}),
        ("redis://:p@h/0", set()), ("redis://h", set()), ("redis://[::1", set()), ("", set()),
    ],
)  # fmt: skip
def test_the_passwords_of_addresses_are_found(url: str, passwords: set[str]) -> None:
    assert set(passwords_of(url)) == passwords


def test_a_path_of_sqlite_is_what_it_says(tmp_path: Path) -> None:
    assert from_url("X", f"sqlite:///{tmp_path}/a+b%20c%3F.sqlite3")["NAME"] == f"{tmp_path}/a+b c?.sqlite3"


# -- warnings ---------------------------------------------------------------------------------------------------------


def warnings() -> list[str]:
    return [str(one.msg) for one in run_checks(tags=[WORKSPACE])]


@pytest.mark.parametrize(
    ("written", "meant"),
    [("ALLOWED_HOST", "ALLOWED_HOSTS"), ("SECRETKEY", "SECRET_KEY"), ("secret_key", "SECRET_KEY"), ("DATABASE_URI", "DATABASE_URL"),
     ("TRUSTED_PROXIES_COUNT", "TRUSTED_PROXY_COUNT"), ("METRIC_TOKEN", "METRICS_TOKEN"), ("LIMIT_ADD", "LIMIT_ADDS")],
)  # fmt: skip
def test_a_misspelled_setting_is_told(monkeypatch: pytest.MonkeyPatch, written: str, meant: str) -> None:
    monkeypatch.setenv(written, "x")
    assert f"{written} is not a setting. Did you mean {meant}?" in warnings()
    said = faults(**{meant: None, written: "x", "WORKERS": "two"})
    assert f"{written} is not a setting. Did you mean {meant}?" in said, "beside what cannot work"


@pytest.mark.parametrize(
    "name", ["PATH", "HTTP_PROXY", "TEST_DATABASE_URL", "PORT", "DEBIAN_FRONTEND", "DJANGO_SETTINGS_MODULE", "REDIS_PORT", "NODE_ENV", "SECRET"]
)  # fmt: skip
def test_variables_of_others_are_not_told(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "x")
    assert not [one for one in warnings() if "is not a setting" in one]


def test_a_socket_without_a_proxy_is_told(settings: Any) -> None:
    settings.BIND = "unix:/run/phones.sock"
    assert any(one.startswith("BIND is a UNIX socket") for one in warnings())
    settings.TRUSTED_PROXY_COUNT = 1
    assert warnings() == []


# -- the machine ------------------------------------------------------------------------------------------------------


def without_temporary_folder(monkeypatch: pytest.MonkeyPatch) -> str:
    """Start the server where nothing can be written to."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc/nowhere"])
    monkeypatch.setattr("sys.argv", ["manage.py", "serve"])
    with pytest.raises(SystemExit) as end:
        manage.main()
    return str(end.value).removeprefix("Not configured: ")


def taken(bind: str) -> str:
    with pytest.raises(CommandError) as refusal:
        address(bind)
    return str(refusal.value)


def cannot_listen(tmp_path: Path) -> list[str]:
    with socket.socket() as other, socket.socket(socket.AF_UNIX) as another:
        other.bind(("127.0.0.1", 0))
        other.listen()
        another.bind(f"{tmp_path}/taken")
        another.listen()
        (tmp_path / "file").touch()
        binds = [
            f"127.0.0.1:{other.getsockname()[1]}",
            f"unix:{tmp_path}/file",
            f"unix:{tmp_path}/none/x",
            "192.0.2.1:1",
        ]
        binds += [f"unix:{tmp_path}/taken", "no-such-host.invalid:8000"]
        return [taken(bind) for bind in binds]


def test_an_address_to_listen_on_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    *cannot, in_use, unknown = cannot_listen(tmp_path)
    assert all(re.fullmatch(r"BIND: cannot listen at \S+ \(.+\)\. Set another BIND\.", one) for one in cannot), cannot
    assert "already in use" in in_use and "cannot be looked up" in unknown


def test_a_free_socket_and_that_of_a_killed_server_are_used(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    for _ in range(2):
        assert address(f"unix:{path}") == {"uds": path, "uds_permissions": 0o666}
        with socket.socket(socket.AF_UNIX) as killed:
            killed.bind(str(path))


def test_without_a_temporary_folder_the_server_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert without_temporary_folder(monkeypatch) == (
        "There is no temporary folder that can be written to (No usable temporary directory found in "
        "['/proc/nowhere']). Mount one at /tmp (docker run --tmpfs /tmp), or name one in TMPDIR."
    )


# -- docs/start.md ----------------------------------------------------------------------------------------------------


def problems_of_the_machine(monkeypatch: pytest.MonkeyPatch, settings: Any) -> list[str]:
    """What `/readyz` and the start say of them; tests/test_health.py has the machines."""
    monkeypatch.setattr(health, "unwritable_path", lambda config: "/db.sqlite3")
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    return [health.UNUSABLE, health.UNWRITABLE, health.permission_problem(), limits.find_problem()]


def test_the_page_lists_each_sentence_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    page = (PROJECT / "docs" / "start.md").read_text()
    rows = [row.split(" | ")[0] for row in page.splitlines() if re.match(r"\| `.* \| ", row)]
    listed = [
        sentence for row in rows for sentence in re.findall(r"`([^`]*[.…:]|[^`]* [^`]*)`", row) if " " in sentence
    ]
    assert len(listed) > 40
    said = [one for name, _, value in EACH_REFUSED for one in faults(**{name: value})]
    said += faults(DEBUG="on") + faults(ENV_FILE=f"{tmp_path}/none")
    for number, line in enumerate(line for lines in UNREADABLE_LINES.values() for line in lines):
        (folder := tmp_path / str(number)).mkdir()
        said += faults(**with_file(folder, f"\n{line}" if "\n" in line else f"\n\n{line}"))
    said += faults(**with_file(tmp_path, f"\n\nTMPDIR=/x\nSECRET_KEY={KEY}\n{REST}"))
    (tmp_path / "1" / ".env").unlink()
    (tmp_path / "1" / ".env").mkdir()
    said += faults(ENV_FILE=f"{tmp_path}/1/.env") + faults(**with_file(tmp_path, REST.encode("utf-16")))
    said += faults(DATABASE_URL="mongodb+srv://cluster0.example.invalid/d")
    (tmp_path / "machine").mkdir()
    said += [without_temporary_folder(monkeypatch), *cannot_listen(tmp_path / "machine"), str(keys.WrongKey())]
    monkeypatch.setenv("ALLOWED_HOST", "x")
    settings.BIND, settings.ENV_FILE = "unix:/x", str(tmp_path / ".env")
    (tmp_path / ".env").chmod(0o644)
    said += [str(one.msg) for one in run_checks(tags=[WORKSPACE])]
    # tests/test_unusable_database.py shows when these are said.
    said += [readiness.NOT_MIGRATED, readiness.NO_ANSWER, readiness.CONNECTION_LOST]
    for sentences in (
        readiness.SQLITE, readiness.MONGODB, readiness.DRIVER, readiness.POSTGRESQL, readiness.PSYCOPG
    ):  # fmt: skip
        said += sentences.values()
    said += problems_of_the_machine(monkeypatch, settings)

    patterns = [re.escape(sentence).replace("…", ".*") for sentence in listed]
    missing = [pattern for pattern in patterns if not any(re.fullmatch(pattern, one) for one in said)]
    assert missing == [], "the page has sentences that nothing says"
    others = {re.sub(r"line \d+", "line 3", one) for one in said if not any(re.fullmatch(p, one) for p in patterns)}
    same_for_many = (
        r"(LIMIT_\w+|KEEP_\w+|CARRIER_\w+|LOGIN_\w+|TOKEN_\w+|REQUEST_\w+|PLIVO_\w+|TELNYX_\w+) .*|.*is not set\..*"
    )
    assert [one for one in sorted(others) if not re.fullmatch(same_for_many, one)] == []
