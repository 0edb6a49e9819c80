from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin

from users.models import ApiToken, User, Workspace


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
