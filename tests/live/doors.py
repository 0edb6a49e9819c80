"""What is each carrier's own: how it places a call, tells its end, and shows which webhooks it has sent."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from integrations.telnyx.applications import listed
from tests.live.account import Account

RING_S, LONGEST_S = 30, 60
# Whose webhooks are looked up, one request each.
CALLS_LOOKED_AT = 3
FINAL = ("completed", "busy", "failed", "no-answer", "canceled")
SENTENCE = "This is a test call of Workspace Phones. Goodbye."
DOCUMENT = f"<Response><Say>{SENTENCE}</Say><Hangup/></Response>"
# The vendor's own document, for tests of outbound calls; it also says one sentence.
# https://plivo.com/docs/voice/use-cases/make-bulk-calls/python (read 2026-11-30)
PLIVO_DOCUMENT = "https://s3.amazonaws.com/static.plivo.com/answer.xml"


class Sent(NamedTuple):
    """A webhook that the carrier sent: where to, and the HTTP status of the reply, 0 if there was none."""

    url: str
    status: int


class Door(NamedTuple):
    """`path_end` ends the path of the only request that may be a POST.

    `place` sends it through the SDK of a provider, for a calling and a called number and the calling number's
    application, and returns the call's id. `status` returns the final status of a call, or empty while it lasts.
    `webhooks` returns the newest ones of an account; None if the carrier does not tell.
    """

    path_end: str
    place: Callable[[Any, str, str, str], str]
    status: Callable[[Any, str], str]
    webhooks: Callable[[Account], list[Sent]] | None


def place_at_twilio(provider: Any, caller: str, callee: str, application_id: str) -> str:
    call = provider.client().calls.create(
        to=f"+{callee}", from_=f"+{caller}", twiml=DOCUMENT, timeout=RING_S, time_limit=LONGEST_S
    )
    return str(call.sid)


def status_at_twilio(provider: Any, call_id: str) -> str:
    status = provider.client().calls(call_id).fetch().status
    return status if status in FINAL else ""


def webhooks_of_twilio(account: Account) -> list[Sent]:
    """Of the newest calls, from 15 minutes after each.
    https://www.twilio.com/docs/voice/api/call-event-resource (read 2026-11-30)"""

    def events(id: str, provider: Any) -> list[Sent]:
        listed = provider.client().calls(id).events.list(limit=50)
        return [sent(event.request, event.response, "response_code") for event in listed]

    return [one for call in account.calls[:CALLS_LOOKED_AT] for one in account.read(partial(events, call.id))]


def place_at_plivo(provider: Any, caller: str, callee: str, application_id: str) -> str:
    """Not with the SDK's calls.create(), which sends up to three times if the reply is a 5xx."""
    fields = {"from": caller, "to": callee, "answer_url": PLIVO_DOCUMENT, "answer_method": "GET"}
    return str(provider.request("POST", "Call", **fields, ring_timeout=RING_S, time_limit=LONGEST_S).request_uuid)


def status_at_plivo(provider: Any, call_id: str) -> str:
    """There is a record of a call only after its end."""
    record = provider.find(lambda: provider.request("GET", "Call", call_id))
    return "" if record is None else str(getattr(record, "hangup_cause_name", None) or "ended")


def place_at_telnyx(provider: Any, caller: str, callee: str, application_id: str) -> str:
    reply = provider.client().texml.calls.create(application_id, from_=f"+{caller}", to=f"+{callee}", texml=DOCUMENT)
    return str(reply.call_sid)


def status_at_telnyx(provider: Any, call_id: str) -> str:
    return "" if provider.client().calls.retrieve_status(call_id).data.is_alive else "ended"


def webhooks_of_telnyx(account: Account) -> list[Sent]:
    """OpenAPI document: webhook_delivery."""

    def attempts(provider: Any) -> list[Sent]:
        deliveries = listed(provider.client().webhook_deliveries.list(page_size=50))
        tried = [attempt.http.to_dict() for delivery in deliveries for attempt in delivery.attempts or []]
        return [sent(http.get("request"), http.get("response"), "status") for http in tried]

    return account.read(attempts)


def sent(request: Mapping[str, Any] | None, response: Mapping[str, Any] | None, status: str) -> Sent:
    return Sent(str((request or {}).get("url") or ""), int((response or {}).get(status) or 0))


DOORS = {
    "twilio": Door("/Calls.json", place_at_twilio, status_at_twilio, webhooks_of_twilio),
    "plivo": Door("/Call/", place_at_plivo, status_at_plivo, None),
    "telnyx": Door("/texml/calls/{}", place_at_telnyx, status_at_telnyx, webhooks_of_telnyx),
}
