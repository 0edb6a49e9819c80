"""Template filters of the support desk."""

from collections.abc import Mapping
from typing import Any

from django import template

from core.widgets import copyable
from phones.desk.words import hue_of
from phones.numbers import readable

register = template.Library()
register.filter("readable", readable)
register.filter("hue", hue_of)
register.filter("copyable", copyable)


@register.filter
def entry(table: Mapping[str, Any], key: str) -> Any:
    """Look a key up in a mapping; an empty tuple if it is missing."""
    return table.get(key, ())
