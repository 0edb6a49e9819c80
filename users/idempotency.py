"""`Idempotency-Key`: repeating a request returns the first response.

https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header (read 2026-11-23): 409 while the first
request is in progress, 422 if the key is reused with a different body.
"""

import logging
import re
from collections.abc import Callable
from datetime import timedelta

from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import QuerySet
from django.http import HttpResponse
from django.utils.crypto import salted_hmac
from rest_framework.request import Request

from core import clock
from core.errors import Refusal
from core.fields import new_object_id
from users.authentication import token_of
from users.models import IdempotentReply

log = logging.getLogger(__name__)

KEY = re.compile(r"[\x21-\x7e]{1,255}")
STORED_FOR = timedelta(hours=24)
# Longer than any request takes, so that only a key whose process died is taken over.
UNFINISHED_FOR = timedelta(seconds=60)
REPLAYED = {201, 400, 404}


class InvalidKey(Refusal):
    code = "invalid_field"
    field = "Idempotency-Key"


class KeyMismatch(Refusal):
    """The key was sent before with another body."""

    code = "idempotency_mismatch"


class KeyInProgress(Refusal):
    """The first request with the key has no reply yet."""

    code = "idempotency_in_progress"


def once(request: Request, act: Callable[[], HttpResponse]) -> HttpResponse:
    """Return the response of `act()`, or the stored response if the same request was sent before.

    Args:
        request: an authenticated request; its key is unique within its workspace and path.
        act: does the work and returns a response for every outcome; it must not raise.

    Raises:
        InvalidKey; KeyMismatch for a different body; KeyInProgress while the first request is in progress.
    """
    header = request.headers.get("Idempotency-Key")
    if header is None:
        return act()
    if not KEY.fullmatch(header):
        raise InvalidKey

    key = digest("key", token_of(request).workspace_id, request.path, header)
    body = digest("body", request.body.decode("latin-1"))
    owner = new_object_id()
    earlier = claim(key, body, owner)
    if earlier:
        return replay(earlier)

    mine = IdempotentReply.objects.filter(key=key, owner=owner)
    response: HttpResponse | None = None
    try:
        response = act()
        return response
    finally:
        store(mine, response)


def store(mine: QuerySet[IdempotentReply], response: HttpResponse | None) -> None:
    """Store the response for repeated requests, or release the key."""
    try:
        if response is not None and response.status_code in REPLAYED:
            expires_at = clock.now() + STORED_FOR
            mine.update(status=response.status_code, body=response.content.decode(), expires_at=expires_at)
        else:
            mine.delete()
    except DatabaseError as error:
        # The work is done or rolled back all the same: send its response. The record expires by itself.
        log.error("The response to an Idempotency-Key could not be stored", exc_info=error)


def digest(*parts: str) -> str:
    """A keyed digest. The body contains a carrier's secret, which could be guessed from a plain hash."""
    return salted_hmac("users.idempotency", "\0".join(parts), algorithm="sha256").hexdigest()


def claim(key: str, body: str, owner: str) -> IdempotentReply | None:
    """Claim the key, or return the finished record that has it. Raises KeyMismatch and KeyInProgress."""
    now = clock.now()
    row = {"request_digest": body, "owner": owner, "status": None, "body": "", "expires_at": now + UNFINISHED_FOR}
    try:
        with transaction.atomic():
            IdempotentReply.objects.create(key=key, **row)
        return None
    except IntegrityError:
        pass
    # An expired record is taken over by the one request whose compare-and-set succeeds.
    if IdempotentReply.objects.filter(key=key, expires_at__lte=now).update(**row):
        return None
    earlier = IdempotentReply.objects.filter(key=key).first()
    if earlier and earlier.request_digest != body:
        raise KeyMismatch
    if earlier is None or earlier.status is None:
        raise KeyInProgress(headers={"Retry-After": "1"})
    return earlier


def replay(earlier: IdempotentReply) -> HttpResponse:
    response = HttpResponse(earlier.body, status=earlier.status, content_type="application/json")
    response.headers["Idempotent-Replayed"] = "true"
    response.is_enveloped = True  # type: ignore[attr-defined]
    return response


def delete_expired() -> None:
    """Delete expired responses (called by `reconcile`)."""
    IdempotentReply.objects.filter(expires_at__lt=clock.now()).delete()
