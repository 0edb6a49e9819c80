"""Convert `DATABASE_URL` to Django's settings, for each engine."""

from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from environ import Env

from core.databases.mongodb import url as mongodb_url


def from_url(variable: str, url: str) -> dict[str, Any]:
    """Convert a database URL to an entry of DATABASES.

    Args:
        variable: name of the setting, for messages; they contain no part of the URL.
        url: sqlite:///path/to/file.sqlite3, or a URL that `core.databases.mongodb.url` accepts.

    Raises ImproperlyConfigured.
    """
    if url.startswith(mongodb_url.SCHEMES):
        return mongodb_url.from_url(variable, url)
    if not url.startswith("sqlite:"):
        raise ImproperlyConfigured(
            f"{variable} must be sqlite:///path/to/file.sqlite3 or mongodb://host1,host2/database?replicaSet=name."
        )
    config = Env.db_url_config(url)
    if config["NAME"] != ":memory:" and not Path(config["NAME"]).resolve().parent.is_dir():
        raise ImproperlyConfigured(f"{variable} names a file in a folder that does not exist.")
    return {
        **config,
        "ENGINE": "core.databases.sqlite",
        "CONN_MAX_AGE": 600,
        "OPTIONS": {
            # docs/decisions/0003: a 201 must survive a power cut, and writers queue instead of failing.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-512;",
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
        },
    }
