"""Pagination of long lists."""

from functools import cached_property
from typing import cast

from django.core.paginator import Paginator
from django.db.models import QuerySet

COUNTED = 5_000


class AtLeast(int):
    """A number displayed as “5000+”."""

    def __str__(self) -> str:
        return f"{int(self)}+"


class BoundedPaginator(Paginator):
    """Counts only the first 5,000 rows and has no pages beyond them; to see other rows, staff narrow the search.

    For `ModelAdmin.paginator`, together with `show_full_result_count = False`.
    """

    @cached_property
    def count(self) -> int:
        found = cast(QuerySet, self.object_list).order_by()
        rows = found[: COUNTED + 1].count()
        return AtLeast(COUNTED) if rows > COUNTED else rows
