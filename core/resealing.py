"""Re-encrypt every stored secret under the newest key while other processes keep reading and writing."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from django.apps import apps
from django.db.models import Model

from core import keys
from core.fields import SecretField
from core.lookups import in_key_order
from core.secrets import CannotOpen


@dataclass(frozen=True)
class UnreadableSecret:
    """A stored secret whose key is missing, and what to do about it."""

    row: str
    name: str
    if_lost: str


@dataclass
class Outcome:
    """How many secrets were re-encrypted, how many were changed by somebody else meanwhile, and which could not be
    decrypted."""

    resealed: int = 0
    conflicts: int = 0
    unreadable: list[UnreadableSecret] = field(default_factory=list)


def reseal_all() -> Outcome:
    """Re-encrypt all secrets under the newest key. Safe to interrupt and to run again: finished work is not repeated.

    If somebody else changes a secret meanwhile, their value is kept and examined again. Once no secret depends on a
    missing key that may return, all keys but the newest are forgotten. Raises WrongKey, django.db.Error.
    """
    keys.admit_newest()
    outcome, total = reseal_once(), 0
    while outcome.resealed or outcome.conflicts:
        total += outcome.resealed
        outcome = reseal_once()
    if not (outcome.unreadable and keys.missing()):
        keys.keep_only_newest()
    outcome.resealed = total
    return outcome


def reseal_once() -> Outcome:
    outcome = Outcome()
    for model, fields in sealed_fields():
        for row in in_key_order(model._base_manager.all()):
            for column in fields:
                secret = getattr(row, column.attname)
                if secret is None or secret.is_readable(keys=1):
                    continue
                try:
                    resealed = secret.resealed()
                except CannotOpen:
                    outcome.unreadable.append(UnreadableSecret(name_of(row), str(column.verbose_name), column.if_lost))
                    continue
                same = model._base_manager.filter(pk=row.pk, **{column.name: secret})
                if same.update(**{column.name: resealed}):
                    outcome.resealed += 1
                else:
                    outcome.conflicts += 1
    return outcome


def sealed_fields() -> Iterator[tuple[type[Model], list[SecretField]]]:
    for model in apps.get_models():
        fields = [column for column in model._meta.concrete_fields if isinstance(column, SecretField)]
        if fields:
            yield model, fields


def name_of(row: Model) -> str:
    return f"{row._meta.verbose_name} {row.pk} ({row})"
