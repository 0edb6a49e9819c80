"""Entries of the carriers' lists of calls and recordings, as their SDKs hand them to the providers."""

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
