from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.db.models.signals import post_save, pre_migrate


class PhonesConfig(AppConfig):
    name = "phones"

    def ready(self) -> None:
        from phones import due
        from phones.reconciling import reconcile
        from phones.services.checking import check_all
        from phones.services.purging import purge_all
        from phones.upgrading import refuse_shared

        post_save.connect(note_new_email, sender=settings.AUTH_USER_MODEL)
        pre_migrate.connect(refuse_shared, sender=self)
        due.register("reconcile", every_s=60, run=reconcile)
        due.register("check_phones", every_s=60 * 60, run=check_all)
        due.register("purge", every_s=24 * 60 * 60, run=purge_all)


def note_new_email(instance: Any, created: bool, update_fields: Any = None, **kwargs: Any) -> None:
    """Keep a user's numbers searchable by the user's current e-mail address."""
    if not created and (update_fields is None or "email" in update_fields):
        from phones.services.searching import index_user

        index_user(instance)
