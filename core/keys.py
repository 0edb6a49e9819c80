"""Which keys this database was sealed with, so that a wrong key is told from a lost one (docs/decisions/0014)."""

import base64
import hashlib
import hmac
from functools import partial
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction

from core.secrets import Secret

# Newest keys that this process has seen admitted.
_admitted: set[str] = set()


class WrongKey(ImproperlyConfigured):
    """None of CREDENTIAL_KEYS belongs to this database."""

    def __init__(self) -> None:
        super().__init__(
            "CREDENTIAL_KEYS has none of the keys with which this database was sealed. Put the right one back. "
            "If it is lost for good: manage.py rotate_credential_keys --key-lost"
        )


def check_value(key: str) -> str:
    """16 hexadecimal digits that tell keys apart and say nothing else about them."""
    return hmac.digest(base64.urlsafe_b64decode(key), b"workspace.keys", hashlib.sha256).hex()[:16]


def admit_key_of(secret: Secret) -> None:
    """Before a secret is written: see to it that the newest key, if it is that of the secret, is known as this
    database's. Asks once a process. Raises as `admit_newest` does."""
    if settings.CREDENTIAL_KEYS[0] not in _admitted and secret.is_readable(keys=1):
        admit_newest()


def admit_newest() -> None:
    """Note the newest key as one of this database's.

    Raises WrongKey when the database has keys and none of them is here; django.db.Error.
    """
    here = [check_value(key) for key in settings.CREDENTIAL_KEYS]
    known = _known()
    if known and not known & set(here):
        raise WrongKey
    for value in here[:1] if known else here:
        _sealing_keys().get_or_create(check_value=value)
    # Not before, since it may be undone yet.
    transaction.on_commit(partial(_admitted.add, settings.CREDENTIAL_KEYS[0]))


def missing() -> list[str]:
    """The check values of this database's keys that are not in CREDENTIAL_KEYS, and may come back. Raises
    django.db.Error."""
    return sorted(_known() - {check_value(key) for key in settings.CREDENTIAL_KEYS})


def keep_only_newest() -> None:
    """Forget all keys but the newest, as nothing is sealed under them any more."""
    _sealing_keys().exclude(check_value=check_value(settings.CREDENTIAL_KEYS[0])).delete()


def keep_only_configured() -> None:
    """Forget the keys that nobody has any more."""
    _sealing_keys().filter(check_value__in=missing()).delete()


def _sealing_keys() -> Any:
    """Looked up by name: the module of this model is above core.fields, and that one is above this."""
    return apps.get_model("core", "SealingKey")._default_manager


def _known() -> set[str]:
    return set(_sealing_keys().values_list("check_value", flat=True))
