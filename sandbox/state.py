"""The state of the simulated carriers (accounts, numbers, applications) and its seeds.

The secrets are made up and give access to nothing. At all three carriers, a number is keyed by its digits, such as
`12125551234`.
"""

import base64
import hashlib
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import resources

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

TWILIO_SID, TWILIO_TOKEN = "AC" + "a1" * 16, "twilio-sandbox-token"
TWILIO_OTHER_SID, TWILIO_OTHER_TOKEN = "AC" + "b2" * 16, "twilio-sandbox-token-other"
TWILIO_SUSPENDED_SID, TWILIO_SUSPENDED_TOKEN = "AC" + "c3" * 16, "twilio-sandbox-token-suspended"
TWILIO_CLOSED_SID, TWILIO_CLOSED_TOKEN = "AC" + "d4" * 16, "twilio-sandbox-token-closed"
TWILIO_TRUNK = "TK" + "e5" * 16
TWILIO_APPLICATION = "AP" + "f6" * 16
TWILIO_ACCOUNT_AUTH_TOKEN = "[redacted]-the-auth-token-in-the-account-resource"
"""The `auth_token` in Twilio's account resource; it must never be logged, stored or returned."""

PLIVO_ID, PLIVO_TOKEN = "MASANDBOX00000000001", "plivo-sandbox-token"
PLIVO_OTHER_ID, PLIVO_OTHER_TOKEN = "MASANDBOX00000000002", "plivo-sandbox-token-other"
PLIVO_SUSPENDED_ID, PLIVO_SUSPENDED_TOKEN = "MASANDBOX00000000003", "plivo-sandbox-token-suspended"
PLIVO_CUSTOMER_APP = "20468599130939301"
PLIVO_DEFAULT_APP = "20468599130939302"
PLIVO_TRUNK = "30468599130939303"

TELNYX_ACCOUNT, TELNYX_KEY = "telnyx-account-1", "KEY_sandbox_telnyx"
TELNYX_OTHER_ACCOUNT, TELNYX_OTHER_KEY = "telnyx-account-2", "KEY_sandbox_telnyx_other"
TELNYX_NOPROFILE_ACCOUNT, TELNYX_NOPROFILE_KEY = "telnyx-account-3", "KEY_sandbox_telnyx_noprofile"
TELNYX_SUSPENDED_ACCOUNT, TELNYX_SUSPENDED_KEY = "telnyx-account-4", "KEY_sandbox_telnyx_suspended"
TELNYX_CUSTOMER_APP = "1400000000000000001"
TELNYX_SIP_CONNECTION = "1400000000000000002"
TELNYX_CALL_CONTROL_APP = "1400000000000000003"
TELNYX_VOICE_PROFILE = "1500000000000000001"

FOREIGN_URL = "https://customer.example.com"
"""Where numbers that are already in use send their calls."""
TWILIO_DEMO_URL = "https://demo.twilio.com/welcome/voice/"

_NEW_NUMBER: dict[str, Callable[[str, str, str], dict[str, Any]]] = {
    "twilio": resources.twilio_number,
    "plivo": resources.plivo_number,
    "telnyx": resources.telnyx_number,
}
_NEW_ID: dict[str, Callable[[], str]] = {
    "twilio": lambda: resources.twilio_sid("PN", resources.new_id(0)),
    "plivo": str,
    "telnyx": lambda: resources.new_id(1_693_384_261_075_731_500),
}


