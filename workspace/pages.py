"""The browser policy of our pages: only our own resources, no inline script or style, no devices; and error pages."""

from csp.middleware import CSPMiddleware
from django.core.exceptions import DisallowedHost, RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from users.limits import LimitReached
from workspace.refusals import note_refused

DEVICES = ["camera", "display-capture", "geolocation", "microphone", "payment", "usb"]
PERMISSIONS = ", ".join(f"{name}=()" for name in DEVICES)
DOCUMENTATION = "/api/docs"


class PageMiddleware(CSPMiddleware):
    """Set Content-Security-Policy and Permissions-Policy on pages. The API and webhooks skip it: it costs time."""

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path.startswith("/api/") and request.path != DOCUMENTATION:
            return self.get_response(request)  # type: ignore[return-value]
        response: HttpResponse = super().__call__(request)  # type: ignore[assignment]
        response.headers.setdefault("Permissions-Policy", PERMISSIONS)
        return response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Show a page for LimitReached. The API has a reply of its own."""
        if isinstance(error, LimitReached):
            return HttpResponse(render_to_string("429.html"), status=429, headers=error.headers)
        return None


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The page for a request that Django refuses with a 400, which it logs each time; we do once a minute."""
    if isinstance(exception, DisallowedHost):
        note_refused("bad_host", request, detail=request.META.get("HTTP_HOST", ""))
    else:
        kind = "body_too_large" if isinstance(exception, RequestDataTooBig) else "bad_request"
        note_refused(kind, request, detail=str(exception))
    return HttpResponse(render_to_string("400.html"), status=400)


def form_expired(request: HttpRequest, reason: str = "") -> HttpResponse:
    """The page for a form that Django refuses because it cannot tell that it came from us."""
    note_refused("csrf", request, detail=reason)
    return HttpResponse(render_to_string("403_csrf.html"), status=403)
