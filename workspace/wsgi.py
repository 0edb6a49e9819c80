"""Django as a WSGI application. The server reaches it through workspace/asgi.py."""

import os
from typing import Any

from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest
from django.core.wsgi import get_wsgi_application
from django.http.request import split_domain_port

from workspace.values import host_of

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "workspace.settings")


TLS_HOST = host_of(settings.PUBLIC_URL) if settings.HTTPS else None


class Request(WSGIRequest):
    @property
    def scheme(self) -> str | None:
        """https at the host of PUBLIC_URL, even if the proxy does not say so or says how it reaches this server."""
        host, _ = split_domain_port(self.META.get("HTTP_HOST", ""))
        return "https" if host == TLS_HOST else super().scheme

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        try:
            super()._set_content_type_params(meta)  # type: ignore[misc]
        except ValueError:  # an unknown RFC 2231 charset, which would lead to an HTML error page
            self.content_type, self.content_params = "", {}


application = get_wsgi_application()
application.request_class = Request
