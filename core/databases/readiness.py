"""Whether a database can be used, and if not, what to do about it."""

import re
import sqlite3
import sys
from typing import Any

from django.db import DatabaseError, DataError, IntegrityError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor

NOT_MIGRATED = "The database is not migrated. Run: manage.py migrate"
READ_ONLY = (
    "The database cannot be written to: its file, its folder or the file system is read-only for this user. Check who "
    "owns them, and their permissions."
)
LOCKED = "The database is locked: another process is writing to it. Try again; if this stays, stop the others."
DISK_FULL = "The database cannot be written to, because its disk is full. Free some space, then try again."
NO_ANSWER = "The database does not answer. Check that it is running and reachable at the hosts of DATABASE_URL."
CONNECTION_REFUSED = (
    "The database does not answer (connection refused). Check that it is running at the hosts and ports of "
    "DATABASE_URL."
)
CONNECTION_LOST = "The connection to the database was lost. Check that the database is running, then try again."
TOO_SLOW = "The database took too long to answer. Try again; if this stays, check its load."
NO_HOST = "A host of DATABASE_URL could not be looked up. Check its spelling, and whether DNS answers."

# https://www.sqlite.org/rescode.html (read 2026-11-30), by the first two words of the extended code's name.
SQLITE = {
    "SQLITE_BUSY": LOCKED,
    "SQLITE_LOCKED": LOCKED,
    "SQLITE_READONLY": READ_ONLY,
    "SQLITE_PERM": READ_ONLY,
    "SQLITE_FULL": DISK_FULL,
    "SQLITE_CANTOPEN": (
        "The database file cannot be opened. Check DATABASE_URL, and that this user may read and write the file and "
        "its folder."
    ),
    "SQLITE_NOTADB": "The file that DATABASE_URL names is not an SQLite database. Check DATABASE_URL.",
    "SQLITE_CORRUPT": "The database file is damaged. Stop the server and restore a backup.",
    "SQLITE_IOERR": "The disk of the database fails. Check it and the system's log, then try again.",
}
NO_TABLE = re.compile(r"no such (table|column)|has no column named")

# Codes of mongod's error_codes.yml (read 2026-11-30).
MONGODB = {
    **dict.fromkeys(
        (11, 18, 8000), "The database refuses the user or the password of DATABASE_URL. Check both, and authSource."
    ),
    13: "The user of DATABASE_URL may not use this database. Grant the role readWrite on it, and set authSource.",
    14031: DISK_FULL,
    **dict.fromkeys(
        (91, 189, 10107, 11600, 11602, 13435, 13436),
        "The database has no primary right now. Try again; if this stays, check the members of the replica set.",
    ),
    50: TOO_SLOW,
    **dict.fromkeys(
        (64, 100), "The database did not confirm a write on a majority of its members. Check whether all of them run."
    ),
}
LOOK_UP = (
    r"Name or service not known|Name does not resolve|nodename nor|No address associated|name resolution|getaddrinfo|"
    r"failed to resolve host"
)
# What pymongo says of servers that it did not find, or lost; the first that fits.
DRIVER = {
    LOOK_UP: NO_HOST,
    r"certificate|SSL|TLS": "The database cannot be reached over TLS. Check its certificate, and tls… in DATABASE_URL.",
    r"Connection refused": CONNECTION_REFUSED,
    r"No primary|not primary|No replica set members": (
        "The replica set of DATABASE_URL has no primary. Check its members, and that replicaSet= names it."
    ),
}

