from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.widgets import AdminSplitDateTime
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone

from core.envelope import ERRORS
from core.fields import OBJECT_ID
from core.lookups import begins_with
from core.paginator import BoundedPaginator
from core.pasted import searched_digits
from core.text import trimmed, visible
from core.widgets import SCRIPT, ObjectIdSelect, copyable
from users.audit import ACTIONS, record
from users.models import MAY_OWN_NUMBERS, ApiToken, AuditEntry, StaffDevice, User, Workspace
from users.staff.totp import reset_device
from users.tokens import issue_token, revoke_token

MOST_FOUND = 100
# This many names always fit into one entry.
NAMES_IN_AN_ENTRY = 10
OUTCOMES = ["ok", "code_needed", "wrong_code", *ERRORS]


class AuditedAdmin(admin.ModelAdmin):
    """Record each change in the audit trail: the row, and the names of its changed fields."""

    paginator = BoundedPaginator
    show_full_result_count = False
    # Deleting the rows is enough here, and each one is recorded.
    actions = ["delete_selected"]
    # Relations that grant rights: the trail records what was added and what was removed.
    rights: Sequence[str] = ()

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        before = self.rights_of(form.instance)
        super().save_related(request, form, formsets, change)
        after = self.rights_of(form.instance)
        came, went = sorted(after - before), sorted(before - after)
        form.instance.rights_changed = [f"+{name}" for name in came] + [f"-{name}" for name in went]

    def rights_of(self, obj: Any) -> set[str]:
        """Return the names of groups and the codenames of permissions."""
        return {one.natural_key()[0] for name in self.rights for one in getattr(obj, name).all()}

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        self.note("add", obj, obj.rights_changed)
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        changes = message if isinstance(message, list) else []
        fields = [str(name) for part in changes for name in part.get("changed", {}).get("fields", [])]
        self.note("change", obj, fields + getattr(obj, "rights_changed", []))  # not where a password is set
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        for obj in queryset:
            self.note("delete", obj)
        return super().log_deletions(request, queryset)

    def note(self, verb: str, obj: Any, fields: Sequence[str] = ()) -> None:
        workspace = obj if isinstance(obj, Workspace) else getattr(obj, "workspace", None)
        for start in range(0, max(len(fields), 1), NAMES_IN_AN_ENTRY):
            names = ", ".join(fields[start : start + NAMES_IN_AN_ENTRY])
            record(
                f"{self.opts.model_name}.{verb}",
                workspace_id=workspace.pk if workspace else None,
                detail=f"{obj}: {names}" if names else str(obj),
            )


@admin.register(Workspace)
class WorkspaceAdmin(AuditedAdmin):
    list_display = ["name", "id", "is_active", "created_at"]
    search_fields = ["name"]


