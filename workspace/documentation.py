"""`/api/schema` and `/api/docs`. Their library takes a tenth of a second to import: only their readers wait for it."""

from functools import cache

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe


@csrf_exempt
@require_safe
def schema(request: HttpRequest) -> HttpResponse:
    headers = {"Content-Disposition": 'inline; filename="schema.json"'}
    return HttpResponse(schema_json(), content_type="application/vnd.oai.openapi+json", headers=headers)


@cache
def schema_json() -> bytes:
    """Made once: that takes as long as a dozen webhooks, and anybody may ask for it."""
    from drf_spectacular.renderers import OpenApiJsonRenderer

    from workspace.openapi import Generator

    return OpenApiJsonRenderer().render(Generator().get_schema(request=None, public=True))


def docs(request: HttpRequest) -> HttpResponse:
    # The split view has no script in its page, as the Content-Security-Policy demands. The templates are ours: its own
    # would put a style into the page, and a CSRF token, which bearer tokens have no use for, into the script.
    from drf_spectacular.views import SpectacularSwaggerSplitView as View

    return View.as_view(url_name="schema", template_name="api_docs.html", template_name_js="api_docs.js")(request)