REFUSED_USER = (
    "The database refuses the user or the password of DATABASE_URL. Check both, and whether pg_hba.conf admits the "
    "user from this machine."
)
NO_DATABASE = "PostgreSQL has no database of the name in DATABASE_URL. Check the name, or run createdb."
TOO_MANY = (
    "The database takes no more connections. Raise max_connections, or run fewer servers: each of the WORKERS and the "
    "worker uses up to 12."
)
STANDBY = (
    "The database cannot be written to: it is a standby, or read-only. Check that DATABASE_URL names the primary, or "
    "name all hosts."
)
NEEDS_COMMIT = (
    "The PostgreSQL of DATABASE_URL has synchronous_commit off or local, so acknowledged writes could be lost. Turn it "
    "on for this database or user: ALTER DATABASE … SET synchronous_commit = on"
)
NO_CONNECTION_FREE = (
    "All connections of this process to the database were in use for too long. Check the load of the database, and "
    "whether something locks it."
)
UNFIT = "The database is starting or stopping. Try again; if this stays, read its log."
# https://www.postgresql.org/docs/current/errcodes-appendix.html (read 2026-11-30), by code or its beginning.
POSTGRESQL = {
    **dict.fromkeys(("42P01", "42703"), NOT_MIGRATED),
    "42501": "The user of DATABASE_URL may not use the tables of this database. Make the user their owner.",
    "28": REFUSED_USER,
    "3D000": NO_DATABASE,
    "53100": DISK_FULL,
    "53300": TOO_MANY,
    "25006": STANDBY,
    "57014": TOO_SLOW,
    "57P03": UNFIT,
    **dict.fromkeys(("08", "57P"), CONNECTION_LOST),
    **dict.fromkeys(
        ("40", "55P03"),
        "Another transaction of the database was in the way. Try again; if this stays, check its locks.",
    ),
    **dict.fromkeys(("58", "XX"), "The database has a fault of its own. Check its disk, and read its log."),
}
# What psycopg says of servers that it did not find, that refuse it, or that it lost; the first that fits. There is no
# code while it connects.
PSYCOPG = {
    r"couldn't get a connection": NO_CONNECTION_FREE,
    r"synchronous_commit is": NEEDS_COMMIT,
    r"authentication failed|no password supplied|no pg_hba.conf entry|role .* does not exist|not permitted to log in": (
        REFUSED_USER
    ),
    LOOK_UP: NO_HOST,
    r"SSL SYSCALL|SSL connection has been closed|unexpected eof": CONNECTION_LOST,
    r"certificate verify|certificate file|does not support SSL|SSL error:|root certificate": (
        "The database cannot be reached over TLS. Check its certificate, and sslmode and sslrootcert in DATABASE_URL."
    ),
    r"GSSAPI": (
        "The database cannot be reached with GSSAPI. Check the Kerberos ticket of this user, and gssencmode in "
        "DATABASE_URL."
    ),
    # Of a socket's file.
    r"failed: Permission denied": REFUSED_USER,
    r"permission denied for database": (
        "The user of DATABASE_URL may not use this database. Make the user its owner, or grant CONNECT."
    ),
    r"database .* does not exist": NO_DATABASE,
    r"too many (clients|connections)|connection slots|no more connections": TOO_MANY,
    r"session is read-only|recovery|hot standby": (
        "No host of DATABASE_URL is a primary right now. Try again; if this stays, promote a standby."
    ),
    r"is starting up|is shutting down|not (yet )?accepting|not currently accepting": UNFIT,
    r"Connection refused|No such file or directory": CONNECTION_REFUSED,
    r"timeout|timed out|unreachable|No route": NO_ANSWER,
    r"closed|lost|reset|Broken pipe|terminat": CONNECTION_LOST,
}


def is_migrated(database: BaseDatabaseWrapper) -> bool:
    """Whether all migrations have been applied. Raises DatabaseError."""
    executor = MigrationExecutor(database)
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())


def explain(error: BaseException) -> str | None:
    """Say in a sentence why a database could not be used; None if the error is not about that.

    The sentence contains nothing of the error's text, in which there may be values or parts of DATABASE_URL.
    """
    if isinstance(error, IntegrityError | DataError):
        return None
    cause: BaseException | None = error
    while isinstance(cause, DatabaseError):  # Django's, raised from or while handling the engine's own
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, sqlite3.Error):
        return of_sqlite(cause)
    if is_of_driver(cause, "pymongo.errors", "PyMongoError"):
        return of_mongodb(cause)
    if is_of_driver(cause, "psycopg", "Error"):
        return of_postgresql(cause)
    return None


def is_of_driver(error: BaseException | None, module: str, root: str) -> bool:
    """Whether it is one of a driver's errors. A driver is loaded only where it is used."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(error, getattr(loaded, root))


def of_sqlite(error: sqlite3.Error) -> str | None:
    if NO_TABLE.search(str(error)):
        return NOT_MIGRATED
    name = getattr(error, "sqlite_errorname", "")
    return SQLITE.get("_".join(name.split("_")[:2]))


def of_mongodb(error: Any) -> str:
    # The driver's own view of all servers follows, in which their names would be taken for reasons.
    code, text = getattr(error, "code", None), str(error).partition(", Timeout:")[0]
    if code in MONGODB:
        return MONGODB[code]
    for pattern, sentence in DRIVER.items():
        if re.search(pattern, text):
            return sentence
    errors = sys.modules["pymongo.errors"]
    if isinstance(error, errors.ServerSelectionTimeoutError):
        return NO_ANSWER
    if isinstance(error, errors.ConnectionFailure):
        return CONNECTION_LOST
    return f"The database failed ({type(error).__name__}{f', code {code}' if code else ''})."


def of_postgresql(error: Any) -> str | None:
    code = error.sqlstate or ""
    known = [POSTGRESQL[part] for part in (code, code[:3], code[:2]) if part in POSTGRESQL]
    if not code:
        known = [sentence for pattern, sentence in PSYCOPG.items() if re.search(pattern, str(error))]
    if known or isinstance(error, sys.modules["psycopg"].ProgrammingError):  # otherwise, a wrong statement
        return known[0] if known else None
    return f"The database failed ({type(error).__name__}{f', code {code}' if code else ''})."
