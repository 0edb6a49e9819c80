"""Our own errors. Each carries a machine code and values; each door has its own table of sentences for them.

Errors from carriers are in integrations/errors.py and have the same attributes.
"""

from collections.abc import Mapping
from typing import Any


class Refusal(Exception):
    """We reject a request. `str(error)` is for the log and holds no secret.

    `code` is the machine code of the response (core/envelope.py maps it to the HTTP status); `field` is our name of the
    invalid field, if there is one; `headers` are added to the response; `values` fill in the sentence.
    """

    code = "internal_error"
    field: str | None = None

    def __init__(self, *, headers: dict[str, str] | None = None, **values: Any) -> None:
        super().__init__()
        self.headers = headers or {}
        self.values = values

    def __str__(self) -> str:
        return " ".join([type(self).__name__, *(f"{name}={value}" for name, value in self.values.items())])


class NotFound(Refusal):
    """There is no such row, or none for whoever asks."""

    code = "not_found"


class Unreadable(Refusal):
    """Input that a door cannot read. Only that door knows what it looks like, so the sentence comes with the error.

    `field` is the name that the door gives the field. The sentence repeats no value that was sent.
    """

    code = "invalid_field"

    def __init__(self, sentence: str, *, code: str | None = None, field: str | None = None) -> None:
        super().__init__(sentence=sentence)
        self.code = code or self.code
        self.field = field

    def __str__(self) -> str:
        return self.values["sentence"]


def sentence_for(error: Exception, sentences: Mapping[type[Exception], str]) -> str:
    """What a door's table says of an error's class, or of the nearest base class that is in it."""
    template = next(sentences[kind] for kind in type(error).__mro__ if kind in sentences)
    return template.format_map(getattr(error, "values", {}))