@dataclass
class Account:
    """A customer's account at a carrier.

    `applications` holds everything that a number can be linked to: Plivo applications and all kinds of Telnyx
    connections. `trunks` are Plivo's Zentrunk trunks, which a number names in its application field although they are
    not applications.
    """

    carrier: str
    id: str
    secret: str = field(repr=False)
    secondary: str = field(default="", repr=False)
    """Twilio's secondary auth token: valid for the API, but signs nothing."""
    status: str = "active"
    owner: str = ""
    has_public_key: bool = True
    key_seed: str = ""
    """Change it to change the signing key, as when the customer renews it at Telnyx."""
    numbers: dict[str, dict[str, Any]] = field(default_factory=dict)
    numbers_by_id: dict[str, dict[str, Any]] = field(default_factory=dict)
    applications: dict[str, dict[str, Any]] = field(default_factory=dict)
    profiles: dict[str, dict[str, Any]] = field(default_factory=dict)
    trunks: list[str] = field(default_factory=list)
    media_auth: bool = True
    """Whether Twilio and Plivo require the account's credentials for recording files."""
    calls: dict[str, dict[str, Any]] = field(default_factory=dict)
    recordings: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, tuple[int, int]] = field(default_factory=dict)
    """The content of each recording's file: its length in seconds and its number of channels."""
    webhook_deliveries: list[dict[str, Any]] = field(default_factory=list)

    @property
    def user_id(self) -> str:
        """The account's id in Telnyx's TeXML."""
        return str(uuid.uuid5(uuid.NAMESPACE_OID, self.id))

    def signing_key(self) -> "Ed25519PrivateKey":
        """The key with which Telnyx signs this account's webhooks; the same in every run."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # only Telnyx needs it

        return Ed25519PrivateKey.from_private_bytes(hashlib.sha256((self.id + self.key_seed).encode()).digest())

    def public_key(self) -> str:
        """The public key: base64 of 32 bytes, as Telnyx shows it."""
        return base64.b64encode(self.signing_key().public_key().public_bytes_raw()).decode()

    def snapshot(self) -> dict[str, Any]:
        """The settings, without the call history."""
        shown = ("status", "numbers", "applications", "profiles", "trunks")
        return {name: _settings(getattr(self, name)) for name in shown}


class State:
    """All accounts of all three carriers. Not thread-safe: the sandbox holds its lock during every access."""

    def __init__(self) -> None:
        self.accounts: dict[str, dict[str, Account]] = {"twilio": {}, "plivo": {}, "telnyx": {}}
        self.ids_by_key: dict[str, str] = {}
        self.origin = ""
        """The sandbox's own URL, for the URLs of files."""
        self.link_key = secrets.token_bytes()
        self.refuse_in_use = False
        self.media_not_ready = 0
        self.media_redirect: str | None = None

    def add_account(self, carrier: str, id: str, secret: str, **fields: Any) -> Account:
        """Create an account; `fields` are those of Account. A Telnyx account gets a voice profile; at Plivo, files are
        public by default."""
        account = Account(carrier, id, secret, **{"media_auth": carrier != "plivo"} | fields)
        self.accounts[carrier][id] = account
        if carrier == "telnyx":
            self.ids_by_key[secret] = id
            if "profiles" not in fields:
                account.profiles[TELNYX_VOICE_PROFILE] = resources.telnyx_voice_profile(TELNYX_VOICE_PROFILE)
        return account

    def add_number(self, carrier: str, account: str, number: str, **fields: Any) -> dict[str, Any]:
        """Add a number to an account; `fields` are raw fields of the carrier's resource."""
        owner = self.account(carrier, account)
        digits = number.lstrip("+")
        return _put(owner, digits, _NEW_NUMBER[carrier](owner.id, digits, "") | fields)

    def transfer_number(
        self, carrier: str, number: str, to: str, *, account: str = "", keep_id: bool = False
    ) -> dict[str, Any]:
        digits = number.lstrip("+")
        source, target = self.owner(carrier, digits, account), self.account(carrier, to)
        old_id = _id(source.numbers.pop(digits), digits)
        del source.numbers_by_id[old_id]
        new_id = old_id if keep_id else _NEW_ID[carrier]()
        return _put(target, digits, _NEW_NUMBER[carrier](target.id, digits, new_id))

    def change_secret(self, carrier: str, name: str, secret: str) -> None:
        account = self.account(carrier, name)
        if carrier == "telnyx":
            del self.ids_by_key[account.secret]
            self.ids_by_key[secret] = account.id
        account.secret = secret

    def account(self, carrier: str, name: str) -> Account:
        """The account with this id or, at Telnyx, this API key. Raises KeyError if there is none."""
        return self.accounts[carrier][self.ids_by_key.get(name, name)]

    def owner(self, carrier: str, digits: str, name: str = "") -> Account:
        """The account that has the number, limited to `name` (see account()) if given. Raises KeyError if none has."""
        candidates = [self.account(carrier, name)] if name else self.accounts[carrier].values()
        for account in candidates:
            if digits in account.numbers:
                return account
        raise KeyError(digits)

    def snapshot(self) -> dict[str, Any]:
        """A deep copy of every setting, without secrets and times of change."""
        return {carrier: self.settings(carrier) for carrier in self.accounts}

    def settings(self, carrier: str) -> dict[str, Any]:
        """The part of the snapshot that concerns one carrier."""
        return {id: account.snapshot() for id, account in self.accounts[carrier].items()}


