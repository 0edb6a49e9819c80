"""The keys this database was encrypted with, to distinguish a wrong key from a lost one (docs/decisions/0014)."""

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

# The newest keys that this process knows to be recorded in the database.
_admitted: set[str] = set()


class WrongKey(ImproperlyConfigured):
    """None of CREDENTIAL_KEYS belongs to this database."""

    def __init__(self) -> None:
        super().__init__(
            "CREDENTIAL_KEYS has none of the keys with which this database was encrypted. Add the right one back. "
            "If it is lost for good: manage.py rotate_credential_keys --key-lost"
        )


def check_value(key: str) -> str:
    """16 hexadecimal digits that identify a key and reveal nothing else about it."""
    return hmac.digest(base64.urlsafe_b64decode(key), b"workspace.keys", hashlib.sha256).hex()[:16]


def admit_key_of(secret: Secret) -> None:
    """Record the newest key as one of this database's before a secret encrypted under it is written.

    Queries the database once per process. Raises the same exceptions as `admit_newest`.
    """
    if settings.CREDENTIAL_KEYS[0] not in _admitted and secret.is_readable(keys=1):
        admit_newest()


def admit_newest() -> None:
    """Record the newest key as one of this database's.

    Raises WrongKey if the database has keys and none of them is configured; django.db.Error.
    """
    here = [check_value(key) for key in settings.CREDENTIAL_KEYS]
    known = _known()
    if known and not known & set(here):
        raise WrongKey
    for value in here[:1] if known else here:
        _sealing_keys().get_or_create(check_value=value)
    # Only after the commit, because the transaction may still be rolled back.
    transaction.on_commit(partial(_admitted.add, settings.CREDENTIAL_KEYS[0]))


def missing() -> list[str]:
    """The check values of this database's keys that are missing from CREDENTIAL_KEYS but may return.

    Raises django.db.Error.
    """
    return sorted(_known() - {check_value(key) for key in settings.CREDENTIAL_KEYS})


def keep_only_newest() -> None:
    """Forget all keys but the newest, because nothing is encrypted under the others any more."""
    _sealing_keys().exclude(check_value=check_value(settings.CREDENTIAL_KEYS[0])).delete()


def keep_only_configured() -> None:
    """Forget the keys that are missing from CREDENTIAL_KEYS."""
    _sealing_keys().filter(check_value__in=missing()).delete()


def _sealing_keys() -> Any:
    """Looked up by name to avoid a circular import: core.models imports core.fields, which imports this module."""
    return apps.get_model("core", "SealingKey")._default_manager


def _known() -> set[str]:
    return set(_sealing_keys().values_list("check_value", flat=True))
