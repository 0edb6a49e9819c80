"""A carrier's webhook request, and our addresses for them."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from hmac import compare_digest
from urllib.parse import parse_qs

from integrations.errors import BadSignature
from integrations.events import MAX_FIELDS

FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Urls:
    """Our webhook URLs for one account: how to answer a call (`answer`, or `fallback` if that fails), the `status` of
    a call, the status of a `recording`, and what to do after a verb of our answer is `done`."""

    answer: str
    status: str
    fallback: str
    recording: str
    done: str

    @classmethod
    def under(cls, base: str) -> "Urls":
        return cls(**{field.name: f"{base}/{field.name}" for field in fields(cls)})


# Whatever PUBLIC_URL is, the carrier, the account's secret and the kind of webhook follow this path.
WEBHOOKS_PATH = "/api/webhooks/"


def is_ours(actual: str, ours: str) -> bool:
    """Whether we wrote this setting, possibly under an earlier PUBLIC_URL: the secret in the URL identifies it."""
    _, mark, path = ours.partition(WEBHOOKS_PATH)
    return actual == ours or (bool(mark) and actual.endswith(mark + path))


KINDS = frozenset(field.name for field in fields(Urls))


@dataclass(frozen=True)
class Webhook:
    """A request as received. `url` is the URL that we configured, with the query string as received."""

    url: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_form(self) -> bool:
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower() == FORM

    def form(self) -> dict[str, list[str]]:
        """The fields of the body, each with all its values. Raises BadSignature if the body cannot be parsed."""
        try:
            return parse_qs(self.body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
        except ValueError:
            raise BadSignature("the body is not a form") from None


def one_fits(given: Iterable[str], expected: Iterable[str]) -> bool:
    """Whether any given signature equals an expected one, compared in constant time."""
    received = [signature.encode() for signature in given]
    return any(compare_digest(signature, wanted.encode()) for wanted in expected for signature in received)


def digest(signed: bytes) -> str:
    """A fingerprint of signed content."""
    return hashlib.sha256(signed).hexdigest()
