"""Convert `DATABASE_URL=postgres://…` to Django's settings."""

import os
import re
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

SCHEMES = ("postgres://", "postgresql://")
# Stricter than libpq, which takes what follows an unencoded @ or / in a password for a host or a database.
URL = re.compile(r"\w+://([^@/?#\[\]]*@)?(?P<hosts>[^@/?#]*)(/(?P<name>[^@/?#]*))?(\?(?P<options>[^@#]*))?")
HOST = re.compile(r"/[^,]*|[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+(%[\w.-]+)?")
NUMBERS = re.compile(
    "port|connect_timeout|keepalives|keepalives_idle|keepalives_interval|keepalives_count|tcp_user_timeout"
)
FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile")
# https://www.postgresql.org/docs/current/runtime-config-preset.html: NAMEDATALEN (read 2026-11-30)
NAME_BYTES = 63

# Unless the URL overrides them. A primary that died without a word is noticed after 10 s, while a statement waits for
# it, or after 25 s, while none does.
DEFAULTS = {
    "application_name": "workspace-phones",
    "connect_timeout": "3",  # seconds, for each host
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",  # milliseconds
}
# Connections per process: with two WORKERS, the worker and a command, 48 at most. For how many seconds a request waits
# for one, and for how many the pool tries to replace a lost one before it waits to be asked again.
POOL = {"min_size": 1, "max_size": 12, "timeout": 10.0, "reconnect_timeout": 10.0}

EXAMPLE = "postgres://user:password@host1,host2/database"
NOT_READ = (
    f" cannot be read. Write {EXAMPLE} with the characters :/?#[]@% in the user name and the password "
    "percent-encoded, and with ports up to 65535."
)
OPTIONS = (
    " Names of options and values are listed at "
    "https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS"
)
NO_OPTION = (
    " has an option after the ? that is unknown, that cannot have this value, or that contradicts the rest of the "
    f"address.{OPTIONS}"
)
NO_FILE = " names a file, such as sslrootcert, that does not exist or that this user may not read."
NO_HOST = f" names no host: {EXAMPLE}, or ?host=/var/run/postgresql for a socket on this machine."
NO_NAME = f" names no database: {EXAMPLE}"
LONG_NAME = f" names a database with more than {NAME_BYTES} bytes."
NO_PRIMARY = (
    ": the option target_session_attrs must be read-write or primary, or be left out, because a standby cannot be "
    "written to."
)


def from_url(variable: str, url: str) -> dict[str, Any]:
    """Convert the URL of a server, or of a primary and its standbys, to an entry of DATABASES.

    Args:
        variable: name of the setting, for messages.
        url: postgres://user:password@host1:5432,host2:5432/database?sslmode=verify-full. All options of libpq are
            passed through.

    Raises ImproperlyConfigured, with no part of the URL in the message because it may contain a password.
    https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS (read 2026-11-30)
    """
    parsed, problem = parse(url)
    if problem := problem or problem_of(parsed):
        raise ImproperlyConfigured(f"{variable}{problem}")
    hosts = hosts_of(parsed)
    place = {name.upper(): parsed.pop(name, "") for name in ("user", "password", "host", "port")}
    # With one host, it may be a pooler or a virtual address, which is there for the primary alone.
    primary = {"target_session_attrs": "read-write"} if len(hosts) > 1 else {}
    return {
        "ENGINE": "core.databases.postgresql",
        "NAME": parsed.pop("dbname"),
        **place,
        "CONN_MAX_AGE": 0,  # goes back to the pool after each request
        # A connection is given back while a carrier is asked, and poolers may lend each statement another one.
        "DISABLE_SERVER_SIDE_CURSORS": True,
        "OPTIONS": DEFAULTS | primary | parsed | {"pool": POOL},
    }


def parse(url: str) -> tuple[dict[str, str], str]:
    """libpq's reading of a URL, or why there is none: the rest of a sentence that begins with the variable."""
    # Imported here, because the settings load this module on every engine.
    from psycopg import Error
    from psycopg.conninfo import conninfo_to_dict
    from psycopg.pq import Conninfo

    match = URL.fullmatch(url)
    if not match:
        return {}, NOT_READ
    try:
        conninfo_to_dict(url.partition("?")[0])
    except (Error, UnicodeError):
        return {}, NOT_READ
    try:
        return {name: str(value) for name, value in conninfo_to_dict(url).items()}, ""
    except UnicodeError:
        return {}, NOT_READ
    except Error:
        known = {option.keyword.decode() for option in Conninfo.get_defaults()}
        names = [pair.partition("=")[0] for pair in (match["options"] or "").split("&")]
        unknown = [name for name in names if name not in known and re.fullmatch("[A-Za-z_]{1,30}", name)]
        return {}, f" has an option {unknown[0]}, which libpq does not know.{OPTIONS}" if unknown else NO_OPTION


def hosts_of(parsed: dict[str, str]) -> list[str]:
    """The hosts that libpq tries, by their names if it knows them, otherwise by their addresses."""
    return (parsed.get("host") or parsed.get("hostaddr", "")).split(",")


def problem_of(parsed: dict[str, str]) -> str:
    """Why one cannot connect with these parameters: the rest of a sentence. Empty if nothing is known against it."""
    hosts, ports = hosts_of(parsed), parsed.get("port", "").split(",")
    if not all(re.fullmatch("|[0-9]{1,5}", port) and int(port or 1) in range(1, 65536) for port in ports):
        return NOT_READ
    if not any(parsed.get(name) for name in ("host", "hostaddr", "service")):
        return NO_HOST
    if not all(HOST.fullmatch(host) for host in hosts if host or len(hosts) > 1):
        return NOT_READ
    if len((name := parsed.get("dbname", "")).encode()) > NAME_BYTES or not name:
        return LONG_NAME if name else NO_NAME
    if not is_taken(parsed, hosts):
        return NO_OPTION
    writable = ("read-write", "primary", *(["any"] if len(hosts) == 1 else []))
    if parsed.get("target_session_attrs", "primary") not in writable:
        return NO_PRIMARY
    files = [parsed[name] for name in FILES if parsed.get(name, "system") != "system"]
    return "" if all(Path(file).is_file() and os.access(file, os.R_OK) for file in files) else NO_FILE


def is_taken(parsed: dict[str, str], hosts: list[str]) -> bool:
    """Whether libpq takes the values of all options."""
    from psycopg.conninfo import make_conninfo
    from psycopg.pq import PGconn

    numbers = [value for name, value in parsed.items() if NUMBERS.fullmatch(name) and name != "port"]
    if not all(re.fullmatch("-?[0-9]{1,9}", number) for number in numbers):
        return False
    # libpq judges them when it begins to connect. There is no such socket, so it gets no further.
    nowhere = {**parsed, "host": ",".join("/nowhere" for _ in hosts)}
    nowhere.pop("hostaddr", None)
    if nowhere.get("gssencmode") == "require":  # which a socket cannot do
        del nowhere["gssencmode"]
    connection = PGconn.connect_start(make_conninfo(**nowhere).encode())
    try:
        return b"/nowhere" in connection.error_message
    finally:
        connection.finish()