def _id(number: dict[str, Any], digits: str) -> str:
    id: str = number.get("sid") or number.get("id") or digits
    return id


def _put(owner: Account, digits: str, number: dict[str, Any]) -> dict[str, Any]:
    owner.numbers[digits] = owner.numbers_by_id[_id(number, digits)] = number
    return number


def _settings(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _settings(item) for key, item in value.items() if key not in resources.CHANGING}
    if isinstance(value, list):
        return [_settings(item) for item in value]
    return value


def seeded() -> State:
    """The initial state of every run."""
    state = State()
    _seed_twilio(state)
    _seed_plivo(state)
    _seed_telnyx(state)
    return state


def _seed_twilio(state: State) -> None:
    def add(number: str, **fields: Any) -> None:
        state.add_number("twilio", TWILIO_SID, number, **fields)

    state.add_account("twilio", TWILIO_SID, TWILIO_TOKEN)
    add("12125551234")
    add(
        "12125550001",
        voice_url=f"{FOREIGN_URL}/twilio/answer",
        voice_method="GET",
        voice_fallback_url=f"{FOREIGN_URL}/twilio/fallback",
        voice_fallback_method="GET",
        status_callback=f"{FOREIGN_URL}/twilio/status",
        status_callback_method="GET",
    )
    add("12125550002", trunk_sid=TWILIO_TRUNK)
    add("12125550003", voice_application_sid=TWILIO_APPLICATION)
    add("12125550004", capabilities={"voice": False, "sms": True, "mms": True, "fax": False})
    add("12125550005", voice_url=TWILIO_DEMO_URL)
    add("12125550006", voice_receive_mode="fax")
    add("12125550007")
    for last in range(6000, 6040):  # enough for two pages
        add(f"1212555{last}")
    state.add_account("twilio", TWILIO_OTHER_SID, TWILIO_OTHER_TOKEN)
    state.add_number("twilio", TWILIO_OTHER_SID, "12125559999", voice_url=f"{FOREIGN_URL}/twilio/answer")
    state.add_account("twilio", TWILIO_SUSPENDED_SID, TWILIO_SUSPENDED_TOKEN, status="suspended")
    state.add_number("twilio", TWILIO_SUSPENDED_SID, "12125558888")
    state.add_account("twilio", TWILIO_CLOSED_SID, TWILIO_CLOSED_TOKEN, status="closed")


