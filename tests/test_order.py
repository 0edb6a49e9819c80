"""Texts have the same order and beginnings on each engine, whatever the locale of the server."""

import pytest
from django.db import connection

from core.lookups import begins_with
from users.models import AuditEntry, Workspace

pytestmark = [pytest.mark.engine, pytest.mark.django_db]

# In the order of en-US, a, A and ä differ only where texts are otherwise the same.
TEXTS = ["", "ann", "Ann", "änn", "ann b", "ann-b", "annb", "anna", "AnnA", "bob", "z", "zoë", "\U0001f600", "日本"]


def test_texts_are_in_the_order_of_their_code_points() -> None:
    AuditEntry.objects.bulk_create(AuditEntry(action="test", actor=text) for text in TEXTS)
    assert list(AuditEntry.objects.order_by("actor").values_list("actor", flat=True)) == sorted(TEXTS)


@pytest.mark.parametrize("beginning", ["a", "ann", "Ann", "ä", "ann ", "z", "\U0001f600"])
def test_what_begins_with_a_text_is_found_and_nothing_else(beginning: str) -> None:
    AuditEntry.objects.bulk_create(AuditEntry(action="test", actor=text) for text in TEXTS)
    found = AuditEntry.objects.filter(begins_with("actor", beginning)).values_list("actor", flat=True)
    assert set(found) == {text for text in TEXTS if text.startswith(beginning)}


@pytest.mark.only("postgresql", "mongodb", reason="SQLite ignores the case of ASCII letters only")
@pytest.mark.parametrize("typed", ["müll", "MÜLL"])
def test_a_name_is_found_in_either_case(typed: str) -> None:
    Workspace.objects.create(name="Müller")
    assert Workspace.objects.filter(name__icontains=typed).count() == 1


@pytest.mark.only("postgresql", reason="On the others, it is the only order")
def test_each_column_is_in_the_order_of_code_points() -> None:
    """Also those that a migration changed."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name, column_name, collation_name FROM information_schema.columns "
            "WHERE table_schema = current_schema() AND data_type IN ('text', 'character varying')"
        )
        columns = cursor.fetchall()
    assert len(columns) > 100
    assert [column for column in columns if column[2] != "C"] == []
