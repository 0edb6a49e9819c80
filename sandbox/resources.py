"""The carriers' resources as sent over the wire, with the values of a new resource.

Field lists: Twilio and Telnyx from their OpenAPI documents, Plivo from its SDK and docs pages (2026-11-23).
Unset fields are null where the carrier's document allows it, otherwise an empty string, otherwise omitted.
"""

import hashlib
import itertools
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any

_CREATED = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
_created_ids = itertools.count(1)

CHANGING = {"date_updated", "updated_at"}
"""Fields that hold the time of a change; they are not part of a number's settings."""


def rfc2822(when: datetime = _CREATED) -> str:
    """A date as Twilio writes it."""
    return format_datetime(when)


def iso(when: datetime = _CREATED) -> str:
    """A date as Telnyx writes it."""
    return when.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def instant(text: str) -> datetime:
    """Parse a time from a carrier or its customer, in ISO 8601 or RFC 2822 format; a date means midnight.

    Raises ValueError if it is neither.
    """
    when = parsedate_to_datetime(text) if "," in text else datetime.fromisoformat(text)
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def touch(resource: dict[str, Any]) -> None:
    """Set the resource's time of change to now, in its carrier's format."""
    now = datetime.now(UTC)
    for name, text in (("date_updated", rfc2822(now)), ("updated_at", iso(now))):
        if name in resource:
            resource[name] = text


def new_id(first: int) -> str:
    """An id for a resource created through the API; never reused, even after a reset."""
    return str(first + next(_created_ids))


def twilio_sid(prefix: str, name: str) -> str:
    """A SID that is the same in every run."""
    return prefix + hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()


def twilio_number(account: str, digits: str, sid: str = "") -> dict[str, Any]:
    sid = sid or twilio_sid("PN", account + digits)
    uri = f"/2010-04-01/Accounts/{account}/IncomingPhoneNumbers/{sid}"
    return {
        "sid": sid,
        "account_sid": account,
        "phone_number": f"+{digits}",
        "friendly_name": f"+{digits}",
        "capabilities": {"voice": True, "sms": True, "mms": True, "fax": False},
        "voice_url": None,
        "voice_method": "POST",
        "voice_fallback_url": None,
        "voice_fallback_method": "POST",
        "status_callback": None,
        "status_callback_method": "POST",
        "voice_receive_mode": "voice",
        "voice_application_sid": None,
        "voice_caller_id_lookup": False,
        "trunk_sid": None,
        "sms_url": None,
        "sms_method": "POST",
        "sms_fallback_url": None,
        "sms_fallback_method": "POST",
        "sms_application_sid": None,
        "address_sid": None,
        "address_requirements": "none",
        "identity_sid": None,
        "bundle_sid": None,
        "emergency_status": "Inactive",
        "emergency_address_sid": None,
        "emergency_address_status": "unregistered",
        "status": "in-use",
        "type": "local",
        "origin": "twilio",
        "beta": False,
        "api_version": "2010-04-01",
        "date_created": rfc2822(),
        "date_updated": rfc2822(),
        "uri": f"{uri}.json",
        "subresource_uris": {"assigned_add_ons": f"{uri}/AssignedAddOns.json"},
    }


def plivo_number(account: str, digits: str, id: str = "") -> dict[str, Any]:
    """Plivo has no other id of a number than its digits."""
    return {
        "number": digits,
        "alias": None,
        "application": None,
        "active": True,
        "voice_enabled": True,
        "sms_enabled": True,
        "mms_enabled": False,
        "number_type": "local",
        "sub_account": None,
        "compliance_application_id": None,
        "compliance_status": None,
        "cnam_lookup": "disabled",
        "country": "United States",
        "region": "United States",
        "city": None,
        "carrier": "Plivo",
        "monthly_rental_rate": "0.50000",
        "voice_rate": "0.00550",
        "sms_rate": "0.00000",
        "added_on": "2024-01-02",
        "renewal_date": "2026-02-02",
        "resource_uri": f"/v1/Account/{account}/Number/{digits}/",
    }


