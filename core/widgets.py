"""Widgets for the admin."""

from typing import Any
from urllib.parse import urlencode

from django.contrib.admin.widgets import AutocompleteSelect
from django.forms import Script
from django.utils.html import format_html
from django.utils.safestring import SafeString

from core.fields import OBJECT_ID

SCRIPT = Script("workspace/admin.js", defer=True)


def copyable(text: str, name: str) -> SafeString:
    """A text with a button that copies it; `name` says what is copied. The page needs SCRIPT."""
    return format_html(
        '<span class="copyable"><code>{}</code> <button type="button" class="copy" aria-live="polite">'
        '<span>Copy</span><span class="visually-hidden"> {}</span></button></span>',
        text, name,
    )  # fmt: skip


class ObjectIdSelect(AutocompleteSelect):
    """A choice among many rows. A value that is no id is shown as empty; Django's own widget would query for it."""

    # What else the search is told, besides the text typed.
    search: dict[str, str] = {}

    def get_url(self) -> str:
        return super().get_url() + (f"?{urlencode(self.search)}" if self.search else "")

    def format_value(self, value: Any) -> list[str]:
        return [text for text in super().format_value(value) if OBJECT_ID.fullmatch(text)]
