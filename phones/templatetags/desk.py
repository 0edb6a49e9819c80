"""How templates write our values."""

from collections.abc import Mapping
from typing import Any

from django import template

from phones.numbers import readable

register = template.Library()
register.filter("readable", readable)


@register.filter
def entry(table: Mapping[str, Any], key: str) -> Any:
    """What stands in a table under a key that only the template knows."""
    return table.get(key, ())