@admin.register(User)
class UserAdmin(AuditedAdmin, DjangoUserAdmin):
    """Superusers change users. Supervisors view them and reset two-factor authentication; support views them."""

    ordering = ["email"]
    list_display = ["email", "workspace", "user_id", "is_active", "is_staff", "created_at"]
    list_filter = ["is_active", "is_staff"]
    list_select_related = ["workspace"]
    search_fields = ["email"]  # shows the search box; get_search_results() does the search
    search_help_text = "The start of an e-mail address, or any part of a workspace's name"
    autocomplete_fields = ["workspace"]
    readonly_fields = ["user_id", "second_factor"]
    actions = ["delete_selected", "reset_totp"]
    rights = ["groups", "user_permissions"]
    fieldsets = [
        (None, {"fields": ["email", "user_id", "password", "workspace"]}),
        ("Permissions", {"fields": ["is_active", "is_staff", "is_superuser", "groups", "user_permissions"]}),
        ("Sign-in", {"fields": ["second_factor", "last_login"]}),
    ]
    view_fieldsets = [
        (None, {"fields": ["email", "user_id", "workspace", "is_active", "is_staff", "groups", "second_factor"]})
    ]
    add_fieldsets = [(None, {"classes": ["wide"], "fields": ["email", "workspace", "password1", "password2"]})]

    class Media:
        js = [SCRIPT]

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        if request.GET.get("field_name") == "user":  # to own a number
            queryset = queryset.filter(MAY_OWN_NUMBERS)
        if OBJECT_ID.fullmatch(left := request.GET.get("outside", "")):  # of this workspace
            queryset = queryset.exclude(workspace=left)
        typed = trimmed(search_term).lower()
        if typed:
            workspaces = list(Workspace.objects.filter(name__icontains=typed).values_list("pk", flat=True)[:MOST_FOUND])
            queryset = queryset.filter(begins_with("email", typed) | Q(workspace__in=workspaces))
        return queryset.select_related("workspace"), False

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        # The password field shows the algorithm and the first characters of the hash, which only superusers may see.
        return super().get_fieldsets(request, obj) if self.has_change_permission(request) else self.view_fieldsets

    @admin.display(description="User ID")
    def user_id(self, user: User) -> str:
        return copyable(user.pk, "user ID")

    @admin.display(description="two-factor authentication")
    def second_factor(self, user: User) -> str:
        device = StaffDevice.objects.filter(user=user).first()
        return f"set up on {device.created_at:%Y-%m-%d}" if device else "not set up"

    def has_reset_totp_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("users.reset_totp")

    @admin.action(description="Reset two-factor authentication for selected users", permissions=["reset_totp"])
    def reset_totp(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        if queryset.filter(is_superuser=True).exists() and not request.user.is_superuser:
            self.message_user(
                request, "Only a superuser can reset two-factor authentication for a superuser.", messages.ERROR
            )
            return
        for user in queryset:
            reset_device(user)
        self.message_user(request, "The selected users will set up two-factor authentication at their next sign-in.")


# Replaced below: Django's own leaves no audit trail.
admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(AuditedAdmin, DjangoGroupAdmin):
    """Superusers decide what a group may do."""

    rights = ["permissions"]


class IssueForm(forms.Form):
    workspace = forms.ModelChoiceField(
        Workspace.objects.filter(is_active=True),
        widget=ObjectIdSelect(ApiToken._meta.get_field("workspace"), admin.site),
    )
    expires_at = forms.SplitDateTimeField(
        label="Expires",
        required=False,
        widget=AdminSplitDateTime,
        help_text="UTC. Leave empty for a token that never expires.",
    )

    def clean_expires_at(self) -> datetime | None:
        expires_at = self.cleaned_data["expires_at"]
        if expires_at and expires_at <= timezone.now():
            raise forms.ValidationError("This time is in the past.")
        return expires_at


@admin.register(ApiToken)
class ApiTokenAdmin(admin.ModelAdmin):
    """Supervisors issue and revoke tokens. A token is shown once, on the page that follows its creation."""

    list_display = ["prefix", "workspace", "created_at", "last_used_at", "expires_at", "revoked_at"]
    list_select_related = ["workspace"]
    fields = ["prefix", "workspace", "created_at", "last_used_at", "expires_at", "revoked_at"]
    search_fields = ["=prefix", "workspace__name"]
    search_help_text = "A token's first characters, or a workspace's name"
    paginator = BoundedPaginator
    show_full_result_count = False

    def get_urls(self) -> list[Any]:
        revoke = path("<path:pk>/revoke/", self.admin_site.admin_view(self.revoke), name="users_apitoken_revoke")
        return [revoke, *super().get_urls()]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # a token is revoked, not edited

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def may_revoke(self, request: HttpRequest) -> bool:
        return request.user.has_perm("users.change_apitoken")

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        return super().change_view(request, object_id, form_url, {"may_revoke": self.may_revoke(request)})

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = IssueForm(request.POST if request.method == "POST" else None)
        if not form.is_valid():
            return self.page(request, "issue", "Issue an API token", form=form, media=self.media + form.media)
        token, text = issue_token(form.cleaned_data["workspace"], form.cleaned_data["expires_at"])
        return self.page(request, "issued", "New API token", token=token, text=text)

    def revoke(self, request: HttpRequest, pk: str) -> HttpResponse:
        if not self.may_revoke(request):
            raise PermissionDenied
        token: Any = self.get_object(request, pk)
        if token is None:
            raise Http404
        if request.method != "POST":
            return self.page(request, "revoke", "Revoke an API token", token=token)
        revoke_token(token)
        self.message_user(request, f"{token} was revoked.")
        return HttpResponseRedirect(reverse("admin:users_apitoken_changelist"))

    def page(self, request: HttpRequest, name: str, title: str, **context: Any) -> HttpResponse:
        context |= {**self.admin_site.each_context(request), "opts": self.opts, "title": title}
        return TemplateResponse(request, f"admin/users/apitoken/{name}.html", context)


class ActionFilter(admin.SimpleListFilter):
    title = parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        # From a list: asking the table would read all of it.
        return [(action, action) for action in ACTIONS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        return queryset.filter(action=self.value()) if self.value() else queryset


class OutcomeFilter(admin.SimpleListFilter):
    title = parameter_name = "outcome"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(code, code) for code in OUTCOMES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        return queryset.filter(outcome=self.value()) if self.value() else queryset


class WhenFilter(admin.DateFieldListFilter):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = "date"


@admin.register(AuditEntry)
class AuditEntryAdmin(admin.ModelAdmin):
    """Read only. An index answers every filter and search, however long the trail is."""

    list_display = ["at", "actor_kind", "actor", "action", "outcome", "number", "address", "detail"]
    list_filter = [ActionFilter, OutcomeFilter, ("at", WhenFilter)]
    list_per_page = 50
    ordering = ["-at", "-id"]
    sortable_by = ["at"]
    show_facets = admin.ShowFacets.NEVER  # facets would count the whole trail
    search_fields = ["actor"]  # shows the search box; get_search_results() does the search
    search_help_text = "A phone number, the start of an e-mail address or token, or a request ID"
    show_full_result_count = False
    paginator = BoundedPaginator

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AuditEntry], search_term: str
    ) -> tuple[QuerySet[AuditEntry], bool]:
        text, digits = visible(search_term), searched_digits(search_term)
        if not text:
            return queryset, False
        of_one_request = queryset.filter(request_id=text)
        if of_one_request.exists():
            return of_one_request, False
        if digits:
            return queryset.filter(number__in=digits), False
        # A range of the index. LIKE would read the whole table.
        return queryset.filter(begins_with("actor", text)), False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
