"""A number as a check finds it, what may have drifted, and the faults that a repair can meet."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from phones.models import Account, Line, PhoneNumber
from sandbox import resources
from sandbox import state as seeds
from sandbox.ledger import Exchange
from sandbox.sandbox import Sandbox
from tests.support.api import add, check, data_of, reasons, send
from tests.support.carrier_contract import violations
from tests.support.carriers import CARRIERS, WITH_APPLICATIONS, Good
from tests.support.people import Tenant

FOREIGN = f"{seeds.FOREIGN_URL}/somewhere"
SHOWN = ("health", "reasons", "checkedAt")


@dataclass
class Scene:
    """A number that was added, and its carrier, in whose console somebody works."""

    sandbox: Sandbox
    good: Good
    phone: PhoneNumber
    application: str
    names: dict[str, str]

    @property
    def integration(self) -> str:
        return self.good.integration

    @property
    def line(self) -> Line:
        assert self.phone.line is not None
        return self.phone.line

    @property
    def owner(self) -> seeds.Account:
        return self.sandbox.state.account(self.integration, self.good.owner)

    @property
    def there(self) -> dict[str, Any]:
        """The number as the carrier has it."""
        return self.owner.numbers[self.phone.number]

    def edit_number(self, **fields: Any) -> None:
        self.sandbox.console(self.integration, self.owner.id, number=self.phone.number, **fields)

    def edit_application(self, **fields: Any) -> None:
        """At Telnyx what is emptied is left out of the application from then on."""
        edited = {name: value for name, value in fields.items() if value != "" or self.integration != "telnyx"}
        self.sandbox.console(self.integration, self.owner.id, application=self.application, **edited)
        for name in fields.keys() - edited.keys():
            self.owner.applications[self.application].pop(name)

    def link(self, application: str) -> None:
        """Link the number to something else of the account, or to nothing."""
        if self.integration == "plivo":
            uri = resources.plivo_application_uri(self.owner.id, application)
            self.there["application"] = uri if application else None
        else:
            self.edit_number(connection_id=application or None)

    def delete_application(self) -> None:
        """In the console; its numbers are linked to nothing then."""
        del self.owner.applications[self.application]
        for number in self.owner.numbers.values():
            if number.get("connection_id") == self.application:
                number.update(connection_id=None, connection_name=None)
            elif f"/{self.application}/" in (number.get("application") or ""):
                number["application"] = None

    def sell_number(self) -> None:
        """The number leaves the account."""
        number = self.owner.numbers.pop(self.phone.number)
        self.owner.numbers_by_id = {id: one for id, one in self.owner.numbers_by_id.items() if one is not number}

    def change_secret(self) -> None:
        """The auth token or the API key is made anew; the old one is worth nothing."""
        owner, ids_by_key = self.owner, self.sandbox.state.ids_by_key
        if owner.secret in ids_by_key:
            ids_by_key["another-secret"] = ids_by_key.pop(owner.secret)
        owner.secret = "another-secret"

    def fill(self, value: Any) -> Any:
        """Put the names of this scene into a text, or into the texts of a dict."""
        if isinstance(value, dict):
            return {name: self.fill(one) for name, one in value.items()}
        return value.format(**self.names) if isinstance(value, str) else value

    def snapshot(self) -> Any:
        """All settings of all carriers, in which an application that was made again counts as the one before."""
        now = Account.objects.get(pk=self.line.account_id).application_id
        text = json.dumps(self.sandbox.snapshot())
        return json.loads(text.replace(now, self.application) if now else text)


def stage(sandbox: Sandbox, tenant: Tenant, good: Good, **changes: Any) -> Scene:
    """Add a number that its owner has routed elsewhere."""
    reply = add(tenant, good.body(tenant.user, **{"phoneNumber": good.routed_elsewhere} | changes))
    assert reply.status_code == 201, reply.content
    phone = PhoneNumber.objects.get(pk=reply.json()["data"]["_id"])
    assert phone.line is not None
    account = phone.line.account
    names = {
        "base": f"https://phones.example.com/api/webhooks/{account.integration}/{account.webhook_token}",
        "application": account.application_id,
        "number_id": phone.line.carrier_id,
    }
    application = sandbox.state.account(good.integration, good.owner).applications.get(account.application_id, {})
    names["name"] = application.get("app_name") or application.get("friendly_name") or ""
    sandbox.clear_ledger()
    return Scene(sandbox, good, phone, account.application_id, names)


def kind_of(exchange: Exchange) -> str:
    """What a request writes."""
    words = {"number": "umber", "application": "pplications?/?", "profile": "outbound_voice_profiles"}
    return next(kind for kind, word in words.items() if re.search(word, exchange.path))


def writes(sandbox: Sandbox) -> list[tuple[str, str, Any]]:
    return [(one.method, kind_of(one), one.body) for one in sandbox.ledger if one.method != "GET"]


def assert_keeps_to_the_documents(sandbox: Sandbox) -> None:
    assert [problem for one in sandbox.ledger for problem in violations(one)] == []


def assert_shown(scene: Scene, tenant: Tenant, checked: dict[str, Any]) -> None:
    """The list and the number itself tell what the check told, and the filter knows it."""
    expected = {name: checked[name] for name in SHOWN}
    for health in ("ok", "drift", "unreachable"):
        listed = data_of(send("GET", f"phones?health={health}", tenant))["items"]
        mine = [one for one in listed if one["_id"] == scene.phone.pk]
        assert len(mine) == (health == checked["health"])
        assert all({name: one[name] for name in SHOWN} == expected for one in mine)
    shown = data_of(send("GET", f"phones/{scene.phone.pk}", tenant))
    assert {name: shown[name] for name in SHOWN} == expected


def assert_nothing_is_leased() -> None:
    for model in (Line, Account):
        assert list(model.objects.exclude(lease_id="")) == [], f"a lease of {model.__name__} was not given back"


# field: (the end of our address, or the method that we want)
FIELDS = {
    "twilio": {
        "voice_url": "answer", "voice_fallback_url": "fallback", "status_callback": "status",
        "voice_method": "POST", "voice_fallback_method": "POST", "status_callback_method": "POST",
    },
    "plivo": {
        "answer_url": "answer", "fallback_answer_url": "fallback", "hangup_url": "status",
        "answer_method": "POST", "fallback_method": "POST", "hangup_method": "POST",
    },
    "telnyx": {
        "voice_url": "answer", "voice_fallback_url": "fallback", "status_callback": "status",
        "voice_method": "post", "status_callback_method": "post",
    },
}  # fmt: skip


def edit(integration: str, **fields: Any) -> Callable[[Scene], None]:
    if integration == "twilio":
        return lambda scene: scene.edit_number(**fields)
    return lambda scene: scene.edit_application(**fields)


def several(scene: Scene) -> tuple[list[tuple[str, str, str]], list[tuple[str, str, Any]]]:
    """Several drifts of one number; the reasons, and the writes that put all of it right."""
    if scene.integration == "twilio":
        scene.edit_number(trunk_sid=seeds.TWILIO_TRUNK, voice_url=FOREIGN, voice_method="GET", status_callback=None)
        body = {"VoiceUrl": "{base}/answer", "VoiceMethod": "POST", "StatusCallback": "{base}/status", "TrunkSid": ""}
        return [
            ("overridden_by_trunk", "", seeds.TWILIO_TRUNK),
            ("url_mismatch", "{base}/answer", FOREIGN),
            ("wrong_http_method", "POST", "GET"),
            ("not_set", "{base}/status", ""),
        ], [("POST", "number", body)]
    if scene.integration == "plivo":
        scene.link(seeds.PLIVO_TRUNK)
        scene.edit_application(answer_url=FOREIGN, hangup_method="GET", fallback_answer_url="")
        return [
            ("overridden_by_trunk", "{application}", seeds.PLIVO_TRUNK),
            ("url_mismatch", "{base}/answer", FOREIGN),
            ("wrong_http_method", "POST", "GET"),
            ("not_set", "{base}/fallback", ""),
        ], [
            write_of("plivo", "answer_url", "hangup_method", "fallback_answer_url"),
            ("POST", "number", {"app_id": "{application}"}),
        ]
    scene.link(seeds.TELNYX_SIP_CONNECTION)
    scene.edit_application(voice_url=FOREIGN, status_callback_method="get", voice_fallback_url="", outbound={})
    method, kind, body = write_of("telnyx", "voice_url", "status_callback_method", "voice_fallback_url")
    return [
        ("overridden_by_trunk", "{application}", seeds.TELNYX_SIP_CONNECTION),
        ("url_mismatch", "{base}/answer", FOREIGN),
        ("not_set", "{base}/fallback", ""),
        ("wrong_http_method", "post", "get"),
        ("no_outbound_profile", "an outbound voice profile", ""),
    ], [(method, kind, body | PROFILE), ("PATCH", "number", {"connection_id": "{application}"})]


def as_told(scene: Scene, reasons: list[tuple[str, str, str]]) -> list[dict[str, str]]:
    return [
        {"reason": reason, "expected": without_token(scene, expected), "actual": without_token(scene, actual)}
        for reason, expected, actual in reasons
    ]


def by_reason(told: list[dict[str, str]]) -> list[dict[str, str]]:
    return sorted(told, key=lambda one: (one["reason"], one["expected"]))


def ours(scene: Scene) -> list[str]:
    """The applications with our name."""
    names = ((id, one.get("app_name") or one.get("friendly_name")) for id, one in scene.owner.applications.items())
    return [id for id, name in names if str(name).startswith("workspace-phones-")]


REPAIR_FAULTS: dict[str, dict[str, Any]] = {
    "refused": {"kind": "status", "status": 403},
    "503": {"kind": "status", "status": 503},
    "reset": {"kind": "reset"},
    "lost": {"kind": "lost_reply"},
}


def lose_application(scene: Scene) -> None:
    scene.delete_application()
    if scene.integration == "telnyx":
        scene.owner.profiles.clear()


SITUATIONS: dict[str, Callable[[Scene], Any]] = {"several": several, "no application": lose_application}
# How many requests a repair makes then, the checks before and after it included.
REQUESTS_OF_A_REPAIR = {
    (name, situation): count for name, good in CARRIERS.items() for situation, count in good.repair_requests.items()
}
TOLD_BY_THE_FAULT = {"credentials_refused", "carrier_unavailable", "carrier_refuses"}


def check_repair(
    sandbox: Sandbox, tenant: Tenant, name: str, situation: str, nth: int, fault: str, times: int | None
) -> None:
    """Repair a number while the `nth` request meets the fault, and see that what is told is true and can be mended."""
    scene = stage(sandbox, tenant, CARRIERS[name])
    with_us = scene.snapshot()
    SITUATIONS[situation](scene)
    sandbox.fault(carrier=name, skip=nth, times=times, **REPAIR_FAULTS[fault])

    told = check(scene.phone, tenant, repair=True)

    hit = [one for one in sandbox.ledger if one.fault]
    assert hit, "the fault met no request"
    sandbox.clear_faults()
    assert_nothing_is_leased()
    there = check(scene.phone, tenant)
    if reasons(told) <= TOLD_BY_THE_FAULT and told["reasons"]:
        assert hit[-1].method == "GET", "only a read that fails leaves it open what is there"
        assert told["repaired"] is False
        assert told["health"] == ("drift" if fault == "refused" else "unreachable")
    else:
        assert by_reason(told["reasons"]) == by_reason(there["reasons"])
        assert told["health"] == there["health"]
        assert told["repaired"] is (not there["reasons"])

    mended = check(scene.phone, tenant, repair=True)
    assert (mended["health"], mended["reasons"]) == ("ok", [])
    assert len(ours(scene)) == (name in WITH_APPLICATIONS), "an application was made twice"
    if situation == "several":
        assert scene.snapshot() == with_us
    assert_nothing_is_leased()


def write_of(integration: str, *fields: str) -> tuple[str, str, Any]:
    """The request that sets these fields and no others."""
    values = {field: wanted(integration, field) for field in fields}
    if integration == "twilio":
        return "POST", "number", {field.title().replace("_", ""): value for field, value in values.items()}
    if integration == "plivo":
        return "POST", "application", values
    # The OpenAPI document wants these two in every update.
    return "PATCH", "application", {"friendly_name": "{name}", "voice_url": "{base}/answer"} | values


PROFILE = {"outbound": {"outbound_voice_profile_id": seeds.TELNYX_VOICE_PROFILE}}


def without_token(scene: Scene, text: str) -> str:
    token = Account.objects.get(pk=scene.line.account_id).webhook_token
    return scene.fill(text).replace(token, f"{token[:4]}…")


def wanted(integration: str, field: str) -> str:
    value = FIELDS[integration][field]
    return value if field.endswith("_method") else f"{{base}}/{value}"
