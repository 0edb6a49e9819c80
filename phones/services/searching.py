"""Finding numbers by any part of the number, of the user's e-mail address or of the label.

No database finds the middle of a text by an index. So the beginnings of the words, and of what is left of the number
when digits are taken from its front, are kept as rows of their own, and what is typed is looked up as a beginning.
"""

import re

from django.db import transaction
from django.db.models import QuerySet

from core.lookups import begins_with
from phones.models import PhoneNumber, SearchTerm
from users.models import User

# Shorter ones are on half of all numbers.
SHORTEST = 3
MOST_FOUND = 5_000
WORD = re.compile(r"[^\W_]+")
NUMBER = re.compile(r"[+0-9 ().-]+")


def terms_of(phone: PhoneNumber) -> set[str]:
    number = phone.number
    rests = {number[start:] for start in range(len(number) - SHORTEST + 1)}
    return rests | from_each_word(phone.user.email) | from_each_word(phone.label)


def from_each_word(text: str) -> set[str]:
    """`ann@acme.example` begins with ann, acme and example, and also with acme.ex."""
    text = text.lower()
    return {text[word.start() :] for word in WORD.finditer(text)}


def index_phone(phone: PhoneNumber) -> None:
    """Make a number findable that was not before."""
    keep_terms(phone, terms_of(phone))


def reindex_phone(phone: PhoneNumber) -> None:
    """Make a number findable by what it is now."""
    wanted = terms_of(phone)
    kept = dict(phone.search_terms.values_list("term", "pk"))
    SearchTerm.objects.filter(pk__in=[pk for term, pk in kept.items() if term not in wanted]).delete()
    keep_terms(phone, wanted - set(kept))


def keep_terms(phone: PhoneNumber, terms: set[str]) -> None:
    SearchTerm.objects.bulk_create(SearchTerm(phone_number=phone, term=term) for term in sorted(terms))


def index_user(user: User) -> None:
    """Make a user's numbers findable by the address that the user has now."""
    if SearchTerm.objects.filter(phone_number__user=user, term=user.email.lower()).exists():
        return
    for phone in user.phone_numbers.select_related("user").iterator(chunk_size=500):
        with transaction.atomic():  # one disk flush
            reindex_phone(phone)


def find_phones(phones: QuerySet[PhoneNumber], typed: str) -> QuerySet[PhoneNumber]:
    """Those that have a term for each word that was typed; at most MOST_FOUND for each word.

    Args:
        typed: words; digits may be grouped as people write them, `(212) 555-1234`.
    """
    for word in typed_words(typed):
        rows = SearchTerm.objects.filter(begins_with("term", word))
        phones = phones.filter(pk__in=list(rows.values_list("phone_number", flat=True)[:MOST_FOUND]))
    return phones


def typed_words(typed: str) -> list[str]:
    typed = typed.strip().lower()
    return [re.sub(r"[^0-9]", "", typed)] if NUMBER.fullmatch(typed) else typed.split()
