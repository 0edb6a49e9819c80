"""Bringing every stored secret under the newest key, while others go on reading and writing."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from django.apps import apps
from django.db.models import Model

from core import keys
from core.fields import SecretField
from core.secrets import CannotOpen

BATCH = 500


@dataclass(frozen=True)
class Unreadable:
    """A stored secret whose key is not here, and what to do about it."""

    row: str
    name: str
    if_lost: str


@dataclass
class Outcome:
    """How many secrets were brought under the newest key; how many somebody else wrote meanwhile; which could not be
    opened."""

    resealed: int = 0
    overtaken: int = 0
    unreadable: list[Unreadable] = field(default_factory=list)


def reseal_all() -> Outcome:
    """Bring all secrets under the newest key. To be interrupted and run again at will: what is done stays done.

    What somebody else writes meanwhile stays, and is looked at again. When no secret waits for a key that may come
    back, all keys but the newest are forgotten. Raises WrongKey, django.db.Error.
    """
    keys.admit_newest()
    outcome, total = reseal_once(), 0
    while outcome.resealed or outcome.overtaken:
        total += outcome.resealed
        outcome = reseal_once()
    if not (outcome.unreadable and keys.missing()):
        keys.keep_only_newest()
    outcome.resealed = total
    return outcome


def reseal_once() -> Outcome:
    outcome = Outcome()
    for model, fields in sealed_fields():
        for row in in_order(model, fields):
            for one in fields:
                secret = getattr(row, one.attname)
                if secret is None or secret.is_readable(keys=1):
                    continue
                try:
                    resealed = secret.resealed()
                except CannotOpen:
                    outcome.unreadable.append(Unreadable(name_of(row), str(one.verbose_name), one.if_lost))
                    continue
                same = model._base_manager.filter(pk=row.pk, **{one.name: secret})
                if same.update(**{one.name: resealed}):
                    outcome.resealed += 1
                else:
                    outcome.overtaken += 1
    return outcome


def sealed_fields() -> Iterator[tuple[type[Model], list[SecretField]]]:
    for model in apps.get_models():
        fields = [one for one in model._meta.concrete_fields if isinstance(one, SecretField)]
        if fields:
            yield model, fields


def in_order(model: type[Model], fields: list[SecretField]) -> Iterator[Model]:
    """All rows in the order of their ids, in batches of their own: no cursor stays open while others write."""
    rows, last = model._base_manager.order_by("pk"), None
    while batch := list((rows.filter(pk__gt=last) if last else rows)[:BATCH]):
        yield from batch
        last = batch[-1].pk


def name_of(row: Model) -> str:
    return f"{row._meta.verbose_name} {row.pk} ({row})"
