"""The trace of requests that are refused before a view: a counter, and a line in the log.

Anybody can cause any number of them, so each kind is logged at most once a minute.
"""

import logging

from django.http import HttpRequest
from prometheus_client import Counter

from core.quiet import Quiet
from phones.services.metrics import count_webhook
from users.addresses import client_address
from workspace.access_log import shown, shown_path

# kind: why such a request is refused, and what to do if it should not have been; {} is the detail
KINDS = {
    "bad_host": "the host '{}' is not served. Add it to ALLOWED_HOSTS, or have the proxy pass on the client's Host "
    "header",
    "body_too_large": "its body is too large ({})",
    "body_incomplete": "its body did not arrive within REQUEST_READ_TIMEOUT_S, or the connection was closed before",
    "unsupported_media_type": "its Content-Type is '{}', and the API accepts only application/json",
    "bad_request": "it cannot be read ({})",
    "unknown_address": "no webhook has this address. Check whether the proxy passes the path on unchanged",
    "csrf": "it did not come from a page of this server ({})",
    "wrong_method": "carriers send webhooks with POST. Check the numbers with: manage.py check_phones",
}
REFUSED = Counter(
    "phones_refused_requests", "Requests refused before a view, by kind; webhooks are in phones_webhooks.", ["kind"]
)

log = logging.getLogger(__name__)

quiet = Quiet(KINDS)


def note_refused(kind: str, request: HttpRequest, *, detail: str = "") -> None:
    """Count a refused request, and log it unless one of its kind was logged within the last minute.

    Args:
        kind: a key of KINDS.
        detail: what is wrong with it, such as the name of the host. It may be whatever a client has sent.
    """
    path = request.path_info
    if path.startswith("/api/webhooks/"):
        count_webhook(path.split("/")[3], kind)
    else:
        REFUSED.labels(kind).inc()
    unlogged = quiet.turn(kind)
    if unlogged is None:
        return
    log.warning(
        "Refused a request (%s): %s. It was %s %s from %s.%s",
        kind,
        KINDS[kind].format(shown(detail)),
        shown(request.method or ""),
        shown_path(path),
        client_address(request) or "an unknown address",
        f" {unlogged} more of this kind were not logged since the last such line." if unlogged else "",
    )
