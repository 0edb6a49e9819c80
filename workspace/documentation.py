"""`/api/schema` and `/api/docs`. drf-spectacular takes 0.1 s to import, so it is imported on first use."""

from functools import cache
from threading import Lock

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

# drf-spectacular loads its extensions on first use, and fails if two threads do so at once.
generating = Lock()


@csrf_exempt
@require_safe
def schema(request: HttpRequest) -> HttpResponse:
    headers = {"Content-Disposition": 'inline; filename="schema.json"'}
    with generating:
        document = schema_json()
    return HttpResponse(document, content_type="application/vnd.oai.openapi+json", headers=headers)


@cache
def schema_json() -> bytes:
    """The OpenAPI document. Cached: generating it takes as long as a dozen webhooks, and anybody may request it."""
    from drf_spectacular.renderers import OpenApiJsonRenderer

    from workspace.openapi import Generator

    return OpenApiJsonRenderer().render(Generator().get_schema(request=None, public=True))


@csrf_exempt
@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    # The split view has no inline script, as the Content-Security-Policy requires. The templates are ours because the
    # original ones contain an inline style, and a CSRF token, which is useless with bearer tokens.
    from drf_spectacular.views import SpectacularSwaggerSplitView as View

    return View.as_view(url_name="schema", template_name="api_docs.html", template_name_js="api_docs.js")(request)
