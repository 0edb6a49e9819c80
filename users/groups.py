"""What the groups of staff may do. Made, and put right, by each `migrate`."""

from typing import Any

from django.apps import apps as global_apps
from django.apps.registry import Apps

# app label -> codenames
SUPPORT = {
    "users": ["view_user", "view_workspace", "view_auditentry"],
    "phones": ["view_phonenumber", "add_phonenumber", "check_phonenumber", "repair_phonenumber", "view_account",
               "view_line", "view_call", "view_recording", "view_callevent"],
}  # fmt: skip
SUPERVISOR = {
    "users": [*SUPPORT["users"], "reset_totp", "view_apitoken", "add_apitoken", "change_apitoken"],
    "phones": [*SUPPORT["phones"], "change_phonenumber", "delete_phonenumber", "rotate_phonenumber", "hear_recording"],
}
GROUPS = {"support": SUPPORT, "supervisor": SUPERVISOR}


def make_groups(app_config: Any, using: str, apps: Apps = global_apps, **kwargs: Any) -> None:
    """After `migrate` and `flush`: both groups, with exactly the permissions above that exist.

    Runs once, when the last app reports: by then Django has made the permissions of all.
    """
    if app_config != [config for config in global_apps.get_app_configs() if config.models_module][-1]:
        return
    try:
        group_model, permission_model = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    except LookupError:  # migrated back to before there were groups
        return
    for name, wanted in GROUPS.items():
        group, _ = group_model.objects.using(using).get_or_create(name=name)
        permissions = [
            permission
            for label, codenames in wanted.items()
            for permission in permission_model.objects.using(using).filter(
                content_type__app_label=label, codename__in=codenames
            )
        ]
        group.permissions.set(permissions)
