"""The base of the support desk's pages."""

from typing import Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.forms import Media
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from core.fields import OBJECT_ID
from core.paginator import BoundedPaginator
from core.widgets import SCRIPT
from phones.desk.filters import WorkspaceForm


class DeskAdmin(admin.ModelAdmin):
    """Lists that never count whole tables, and pages with templates of our own."""

    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    paginator = BoundedPaginator
    sortable_by = []

    @property
    def media(self) -> Media:
        return super().media + WorkspaceForm().media + Media(js=[SCRIPT])  # type: ignore[list-item]

    def get_or_404(self, rows: QuerySet[Any], id: str) -> Any:
        """Return the row with this ID. Raises Http404."""
        found: Model | None = rows.filter(pk=id).first() if OBJECT_ID.fullmatch(id) else None
        if found is None:
            raise Http404
        return found

    def render_page(self, request: HttpRequest, page: str, title: str, **context: Any) -> HttpResponse:
        """Render a page of templates/admin/phones/<model>/."""
        own = {"title": title, "opts": self.opts, "media": self.media, **context}
        template = f"admin/phones/{self.opts.model_name}/{page}.html"
        return TemplateResponse(request, template, self.admin_site.each_context(request) | own)
