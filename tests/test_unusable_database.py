"""A database that cannot be used: each command says so in a sentence, without a traceback, and ends with 1."""

import os
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import psycopg_pool
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DataError, IntegrityError, OperationalError, ProgrammingError
from django.db.migrations.exceptions import MigrationSchemaMissing
from django.db.migrations.recorder import MigrationRecorder
from pymongo import errors

import manage
from core.databases import readiness
from core.databases.readiness import explain
from tests.support.database import unreachable

ID = "64e5f12345abcdef12345678"
COMMANDS = [
    ["migrate"], ["showmigrations"], ["create_workspace", "Acme", "--email", "ann@acme.example"],
    ["create_user", "--workspace", ID, "--email", "ann@acme.example"], ["create_token", "--workspace", ID],
    ["revoke_token", "wp_12345"], ["create_staff", "--email", "a@acme.example", "--group", "support"],
    ["reset_totp", "a@acme.example"], ["createsuperuser", "--noinput", "--email", "a@acme.example"],
    ["reconcile"], ["check_phones"], ["purge"], ["rotate_credential_keys"], ["worker"],
    ["add_phones", "docs/sample-numbers.csv"],
]  # fmt: skip


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Runs manage.py in this process, and returns the sentence with which it ends."""
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "a long password 1")

    def main(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["manage.py", *arguments])
        with pytest.raises(SystemExit) as ended:
            manage.main()
        return str(ended.value.code)

    mask, handler = os.umask(0), signal.getsignal(signal.SIGTERM)
    yield main
    os.umask(mask)
    signal.signal(signal.SIGTERM, handler)


@pytest.mark.engine
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_each_command_ends_with_a_sentence(run: Callable[..., str], command: list[str], tmp_path: Path) -> None:
    with unreachable(tmp_path):
        assert run(*command) in (readiness.SQLITE["SQLITE_CANTOPEN"], readiness.CONNECTION_REFUSED)


@pytest.mark.engine
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "command", [command for command in COMMANDS if command[0] not in ("migrate", "showmigrations", "createsuperuser")],
    ids=lambda command: command[0],
)  # fmt: skip
def test_so_does_each_of_ours_if_a_migration_is_missing(command: list[str]) -> None:
    """On MongoDB nothing else would tell: what is written to a collection that is missing creates it, without indexes."""
    MigrationRecorder.Migration.objects.filter(app="phones").latest("pk").delete()
    with pytest.raises(CommandError, match=r"not migrated\. Run: manage\.py migrate"):
        call_command(*command)


def of_sqlite(act: Callable[[Path], Any], folder: Path) -> sqlite3.Error:
    with pytest.raises(sqlite3.Error) as raised:
        act(folder)
    return raised.value


def execute(file: Path, *statements: str, **options: Any) -> None:
    with closing(sqlite3.connect(file, isolation_level=None, **options)) as database:
        for statement in statements:
            database.execute(statement)


def lock(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "it", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        execute(folder / "it", "CREATE TABLE a (b)", timeout=0.01)


def fill(folder: Path) -> None:
    execute(folder / "it", "CREATE TABLE a (b)", "PRAGMA max_page_count=2", "INSERT INTO a VALUES (zeroblob(1000000))")


def only_read(folder: Path) -> None:
    execute(folder / "it", "CREATE TABLE a (b)")
    with closing(sqlite3.connect(f"file:{folder / 'it'}?mode=ro", uri=True)) as database:
        database.execute("INSERT INTO a VALUES (1)")


def take_for_a_database(folder: Path) -> None:
    (folder / "it").write_text("DATABASE_URL=sqlite:///db.sqlite3\n" * 40)
    execute(folder / "it", "SELECT * FROM sqlite_master")


def damage(folder: Path) -> None:
    execute(folder / "it", "CREATE TABLE a (b)", "INSERT INTO a VALUES (zeroblob(100000))")
    whole = (folder / "it").read_bytes()
    (folder / "it").write_bytes(whole[:4096] + b"\x99" * 4096 + whole[8192:])
    execute(folder / "it", "SELECT * FROM a")


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lock, "is locked"),
        (fill, "its disk is full"),
        # fsinfuhh/Bitpoll issue 199, need4swede/Portall issue 33: a volume that belongs to another user
        (only_read, "cannot be written to"),
        # TSPARR/hardcover_bookclub issue 14: a mount that does not exist
        (lambda folder: execute(folder / "none" / "it", "SELECT 1"), "cannot be opened"),
        (lambda folder: execute(folder, "SELECT 1"), "cannot be opened"),
        (take_for_a_database, "is not an SQLite database"),
        (damage, "is damaged"),
        (lambda folder: execute(folder / "it", "SELECT * FROM phones_line"), "manage.py migrate"),
        (lambda folder: execute(folder / "it", "CREATE TABLE a (b)", "SELECT c FROM a"), "manage.py migrate"),
        (lambda folder: execute(folder / "it", "CREATE TABLE a (b)", "INSERT INTO a (c) VALUES (1)"), "migrate"),
    ],
)
def test_what_sqlite_says_is_explained(act: Callable[[Path], Any], said: str, tmp_path: Path) -> None:
    error = of_sqlite(act, tmp_path)
    for raised in wrapped(error):
        sentence = explain(raised)
        assert sentence and said in sentence and str(tmp_path) not in sentence


def wrapped(error: Exception) -> Iterator[Exception]:
    """As the engine raises it, as Django does, and as `migrate` does."""
    yield error
    operational = OperationalError(*error.args)
    operational.__cause__ = error
    yield operational
    missing = MigrationSchemaMissing(f"Unable to create the django_migrations table ({error})")
    missing.__context__ = operational
    yield missing


TOPOLOGY = (
    ", Timeout: 15.0s, Topology Description: <TopologyDescription id: 62a6, topology_type: ReplicaSetNoPrimary, servers: "
    "[<ServerDescription ('ssl-mongo', 27017) server_type: Unknown, rtt: None>]>"
)


def unfound(text: str) -> Exception:
    return errors.ServerSelectionTimeoutError(text + TOPOLOGY)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        # opendatateam/docker-udata issue 235; Kaggle/docker-python issue 863
        (unfound("mongodb:27017: [Errno -2] Name or service not known"), "could not be looked up"),
        # tgbot-collection/SearchGram issue 20, on Alpine
        (unfound("mongo:27017: [Errno -2] Name does not resolve"), "could not be looked up"),
        # superduper-io/superduper issue 1294
        (unfound("mongo:27017: [Errno -3] Temporary failure in name resolution"), "could not be looked up"),
        (unfound("127.0.0.1:27017: [Errno 111] Connection refused"), "connection refused"),
        # PacktPublishing/LLM-Engineers-Handbook issue 37
        (unfound("0.0.0.1:27017: timed out (configured timeouts: connectTimeoutMS: 5000.0ms)"), "does not answer"),
        # alisaifee/flask-limiter issue 435; yougov/mongo-connector issue 411
        (unfound("No replica set members found yet"), "has no primary"),
        (unfound('No replica set members match selector "Primary()"'), "has no primary"),
        # CodeXBotz/File-Sharing-Bot issue 281
        (unfound("SSL handshake failed: mongo:27017: [SSL: CERTIFICATE_VERIFY_FAILED]"), "over TLS"),
        (errors.AutoReconnect("mongo:27017: connection closed"), "connection to the database was lost"),
        # docker-library/mongo issue 417: a user that is in another database; AbirHasan2005/PyroFilesStoreBot issue 48
        (errors.OperationFailure("Authentication failed.", 18), "authSource"),
        (errors.OperationFailure("bad auth : Authentication failed.", 8000), "user or the password"),
        (errors.OperationFailure("not authorized on phones to execute command { find: 1 }", 13), "may not use"),
        (errors.OperationFailure("disk full", 14031), "its disk is full"),
        (errors.NotPrimaryError("not primary", {"code": 10107}), "no primary"),
        (errors.WriteConcernError("waiting for replication timed out", 64), "majority"),
        (errors.OperationFailure("something new about user s3cret", 99999), "code 99999"),
    ],
    ids=lambda value: str(value)[:60],
)  # fmt: skip
def test_what_mongodb_says_is_explained(error: Exception, said: str) -> None:
    for raised in wrapped(error):
        sentence = explain(raised)
        assert sentence and said in sentence and "s3cret" not in sentence and "mongo:" not in sentence


AT = 'connection failed: connection to server at "s3cret.example.com" (10.0.0.1), port 5432 failed: '


@pytest.mark.parametrize(
    ("error", "said"),
    [
        # What a server of version 15 and libpq 18 say, read on 2026-11-30.
        ("failed to resolve host 's3cret.example.com': [Errno -2] Name or service not known", "could not be looked up"),
        (f"{AT}Connection refused\n\tIs the server running on that host and accepting TCP/IP?", "connection refused"),
        (f"{AT}No such file or directory", "connection refused"),
        ("connection timeout expired", "does not answer"),
        (f"{AT}No route to host", "does not answer"),
        (f'{AT}FATAL:  password authentication failed for user "s3cret"', "user or the password"),
        (f'{AT}FATAL:  no pg_hba.conf entry for host "10.0.0.2", user "s3cret", no encryption', "pg_hba.conf"),
        (f'{AT}FATAL:  no pg_hba.conf entry for host "10.0.0.2", user "s3cret", SSL encryption', "pg_hba.conf"),
        (f"{AT}Permission denied", "user or the password"),
        (f"{AT}fe_sendauth: no password supplied", "user or the password"),
        (f'{AT}FATAL:  database "s3cret" does not exist', "createdb"),
        (f'{AT}FATAL:  permission denied for database "s3cret"', "may not use"),
        (f"{AT}FATAL:  sorry, too many clients already", "max_connections"),
        (f"{AT}FATAL:  remaining connection slots are reserved for non-replication superuser", "max_connections"),
        (f"{AT}FATAL:  the database system is starting up", "starting or stopping"),
        (f"{AT}session is read-only", "promote a standby"),
        (f"{AT}server does not support SSL, but SSL was required", "over TLS"),
        (f"{AT}SSL error: certificate verify failed", "over TLS"),
        ("connection failed: GSSAPI encryption required but no credential cache", "Kerberos ticket"),
        ("server closed the connection unexpectedly", "connection to the database was lost"),
        ("consuming input failed: SSL connection has been closed unexpectedly", "connection to the database was lost"),
        ("consuming input failed: SSL SYSCALL error: EOF detected", "connection to the database was lost"),
        ("consuming input failed: SSL error: unexpected eof while reading", "connection to the database was lost"),
        (f"{AT}FATAL:  the database system is not accepting connections", "starting or stopping"),
        ("synchronous_commit is off or local", "synchronous_commit = on"),
        ("the connection is lost", "connection to the database was lost"),
        (f"{AT}FATAL:  Passwort-Authentifizierung", "The database failed (OperationalError)."),
        (psycopg.errors.UndefinedTable('relation "s3cret" does not exist'), "manage.py migrate"),
        (psycopg.errors.InsufficientPrivilege("permission denied for table s3cret"), "their owner"),
        (psycopg.errors.DiskFull("could not extend file"), "its disk is full"),
        (psycopg.errors.ReadOnlySqlTransaction("cannot execute UPDATE"), "it is a standby"),
        (psycopg.errors.QueryCanceled("due to statement timeout"), "took too long"),
        (psycopg.errors.AdminShutdown("terminating connection"), "connection to the database was lost"),
        (psycopg.errors.DeadlockDetected("deadlock detected"), "Another transaction"),
        (psycopg.errors.LockNotAvailable("due to lock timeout"), "Another transaction"),
        (psycopg.errors.DataCorrupted("invalid page"), "fault of its own"),
        (psycopg.errors.OutOfMemory("s3cret"), "The database failed (OutOfMemory, code 53200)."),
        (psycopg_pool.PoolTimeout("couldn't get a connection after 10.00 sec"), "connections of this process"),
    ],
    ids=lambda value: str(value)[-60:],
)
def test_what_postgresql_says_is_explained(error: Any, said: str) -> None:
    for raised in wrapped(psycopg.OperationalError(error) if isinstance(error, str) else error):
        sentence = explain(raised)
        assert sentence and said in sentence and "s3cret" not in sentence


@pytest.mark.parametrize(
    "error",
    [
        psycopg.errors.SyntaxError("at or near"), IntegrityError("UNIQUE constraint failed"), DataError("out of range"), ProgrammingError("wrong parameters"),
        RuntimeError("no such table"), ValueError(),
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_a_fault_of_ours_keeps_its_traceback(error: Exception) -> None:
    assert explain(error) is None


def test_so_does_a_wrong_statement(tmp_path: Path) -> None:
    error = of_sqlite(lambda folder: execute(folder / "it", "SELEKT"), tmp_path)
    assert [explain(raised) for raised in wrapped(error)] == [None, None, None]
