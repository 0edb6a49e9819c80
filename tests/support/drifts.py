"""What may happen at each carrier to a number that was added: what a check says of it, and what puts it right."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sandbox import state as seeds
from tests.support.carriers import CARRIERS
from tests.support.checking import FIELDS, FOREIGN, PROFILE, Scene, edit, wanted, write_of

# The reasons that can occur at each carrier.
EVERYWHERE = {
    "not_set", "url_mismatch", "wrong_http_method", "overridden_by_trunk", "overridden_by_application",
    "number_missing", "number_inactive", "credentials_refused", "carrier_unavailable", "carrier_refuses",
}  # fmt: skip
LINKED = EVERYWHERE | {"application_missing", "not_linked"}
REASONS = {
    "twilio": EVERYWHERE,
    "plivo": LINKED,
    "telnyx": LINKED | {"no_outbound_profile", "signature_key_missing"},
}


@dataclass(frozen=True)
class Drift:
    """What somebody does in the console, what a check says of it, and the writes that put it right."""

    integration: str
    name: str
    act: Callable[[Scene], Any]
    reason: str
    expected: str
    actual: str
    writes: list[tuple[str, str, Any]]


def drifted_fields() -> Iterator[Drift]:
    for integration, fields in FIELDS.items():
        for field in fields:
            value, write = wanted(integration, field), [write_of(integration, field)]
            if field.endswith("_method"):
                wrong = "GET" if value == "POST" else "get"
                act = edit(integration, **{field: wrong})
                yield Drift(integration, f"{field} wrong", act, "wrong_http_method", value, wrong, write)
                continue
            empty = None if integration == "twilio" else ""
            act = edit(integration, **{field: empty})
            yield Drift(integration, f"{field} empty", act, "not_set", value, "", write)
            act = edit(integration, **{field: FOREIGN})
            yield Drift(integration, f"{field} foreign", act, "url_mismatch", value, FOREIGN, write)


def drifted_links() -> Iterator[Drift]:
    linked = {
        "plivo": [
            ("not_linked", ""),
            ("overridden_by_application", seeds.PLIVO_CUSTOMER_APP),
            ("overridden_by_trunk", seeds.PLIVO_TRUNK),
        ],
        "telnyx": [
            ("not_linked", ""),
            ("overridden_by_application", seeds.TELNYX_CUSTOMER_APP),
            ("overridden_by_application", seeds.TELNYX_CALL_CONTROL_APP),
            ("overridden_by_trunk", seeds.TELNYX_SIP_CONNECTION),
        ],
    }
    writes = {
        "plivo": ("POST", "number", {"app_id": "{application}"}),
        "telnyx": ("PATCH", "number", {"connection_id": "{application}"}),
    }
    for integration, cases in linked.items():
        for reason, other in cases:
            act = lambda scene, other=other: scene.link(other)  # noqa: E731
            name = f"linked to {other or 'nothing'}"
            yield Drift(integration, name, act, reason, "{application}", other, [writes[integration]])


TWILIO_OVERRIDES = [
    Drift(
        "twilio", "trunk", lambda scene: scene.edit_number(trunk_sid=seeds.TWILIO_TRUNK),
        "overridden_by_trunk", "", seeds.TWILIO_TRUNK, [("POST", "number", {"TrunkSid": ""})],
    ),
    Drift(
        "twilio", "application", lambda scene: scene.edit_number(voice_application_sid=seeds.TWILIO_APPLICATION),
        "overridden_by_application", "", seeds.TWILIO_APPLICATION, [("POST", "number", {"VoiceApplicationSid": ""})],
    ),
    Drift(
        "twilio", "fax", lambda scene: scene.edit_number(voice_receive_mode="fax"),
        "overridden_by_application", "voice", "fax", [("POST", "number", {"VoiceReceiveMode": "voice"})],
    ),
]  # fmt: skip
ALL_OF_TELNYX = {"friendly_name": "{name}"} | {field: wanted("telnyx", field) for field in FIELDS["telnyx"]}
DRIFTS = [
    *drifted_fields(),
    *drifted_links(),
    *TWILIO_OVERRIDES,
    Drift(
        "plivo", "application deleted", Scene.delete_application, "application_missing", "{application}", "",
        [
            ("POST", "application", {"app_name": "{name}"} | {name: wanted("plivo", name) for name in FIELDS["plivo"]}),
            ("POST", "number", {"app_id": "{made}"}),
        ],
    ),
    Drift(
        "telnyx", "application deleted", Scene.delete_application, "application_missing", "{application}", "",
        [("POST", "application", ALL_OF_TELNYX | PROFILE), ("PATCH", "number", {"connection_id": "{made}"})],
    ),
    Drift(
        "telnyx", "profile taken off", lambda scene: scene.edit_application(outbound={}),
        "no_outbound_profile", "an outbound voice profile", "",
        [("PATCH", "application", {"friendly_name": "{name}", "voice_url": "{base}/answer"} | PROFILE)],
    ),
]  # fmt: skip


def id_of(case: Any) -> str:
    return f"{case.integration}: {case.name}"


@dataclass(frozen=True)
class Hopeless:
    """What is not ours to put right."""

    integration: str
    name: str
    act: Callable[[Scene], Any]
    reason: str
    expected: str = ""
    actual: str = ""


def suspend(scene: Scene) -> None:
    scene.owner.status = "suspended"


def close(scene: Scene) -> None:
    scene.owner.status = "closed"


INACTIVE: dict[str, Callable[[Scene], None]] = {
    "twilio": lambda scene: scene.edit_number(capabilities=scene.there["capabilities"] | {"voice": False}),
    "plivo": lambda scene: scene.edit_number(active=False, compliance_status="pending"),
    "telnyx": lambda scene: scene.edit_number(status="port-pending"),
}
HOPELESS = [
    *(Hopeless(name, "number sold", Scene.sell_number, "number_missing", "{number_id}") for name in CARRIERS),
    *(Hopeless(name, "token changed", Scene.change_secret, "credentials_refused") for name in CARRIERS),
    *(Hopeless(name, "account suspended", suspend, "credentials_refused") for name in CARRIERS),
    Hopeless("twilio", "account closed", close, "credentials_refused"),
    Hopeless("twilio", "no voice", INACTIVE["twilio"], "number_inactive", "voice", "no voice"),
    Hopeless("plivo", "not active", INACTIVE["plivo"], "number_inactive", "active", "inactive"),
    Hopeless(
        "plivo", "no voice", lambda scene: scene.edit_number(voice_enabled=False),
        "number_inactive", "active", "inactive",
    ),
    Hopeless("telnyx", "not active", INACTIVE["telnyx"], "number_inactive", "active", "inactive"),
]  # fmt: skip
