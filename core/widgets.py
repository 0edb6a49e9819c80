"""Form widgets of the admin."""

from typing import Any

from django.contrib.admin.widgets import AutocompleteSelect

from core.fields import OBJECT_ID


class ObjectIdSelect(AutocompleteSelect):
    """A choice among many rows. What cannot be an id is shown as nothing; Django's own widget would ask for it."""

    def format_value(self, value: Any) -> list[str]:
        return [one for one in super().format_value(value) if OBJECT_ID.fullmatch(one)]
