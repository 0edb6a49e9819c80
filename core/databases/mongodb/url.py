"""Convert `DATABASE_URL=mongodb://…` to Django's settings."""

import logging
from typing import Any

from django.core.exceptions import ImproperlyConfigured

log = logging.getLogger(__name__)

SCHEMES = ("mongodb://", "mongodb+srv://", "djongo://")
# Our guarantees depend on these options. The URL may repeat them but not change them.
REQUIRED = {"w": "majority", "journal": True, "retrywrites": True, "readpreference": "primary"}
# Unless the URL overrides them. An election takes some seconds; after a longer wait for a primary, requests fail.
DEFAULTS = {"serverselectiontimeoutms": 15_000, "connecttimeoutms": 5_000, "appname": "workspace-phones"}

# For each of the two DNS queries of mongodb+srv://, at the start of every command.
DNS_TIMEOUT_S = 5

NO_HOST = (
    ": the host could not be looked up. Check its name and the DNS of this machine, or name the hosts themselves: "
    "mongodb://user:password@host1,host2,host3/database?replicaSet=name&tls=true"
)
NOT_READ = (
    " cannot be read. Write mongodb://user:password@host1,host2/database?replicaSet=name with the characters :/?#[]@% "
    "in the user name and the password percent-encoded, and with ports up to 65535."
)
NO_OPTION = (
    " has an option after the ? that is unknown, that cannot have this value, or that contradicts the rest of the "
    "address. Names of options and values are listed at "
    "https://www.mongodb.com/docs/manual/reference/connection-string-options/"
)
NO_FILE = " names a file, such as tlsCAFile, that does not exist or that this user may not read."


def from_url(variable: str, url: str) -> dict[str, Any]:
    """Convert the URL of a replica set to an entry of DATABASES.

    Args:
        variable: name of the setting, for messages.
        url: mongodb://user:password@host1,host2/database?replicaSet=name, or mongodb+srv://; djongo:// is an alias of
            mongodb://. Driver options (TLS, authentication, pools, timeouts) are passed through.

    Raises ImproperlyConfigured, with no part of the URL in the message because it may contain a password.
    Effects: logs a warning for djongo://; makes a DNS query for mongodb+srv://.
    https://www.mongodb.com/docs/manual/reference/connection-string/ (read 2026-11-23)
    """
    if url.startswith("djongo://"):
        log.warning("%s: djongo is not used; the URL is read as mongodb:// (docs/decisions/0012).", variable)
        url = "mongodb" + url.removeprefix("djongo")
    parsed, problem = parse(url)
    if problem == NOT_READ and "?" in url and "@" not in url.partition("?")[2]:  # otherwise, it may be the password's
        problem = NOT_READ if parse(url.partition("?")[0])[1] == NOT_READ else NO_OPTION
    if problem:
        raise ImproperlyConfigured(f"{variable}{problem}")
    if not parsed["database"]:
        raise ImproperlyConfigured(f"{variable} names no database: mongodb://host1,host2/database?replicaSet=name")
    options = {name.lower(): value for name, value in parsed["options"].items()}
    changed = [
        f"{name} must be {str(value).lower()}"
        for name, value in REQUIRED.items()
        if str(options.get(name, value)).lower() != str(value).lower()
    ]
    if changed:
        raise ImproperlyConfigured(f"{variable}: the option {', '.join(changed)}, or be left out.")
    return {
        "ENGINE": "core.databases.mongodb",
        "NAME": parsed["database"],
        "HOST": url,
        "OPTIONS": REQUIRED | {name: value for name, value in DEFAULTS.items() if name not in options},
    }


def parse(url: str) -> tuple[dict[str, Any], str]:
    """The driver's reading of a URL, or why there is none: the rest of a sentence that begins with the variable."""
    # The settings load this module on every engine. Importing the driver takes a sixth of the start-up time, so only
    # installations on MongoDB import it.
    from dns.exception import DNSException
    from dns.exception import SyntaxError as BadName
    from pymongo.errors import PyMongoError
    from pymongo.uri_parser import parse_uri

    try:
        return dict(parse_uri(url, connect_timeout=DNS_TIMEOUT_S)), ""
    except OSError:
        return {}, NO_FILE
    except (PyMongoError, ValueError) as error:
        is_dns = isinstance(error.__cause__, DNSException) and not isinstance(error.__cause__, BadName)
        return {}, NO_HOST if is_dns else NOT_READ
