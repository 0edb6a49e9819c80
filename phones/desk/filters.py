"""The filters of the list of numbers. None of them scans a table."""

from collections.abc import Iterator
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from core.fields import OBJECT_ID
from core.widgets import ObjectIdSelect
from integrations import PROVIDERS
from phones.models import Line, PhoneNumber
from users.models import User, Workspace

Health = Line.Health
# Up to this many matches are looked up by ID first. With more, a scan in list order fills a page soon anyway.
FEW = 5_000


class WorkspaceForm(forms.Form):
    """A workspace, searched for by part of its name."""

    workspace = forms.ModelChoiceField(
        Workspace.objects,
        required=False,
        widget=ObjectIdSelect(User._meta.get_field("workspace"), admin.site),
    )


class HealthFilter(admin.SimpleListFilter):
    title = "health"
    parameter_name = "health"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("unwell", "Needs attention"), *Health.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[PhoneNumber]) -> QuerySet[PhoneNumber]:
        value = self.value()
        if value not in ("unwell", *Health.values):
            return queryset
        wanted = [Health.DRIFT, Health.UNREACHABLE] if value == "unwell" else [value]
        lines = list(Line.objects.filter(health__in=wanted).values_list("pk", flat=True)[: FEW + 1])
        well = Q(line__in=lines) if len(lines) <= FEW else Q(line__health__in=wanted)
        retired = Q(state=PhoneNumber.State.RETIRED)
        return queryset.filter(well | retired if Health.DRIFT in wanted else well & ~retired)


class CarrierFilter(admin.SimpleListFilter):
    title = "carrier"
    parameter_name = "carrier"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return sorted(PROVIDERS.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[PhoneNumber]) -> QuerySet[PhoneNumber]:
        return queryset.filter(integration=self.value()) if self.value() in PROVIDERS else queryset


class AddedFilter(admin.DateFieldListFilter):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = "date added"


class WorkspaceFilter(admin.SimpleListFilter):
    """A search box instead of a list of all workspaces."""

    title = "workspace"
    parameter_name = "workspace"
    template = "admin/phones/workspace_filter.html"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return []

    def has_output(self) -> bool:
        return True

    def queryset(self, request: HttpRequest, queryset: QuerySet[PhoneNumber]) -> QuerySet[PhoneNumber]:
        workspace = self.value()
        if not workspace:
            return queryset
        if not OBJECT_ID.fullmatch(workspace):
            return queryset.none()
        users = list(User.objects.filter(workspace=workspace).values_list("pk", flat=True)[: FEW + 1])
        return queryset.filter(user__in=users) if len(users) <= FEW else queryset.filter(user__workspace=workspace)

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        others = {name: value for name, value in changelist.params.items() if name != self.parameter_name}
        yield {
            "form": WorkspaceForm({"workspace": self.value()} if self.value() else None),
            "others": others,
            "selected": bool(self.value()),
            "all": changelist.get_query_string(remove=[self.parameter_name]),
        }
