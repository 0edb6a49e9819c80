"""One carrier account, read through the product's own provider. Each thing is read once."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import islice
from typing import Any, TypeVar

from integrations import CARRIERS, PROVIDERS, provider_class
from integrations.applications import ApplicationProvider
from integrations.base import Provider
from integrations.errors import CarrierUnavailable, IntegrationError
from integrations.events import CallReport, RecordingReport
from integrations.transport import Deadline
from integrations.types import CarrierNumber, ListedNumber, Site
from tests.live.configuration import Credentials, Installation

T = TypeVar("T")

BUDGET_S = 60.0
HISTORY_DAYS = 30
# The newest ones; at most a page at any carrier.
HISTORY_LENGTH = 200
MAX_PAGES = 40
# How providers describe a failed request.
SDK_WORDS = re.compile(r"^\w+: \w+, status (None|\d+)")
# A 408 and a 429 refuse nothing: they say "later".
REFUSED = re.compile(r"status 4(?!08|29)\d\d")
# Stands in the names of applications that this program never makes.
WORKSPACE_ID = "live"


class Account:
    """Reads raise IntegrationError."""

    def __init__(self, credentials: Credentials, installed: Installation) -> None:
        self.credentials = credentials
        self.carrier = credentials.carrier
        self.number = credentials.number
        self.site = Site(
            # Without an installation no route can be ours.
            public_url=installed.public_url or "https://phones.invalid",
            api_url=installed.api_urls[self.carrier],
            timeouts=installed.timeouts,
            workspace_id=WORKSPACE_ID,
        )

    @property
    def label(self) -> str:
        return PROVIDERS[self.carrier]

    def provider(self) -> Provider:
        """The product's provider, with its time starting now."""
        return provider_class(self.carrier)(
            account_id=self.credentials.account_id,
            auth_token=self.credentials.auth_token,
            site=self.site,
            deadline=Deadline(BUDGET_S),
        )

    def read(self, send: Callable[[Any], T]) -> T:
        """What `send` returns, which sends one request through the SDK of the provider that it gets."""
        provider = self.provider()
        with provider.reading():
            return provider.ask(lambda: send(provider))

    @cached_property
    def access(self) -> IntegrationError | None:
        """Why the account's numbers could not be read: the credentials, or the carrier. None if they could."""
        try:
            _ = self.numbers
        except IntegrationError as error:
            return error
        return None

    @cached_property
    def numbers(self) -> list[ListedNumber]:
        """The account's numbers, up to a bound."""
        found: list[ListedNumber] = []
        cursor = ""
        for _ in range(MAX_PAGES):
            page, cursor = self.provider().list_numbers(cursor)
            found += page
            if not cursor:
                break
        return found

    @cached_property
    def verified(self) -> CarrierNumber:
        """The configured number, as an add verifies it. Raises NumberNotOwned and NumberNotUsable, too."""
        account_id = self.credentials.account_id
        application_id = account_id if CARRIERS[self.carrier].account_id_is_application else ""
        return self.provider().verify(self.number, application_id=application_id)

    @cached_property
    def public_key(self) -> str:
        """The key for webhooks; empty if the carrier does not return it."""
        return self.provider().read_public_key()

    @cached_property
    def calls(self) -> list[CallReport]:
        return self.calls_since(datetime.now(UTC) - timedelta(days=HISTORY_DAYS))

    def calls_since(self, since: datetime) -> list[CallReport]:
        return list(islice(self.provider().list_calls(since), HISTORY_LENGTH))

    @cached_property
    def recordings(self) -> list[RecordingReport]:
        since = datetime.now(UTC) - timedelta(days=HISTORY_DAYS)
        return list(islice(self.provider().list_recordings(since), HISTORY_LENGTH))

    @cached_property
    def application_names(self) -> dict[str, str]:
        """The names of the account's applications by their ids; empty if the carrier has none."""
        provider = self.provider()
        if not isinstance(provider, ApplicationProvider):
            return {}
        with provider.reading():
            return {found.id: found.name for found in provider.applications.scan()}


def status_in(error: IntegrationError) -> str:
    """What is known of a failure, without anything secret, as a person reads it."""
    return SDK_WORDS.sub(lambda found: "no usable reply" if found[1] == "None" else f"status {found[1]}", error.detail)


def is_down(error: IntegrationError) -> bool:
    """Whether the carrier could not be asked, as opposed to refusing."""
    return isinstance(error, CarrierUnavailable) and not REFUSED.search(error.detail)
