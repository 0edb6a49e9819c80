"""Requests of the carriers, signed as the real ones sign."""

import base64
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.http import QueryDict
from django.test import Client
from plivo.exceptions import ValidationError
from plivo.utils import validate_v3_signature
from twilio.request_validator import RequestValidator

from integrations import provider_class
from phones.models import Account, Call, CallEvent, Recording
from phones.services.carriers import urls_for
from sandbox import state as seeds
from sandbox.sandbox import Sandbox
from sandbox.signing import FORM, signed
from sandbox.state import Account as CarrierAccount
from tests.support.api import add
from tests.support.carriers import CARRIERS, NO_PROFILE, PLIVO, Good
from tests.support.people import Tenant

PUBLIC_URL = "https://phones.example.com"
# The clock of what checks Telnyx' timestamps.
NOW = 1_795_420_800
Form = list[tuple[str, str]]


@dataclass(frozen=True)
class Knock:
    """A request as it is on the wire; `path` has the query."""

    path: str
    body: bytes
    headers: dict[str, str]

    @property
    def mark(self) -> tuple[Any, ...]:
        return self.path, self.body, tuple(sorted(self.headers.items()))

    def with_headers(self, **changes: str | None) -> "Knock":
        """With these headers changed; underscores are dashes, and None removes one."""
        headers = self.headers | {name.replace("_", "-"): value for name, value in changes.items()}
        return replace(self, headers={name: value for name, value in headers.items() if value is not None})


CLIENT = Client(raise_request_exception=False)


def send(knock: Knock, method: str = "POST") -> Any:
    headers = {name: value for name, value in knock.headers.items() if name != "Content-Type"}
    content_type = knock.headers.get("Content-Type", "")
    return CLIENT.generic(method, knock.path, knock.body, content_type=content_type, headers=headers)


@dataclass(frozen=True)
class Party:
    """One account: our row of it, and the carrier's."""

    row: Account
    carrier: seeds.Account

    def path(self, kind: str) -> str:
        return getattr(urls_for(self.row), kind).removeprefix(PUBLIC_URL)

    def knock(
        self, kind: str, form: Form | bytes, *, query: str = "", timestamp: int | None = NOW, nonce: str = ""
    ) -> Knock:
        """A request as the carrier makes it; without a timestamp it is made now."""
        path = self.path(kind) + (f"?{query}" if query else "")
        body, headers = signed(self.carrier, PUBLIC_URL + path, form, timestamp=timestamp, nonce=nonce or None)
        return Knock(path, body, headers)

    def secrets(self) -> list[str]:
        held = [self.row.auth_token.open(), self.row.webhook_token, self.row.public_key, self.row.account_id]
        return [one for one in held if one]


# Before all calls that tests tell of.
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def join(sandbox: Sandbox, tenant: Tenant, good: Good) -> Party:
    provider_class(good.integration).warm_up()  # as the server does: to load an SDK takes a busy machine long
    reply = add(tenant, good.body(tenant.user))
    assert reply.status_code == 201, reply.content
    row = Account.objects.get(lines__number=good.number)
    row.lines.update(held_since=LONG_AGO)
    return Party(row, at_carrier(sandbox, good))


def event(integration: str, call_id: str = "CA-1", **fields: str) -> Form:
    """What a carrier says of a call to us."""
    plus = "" if integration == "plivo" else "+"
    own = {
        "CallUUID" if integration == "plivo" else "CallSid": call_id,
        "From": f"{plus}441632960083",
        "To": plus + CARRIERS[integration].number,
        "CallStatus": "ringing",
        "Direction": "inbound",
    }
    return list((own | fields).items())


def at_carrier(sandbox: Sandbox, good: Good) -> CarrierAccount:
    return sandbox.state.account(good.integration, good.owner)


def deliver(url: str, body: bytes, headers: dict[str, str]) -> Any:
    path = url.removeprefix("https://phones.example.com")
    kind = headers.pop("Content-Type", "application/x-www-form-urlencoded")
    return Client(raise_request_exception=False).post(path, body, content_type=kind, headers=headers)


