"""Finding numbers by any part of the number, of the user's e-mail address or of the label.

No database uses an index to find the middle of a text. So we store a term for the text from the start of each word on,
and for the number from each of its digits on, and a search compares the beginnings of these terms.
"""

import re
from collections.abc import Iterable

from django.db import transaction
from django.db.models import QuerySet

from core.lookups import begins_with
from core.pasted import searched_digits
from core.text import trimmed, visible
from phones.models import PhoneNumber, SearchTerm
from users.models import User

# Shorter terms would match half of all numbers.
SHORTEST = 3
MOST_FOUND = 5_000
WORD = re.compile(r"[^\W_]+")


def terms_of(phone: PhoneNumber) -> set[str]:
    number = phone.number
    rests = {number[start:] for start in range(len(number) - SHORTEST + 1)}
    return rests | from_each_word(phone.user.email) | from_each_word(phone.label)


def from_each_word(text: str) -> set[str]:
    """The text from the start of each word: `ann@acme.example` is found by ann, acme and example, and by acme.ex."""
    text = text.lower()
    return {text[word.start() :] for word in WORD.finditer(text)}


def index_phone(phone: PhoneNumber) -> None:
    """Index a new number."""
    keep_terms(phone, terms_of(phone))


def reindex_phone(phone: PhoneNumber) -> None:
    """Update the index of a number after its label or its user's e-mail address changed."""
    wanted = terms_of(phone)
    kept = dict(phone.search_terms.values_list("term", "pk"))
    SearchTerm.objects.filter(pk__in=[pk for term, pk in kept.items() if term not in wanted]).delete()
    keep_terms(phone, wanted - set(kept))


def keep_terms(phone: PhoneNumber, terms: set[str]) -> None:
    SearchTerm.objects.bulk_create(SearchTerm(phone_number=phone, term=term) for term in sorted(terms))


def index_user(user: User) -> None:
    """Update the index of a user's numbers after the user's e-mail address changed."""
    if SearchTerm.objects.filter(phone_number__user=user, term=user.email.lower()).exists():
        return
    for phone in user.phone_numbers.select_related("user").iterator(chunk_size=500):
        with transaction.atomic():  # one disk flush
            reindex_phone(phone)


def find_phones(phones: QuerySet[PhoneNumber], typed: str) -> QuerySet[PhoneNumber]:
    """Filter numbers to those that match each typed word. Only the first MOST_FOUND matches of a word are considered.

    Args:
        typed: words, or a number as people write or paste it, such as `(212) 555-1234`. What looks like a number but
            is a part of none, such as the date in a label, is searched for as words.
    """
    digits = searched_digits(typed)
    if digits and (found := with_any(phones, digits)).exists():
        return found
    for word in typed.lower().split():
        # A label has invisible characters only if they belong to its words, as in Persian; others come with pasting.
        if spellings := {trimmed(word), visible(word)} - {""}:
            phones = with_any(phones, spellings)
    return phones


def with_any(phones: QuerySet[PhoneNumber], terms: Iterable[str]) -> QuerySet[PhoneNumber]:
    """Filter numbers to those of which a term begins with one of these."""
    found: set[str] = set()
    for term in terms:
        rows = SearchTerm.objects.filter(begins_with("term", term))
        found.update(rows.values_list("phone_number", flat=True)[:MOST_FOUND])
    return phones.filter(pk__in=list(found))
