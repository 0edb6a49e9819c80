"""The carriers whose numbers a workspace can bring. A leaf: it knows nothing of our own rows."""

import gc
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from integrations.base import Provider


@dataclass(frozen=True)
class Carrier:
    """What has to be known of a carrier before it is spoken to.

    `label` is its name for people, and that of its class in `integrations.<name>.provider`. `account_id_name` and
    `auth_token_name` are what it calls the credentials of an account; the hints say where customers find them, that of
    the public key only if its webhooks are signed with a key of the account's.
    `account_id_is_application`: an account has no other name than the application that its numbers are linked to: one
    of the customer's if the client names it, else the one that we make.
    """

    label: str
    account_id_name: str
    account_id_hint: str
    auth_token_name: str
    auth_token_hint: str
    public_key_hint: str = ""
    account_id_is_required: bool = True
    account_id_is_application: bool = False


# By their names on the wire. A module is loaded when its carrier is first spoken to, since the three SDKs together take
# longer to import than the rest of the product.
CARRIERS = {
    "plivo": Carrier(
        "Plivo",
        account_id_name="Auth ID", account_id_hint="Starts with MA. Console, Overview.",
        auth_token_name="Auth Token", auth_token_hint="Console, Overview.",
    ),
    "twilio": Carrier(
        "Twilio",
        account_id_name="Account SID", account_id_hint="Starts with AC. Console, Account Info.",
        auth_token_name="Auth Token", auth_token_hint="Console, Account Info. The primary token, not an API key.",
    ),
    "telnyx": Carrier(
        "Telnyx",
        account_id_name="App ID", account_id_hint="Leave empty to have the application found or created for you.",
        auth_token_name="API Key", auth_token_hint="Starts with KEY. Portal, Keys & Credentials.",
        public_key_hint="Only if it cannot be fetched automatically. Portal, Keys & Credentials, Public key.",
        account_id_is_required=False, account_id_is_application=True,
    ),
}  # fmt: skip
PROVIDERS = {name: carrier.label for name, carrier in CARRIERS.items()}


def provider_class(name: str) -> "type[Provider]":
    return getattr(import_module(f"integrations.{name}.provider"), PROVIDERS[name])


def load(names: Iterable[str]) -> None:
    """Load now what is otherwise loaded when these carriers are first spoken to, for who is about to ask a lot of them.

    It stays for good, so the garbage collector need not walk through it again: half a second each time, for which
    everybody waits.
    """
    for name in names:
        provider_class(name).warm_up()
    gc.collect()
    gc.freeze()
