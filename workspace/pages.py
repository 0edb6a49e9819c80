"""What browsers may do with our pages: use what comes from here, no script or style written into a page, no device."""

from csp.middleware import CSPMiddleware
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from users.limits import LimitReached

DEVICES = ["camera", "display-capture", "geolocation", "microphone", "payment", "usb"]
PERMISSIONS = ", ".join(f"{name}=()" for name in DEVICES)
DOCUMENTATION = "/api/docs"


class PageMiddleware(CSPMiddleware):
    """Content-Security-Policy and Permissions-Policy for what a browser shows; the API and webhooks pay nothing."""

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path.startswith("/api/") and request.path != DOCUMENTATION:
            return self.get_response(request)  # type: ignore[return-value]
        response: HttpResponse = super().__call__(request)  # type: ignore[assignment]
        response.headers.setdefault("Permissions-Policy", PERMISSIONS)
        return response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """A page that comes at a bad moment says so; the API has its own words for it."""
        if isinstance(error, LimitReached):
            return HttpResponse(render_to_string("429.html"), status=429, headers=error.headers)
        return None