def _seed_plivo(state: State) -> None:
    def add(number: str, **fields: Any) -> None:
        state.add_number("plivo", PLIVO_ID, number, **fields)

    account = state.add_account("plivo", PLIVO_ID, PLIVO_TOKEN, trunks=[PLIVO_TRUNK])
    account.applications[PLIVO_CUSTOMER_APP] = resources.plivo_application(PLIVO_ID, PLIVO_CUSTOMER_APP) | {
        "app_name": "Customer-IVR",
        "answer_url": f"{FOREIGN_URL}/plivo/answer",
        "answer_method": "GET",
        "hangup_url": f"{FOREIGN_URL}/plivo/hangup",
        "hangup_method": "GET",
        "fallback_answer_url": f"{FOREIGN_URL}/plivo/fallback",
        "fallback_method": "GET",
        "log_incoming_messages": False,
        "public_uri": True,
    }
    account.applications[PLIVO_DEFAULT_APP] = resources.plivo_application(PLIVO_ID, PLIVO_DEFAULT_APP) | {
        "app_name": "Direct-Dial",
        "answer_url": f"{FOREIGN_URL}/plivo/direct",
        "hangup_url": f"{FOREIGN_URL}/plivo/direct",
        "default_app": True,
    }
    add("14155551234")
    add("14155550001", application=resources.plivo_application_uri(PLIVO_ID, PLIVO_CUSTOMER_APP))
    add("14155550002", application=resources.plivo_application_uri(PLIVO_ID, PLIVO_TRUNK))
    add("14155550003", voice_enabled=False)
    add("14155550004", active=False, compliance_status="pending")
    add("14155550007")
    state.add_account("plivo", PLIVO_OTHER_ID, PLIVO_OTHER_TOKEN)
    state.add_number("plivo", PLIVO_OTHER_ID, "14155559999")
    state.add_account("plivo", PLIVO_SUSPENDED_ID, PLIVO_SUSPENDED_TOKEN, status="suspended")
    state.add_number("plivo", PLIVO_SUSPENDED_ID, "14155558888")


def _seed_telnyx(state: State) -> None:
    def add(number: str, **fields: Any) -> None:
        state.add_number("telnyx", TELNYX_ACCOUNT, number, **fields)

    account = state.add_account("telnyx", TELNYX_ACCOUNT, TELNYX_KEY)
    account.applications[TELNYX_CUSTOMER_APP] = resources.telnyx_texml_application(TELNYX_CUSTOMER_APP) | {
        "friendly_name": "customer-ivr",
        "voice_url": f"{FOREIGN_URL}/telnyx/answer",
        "voice_method": "get",
        "voice_fallback_url": f"{FOREIGN_URL}/telnyx/fallback",
        "status_callback": f"{FOREIGN_URL}/telnyx/status",
        "status_callback_method": "get",
        "outbound": {"outbound_voice_profile_id": TELNYX_VOICE_PROFILE},
    }
    account.applications[TELNYX_SIP_CONNECTION] = resources.telnyx_sip_connection(TELNYX_SIP_CONNECTION) | {
        "connection_name": "office-pbx"
    }
    account.applications[TELNYX_CALL_CONTROL_APP] = resources.telnyx_call_control_application(
        TELNYX_CALL_CONTROL_APP
    ) | {
        "application_name": "customer-dialer",
        "webhook_event_url": f"{FOREIGN_URL}/telnyx/events",
    }
    add("13125551234")
    add("13125550001", connection_id=TELNYX_CUSTOMER_APP, connection_name="customer-ivr")
    add("13125550002", connection_id=TELNYX_SIP_CONNECTION, connection_name="office-pbx")
    add("13125550003", connection_id=TELNYX_CALL_CONTROL_APP, connection_name="customer-dialer")
    add("13125550004", status="port-pending")
    add("13125550007")
    state.add_account("telnyx", TELNYX_OTHER_ACCOUNT, TELNYX_OTHER_KEY)
    state.add_number("telnyx", TELNYX_OTHER_ACCOUNT, "13125559999")
    state.add_account("telnyx", TELNYX_NOPROFILE_ACCOUNT, TELNYX_NOPROFILE_KEY, profiles={}, has_public_key=False)
    state.add_number("telnyx", TELNYX_NOPROFILE_ACCOUNT, "13125557777")
    state.add_account("telnyx", TELNYX_SUSPENDED_ACCOUNT, TELNYX_SUSPENDED_KEY, status="suspended")
    state.add_number("telnyx", TELNYX_SUSPENDED_ACCOUNT, "13125558888")
