"""`DATABASE_URL=mongodb://…` as Django's settings want it."""

import logging
from typing import Any

from django.core.exceptions import ImproperlyConfigured

log = logging.getLogger(__name__)

SCHEMES = ("mongodb://", "mongodb+srv://", "djongo://")
# What the promises rest on. The address may repeat them and not change them.
REQUIRED = {"w": "majority", "journal": True, "retrywrites": True, "readpreference": "primary"}
# Unless the address says otherwise. An election takes some seconds; who waits longer for a primary is told so.
DEFAULTS = {"serverselectiontimeoutms": 15_000, "connecttimeoutms": 5_000, "appname": "workspace-phones"}


def from_url(variable: str, url: str) -> dict[str, Any]:
    """Read the address of a replica set.

    Args:
        variable: its name, for messages.
        url: mongodb://user:password@host1,host2/database?replicaSet=name, or mongodb+srv://; djongo:// is understood as
            mongodb://. Options of the driver (TLS, authentication, pools, time limits) are passed on.

    Raises ImproperlyConfigured, with nothing of the address in it, as it may hold a password.
    Effects: a warning in the log for djongo://. A mongodb+srv:// address asks the DNS.
    https://www.mongodb.com/docs/manual/reference/connection-string/ (read 2026-11-23)
    """
    # The settings load this module on every engine. The driver takes a sixth of the start: only MongoDB pays for it.
    from pymongo.errors import PyMongoError
    from pymongo.uri_parser import parse_uri

    if url.startswith("djongo://"):
        log.warning("%s: djongo is not used; its address is taken as mongodb:// (docs/decisions/0012).", variable)
        url = "mongodb" + url.removeprefix("djongo")
    try:
        parsed = parse_uri(url)
    except (PyMongoError, ValueError):
        raise ImproperlyConfigured(
            f"{variable} cannot be read. It is mongodb://user:password@host1,host2/database?replicaSet=name with the "
            "characters :/?#[]@% of a user or a password percent-encoded."
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
