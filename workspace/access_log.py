"""ACCESS_LOG: a line in the log for each request, without the secrets that its address may contain."""

import logging
import re
import time

from django.conf import settings
from django.http import HttpRequest

from core.redaction import redact
from integrations import PROVIDERS
from integrations.webhooks import KINDS
from users.addresses import client_address

# What follows in a webhook URL: the carrier, the account's secret and the kind. In a misspelt one, anything.
AFTER_WEBHOOKS = re.compile(r"(?<=webhooks).*", re.IGNORECASE | re.DOTALL)
# As long as the token in a webhook URL; an id of ours is shorter.
SECRET = re.compile(r"[\w-]{32,}")
WORD = re.compile(r"[^/]+")
PUBLIC_WORDS = PROVIDERS.keys() | KINDS
LONGEST = 200
# Key of a request's environment: when it had arrived completely, by time.monotonic().
ARRIVED_AT = "workspace.arrived_at"

log = logging.getLogger(__name__)


def log_request(request: HttpRequest, status: int) -> None:
    """Write the line of a request that was answered, if ACCESS_LOG is on.

    Its time is that from the arrival of the whole request to the start of the response. The query string is left out,
    because it may contain what nobody should read in a log.
    """
    if not settings.ACCESS_LOG:
        return
    arrived_at = request.META.get(ARRIVED_AT)
    fields = {
        "method": shown(request.method or ""),
        "path": shown_path(request.path),
        "status": status,
        "ms": round((time.monotonic() - arrived_at) * 1000) if arrived_at else None,
        "client": getattr(request, "client", "-"),
        "address": client_address(request),
    }
    log.info("%(method)s %(path)s %(status)s %(ms)s ms %(client)s %(address)s", fields, extra=fields)


def shown(text: str) -> str:
    """Input as a log line shows it: printable, not too long, and without the start of a secret whose end is cut off."""
    redacted = redact(text)
    return ascii(redacted[:LONGEST] + "…" * (len(redacted) > LONGEST))[1:-1]


def shown_path(path: str) -> str:
    """The path without the secret that a webhook URL contains, even if a proxy has cut off its start."""
    hidden = AFTER_WEBHOOKS.sub(
        lambda rest: WORD.sub(lambda word: word[0] if word[0] in PUBLIC_WORDS else "***", rest[0]), path
    )
    return shown(SECRET.sub("***", hidden))
