"""Convert exceptions in API views to error responses."""

import logging
import sys
from typing import Any

from django.db import DatabaseError, OperationalError
from django.http import Http404, HttpRequest, JsonResponse, UnreadablePostError
from rest_framework import exceptions

from core.envelope import INTERNAL_ERROR, failure, is_server_error, not_found
from core.errors import Refusal, Unreadable
from core.secrets import CannotOpen
from integrations.errors import IntegrationError
from phones.api.sentences import sentence, wire_name
from workspace.refusals import note_refused

STORE_AWAY = (
    "The server cannot use its database at the moment. Try again in a minute; if you sent a change, check first "
    "whether it was made. If the problem persists, contact support and quote the X-Request-ID header."
)
# https://www.postgresql.org/docs/current/errcodes-appendix.html (read 2026-11-30): read_only_sql_transaction
READ_ONLY = "25006"

log = logging.getLogger(__name__)


def handle_exception(error: Exception, context: dict[str, Any]) -> JsonResponse:
    """DRF's exception handler: log the error and return an envelope; only expected errors are explained."""
    if isinstance(error, Refusal):
        if is_server_error(error.code):
            log.warning("%s: %s", error.code, error)
        # What was sent may have another field's name of ours, such as auth_token.
        field = error.field if isinstance(error, Unreadable) else wire_name(error.field)
        return failure(error.code, sentence(error), field=field, headers=error.headers)
    if isinstance(error, IntegrationError):
        log.warning("%s: %s", error.code, error)
        return failure(error.code, sentence(error), field=wire_name(error.field))
    if isinstance(error, CannotOpen):
        log.error("%s", error)
        return failure("invalid_credentials", sentence(error), field="authToken")
    if isinstance(error, exceptions.NotAuthenticated | exceptions.AuthenticationFailed):
        reason = "Send a valid bearer token: Authorization: Bearer <token>."
        return failure("not_authenticated", reason, headers={"WWW-Authenticate": "Bearer"})
    if isinstance(error, exceptions.MethodNotAllowed):
        return failure("method_not_allowed", "This method is not allowed here; the Allow header lists those that are.")
    if isinstance(error, UnreadablePostError):
        note_refused("body_incomplete", context["request"])
        return failure(
            "invalid_json", "The body did not arrive: it was sent too slowly, or the connection was closed. Try again."
        )
    if isinstance(error, exceptions.NotFound | Http404):
        return not_found()
    return crash(error, context["request"])


def crash(error: Exception, request: HttpRequest) -> JsonResponse:
    """The response to an unexpected exception: log its traceback, and send the client a plain sentence."""
    log.error("Unhandled %s on %s %s", type(error).__name__, request.method, request.path, exc_info=error)
    if is_store_away(error):
        return failure("internal_error", STORE_AWAY, headers={"Retry-After": "60"})
    return failure("internal_error", INTERNAL_ERROR)


def is_store_away(error: Exception) -> bool:
    """Whether the database failed, or Redis, which is loaded only where it is used."""
    redis = sys.modules.get("redis.exceptions")
    if redis and isinstance(error, redis.RedisError):
        return True
    # MongoDB's engine raises DatabaseError for everything. The class of PostgreSQL's that is read-only is also that of
    # our own mistakes with transactions.
    is_read_only = getattr(error.__cause__, "sqlstate", None) == READ_ONLY
    return type(error) in (OperationalError, DatabaseError) or is_read_only
