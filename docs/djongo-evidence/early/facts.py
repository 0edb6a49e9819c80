"""What djongo does with unique constraints. Run by reproduce.py after `migrate`; prints one line for each fact."""

import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import django

warnings.simplefilter("ignore")
django.setup()

from django.db import connection  # noqa: E402
from django.db.models import F, Model  # noqa: E402

from early.samples.models import Key, Note, Slot  # noqa: E402

THREADS = 50
together = Barrier(THREADS)


def told(act: Callable[[], object]) -> object:
    """What becomes of it, in a word or two."""
    try:
        return act() or "stored"
    except Exception as error:
        return f"{type(error).__name__}({str(error).splitlines()[0] if str(error) else ''})"


def indexes(model: type[Model]) -> dict[str, list[str]]:
    found = connection.connection[model._meta.db_table].index_information()
    return {name: [column for column, _ in index["key"]] for name, index in found.items() if name != "_id_"}


def insert(_: int) -> object:
    together.wait()
    return told(lambda: Key.objects.create(owner=1, text="same") and None)


with ThreadPoolExecutor(THREADS) as pool:
    outcomes = list(pool.map(insert, range(THREADS)))
print(
    f"a unique constraint in CreateModel: {outcomes.count('stored')} of {THREADS} concurrent duplicates stored;",
    end=" ",
)
print(f"{Key.objects.count()} rows; indexes {indexes(Key)}")
print(f"a unique constraint with a condition: indexes {indexes(Slot)}")
print("  first insert, owner 1:", told(lambda: Slot.objects.create(owner=1) and None))
print("  second insert, owner 2:", told(lambda: Slot.objects.create(owner=2) and None))
print("update with F():", told(lambda: f"{Key.objects.update(owner=F('owner') + 1)} rows"))
Note.objects.create(slug="json", data={"a": 1})
print("a duplicate of a unique field:", told(lambda: Note.objects.create(slug="json") and None))
kept = connection.connection["samples_note"].find_one({"slug": "json"})["data"]
print(f"JSONField: kept as {type(kept).__name__}: {kept!r}")
