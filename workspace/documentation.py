"""`/api/schema` and `/api/docs`. Their library takes a tenth of a second to import: only their readers wait for it."""

from django.http import HttpRequest, HttpResponse


def schema(request: HttpRequest) -> HttpResponse:
    from drf_spectacular.views import SpectacularJSONAPIView

    return SpectacularJSONAPIView.as_view()(request)


def docs(request: HttpRequest) -> HttpResponse:
    from drf_spectacular.views import SpectacularSwaggerView

    return SpectacularSwaggerView.as_view(url_name="schema")(request)
