"""The browser policy of our pages: only our own resources, no inline script or style, no devices."""

from csp.middleware import CSPMiddleware
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from users.limits import LimitReached

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
