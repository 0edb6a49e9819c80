from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.db.models import QuerySet
from django.http import HttpRequest

from users.audit import ACTIONS
from users.models import ApiToken, AuditEntry, User, Workspace
from workspace.envelope import ERRORS
from workspace.paginator import BoundedPaginator

OUTCOMES = ["ok", *ERRORS]


@admin.register(Workspace)
class WorkspaceAdmin(admin.ModelAdmin):
    list_display = ["name", "id", "is_active", "created_at"]
    search_fields = ["name"]


@admin.register(User)
class UserAdmin(DjangoUserAdmin):
    ordering = ["email"]
    list_display = ["email", "workspace", "is_active", "is_staff", "created_at"]
    list_filter = ["is_active", "is_staff"]
    list_select_related = ["workspace"]
    search_fields = ["email"]
    autocomplete_fields = ["workspace"]
    fieldsets = [
        (None, {"fields": ["email", "password", "workspace"]}),
        ("Permissions", {"fields": ["is_active", "is_staff", "is_superuser", "groups", "user_permissions"]}),
    ]
    add_fieldsets = [(None, {"classes": ["wide"], "fields": ["email", "workspace", "password1", "password2"]})]


@admin.register(ApiToken)
class ApiTokenAdmin(admin.ModelAdmin):
    """To look at and expire; tokens are issued by `manage.py create_token`, which alone can show one."""

    list_display = ["prefix", "workspace", "created_at", "last_used_at", "expires_at", "revoked_at"]
    list_select_related = ["workspace"]
    fields = ["prefix", "workspace", "created_at", "last_used_at", "expires_at", "revoked_at"]
    readonly_fields = ["prefix", "workspace", "created_at", "last_used_at", "revoked_at"]

    def has_add_permission(self, request: object) -> bool:
        return False


class ActionFilter(admin.SimpleListFilter):
    title = parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        # Known ones, as asking the table for them would read all of it.
        return [(action, action) for action in ACTIONS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        return queryset.filter(action=self.value()) if self.value() else queryset


class OutcomeFilter(admin.SimpleListFilter):
    title = parameter_name = "outcome"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(code, code) for code in OUTCOMES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        return queryset.filter(outcome=self.value()) if self.value() else queryset


@admin.register(AuditEntry)
class AuditEntryAdmin(admin.ModelAdmin):
    """To read. Each question is one that an index answers, however long the trail is."""

    list_display = ["at", "actor_kind", "actor", "action", "outcome", "number", "address", "detail"]
    list_filter = [ActionFilter, OutcomeFilter, "at"]
    list_per_page = 50
    ordering = ["-at", "-id"]
    sortable_by = ["at"]
    search_fields = ["actor"]  # shows the field; get_search_results decides what is looked for
    search_help_text = "A phone number, the beginning of an e-mail address or token, or a request id."
    show_full_result_count = False
    paginator = BoundedPaginator

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AuditEntry], search_term: str
    ) -> tuple[QuerySet[AuditEntry], bool]:
        text = search_term.strip()
        digits = text.removeprefix("+")
        if not text:
            return queryset, False
        if digits.isdecimal():
            return queryset.filter(number=digits), False
        of_one_request = queryset.filter(request_id=text)
        if of_one_request.exists():
            return of_one_request, False
        # A range of the index; LIKE would read the whole table.
        return queryset.filter(actor__gte=text, actor__lt=text + "\U0010ffff"), False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
