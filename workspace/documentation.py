"""`/api/schema` and `/api/docs`. Their library takes a tenth of a second to import: only their readers wait for it."""

from django.http import HttpRequest, HttpResponse


def schema(request: HttpRequest) -> HttpResponse:
    from drf_spectacular.views import SpectacularJSONAPIView

    return SpectacularJSONAPIView.as_view()(request)


def docs(request: HttpRequest) -> HttpResponse:
    # The split view writes no script into its page, as the policy of workspace/pages.py demands.
    from drf_spectacular.views import SpectacularSwaggerSplitView

    return SpectacularSwaggerSplitView.as_view(url_name="schema", template_name="api_docs.html")(request)
