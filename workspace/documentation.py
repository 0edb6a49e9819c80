"""`/api/schema` and `/api/docs`. Their library takes a tenth of a second to import: only their readers wait for it."""

from django.http import HttpRequest, HttpResponse


def schema(request: HttpRequest) -> HttpResponse:
    from drf_spectacular.views import SpectacularJSONAPIView

    return SpectacularJSONAPIView.as_view()(request)


def docs(request: HttpRequest) -> HttpResponse:
    # The split view has no script in its page, as the Content-Security-Policy demands. The templates are ours: its own
    # would put a style into the page, and a CSRF token, which bearer tokens have no use for, into the script.
    from drf_spectacular.views import SpectacularSwaggerSplitView as View

    return View.as_view(url_name="schema", template_name="api_docs.html", template_name_js="api_docs.js")(request)
