"""Which accounts to try, from the environment; and what is known of this installation."""

import importlib
import os
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field

from django.core.exceptions import ImproperlyConfigured

from integrations import CARRIERS, PROVIDERS
from integrations.transport import Timeouts

# Printable ASCII without what shells, container tools and examples put around a value. Other characters would fail in an
# SDK, as an error about the network.
PLAIN = re.compile(r"[!-~]+")
AROUND = re.compile(r"[\"'`<>${}]")
NUMBER = re.compile(r"\+?([1-9][0-9]{6,14})")

# The settings that are used.
OF_CARRIERS = re.compile(r"[A-Z]+_API_URL|CARRIER_\w+_TIMEOUT_S")

CALL_TO, CALL_FROM = "LIVE_CALL_TO", "LIVE_CALL_FROM"


class Misconfigured(Exception):
    """The environment does not say what to do. The message says what to write."""


@dataclass(frozen=True)
class Credentials:
    """Of one account at a carrier. `number` is E.164 digits; empty if none was given."""

    carrier: str
    account_id: str = field(repr=False)
    auth_token: str = field(repr=False)
    number: str


@dataclass(frozen=True)
class Call:
    """The call to place: E.164 digits, and the account that the calling number belongs to."""

    credentials: Credentials
    to: str


@dataclass(frozen=True)
class Installation:
    """`public_url` is empty if there are no valid settings here."""

    public_url: str
    api_urls: Mapping[str, str]
    timeouts: Timeouts


def installation() -> Installation:
    """Read the settings of this installation. If they are not complete, only those about carriers are used.

    Raises ImproperlyConfigured if a setting in the environment cannot work.
    """
    before = set(os.environ)
    try:
        settings, is_installed = importlib.import_module("workspace.settings"), True
    except ImproperlyConfigured:
        for name in set(os.environ) - before:  # they come from the file
            if not OF_CARRIERS.fullmatch(name):
                del os.environ[name]
        os.environ |= {
            "ENV_FILE": os.devnull,
            "SECRET_KEY": secrets.token_hex(32),
            "CREDENTIAL_KEYS": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "PUBLIC_URL": "https://phones.example.com",
            "DATABASE_URL": "sqlite:///:memory:",
        }
        settings, is_installed = importlib.import_module("workspace.settings"), False
    return Installation(
        settings.PUBLIC_URL if is_installed else "",
        settings.CARRIER_API_URLS,
        Timeouts(settings.CARRIER_CONNECT_TIMEOUT_S, settings.CARRIER_READ_TIMEOUT_S),
    )


def variable(carrier: str, name: str) -> str:
    return f"LIVE_{carrier}_{name}".upper()


def accounts(environment: Mapping[str, str]) -> list[Credentials]:
    """The accounts that are configured. Raises Misconfigured if one is only half configured."""
    found = [credentials_of(carrier, environment) for carrier in PROVIDERS]
    return [one for one in found if one]


def credentials_of(carrier: str, environment: Mapping[str, str]) -> Credentials | None:
    id_name, token_name, number_name = (variable(carrier, name) for name in ("ACCOUNT_ID", "AUTH_TOKEN", "NUMBER"))
    values = {name: environment.get(name, "").strip() for name in (id_name, token_name, number_name)}
    if not any(values.values()):
        return None
    needed = [id_name, token_name] if CARRIERS[carrier].account_id_is_required else [token_name]
    missing = [name for name in needed if not values[name]]
    if missing:
        raise Misconfigured(f"{' and '.join(missing)} must be set as well to try {PROVIDERS[carrier]}.")
    for name in (id_name, token_name):
        if values[name] and (not PLAIN.fullmatch(values[name]) or AROUND.search(values[name])):
            raise Misconfigured(
                f"{name} contains a blank, a quotation mark, a placeholder or another character that no such value has. "
                "Copy it again, and nothing else."
            )
    if values[id_name] == values[token_name]:
        raise Misconfigured(f"{id_name} and {token_name} are the same. Copy both again.")
    return Credentials(carrier, values[id_name], values[token_name], number_in(number_name, values[number_name]))


def number_in(name: str, value: str) -> str:
    """The E.164 digits of a variable's value; empty if it is. Raises Misconfigured."""
    match = NUMBER.fullmatch(re.sub(r"[ ()-]", "", value))
    if value and not match:
        raise Misconfigured(f"{name} must be a number with its country code, such as +12125551234.")
    return match[1] if match else ""


def call_to_place(environment: Mapping[str, str], configured: list[Credentials]) -> Call | None:
    """The call that the environment asks for. Raises Misconfigured if it does not say which number calls."""
    to = number_in(CALL_TO, environment.get(CALL_TO, "").strip())
    caller = number_in(CALL_FROM, environment.get(CALL_FROM, "").strip())
    if not to:
        if caller:
            raise Misconfigured(f"{CALL_FROM} is used only with {CALL_TO}.")
        return None
    callers = [one for one in configured if one.number and caller in ("", one.number)]
    if len(callers) != 1:
        names = ", ".join(variable(one.carrier, "NUMBER") for one in configured)
        raise Misconfigured(
            f"{CALL_FROM} must be the number of one of these variables, to say which of your numbers calls: {names}."
            if configured and (callers or caller)
            else f"{CALL_TO} needs one of your numbers to call from. Set one of: {names}."
        )
    if callers[0].number == to:
        raise Misconfigured(f"{CALL_TO} is the calling number itself. Set it to another number that you may call.")
    return Call(callers[0], to)


HOW = "\n".join(
    [
        "No carrier account to try. Set the variables of at least one, and run it again:",
        "",
        *(
            f"  {carrier.label + ':':8} {variable(name, 'ACCOUNT_ID')} ({carrier.account_id_name}"
            f"{'' if carrier.account_id_is_required else ', may be left out'}),\n"
            f"  {'':8} {variable(name, 'AUTH_TOKEN')} ({carrier.auth_token_name}), {variable(name, 'NUMBER')}"
            for name, carrier in CARRIERS.items()
        ),
        "",
        "Nothing is changed at any carrier: every request but GET is stopped before it is sent.",
        f"{CALL_TO} would place one call, which costs money. docs/live.md says more.",
    ]
)
