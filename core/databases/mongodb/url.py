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
    # The settings load this module on every engine. Importing the driver takes a sixth of the start-up time, so only
    # installations on MongoDB import it.
    from pymongo.errors import PyMongoError
    from pymongo.uri_parser import parse_uri

    if url.startswith("djongo://"):
        log.warning("%s: djongo is not used; the URL is read as mongodb:// (docs/decisions/0012).", variable)
        url = "mongodb" + url.removeprefix("djongo")
    try:
        parsed = parse_uri(url)
    except (PyMongoError, ValueError):
        raise ImproperlyConfigured(
            f"{variable} cannot be read. Write mongodb://user:password@host1,host2/database?replicaSet=name with the "
            "characters :/?#[]@% in the user name and the password percent-encoded."
        ) from None
    if not parsed["database"]:
        raise ImproperlyConfigured(f"{variable} names no database: mongodb://host1,host2/database?replicaSet=name")
    options = {name.lower(): value for name, value in parsed["options"].items()}
    for name, value in REQUIRED.items():
        if str(options.get(name, value)).lower() != str(value).lower():
            raise ImproperlyConfigured(f"{variable}: the option {name} must be {str(value).lower()}, or be left out.")
    return {
        "ENGINE": "core.databases.mongodb",
        "NAME": parsed["database"],
        "HOST": url,
        "OPTIONS": REQUIRED | {name: value for name, value in DEFAULTS.items() if name not in options},
    }
