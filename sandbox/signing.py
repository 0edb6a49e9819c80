"""Signs requests as each carrier does, with the vendor's own function where there is one."""

import base64
import hashlib
import hmac
import secrets
import time
from urllib.parse import urlencode, urlsplit, urlunsplit

from .state import Account

FORM = "application/x-www-form-urlencoded"


def signed(
    account: Account,
    url: str,
    form: list[tuple[str, str]] | bytes,
    *,
    timestamp: int | None = None,
    nonce: str | None = None,
) -> tuple[bytes, dict[str, str]]:
    """The body and headers of a webhook request for this account, as its carrier sends them.

    Args:
        url: as the customer configured it.
        form: a list of fields, whose names may repeat; bytes are sent unchanged, as JSON; an empty list means a GET,
            whose fields are in the query of `url`.
        timestamp: Unix time (Telnyx); by default now.
        nonce: for Plivo; by default random.
    """
    body = form if isinstance(form, bytes) else urlencode(form).encode()
    fields: dict[str, list[str]] = {}
    for name, value in [] if isinstance(form, bytes) else form:
        fields.setdefault(name, []).append(value)
    kind = "application/json" if isinstance(form, bytes) else FORM
    headers = {"Content-Type": kind} if body else {}
    match account.carrier:
        case "twilio":
            return body, headers | _twilio(account, url, fields)
        case "plivo":
            return body, headers | _plivo(account, url, fields, nonce or secrets.token_hex(10))
        case _:
            return body, headers | _telnyx(account, body, int(time.time()) if timestamp is None else timestamp)


class _Fields(dict[str, list[str]]):
    """The interface through which the vendor's function reads repeated names."""

    def getlist(self, name: str) -> list[str]:
        return self[name]


def _twilio(account: Account, url: str, fields: dict[str, list[str]]) -> dict[str, str]:
    from twilio.request_validator import RequestValidator  # the SDK is slow to import

    return {"X-Twilio-Signature": RequestValidator(account.secret).compute_signature(url, _Fields(fields))}


def _plivo(account: Account, url: str, fields: dict[str, list[str]], nonce: str) -> dict[str, str]:
    """V3 and V2, each with its nonce. The sandbox has no Plivo subaccounts, so the Ma signature, made with the main
    account's token, equals V3."""
    from plivo.utils.signature_v3 import construct_post_url, get_signature_v3  # the SDK is slow to import

    secret = account.secret.encode()
    params = {name: values[0] if len(values) == 1 else values for name, values in fields.items()}
    v3 = get_signature_v3(secret, construct_post_url(url, params).decode(), nonce).decode()
    bare = urlunsplit(urlsplit(url)._replace(query="", fragment=""))
    v2 = base64.b64encode(hmac.new(secret, (bare + nonce).encode(), hashlib.sha256).digest()).decode()
    return {
        "X-Plivo-Signature-V3": v3,
        "X-Plivo-Signature-V3-Nonce": nonce,
        "X-Plivo-Signature-Ma-V3": v3,
        "X-Plivo-Signature-V2": v2,
        "X-Plivo-Signature-V2-Nonce": nonce,
    }


def _telnyx(account: Account, body: bytes, timestamp: int) -> dict[str, str]:
    signature = account.signing_key().sign(f"{timestamp}|".encode() + body)
    return {
        "telnyx-signature-ed25519": base64.b64encode(signature).decode(),
        "telnyx-timestamp": str(timestamp),
    }
