"""The carriers whose numbers a workspace can bring. A leaf: it knows nothing of our own rows."""

import gc
from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from integrations.base import Provider

# name on the wire: class in the package of that name. A module is loaded when its carrier is first spoken to, since the
# three SDKs together take longer to import than the rest of the product.
PROVIDERS = {"plivo": "Plivo", "twilio": "Twilio", "telnyx": "Telnyx"}


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
