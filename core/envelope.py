"""The JSON envelope of every response under /api/, and the only table that maps errors to HTTP statuses."""

from typing import Any

from django.http import JsonResponse

# machine code: (HTTP status, what failed)
ERRORS: dict[str, tuple[int, str]] = {
    "not_authenticated": (401, "Authentication failed"),
    "throttled": (429, "Too many requests"),
    "method_not_allowed": (405, "Method not allowed"),
    "body_too_large": (413, "Request body too large"),
    "unsupported_media_type": (415, "Unsupported media type"),
    "bad_host": (400, "Bad host name"),
    "not_found": (404, "Not found"),
    "invalid_json": (400, "Invalid JSON"),
    "invalid_field": (400, "Invalid field"),
    "invalid_user_id": (400, "Invalid user id"),
    "invalid_phone_number": (400, "Invalid phone number"),
    "user_not_found": (404, "User not found"),
    "phone_exists": (400, "Phone number already exists"),
    "invalid_credentials": (400, "Invalid credentials"),
    "number_not_owned": (400, "Phone number not owned"),
    "number_not_usable": (400, "Phone number not usable"),
    "number_routed_elsewhere": (400, "Phone number is in use elsewhere"),
    "number_in_another_workspace": (400, "Phone number is in another workspace"),
    "application_in_use": (400, "Application is in use"),
    "range_not_satisfiable": (416, "Range not satisfiable"),
    "idempotency_mismatch": (422, "Idempotency key was used for another request"),
    "idempotency_in_progress": (409, "Request is still in progress"),
    "webhook_setup_failed": (500, "Webhook set-up failed"),
    "carrier_unavailable": (500, "Carrier unavailable"),
    "internal_error": (500, "Internal error"),
}
INTERNAL_ERROR = (
    "Something went wrong on our side. If you sent a change, check whether it was made before you try again. "
    "If the problem persists, contact support and quote the X-Request-ID header."
)
NOT_FOUND = "There is nothing at this address. Check the path and the id."


def is_server_error(code: str) -> bool:
    """Whether a failure with this code is ours or the carrier's, not the client's."""
    return ERRORS[code][0] >= 500


def success(data: Any, *, message: str, status: int = 200) -> JsonResponse:
    """The response to a request that succeeded: `message` says what was done, `data` is JSON-serializable."""
    return JsonResponse(
        {"message": message, "status": True, "code": status, "errorMessage": "", "data": data}, status=status
    )


def failure(code: str, reason: str, *, field: str | None = None, headers: dict[str, str] | None = None) -> JsonResponse:
    """The response to a request that failed.

    Args:
        code: a key of ERRORS.
        reason: a sentence for the client: why it failed and what to do next. It must contain no secret.
        field: wire name of the invalid field, if there is one.
        headers: additional HTTP headers, such as Retry-After.
    """
    status, message = ERRORS[code]
    body = {
        "message": message,
        "status": False,
        "code": status,
        "errorMessage": reason,
        "data": {"error": code, "field": field},
    }
    response = JsonResponse(body, status=status, headers=headers)
    response.is_enveloped = True  # type: ignore[attr-defined]
    return response


def not_found() -> JsonResponse:
    return failure("not_found", NOT_FOUND)


def for_status(status: int) -> JsonResponse:
    """The envelope for an error response created by Django itself, such as a 404 for an unknown path."""
    if status == 404:
        return not_found()
    if status == 405:
        return failure("method_not_allowed", "This method is not allowed here.")
    if status < 500:
        return failure("bad_host", "The request cannot be understood. Check the Host header and the address.")
    return failure("internal_error", INTERNAL_ERROR)
