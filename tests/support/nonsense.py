"""Replies of a carrier in which one field makes no sense."""

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

HUGE = "9" * 100_000
MISSING = object()


def strange(value: Any) -> list[Any]:
    """Values of every other JSON type than this one, and one that is too long for anything."""
    others = ["nonsense", 4.5, -7, True, None, [], ["nonsense"], {}, {"nonsense": 1}, 10**40, HUGE]
    kept = [other for other in others if type(other) is not type(value) or other is HUGE]
    return [*kept, MISSING]


class Change(NamedTuple):
    """A value in place of the one at this path of keys and indexes."""

    path: tuple[str | int, ...]
    value: Any

    def __str__(self) -> str:
        value = "missing" if self.value is MISSING else repr(self.value)[:20]
        return f"{'.'.join(map(str, self.path))}={value}"

    def apply(self, body: Any) -> Any:
        """The changed body; the body as it is if it has no such path."""
        if not self.path:
            return None if self.value is MISSING else self.value
        changed = copy.deepcopy(body)
        try:
            *above, last = self.path
            where = changed
            for key in above:
                where = where[key]
            if self.value is MISSING:
                del where[last]
            else:
                _ = where[last]
                where[last] = self.value
        except (KeyError, IndexError, TypeError):
            return body
        return changed


def changes(body: Any) -> Iterator[Change]:
    """Each field of a body in turn, at any depth, with each strange value."""

    def walk(value: Any, path: tuple[str | int, ...]) -> Iterator[Change]:
        # A list with an entry less makes sense.
        is_entry = bool(path) and isinstance(path[-1], int)
        yield from (Change(path, other) for other in strange(value) if not is_entry or other is not MISSING)
        children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, child in children:
            yield from walk(child, (*path, key))

    yield from walk(body, ())
