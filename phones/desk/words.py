"""What a number's page shows: the expected and the actual settings at the carrier, and recent activity."""

import json
from collections.abc import Collection
from typing import Any, NamedTuple

from django.db.models import QuerySet

from core.secrets import CannotOpen
from integrations import PROVIDERS
from integrations.events import RecordingStatus
from phones.models import Call, CallEvent, Line, PhoneNumber
from phones.services.call_log import calls_on, newest_calls
from phones.services.carriers import urls_for
from phones.services.checking import reasons_of
from phones.services.ownership import is_in_use
from phones.services.reasons import in_words, public_setting
from users.models import AuditEntry

CALLS, EVENTS, ENTRIES = 10, 20, 20
# How many colours admin.css has for carriers.
HUES = 6
# field of webhooks.Urls that is set at the carrier: its name at the desk
ADDRESSES = {"answer": "Voice URL", "fallback": "Fallback URL", "status": "Status callback"}
# setting in a snapshot that routes calls: its name at the desk
ROUTES = {
    "trunk_sid": "SIP trunk",
    "voice_application_sid": "TwiML application",
    "application_id": "Application or connection",
    "voice_url": "Voice URL",
    "voice_fallback_url": "Fallback URL",
    "status_callback": "Status callback",
}


def hue_of(integration: str) -> str:
    """The class that colours a carrier in badges and charts. Another carrier takes the next hue of admin.css."""
    return f"hue-{list(PROVIDERS).index(integration) % HUES}"


class Setting(NamedTuple):
    """A setting at the carrier as of the last check. `problem` is empty if it is as expected."""

    name: str
    expected: str
    actual: str
    problem: str = ""
    advice: str = ""


def carrier_settings(phone: PhoneNumber) -> list[Setting]:
    """List the webhook URLs and every other difference that the last check found; none of a retired number, because
    what the carrier has is another workspace's."""
    line, reasons = phone.line, reasons_of(phone)
    if line is None or phone.is_retired:
        return []
    account = line.account
    settings = []
    for field, name in ADDRESSES.items():
        shown = public_setting(getattr(urls_for(account), field))
        differing = next((one for one in reasons if one["expected"] == shown), None)
        if differing:
            reasons.remove(differing)
            settings.append(as_setting(name, differing))
        else:
            settings.append(Setting(name, shown, shown if line.health != Line.Health.UNREACHABLE else "unknown"))
    return settings + [as_setting(reason_name(one["reason"]), one) for one in reasons]


def as_setting(name: str, reason: dict[str, str]) -> Setting:
    return Setting(name, reason["expected"], reason["actual"], *in_words(reason["reason"]))


def why_retired(phone: PhoneNumber) -> str:
    return " ".join(in_words(phone.retired_for, is_retired=True))


def reason_name(reason: str) -> str:
    return reason.replace("_", " ").capitalize()


class Sharing(NamedTuple):
    """The other users of the workspace who have a number, and the number of the one who decides how it answers."""

    others: int
    decides: PhoneNumber


def sharing(phone: PhoneNumber) -> Sharing | None:
    """Tell who shares an active number; None if nobody does."""
    if phone.line is None or phone.is_retired:
        return None
    active = phone.line.phone_numbers.filter(state=PhoneNumber.State.ACTIVE).select_related("user")
    numbers = list(active.order_by("created_at", "pk"))
    return Sharing(len(numbers) - 1, numbers[0]) if len(numbers) > 1 else None


def recent_calls(phone: PhoneNumber) -> list[Call]:
    """Return the newest calls of the time when the number was its workspace's own, with their recordings."""
    return newest_calls(calls_on([phone.line_id], phone.user.workspace_id), limit=CALLS)[0]


def recordings_of(call: Call) -> list[dict[str, Any]]:
    gone = (RecordingStatus.ABSENT, RecordingStatus.FAILED)
    return [{"row": one, "is_gone": one.status in gone} for one in call.recordings.all()]


def recent_events(calls: list[Call]) -> QuerySet[CallEvent]:
    """Return the newest accepted webhooks of these calls, without their payloads."""
    events = CallEvent.objects.filter(call__in=calls).select_related("call").defer("payload")
    return events.order_by("-received_at")[:EVENTS]


def recent_entries(phone: PhoneNumber) -> QuerySet[AuditEntry]:
    """Return the number's newest audit entries."""
    return AuditEntry.objects.filter(number=phone.number).order_by("-at", "-id")[:ENTRIES]


def restored_settings(phone: PhoneNumber, *, removed_with: Collection[str] = ()) -> list[str]:
    """Describe what removing the number will restore at the carrier.

    Args:
        removed_with: IDs of the numbers that are removed together with it.
    """
    line = phone.line
    if line is None:
        return []
    if phone.is_retired:
        return ["Nothing changes at the carrier, because the number no longer belongs to this workspace."]
    if is_in_use(line, without=[phone.pk, *removed_with]):
        return ["Nothing changes at the carrier, because another user here also has this number."]
    if line.snapshot is None:
        return ["Nothing changes at the carrier, because the previous settings are already restored."]
    try:
        snapshot = json.loads(line.snapshot.open())
    except CannotOpen:
        return ["The previous settings cannot be read: a key is missing from CREDENTIAL_KEYS. Restore the key first."]
    before = [f"{name}: {public_setting(snapshot[key])}" for key, name in ROUTES.items() if snapshot.get(key)]
    return before or [
        f"Nothing: the number was not routed anywhere at {PROVIDERS[phone.integration]} before it was added."
    ]
