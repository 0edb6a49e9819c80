"""What was configured before an add, and what a removal must leave."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from sandbox import resources
from sandbox import state as seeds
from sandbox.sandbox import Sandbox
from tests.support.api import add, send
from tests.support.carriers import (
    CARRIERS,
    NO_PROFILE,
    PLIVO,
    SPARE_APPLICATION,
    SUBJECTS,
    TELNYX,
    TWILIO,
    Good,
    prepare_spare_application,
)
from tests.support.people import Tenant
from tests.support.state import (
    changes,
    rows,
)

each_carrier = pytest.mark.parametrize("name", CARRIERS)
UNKNOWN_ID = "0123456789abcdef01234567"


def remove(tenant: Tenant, id: str) -> Any:
    return send("DELETE", f"phones/{id}", tenant)


def restored(reply: Any, id: str) -> bool:
    """What a removal answered: whether all is as before."""
    body = reply.json()
    assert (reply.status_code, body["code"], body["status"], body["errorMessage"]) == (200, 200, True, ""), body
    assert body["data"] == {"_id": id, "restored": body["data"]["restored"]}
    return body["data"]["restored"]


def assert_not_found(reply: Any) -> None:
    assert (reply.status_code, reply.json()["data"]) == (404, {"error": "not_found", "field": None})


def assert_nothing_is_left() -> None:
    assert {model: len(kept) for model, kept in rows().items()} == {"Account": 0, "Line": 0, "PhoneNumber": 0}


def assert_as_before(sandbox: Sandbox, before: Any) -> None:
    after = sandbox.snapshot()
    assert changes(before, after) == []
    assert after == before


@dataclass(frozen=True)
class Earlier:
    """A number and what the customer had done with it. `fields` are of the body of its add."""

    good: Good
    number: str
    fields: dict[str, Any] = field(default_factory=dict)
    raw: dict[str, Any] = field(default_factory=dict)

    def prepare(self, sandbox: Sandbox) -> None:
        if self.fields == OWN_APPLICATION:
            prepare_spare_application(sandbox)
        if self.raw:
            sandbox.add_number(self.good.integration, self.good.owner, self.number, **self.raw)

    def add(self, tenant: Tenant) -> str:
        """Have the user add the number. Returns its id."""
        reply = add(tenant, self.good.body(tenant.user, phoneNumber=self.number, **self.fields))
        assert reply.status_code == 201, reply.content
        return reply.json()["data"]["_id"]


def relink(sandbox: Sandbox, name: str, number: str, to: str | None) -> None:
    """Somebody links the number to something else in the console."""
    if name == "telnyx":
        fields = {"connection_id": to, "connection_name": "office-pbx" if to else None}
    else:
        fields = {"application": to and resources.plivo_application_uri(seeds.PLIVO_ID, to)}
    sandbox.state.account(name, SUBJECTS[name].owner).numbers[number].update(fields)


def later(act: Callable[[], Any], offset_s: float) -> Callable[[], Any]:
    def wait_and_act() -> Any:
        time.sleep(offset_s)
        return act()

    return wait_and_act


def listed(tenant: Tenant) -> list[str]:
    """The numbers that the workspace is shown."""
    return [one["phoneNumber"] for one in send("GET", "phones", tenant).json()["data"]["items"]]


OWN_APPLICATION = {"accSId": SPARE_APPLICATION}
PLIVO_DEFAULT = {"application": resources.plivo_application_uri(seeds.PLIVO_ID, seeds.PLIVO_DEFAULT_APP)}
ALL_OF_TWILIO = {
    "trunk_sid": seeds.TWILIO_TRUNK,
    "voice_url": f"{seeds.FOREIGN_URL}/twilio/answer",
    "voice_method": "GET",
    "voice_receive_mode": "fax",
    "status_callback": f"{seeds.FOREIGN_URL}/twilio/status",
    "status_callback_method": "GET",
    "voice_caller_id_lookup": True,
}
ROUTES = {
    "twilio: none": Earlier(TWILIO, "12125551234"),
    "twilio: foreign URL": Earlier(TWILIO, "12125550001"),
    "twilio: trunk": Earlier(TWILIO, "12125550002"),
    "twilio: TwiML application": Earlier(TWILIO, "12125550003"),
    "twilio: demo": Earlier(TWILIO, "12125550005"),
    "twilio: fax": Earlier(TWILIO, "12125550006"),
    "twilio: everything": Earlier(TWILIO, "12125550009", raw=ALL_OF_TWILIO),
    "plivo: none": Earlier(PLIVO, "14155551234"),
    "plivo: other application": Earlier(PLIVO, "14155550001"),
    "plivo: trunk": Earlier(PLIVO, "14155550002"),
    "plivo: default application": Earlier(PLIVO, "14155550009", raw=PLIVO_DEFAULT),
    "telnyx: none": Earlier(TELNYX, "13125551234"),
    "telnyx: other TeXML application": Earlier(TELNYX, "13125550001"),
    "telnyx: SIP connection": Earlier(TELNYX, "13125550002"),
    "telnyx: Call Control application": Earlier(TELNYX, "13125550003"),
    "telnyx: none, own application named": Earlier(TELNYX, "13125551234", OWN_APPLICATION),
    "telnyx: the own application named": Earlier(TELNYX, "13125550001", {"accSId": seeds.TELNYX_CUSTOMER_APP}),
    "telnyx: SIP connection, own application named": Earlier(TELNYX, "13125550002", OWN_APPLICATION),
    "telnyx: no voice profile": Earlier(NO_PROFILE, "13125557777"),
}


each_route = pytest.mark.parametrize("route", ROUTES)
