"""The carriers whose numbers a workspace can bring. This package is a leaf: it imports none of our own apps."""

import gc
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from integrations.base import Provider


@dataclass(frozen=True)
class Carrier:
    """What we need to know about a carrier before we send it any request.

    `label` is its display name, and the name of its class in `integrations.<name>.provider`. `account_id_name` and
    `auth_token_name` are the carrier's own terms for an account's credentials; the hints say where customers find them.
    `public_key_hint` is set only if the carrier signs webhooks with a key per account.
    `api_keys`, `other_ids` and `no_tokens` match what customers confuse with these credentials: API keys and others in
    place of the account's id, and ids in place of the auth token. The carrier need not be asked to refuse them.
    `account_id_is_application`: we identify an account by the application that its numbers are linked to: the
    customer's own if the client names it, otherwise the one that we create.
    """

    label: str
    account_id_name: str
    account_id_hint: str
    auth_token_name: str
    auth_token_hint: str
    public_key_hint: str = ""
    api_keys: str = ""
    other_ids: str = ""
    no_tokens: str = ""
    account_id_is_required: bool = True
    account_id_is_application: bool = False


# Keyed by the carrier's name in the API. A provider module is imported on first use, because the three SDKs together
# take longer to import than the rest of the product.
CARRIERS = {
    "plivo": Carrier(
        "Plivo",
        account_id_name="Auth ID", account_id_hint="Starts with MA. Console, Overview.",
        auth_token_name="Auth Token", auth_token_hint="Console, Overview.",
        # SA: a subaccount, which has a token of its own. The SDK sends no request for any other id.
        other_ids=r"(?!(MA|SA)[A-Za-z0-9]{18}$).*", no_tokens=r"(MA|SA)[A-Z0-9]{18}",
    ),
    "twilio": Carrier(
        "Twilio",
        account_id_name="Account SID", account_id_hint="Starts with AC. Console, Account Info.",
        auth_token_name="Auth Token", auth_token_hint="Console, Account Info. The primary token, not an API key.",
        # https://www.twilio.com/docs/glossary/what-is-a-sid (read 2026-11-30)
        api_keys=r"SK.*", other_ids=r"(?!AC)[A-Z]{2}[0-9a-fA-F]{32}", no_tokens=r"[A-Z]{2}[0-9a-fA-F]{32}",
    ),
    "telnyx": Carrier(
        "Telnyx",
        account_id_name="App ID", account_id_hint="Leave empty to have the application found or created for you.",
        # [U: telnyx-key-prefix]
        auth_token_name="API Key", auth_token_hint="Starts with KEY. Portal, Keys & Credentials.",
        public_key_hint="Only if it cannot be fetched automatically. Portal, Keys & Credentials, Public key.",
        other_ids=r"KEY.*",
        # An application's id, and the id of a user or an API key, which is a UUID.
        no_tokens=r"[0-9]{1,20}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
        account_id_is_required=False, account_id_is_application=True,
    ),
}  # fmt: skip
PROVIDERS = {name: carrier.label for name, carrier in CARRIERS.items()}


def provider_class(name: str) -> "type[Provider]":
    return getattr(import_module(f"integrations.{name}.provider"), PROVIDERS[name])


def load(names: Iterable[str]) -> None:
    """Import these carriers' providers and SDKs now instead of on first use, for callers about to send many requests.

    The imported objects are frozen out of garbage collection: they stay for the life of the process, and each full
    collection would otherwise spend half a second on them while every thread waits.
    """
    for name in names:
        provider_class(name).warm_up()
    gc.collect()
    gc.freeze()
