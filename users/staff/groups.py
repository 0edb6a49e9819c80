"""The permissions of the staff groups. Each `migrate` creates the groups or corrects them."""

from typing import Any

from django.apps import apps as installed
from django.apps.registry import Apps

# app label -> codenames
SUPPORT = {
    "users": ["view_user", "view_workspace", "view_auditentry"],
    "phones": [
        "view_phonenumber", "add_phonenumber", "check_phonenumber", "repair_phonenumber", "hear_recording",
        "view_import", "add_import",
    ],
}  # fmt: skip
SUPERVISOR = {
    "users": [*SUPPORT["users"], "reset_totp", "view_apitoken", "add_apitoken", "change_apitoken"],
    "phones": [
        *SUPPORT["phones"],
        "change_phonenumber",
        "delete_phonenumber",
        "rotate_phonenumber",
        "move_phonenumber",
    ],
}
GROUPS = {"support": SUPPORT, "supervisor": SUPERVISOR}


def make_groups(app_config: Any, using: str, apps: Apps = installed, **kwargs: Any) -> None:
    """Give both groups exactly the permissions above, as far as they exist. Called after `migrate` and `flush`.

    Acts only on the signal of the last app, when Django has created the permissions of all apps.
    """
    if app_config != [config for config in installed.get_app_configs() if config.models_module][-1]:
        return
    try:
        groups, permissions = apps.get_model("auth", "Group").objects, apps.get_model("auth", "Permission").objects
    except LookupError:  # migrated back to a state without groups
        return
    known = permissions.using(using).filter(content_type__app_label__in=["users", "phones"])
    ids = {
        (label, codename): pk for pk, label, codename in known.values_list("pk", "content_type__app_label", "codename")
    }
    for name, wanted in GROUPS.items():
        group, _ = groups.using(using).get_or_create(name=name)
        names = [(label, codename) for label, codenames in wanted.items() for codename in codenames]
        group.permissions.set([ids[name] for name in names if name in ids])
