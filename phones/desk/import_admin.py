"""Imports at the support desk: a file is uploaded, its rows are checked and reviewed, then added."""

from typing import Any, cast

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters

from phones.bulk.columns import SECRET, NoHeader, UnreadableFile
from phones.bulk.importing import has_stopped, resume
from phones.bulk.imports import begin_adding, columns_of, counts_of, failed_rows, store_import
from phones.bulk.reports import REPORT_COLUMNS, spreadsheet, template
from phones.desk.forms import ImportForm
from phones.desk.pages import DeskAdmin
from phones.models import Import
from users import audit
from users.models import User

ROWS_ON_A_PAGE = 100
TOKEN_HINT = " If all rows share an auth token, you can enter it below instead."
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
# outcome: (its name, the class of its badge), in the order of the page
OUTCOMES = {
    "": ("waiting", ""),
    "failed": ("cannot be added", "drift"),
    "would_add": ("can be added", "ok"),
    "exists": ("already exists", ""),
    "added": ("added", "ok"),
}


class ImportAdmin(DeskAdmin):
    list_display = ["name", "state", "staff", "workspace", "created_at"]
    list_select_related = ["workspace"]
    ordering = ["-created_at", "-pk"]

    def get_urls(self) -> list[URLPattern]:
        return [
            path("template/", self.admin_site.admin_view(self.template_view), name="phones_import_template"),
            path("<id>/failed/", self.admin_site.admin_view(self.failed_view), name="phones_import_failed"),
            *super().get_urls(),
        ]

    def template_view(self, request: HttpRequest) -> HttpResponse:
        """A file to fill in."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        return as_download(template(), "numbers.xlsx")

    def failed_view(self, request: HttpRequest, id: str) -> HttpResponse:
        """The rows that cannot be added, with all their columns but secrets, to be corrected and imported again."""
        file = self.get_or_404(self.get_queryset(request), id)
        if not self.has_view_permission(request, file):
            raise PermissionDenied
        return as_download(spreadsheet(REPORT_COLUMNS, failed_rows(file)), "failed-rows.xlsx")

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        return super().changelist_view(request, {"title": "Imports", **(extra_context or {})})

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @method_decorator(sensitive_post_parameters("auth_token"))
    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = ImportForm(request.POST or None, request.FILES or None)
        if form.is_valid():
            try:
                file = self.start_import(request, form)
                return redirect("admin:phones_import_change", file.pk)
            except UnreadableFile as problem:
                hint = TOKEN_HINT if isinstance(problem, NoHeader) and SECRET in problem.missing else ""
                form.add_error("file", forms.ValidationError(f"{problem}{hint}", problem.code))
        return self.render_page(request, "upload", "Import numbers", form=form)

    def start_import(self, request: HttpRequest, form: ImportForm) -> Import:
        """Store the rows of the file and start checking them. Raises UnreadableFile."""
        upload, workspace = form.cleaned_data["file"], form.cleaned_data["workspace"]
        file, told = store_import(
            upload.file,
            name=upload.name,
            staff=cast(User, request.user).email,
            workspace_id=workspace.pk if workspace else None,
            defaults=form.defaults(),
        )
        for sentence in told:
            self.message_user(request, sentence, messages.INFO)
        audit.record("import.bring", workspace_id=file.workspace_id, detail=file.name)
        resume(file)
        return file

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        file = self.get_or_404(self.get_queryset(request), object_id)
        if not self.has_view_permission(request, file):
            raise PermissionDenied
        if request.method == "POST":
            if not self.has_add_permission(request):
                raise PermissionDenied
            has_begun = begin_adding(file)
            if resume(file) or has_begun:
                action = "import.add" if has_begun else "import.resume"
                audit.record(action, workspace_id=file.workspace_id, detail=file.name)
            return redirect("admin:phones_import_change", file.pk)
        counts = counts_of(file)
        outcome = request.GET.get("outcome")
        rows = file.rows.defer("fields").order_by("line")
        if outcome in OUTCOMES:
            rows = rows.filter(outcome=outcome)
        total = sum(counts.values())
        pending = counts.get("would_add" if file.state == Import.State.ADDING else "", 0)
        page = Paginator(rows, ROWS_ON_A_PAGE).get_page(request.GET.get("page"))
        return self.render_page(
            request, "progress", file.name,
            file=file, has_stopped=has_stopped(file), total=total, done=total - pending, outcome=outcome,
            addable=counts.get("would_add", 0), failed=counts.get("failed", 0),
            rows=page, columns=[(row, columns_of(row)) for row in page],
            outcomes=[(key, *OUTCOMES[key], counts[key]) for key in OUTCOMES if counts.get(key)],
            names=OUTCOMES,
        )  # fmt: skip


def as_download(spreadsheet: bytes, name: str) -> HttpResponse:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return HttpResponse(spreadsheet, content_type=XLSX, headers=headers)
