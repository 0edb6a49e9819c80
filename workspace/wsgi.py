"""The WSGI application that gunicorn serves."""

import os
from io import BytesIO
from typing import Any

from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "workspace.settings")


class Request(WSGIRequest):
    """A request as it came in over HTTP, with what Django itself does not read."""

    def __init__(self, environ: dict[str, Any]) -> None:
        if environ.get("HTTP_TRANSFER_ENCODING") and environ.get("wsgi.input_terminated"):
            # Django reads as many bytes as Content-Length says, so for a chunked body none.
            body = read_chunks(environ["wsgi.input"], settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)
            environ |= {"wsgi.input": BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        super().__init__(environ)

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        try:
            super()._set_content_type_params(meta)  # type: ignore[misc]
        except ValueError:  # an RFC 2231 charset that nobody knows would end in an HTML page
            self.content_type, self.content_params = "", {}


def read_chunks(stream: Any, limit: int) -> bytes:
    """The body, at most `limit` bytes of it; empty when its chunks are broken, which is then told as bad JSON."""
    try:
        return stream.read(limit)
    except Exception:  # gunicorn has seven kinds and no common one
        return b""


application = get_wsgi_application()
application.request_class = Request
