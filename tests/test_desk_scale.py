"""The pages of the support desk ask as often, and walk through nothing, however many numbers there are.

`python -m bench.desk` shows the same among 100,000 numbers and 1,000,000 calls.
"""

from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from bench.desk import MOST_QUERIES, fill, look_into, pages
from phones.services.figures import count_figures
from tests.support.people import new_staff, sign_in

pytestmark = pytest.mark.sqlite_only(reason="the rows are made, and the plans are read, by SQL")
FEW, MANY = (600, 1800), (1200, 3600)


@pytest.fixture
def root(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Client:
    return sign_in(new_staff("root@example.com", is_superuser=True))


@pytest.mark.engine
def test_no_page_walks_through_a_table_nor_asks_more_among_more(root: Client) -> None:
    asked: list[dict[str, int]] = []
    had, scans = (0, 0), {}
    for size in (FEW, MANY):
        fill(had, size)
        count_figures()
        had = size
        asked.append({})
        for name, path in pages().items():
            assert root.get(path).status_code == 200, path
            asked[-1][name], scans[name] = look_into(root, path)
    assert {name: found for name, found in scans.items() if found} == {}
    assert asked[0] == asked[1]
    assert max(asked[1].values()) <= MOST_QUERIES
    assert settings.DATABASES["default"]["ENGINE"].endswith("sqlite")  # whose plans these are


@pytest.mark.engine
def test_a_page_that_walks_through_a_table_would_be_seen(root: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from phones.models import PhoneNumber

    def walk(phones: Any, typed: str) -> Any:
        return phones.filter(number__contains=typed)

    fill((0, 0), FEW)
    monkeypatch.setattr("phones.number_admin.find_phones", walk)
    _, scans = look_into(root, "/admin/phones/phonenumber/?q=0077")
    assert PhoneNumber.objects.count() == FEW[0]
    assert scans
