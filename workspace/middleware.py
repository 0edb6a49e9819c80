"""Rules for all of /api/: valid host, limited body size, request id, JSON envelope, no caching.

Responses at /api/webhooks/ have no envelope: a rejected webhook gets an empty body.
"""

import re
import uuid
from collections.abc import Callable

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from prometheus_client import Counter

from core import envelope
from core.logs import request_id

MAX_BODY_BYTES = 16 * 1024
MAX_WEBHOOK_BYTES = 64 * 1024
# The largest file that an import accepts, plus the fields of its form.
MAX_FORM_BYTES = 11 * 1024 * 1024
LENGTH = re.compile(r"[0-9]{1,20}")
RESPONSES = Counter("phones_http_responses", "Replies by the class of their status.", ["status"])


class ApiMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        # Always generated here: the audit trail and the log identify requests by it, so clients must not choose it.
        mark = request_id.set(uuid.uuid4().hex)
        try:
            if is_webhook(request.path):
                response = self.answer_carrier(request)
            elif is_api(request.path):
                response = self.answer(request)
            else:
                response = self.get_response(request)
            response.headers["X-Request-ID"] = request_id.get()
            RESPONSES.labels(f"{response.status_code // 100}xx").inc()
            return response
        finally:
            request_id.reset(mark)

    def answer(self, request: HttpRequest) -> HttpResponse:
        response = refuse(request) or self.get_response(request)
        if response.status_code >= 400 and not hasattr(response, "is_enveloped"):
            response = envelope.for_status(response.status_code)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    def answer_carrier(self, request: HttpRequest) -> HttpResponse:
        if is_too_large(request):
            return HttpResponse(status=413, headers={"Content-Length": "0"})
        response = self.get_response(request)
        if response.status_code >= 400:
            response.content, response.headers["Content-Length"] = b"", "0"
        return response


def refuse(request: HttpRequest) -> HttpResponse | None:
    """The error response if the request's headers alone are invalid, otherwise None."""
    try:
        request.get_host()
    except DisallowedHost:
        return envelope.failure("bad_host", "The Host header names a host that this server does not serve.")
    if is_too_large(request):
        return envelope.failure("body_too_large", f"The body is too large; send at most {MAX_BODY_BYTES} bytes.")
    return None


def is_webhook(path: str) -> bool:
    return path.startswith("/api/webhooks/")


def is_api(path: str) -> bool:
    return path == "/api" or path.startswith("/api/")


def max_body_bytes(path: str) -> int:
    """The maximum size of a body, in bytes; the server need not read more of it."""
    if is_webhook(path):
        return MAX_WEBHOOK_BYTES
    return MAX_BODY_BYTES if is_api(path) else MAX_FORM_BYTES


def is_too_large(request: HttpRequest) -> bool:
    length = request.META.get("CONTENT_LENGTH") or "0"
    return not LENGTH.fullmatch(length) or int(length) > max_body_bytes(request.path)
