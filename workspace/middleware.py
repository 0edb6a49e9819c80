"""Rules for all of /api/: valid host, limited body size, request id, JSON envelope, no caching.

Responses at /api/webhooks/ have no envelope: a rejected webhook gets an empty body. Its Host header does not matter:
carriers sign PUBLIC_URL, whatever a proxy makes of the host.
"""

import re
import time
import uuid
from collections.abc import Callable
from posixpath import normpath

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse, HttpResponsePermanentRedirect
from django.middleware.common import CommonMiddleware
from prometheus_client import Counter

from core import envelope
from core.logs import request_id
from integrations import PROVIDERS
from integrations.webhooks import KINDS
from workspace.access_log import ARRIVED_AT, log_request
from workspace.refusals import note_refused

MAX_BODY_BYTES = 16 * 1024
MAX_WEBHOOK_BYTES = 64 * 1024
# The largest file that an import accepts, plus the fields of its form.
MAX_FORM_BYTES = 11 * 1024 * 1024
LENGTH = re.compile(r"[0-9]{1,20}")
# Called by load balancers and by Prometheus, which know the address of a container or a pod and cannot name a host.
ANY_HOST = ("/healthz", "/readyz", "/metrics")
WEBHOOK_END = re.compile(rf"/({'|'.join(PROVIDERS)})/[^/]+/({'|'.join(KINDS)})/?$")
# Status of a reply to a webhook that no view has handled: the kind of the refusal.
NO_WEBHOOK = {404: "unknown_address", 405: "wrong_method"}
RESPONSES = Counter("phones_http_responses", "Replies by the class of their status.", ["status"])
for _status in ("2xx", "3xx", "4xx", "5xx"):
    RESPONSES.labels(_status)  # zero at first, as the counter of webhooks


class ApiMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        # Always generated here: the audit trail and the log identify requests by it, so clients must not choose it.
        mark = request_id.set(uuid.uuid4().hex)
        request.META.setdefault(ARRIVED_AT, time.monotonic())  # set by workspace/asgi.py
        try:
            if is_webhook(request.path_info):
                response = self.answer_carrier(request)
            elif is_api(request.path_info):
                response = self.answer(request)
            else:
                response = self.get_response(request)
            if response.status_code in NO_WEBHOOK and may_be_webhook(request.path_info):
                note_refused(NO_WEBHOOK[response.status_code], request)
            response.headers["X-Request-ID"] = request_id.get()
            RESPONSES.labels(f"{response.status_code // 100}xx").inc()
            log_request(request, response.status_code)
            return response
        finally:
            request_id.reset(mark)

    def answer(self, request: HttpRequest) -> HttpResponse:
        response = refuse(request) or self.get_response(request)
        if response.status_code == 415:
            note_refused("unsupported_media_type", request, detail=request.META.get("CONTENT_TYPE", ""))
        if response.status_code >= 400 and not hasattr(response, "is_enveloped"):
            response = envelope.for_status(response.status_code)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    def answer_carrier(self, request: HttpRequest) -> HttpResponse:
        if is_too_large(request):
            note_refused("body_too_large", request, detail=f"{request.META['CONTENT_LENGTH']} bytes")
            return HttpResponse(status=413, headers={"Content-Length": "0"})
        response = self.get_response(request)
        if response.status_code >= 400:
            response.content, response.headers["Content-Length"] = b"", "0"
        return response


class HostMiddleware(CommonMiddleware):
    """Refuses requests to hosts that we do not serve, except at addresses where the host does not matter."""

    def process_request(self, request: HttpRequest) -> HttpResponsePermanentRedirect | None:
        if is_webhook(request.path_info) or request.path_info in ANY_HOST:
            return None
        return super().process_request(request)


def refuse(request: HttpRequest) -> HttpResponse | None:
    """The error response if the request's path or headers alone are invalid, otherwise None."""
    try:
        request.get_host()
    except DisallowedHost:
        note_refused("bad_host", request, detail=request.META.get("HTTP_HOST", ""))
        return envelope.failure("bad_host", "The Host header names a host that this server does not serve.")
    if is_too_large(request):
        note_refused("body_too_large", request, detail=f"{request.META['CONTENT_LENGTH']} bytes")
        return envelope.failure("body_too_large", f"The body is too large; send at most {MAX_BODY_BYTES} bytes.")
    return None if request.path_info.startswith("/api/") else envelope.not_found()


def is_webhook(path: str) -> bool:
    return path.startswith("/api/webhooks/")


def may_be_webhook(path: str) -> bool:
    """Whether it is the path of a webhook, perhaps changed by a proxy."""
    return is_webhook(path) or WEBHOOK_END.search(path) is not None


def is_api(path: str) -> bool:
    """Whether a path is /api or below it. So is one that only becomes so when slashes and dots are resolved: no address
    is written like that, but whoever asks for `//api/…` is a client of the API."""
    return path.startswith("/api/") or f"{normpath(path).lstrip('/')}/".startswith("api/")


def max_body_bytes(path: str) -> int:
    """The maximum size of a body, in bytes; the server need not read more of it."""
    if is_webhook(path):
        return MAX_WEBHOOK_BYTES
    return MAX_BODY_BYTES if is_api(path) else MAX_FORM_BYTES


def is_too_large(request: HttpRequest) -> bool:
    length = request.META.get("CONTENT_LENGTH") or "0"
    return not LENGTH.fullmatch(length) or int(length) > max_body_bytes(request.path_info)
