"""Django as a WSGI application. The server reaches it through workspace/asgi.py."""

import os
from typing import Any

from django.core.handlers.wsgi import WSGIRequest
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "workspace.settings")


class Request(WSGIRequest):
    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        try:
            super()._set_content_type_params(meta)  # type: ignore[misc]
        except ValueError:  # an unknown RFC 2231 charset, which would lead to an HTML error page
            self.content_type, self.content_params = "", {}


application = get_wsgi_application()
application.request_class = Request