def plivo_application(account: str, app_id: str) -> dict[str, Any]:
    return {
        "app_id": app_id,
        "app_name": "",
        "answer_url": "",
        "answer_method": "POST",
        "hangup_url": "",
        "hangup_method": "POST",
        "fallback_answer_url": "",
        "fallback_method": "POST",
        "message_url": "",
        "message_method": "POST",
        "default_app": False,
        "default_endpoint_app": False,
        "enabled": True,
        "public_uri": False,
        "log_incoming_messages": True,
        "resource_uri": plivo_application_uri(account, app_id),
        "sip_uri": f"sip:{app_id}@app.plivo.com",
        "sub_account": None,
    }


def plivo_application_uri(account: str, app_id: str) -> str:
    return f"/v1/Account/{account}/Application/{app_id}/"


def telnyx_number(account: str, digits: str, id: str = "") -> dict[str, Any]:
    return {
        "id": id or f"1{digits:0>18}",
        "record_type": "phone_number",
        "phone_number": f"+{digits}",
        "phone_number_type": "local",
        "country_iso_alpha2": "US",
        "status": "active",
        "connection_id": None,
        "connection_name": None,
        "call_forwarding_enabled": False,
        "call_recording_enabled": False,
        "caller_id_name_enabled": False,
        "cnam_listing_enabled": False,
        "inbound_call_screening": "disabled",
        "hd_voice_enabled": False,
        "t38_fax_gateway_enabled": False,
        "messaging_profile_id": None,
        "messaging_profile_name": None,
        "billing_group_id": None,
        "customer_reference": None,
        "external_pin": None,
        "tags": [],
        "emergency_enabled": False,
        "emergency_address_id": None,
        "emergency_status": "disabled",
        "deletion_lock_enabled": False,
        "source_type": "number_order",
        "activated_at": iso(),
        "purchased_at": iso(),
        "created_at": iso(),
        "updated_at": iso(),
    }


def _telnyx_connection(record_type: str, connection_id: str) -> dict[str, Any]:
    return {
        "id": connection_id,
        "record_type": record_type,
        "active": True,
        "anchorsite_override": "Latency",
        "tags": [],
        "created_at": iso(),
        "updated_at": iso(),
    }


def _telnyx_application(record_type: str, connection_id: str) -> dict[str, Any]:
    return _telnyx_connection(record_type, connection_id) | {
        "call_cost_in_webhooks": False,
        "dtmf_type": "RFC 2833",
        "first_command_timeout": False,
        "first_command_timeout_secs": 30,
        "inbound": {"shaken_stir_enabled": False, "sip_subdomain_receive_settings": "from_anyone"},
        "outbound": {},
    }


def telnyx_texml_application(connection_id: str) -> dict[str, Any]:
    return _telnyx_application("texml_application", connection_id) | {
        "friendly_name": "",
        "voice_url": "",
        "voice_method": "post",
        "status_callback_method": "post",
    }


def telnyx_call_control_application(connection_id: str) -> dict[str, Any]:
    return _telnyx_application("call_control_application", connection_id) | {
        "application_name": "",
        "webhook_event_url": "",
        "webhook_event_failover_url": None,
        "webhook_api_version": "1",
        "webhook_timeout_secs": None,
        "redact_dtmf_debug_logging": False,
    }


def telnyx_sip_connection(connection_id: str) -> dict[str, Any]:
    return _telnyx_connection("credential_connection", connection_id) | {
        "connection_name": "",
        "webhook_event_url": None,
        "webhook_event_failover_url": None,
        "webhook_api_version": "1",
    }


def telnyx_voice_profile(profile_id: str) -> dict[str, Any]:
    return {
        "id": profile_id,
        "record_type": "outbound_voice_profile",
        "name": "Default",
        "enabled": True,
        "service_plan": "global",
        "traffic_type": "conversational",
        "usage_payment_method": "rate-deck",
        "whitelisted_destinations": ["US", "CA"],
        "concurrent_call_limit": None,
        "daily_spend_limit_enabled": False,
        "billing_group_id": None,
        "tags": [],
        "created_at": iso(),
        "updated_at": iso(),
    }
