from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from phones.webhooks import webhook
from workspace import documentation
from workspace.health import healthz, readyz
from workspace.metrics import metrics

urlpatterns = [
    path("api/call/", include("phones.api.urls")),
    path("api/webhooks/<slug:integration>/<slug:token>/<slug:kind>", webhook),
    path("api/schema", documentation.schema, name="schema"),
    path("api/docs", documentation.docs, name="docs"),
    path("healthz", healthz),
    path("readyz", readyz),
    path("metrics", metrics),
    path("admin/", admin.site.urls),
    # People type these; everything else must be exact, because a redirect drops the body of a request.
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin", RedirectView.as_view(pattern_name="admin:index")),
]

handler400 = "workspace.pages.bad_request"
