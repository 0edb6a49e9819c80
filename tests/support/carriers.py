"""The accounts and numbers that the tests own at the sandbox carriers."""

from dataclasses import dataclass
from typing import Any

from sandbox import state as seeds
from sandbox.sandbox import Sandbox
from users.models import User


@dataclass(frozen=True)
class Good:
    """Credentials and numbers that the sandbox knows, for one carrier."""

    integration: str
    acc_sid: str
    auth_token: str
    number: str
    another: str
    routed_elsewhere: str
    not_owned: str

    def body(self, user: User, **changes: Any) -> dict[str, Any]:
        """The body of an add; a field changed to None is left out."""
        body = {
            "userId": user.pk,
            "phoneNumber": self.number,
            "integration": self.integration,
            "authToken": self.auth_token,
            "accSId": self.acc_sid or None,
            **changes,
        }
        return {name: value for name, value in body.items() if value is not None}


TWILIO = Good(
    "twilio", seeds.TWILIO_SID, seeds.TWILIO_TOKEN, "12125551234", "12125550007", "12125550001", "12125559999"
)
PLIVO = Good("plivo", seeds.PLIVO_ID, seeds.PLIVO_TOKEN, "14155551234", "14155550007", "14155550001", "14155559999")
TELNYX = Good("telnyx", "", seeds.TELNYX_KEY, "13125551234", "13125550007", "13125550001", "13125559999")
CARRIERS = {good.integration: good for good in (TWILIO, PLIVO, TELNYX)}


@dataclass(frozen=True)
class Subject:
    """A carrier account as the sandbox has it, and a number of it that the customer has routed elsewhere."""

    good: Good
    owner: str
    number: str
    another: str

    @property
    def integration(self) -> str:
        return self.good.integration


NO_PROFILE = Good("telnyx", "", seeds.TELNYX_NOPROFILE_KEY, "13125557777", "13125557778", "13125557777", "13125559999")
SUBJECTS = {
    "twilio": Subject(TWILIO, seeds.TWILIO_SID, TWILIO.routed_elsewhere, TWILIO.another),
    "plivo": Subject(PLIVO, seeds.PLIVO_ID, PLIVO.routed_elsewhere, PLIVO.another),
    "telnyx": Subject(TELNYX, seeds.TELNYX_ACCOUNT, TELNYX.routed_elsewhere, TELNYX.another),
    "telnyx without a voice profile": Subject(
        NO_PROFILE, seeds.TELNYX_NOPROFILE_ACCOUNT, NO_PROFILE.number, NO_PROFILE.another
    ),
}
# What the line must remember of the number, in the provider's words.
BEFORE = {
    "twilio": ("voice_url", f"{seeds.FOREIGN_URL}/twilio/answer"),
    "plivo": ("application_id", seeds.PLIVO_CUSTOMER_APP),
    "telnyx": ("application_id", seeds.TELNYX_CUSTOMER_APP),
    "telnyx without a voice profile": ("application_id", ""),
}


def brand_new(sandbox: Sandbox, name: str, count: int) -> tuple[Subject, list[str]]:
    """An account that nobody has added yet, with numbers that are routed nowhere."""
    owner, secret = {
        "twilio": ("AC" + "9a" * 16, "twilio-race-token"),
        "plivo": ("MARACE00000000000001", "plivo-race-token"),
        "telnyx": ("telnyx-race", "KEY_race_telnyx"),
    }[name]
    numbers = [f"1{area}555{3000 + index}" for area in ("617",) for index in range(count)]
    sandbox.add_account(name, owner, secret)
    for number in numbers:
        sandbox.add_number(name, owner, number)
    good = Good(name, "" if name == "telnyx" else owner, secret, numbers[0], numbers[-1], numbers[0], "16175559999")
    return Subject(good, owner, numbers[0], numbers[-1]), numbers
