"""Requests of the carriers, signed as the real ones sign."""

from dataclasses import dataclass, replace
from typing import Any

from django.test import Client

from integrations import provider_class
from integrations.sandbox import Sandbox
from integrations.sandbox import state as seeds
from integrations.sandbox.signing import signed
from integrations.sandbox.state import Account as CarrierAccount
from phones.models import Account
from phones.services.carriers import urls_for
from tests.support.api import add
from tests.support.carriers import CARRIERS, Good
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
        headers = self.headers | {name.replace("_", "-"): value for name, value in changes.items()}  # type: ignore[dict-item]
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


def join(sandbox: Sandbox, tenant: Tenant, good: Good) -> Party:
    provider_class(good.integration).warm_up()  # as the server does: to load an SDK takes a busy machine long
    reply = add(tenant, good.body(tenant.user))
    assert reply.status_code == 201, reply.content
    row = Account.objects.get(lines__number=good.number)
    name = good.acc_sid or good.auth_token
    return Party(row, sandbox.state.account(good.integration, name))


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
    return sandbox.state.account(good.integration, good.acc_sid or good.auth_token)


def deliver(url: str, body: bytes, headers: dict[str, str]) -> Any:
    path = url.removeprefix("https://phones.example.com")
    kind = headers.pop("Content-Type", "application/x-www-form-urlencoded")
    return Client(raise_request_exception=False).post(path, body, content_type=kind, headers=headers)


def form_of(good: Good, call_id: str = "one", **fields: str) -> list[tuple[str, str]]:
    name, plus = ("CallUUID", "") if good.integration == "plivo" else ("CallSid", "+")
    usual = {name: call_id, "From": f"{plus}441632960083", "To": plus + good.number, "Direction": "inbound"}
    return list({**usual, "CallStatus": "ringing", **fields}.items())