def form_of(good: Good, call_id: str = "one", **fields: str) -> list[tuple[str, str]]:
    name, plus = ("CallUUID", "") if good.integration == "plivo" else ("CallSid", "+")
    usual = {name: call_id, "From": f"{plus}441632960083", "To": plus + good.number, "Direction": "inbound"}
    return list({**usual, "CallStatus": "ringing", **fields}.items())


KEYLESS = NO_PROFILE


def events(integration: str) -> list[Form]:
    """Those that are mutated: with names that are repeated, nothing in a field, other scripts, signs that are escaped."""
    recording = "RecordingID" if integration == "plivo" else "RecordingSid"
    return [
        [*event(integration), ("CallerName", "Zoë & Söhne 100% +1=2"), ("FromCity", ""), ("Tag", "b"), ("Tag", "a")],
        event(integration, "CA-2", CallStatus="completed", Duration="42", CallDuration="42", BillRate="0.00550"),
        [
            *event(integration, "CA-3"),
            (recording, "RE-1"),
            ("RecordingDuration", "17"),
            ("RecordUrl", "https://x/1?a=b"),
        ],
    ]


def originals(party: Party, kind: str) -> list[Knock]:
    forms: list[Form | bytes] = list(events(party.row.integration))
    if party.row.integration == "telnyx":
        payload = {"call_control_id": "v3:1", "direction": "incoming", "from": "+441632960083"}
        data = {"event_type": "call.initiated", "id": "0ccc7b54-4df3", "payload": payload}
        forms.append(json.dumps({"data": data}).encode())
    return [
        party.knock(kind, form, query="line=1&label=a%20b&label=A" if number == 1 else "")
        for number, form in enumerate(forms)
    ]


KINDS = ("answer", "status", "fallback", "recording", "done")


def vendor_accepts(knock: Knock, parties: list[Party]) -> bool:
    """The verdict of the vendor's own validator, with the secret of the account that the address names."""
    _, _, _, integration, token, *_ = knock.path.split("/")
    owner = next((one for one in parties if one.row.webhook_token == token), None)
    if owner is None or owner.row.integration != integration:
        return False
    verdict = {"twilio": twilio_accepts, "plivo": plivo_accepts, "telnyx": telnyx_accepts}[integration]
    return verdict(knock, owner.carrier)


def twilio_accepts(knock: Knock, account: seeds.Account) -> bool:
    is_form = knock.headers.get("Content-Type", "").startswith(FORM)
    params = QueryDict(knock.body) if is_form else knock.body.decode("utf-8", "replace")
    try:
        given = knock.headers["X-Twilio-Signature"]
        return RequestValidator(account.secret).validate(PUBLIC_URL + knock.path, params, given)
    except (KeyError, TypeError):
        return False


def plivo_accepts(knock: Knock, account: seeds.Account) -> bool:
    nonce = knock.headers.get("X-Plivo-Signature-V3-Nonce")
    url, params = PUBLIC_URL + knock.path, QueryDict(knock.body)
    for name in PLIVO.signature_headers:
        try:
            if nonce and validate_v3_signature("POST", url, nonce, account.secret, knock.headers.get(name), params):
                return True
        except (ValidationError, UnicodeError):  # the second for a query of other scripts, which the SDK cannot read
            continue
    return False


def telnyx_accepts(knock: Knock, account: seeds.Account) -> bool:
    at, given = knock.headers.get("telnyx-timestamp", ""), knock.headers.get("telnyx-signature-ed25519", "")
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(account.public_key()))
    try:
        if not (at.isascii() and at.isdigit()) or abs(NOW - int(at)) > 300:
            return False
        key.verify(base64.b64decode(given, validate=True), f"{at}|".encode() + knock.body)
        return True
    except (InvalidSignature, ValueError):
        return False


def wire(reply: Any) -> tuple[Any, ...]:
    """All that a client sees, but the mark that each request has."""
    return reply.status_code, reply.content, tuple(sorted((k, v) for k, v in reply.items() if k != "X-Request-ID"))


def row_counts() -> tuple[int, int, int]:
    return CallEvent.objects.count(), Call.objects.count(), Recording.objects.count()
