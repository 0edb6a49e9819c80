"""The API's documentation. Loaded only when somebody reads it, because drf-spectacular is slow to import.

The responses of a view are described beside it, in `<app>/openapi.py`.
"""

from importlib import import_module

from drf_spectacular.generators import SchemaGenerator

DESCRIPTIONS = ("phones.api.call_openapi", "phones.api.openapi", "phones.api.user_openapi", "users.openapi")


class Generator(SchemaGenerator):
    """A generator that loads the descriptions of all views."""

    def parse(self, request: object, public: bool) -> object:
        for name in DESCRIPTIONS:
            import_module(name)
        return super().parse(request, public)
