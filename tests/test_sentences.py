"""Every refusal has a sentence at each door that may show it, in the words of that door."""

import re
from collections.abc import Iterator

import pytest

from core.errors import NotFound, Refusal, Unreadable, sentence_for
from core.parsers import InvalidJson
from core.secrets import CannotOpen
from integrations import CARRIERS
from integrations.errors import IntegrationError
from phones.api import sentences as api
from phones.api.serializers import AddPhoneSerializer, AvailablePhonesSerializer, ChangePhoneSerializer
from phones.bulk.columns import NoHeader, UnreadableFile
from phones.desk import sentences as desk
from phones.desk.forms import AddPhoneForm
from phones.errors import ChangeUncertain, NoGreeting, NoSuchPhone, UnreachableTarget
from users.idempotency import InvalidKey, KeyInProgress, KeyMismatch
from users.limits import LimitHeld, LimitReached

TABLES = {"api": api.SENTENCES, "desk": desk.SENTENCES}
# They say what their base class says.
LIKE_THEIR_BASE = {InvalidJson, UnreadableFile, NoHeader, NoSuchPhone, LimitHeld}
# About headers, bodies and a PATCH of several fields, which the desk does not have.
OF_THE_API_ALONE = {ChangeUncertain, Unreadable, InvalidKey, KeyMismatch, KeyInProgress}
# What the sentence of an error tells of the case.
PARTS: dict[type[Exception], dict[str, str]] = {
    NoGreeting: {"language": "ja-JP", "ours": "de, en"},
    UnreachableTarget: {"carrier": "Plivo", "reachable": "a sip: address"},
}
# A name of the API in the middle of a sentence, or in front of it.
WIRE_NAME = re.compile(r"\b[a-z]+[A-Z]\w*|\binbound\b|^\w+:")


def kinds_of(base: type[Exception]) -> Iterator[type[Exception]]:
    for kind in base.__subclasses__():
        yield kind
        yield from kinds_of(kind)


OURS = sorted({*kinds_of(Refusal)} - LIKE_THEIR_BASE, key=lambda kind: kind.__name__)
OF_CARRIERS = sorted(kinds_of(IntegrationError), key=lambda kind: kind.__name__)


def examples(kind: type[Exception]) -> list[Exception]:
    """Such an error, of each carrier if it is a carrier's."""
    if issubclass(kind, IntegrationError):
        return [kind(carrier, "status 500") for carrier in CARRIERS.values()]
    if kind is LimitReached:
        return [LimitReached(7)]
    return [Unreadable("The body must be a JSON object.") if kind is Unreadable else kind(**PARTS.get(kind, {}))]


@pytest.mark.parametrize("door", TABLES)
@pytest.mark.parametrize("kind", [*OURS, *OF_CARRIERS, CannotOpen])
def test_every_refusal_has_a_sentence_of_its_own(kind: type[Exception], door: str) -> None:
    assert kind in TABLES[door]
    for error in examples(kind):
        told = sentence_for(error, TABLES[door])
        assert told.endswith(".") and "{" not in told and "}" not in told and "None" not in told


@pytest.mark.parametrize("kind", [kind for kind in desk.SENTENCES if kind not in OF_THE_API_ALONE])
def test_the_desk_does_not_speak_of_the_api_s_fields(kind: type[Exception]) -> None:
    for error in examples(kind):
        assert not WIRE_NAME.search(desk.sentence(error))


def test_what_has_no_sentence_of_its_own_says_that_of_its_base_class() -> None:
    assert api.sentence(LimitHeld(7)) == api.sentence(LimitReached(7))
    assert desk.sentence(NoSuchPhone()) == desk.sentence(NotFound())
    assert api.sentence(InvalidJson("NaN is not valid JSON.")) == "NaN is not valid JSON."


@pytest.mark.parametrize("kind", [*OURS, *OF_CARRIERS])
def test_the_blamed_field_is_one_of_the_api_and_of_the_desk(kind: type[Refusal] | type[IntegrationError]) -> None:
    if kind.field and kind is not InvalidKey:  # that is a header
        named = {*AddPhoneSerializer().fields, *ChangePhoneSerializer().fields, *AvailablePhonesSerializer().fields}
        assert api.wire_name(kind.field) in named
        assert kind.field in {*AddPhoneForm.base_fields, "user_id"}


@pytest.mark.parametrize("kind", OF_CARRIERS)
def test_a_log_line_names_error_carrier_and_detail(kind: type[IntegrationError]) -> None:
    assert str(kind(CARRIERS["plivo"], "status 500")) == f"{kind.__name__} Plivo (status 500)"
