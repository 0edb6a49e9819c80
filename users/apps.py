from django.apps import AppConfig
from django.db.models.signals import post_migrate


class UsersConfig(AppConfig):
    name = "users"

    def ready(self) -> None:
        from users import receivers  # noqa: F401  connects the signal receivers
        from users.staff.groups import make_groups

        post_migrate.connect(make_groups)
