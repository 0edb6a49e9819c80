from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.db.models.signals import post_save


class PhonesConfig(AppConfig):
    name = "phones"

    def ready(self) -> None:
        post_save.connect(note_new_email, sender=settings.AUTH_USER_MODEL)


def note_new_email(instance: Any, created: bool, update_fields: Any = None, **kwargs: Any) -> None:
    """Keep a user's numbers searchable by the user's current e-mail address."""
    if not created and (update_fields is None or "email" in update_fields):
        from phones.services.searching import index_user

        index_user(instance)
