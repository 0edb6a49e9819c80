from django.apps import AppConfig
from django.db.models.signals import post_migrate, pre_save


class UsersConfig(AppConfig):
    name = "users"

    def ready(self) -> None:
        # Before axes, so that a failure is told before the lock that it leads to.
        from users import receivers  # isort: skip
        from axes.models import AccessAttempt
        from axes.signals import user_locked_out

        from users.groups import make_groups
        from users.login import forget_what_was_typed

        pre_save.connect(forget_what_was_typed, sender=AccessAttempt)
        user_locked_out.connect(receivers.note_lock)
        post_migrate.connect(make_groups)
