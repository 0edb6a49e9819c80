"""Entries of the carriers' lists of calls and recordings, as their SDKs hand them to the providers."""

from importlib import import_module
from typing import Any

from plivo.base import ResponseObject
from telnyx.types.recording_response_data import RecordingResponseData
from telnyx.types.texml.accounts.call_resource import CallResource
from twilio.rest import Client
from twilio.rest.api.v2010.account.call import CallInstance
from twilio.rest.api.v2010.account.recording import RecordingInstance


def of_twilio(kind: str, payload: dict[str, Any]) -> Any:
    version = Client("AC", "token", environment={"_": ""}).api.v2010
    model = CallInstance if kind == "call-entry" else RecordingInstance
    return model(version, payload, account_sid=payload["account_sid"])


def of_plivo(kind: str, payload: dict[str, Any]) -> Any:
    return ResponseObject(payload)


def of_telnyx(kind: str, payload: dict[str, Any]) -> Any:
    return (CallResource if kind == "call-entry" else RecordingResponseData).construct(**payload)


ENTRIES = {"twilio": of_twilio, "plivo": of_plivo, "telnyx": of_telnyx}


def entry(carrier: str, kind: str, payload: dict[str, Any]) -> Any:
    return ENTRIES[carrier](kind, payload)


def read_call(carrier: str, one: Any) -> Any:
    """What the provider reads of an entry in the list of calls. Telnyx's list does not tell a leg from another call."""
    events = import_module(f"integrations.{carrier}.events")
    return getattr(events, "listed", events.call_of)(one)


# What tells an entry of a list that the customer placed the call. Telnyx lists inbound calls only.
OUTBOUND = {
    "twilio": lambda call: {"direction": "outbound-api", "from": call["to"], "to": call["from"]},
    "plivo": lambda call: {
        "call_direction": "outbound", "from_number": call["to_number"], "to_number": call["from_number"]
    },
}  # fmt: skip
