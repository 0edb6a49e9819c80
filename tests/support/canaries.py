"""Tokens that can be searched for, to see that they are nowhere."""

import base64
from dataclasses import replace

from sandbox.sandbox import Sandbox
from tests.support.carriers import Good

CANARY = "canary-7f3a9c51e2d84b06"


def canary_account(sandbox: Sandbox, carrier: Good, canary: str = CANARY) -> Good:
    """The carrier's good account with a canary for its token."""
    account = sandbox.state.account(carrier.integration, carrier.owner)
    sandbox.state.ids_by_key = (
        {**sandbox.state.ids_by_key, canary: account.id} if carrier.integration == "telnyx" else {}
    )
    account.secret = canary
    return replace(carrier, auth_token=canary)


def spellings(secret: str) -> list[str]:
    """How a secret may look: as it is, and as HTTP Basic authentication and repr write it."""
    return [secret, base64.b64encode(secret.encode()).decode().rstrip("=")[:-2], secret.encode().hex()]


def found(secrets: list[str], text: str) -> list[str]:
    return [one for secret in secrets for one in spellings(secret) if one in text]
