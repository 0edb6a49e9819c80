"""Form widgets for the admin."""

from typing import Any

from django.contrib.admin.widgets import AutocompleteSelect

from core.fields import OBJECT_ID


class ObjectIdSelect(AutocompleteSelect):
    """A choice among many rows. A value that is no id is shown as empty; Django's own widget would query for it."""

    def format_value(self, value: Any) -> list[str]:
        return [text for text in super().format_value(value) if OBJECT_ID.fullmatch(text)]
