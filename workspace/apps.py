from django.apps import AppConfig
from django.contrib.admin import apps


class WorkspaceConfig(AppConfig):
    name = "workspace"

    def ready(self) -> None:
        from workspace import checks  # noqa: F401  registers the system checks


class AdminConfig(apps.AdminConfig):
    default = False  # named in INSTALLED_APPS
    default_site = "workspace.admin_site.StaffSite"
