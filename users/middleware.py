"""The actor of a request, for the audit trail."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from users.actor import actor_context, current_actor, set_actor
from users.addresses import client_address

ADMIN = "/admin/"


class ActorMiddleware:
    """Sets the client's address and, in the admin, the signed-in user. In the API, authentication sets the token.

    `request.client` says which of them it was, for the access log, which has no names of people.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with actor_context("system", "", client_address(request)):
            if request.path.startswith(ADMIN) and request.user.is_authenticated:
                set_actor("staff", request.user.get_username())
                request.client = f"staff:{request.user.pk}"  # type: ignore[attr-defined]
            response = self.get_response(request)
            if current_actor().kind == "token":
                request.client = f"token:{current_actor().name}"  # type: ignore[attr-defined]
            return response
