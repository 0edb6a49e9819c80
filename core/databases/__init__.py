"""Convert `DATABASE_URL` to Django's settings, for each engine."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from django.core.exceptions import ImproperlyConfigured

from core.databases.mongodb import url as mongodb_url
from core.databases.postgresql import url as postgresql_url


def from_url(variable: str, url: str) -> dict[str, Any]:
    """Convert a database URL to an entry of DATABASES.

    Args:
        variable: name of the setting, for messages; they contain no part of the URL.
        url: sqlite:///path/to/file.sqlite3, percent-encoded, or a URL that the `url` module of another engine accepts.

    Raises ImproperlyConfigured.
    """
    if url.startswith(mongodb_url.SCHEMES):
        return mongodb_url.from_url(variable, url)
    if url.startswith(postgresql_url.SCHEMES):
        return postgresql_url.from_url(variable, url)
    scheme, _, path = url.partition(":///")
    if scheme != "sqlite" or not path.strip("/") or "?" in path or "#" in path:
        raise ImproperlyConfigured(
            f"{variable} must be sqlite:///file, with four slashes if the path begins with one "
            "(sqlite:////var/lib/phones/db.sqlite3), postgres://user:password@host/database, or "
            "mongodb://host1,host2/database?replicaSet=name."
        )
    name = unquote(path)
    if name != ":memory:" and (problem := path_problem(name)):
        raise ImproperlyConfigured(f"{variable} {problem}")
    return {
        "ENGINE": "core.databases.sqlite",
        "NAME": name,
        "CONN_MAX_AGE": 600,
        "OPTIONS": {
            # docs/decisions/0003: a 201 must survive a power cut, and writers queue instead of failing.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-512;",
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
        },
    }


def path_problem(name: str) -> str:
    """Why there can be no SQLite database at this path, in the rest of a sentence. Empty if there can be one."""
    if name.startswith("file:"):  # https://sqlite.org/uri.html (read 2026-11-30)
        return "names a path that begins with file:, which SQLite takes for a URL. Write sqlite:///./file:…"
    file = Path(name)
    try:
        with suppress(FileNotFoundError, NotADirectoryError):
            file.stat()  # because is_dir() says no for some of its errors, depending on the version of Python
        if not file.resolve().parent.is_dir():
            return "names a file in a folder that does not exist."
        return "names a folder. Add the name of a file: …/db.sqlite3" if file.is_dir() else ""
    except (OSError, ValueError) as error:  # ValueError for a zero byte
        reason = error.strerror if isinstance(error, OSError) else "Invalid argument"
        return f"names a file that cannot be used ({reason})."


def unwritable_path(config: dict[str, Any]) -> str | None:
    """The first of the database's files, and their folder, that this process must not write to.

    Args:
        config: an entry of DATABASES.

    Returns None if it may write to all of them, or if the database is not a file. Called for each connection, so
    without pathlib, which interns each part of a path.
    """
    file = str(config["NAME"])
    if config["ENGINE"] != "core.databases.sqlite" or not os.access(file, os.F_OK):
        return None
    beside = [path for path in (f"{file}-wal", f"{file}-shm") if os.access(path, os.F_OK)]
    folder = os.path.realpath(file).rpartition("/")[0]
    return next((path for path in [file, *beside, folder] if not os.access(path, os.W_OK)), None)
