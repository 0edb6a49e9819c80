"""Twilio's REST API, version 2010-04-01: numbers, calls and recordings.

Sources: the vendor's OpenAPI document, twilio.com/docs/iam/api/account, twilio.com/docs/api/errors (2026-11-23).
"""

import re
from typing import Any
from urllib.parse import urlencode

from .carrier import Carrier, Reply, Request, is_web_url
from .resources import rfc2822, touch
from .state import TWILIO_ACCOUNT_AUTH_TOKEN, Account

ERRORS = {
    400: (20001, "Bad request"),
    401: (20003, "Authenticate"),
    404: (20404, "The requested resource was not found"),
    405: (20004, "Method not allowed"),
    429: (20429, "Too Many Requests"),
    500: (20500, "An internal server error has occurred"),
    503: (20503, "Service is temporarily unavailable"),
}
URLS = {"VoiceUrl": 21502, "VoiceFallbackUrl": 20001, "StatusCallback": 21609, "SmsUrl": 20001, "SmsFallbackUrl": 20001}
"""URL parameters, and the error code for an invalid one; 20001 where the real code is unknown."""
METHODS = {"VoiceMethod", "VoiceFallbackMethod", "StatusCallbackMethod", "SmsMethod", "SmsFallbackMethod"}
SIDS = {"TrunkSid": "TK", "VoiceApplicationSid": "AP", "SmsApplicationSid": "AP"}
WRITABLE = URLS.keys() | METHODS | SIDS.keys() | {"FriendlyName", "VoiceReceiveMode", "VoiceCallerIdLookup"}

CALL_FILTERS = {"to": "To", "from": "From", "status": "Status", "parent_call_sid": "ParentCallSid"}

# Any format is accepted: the example on the public page uses the account your_account_sid.
ACCOUNT = r"/2010-04-01/Accounts/([A-Za-z0-9_-]{1,64})"


class Twilio(Carrier):
    name = "twilio"
    prefix = "/twilio"
    media_prefix = "/twilio/"
    media_path = r"/2010-04-01/Accounts/([A-Za-z0-9_-]+)/Recordings/(RE\w+)(?:\.wav)?"
    media_type = "audio/x-wav"
    routes = [
        ("GET", rf"{ACCOUNT}\.json", "get_account"),
        ("GET", rf"{ACCOUNT}/Balance\.json", "get_balance"),
        ("GET", rf"{ACCOUNT}/IncomingPhoneNumbers\.json", "list_numbers"),
        ("GET", rf"{ACCOUNT}/IncomingPhoneNumbers/(PN\w+)\.json", "get_number"),
        ("POST", rf"{ACCOUNT}/IncomingPhoneNumbers/(PN\w+)\.json", "update_number"),
        ("GET", rf"{ACCOUNT}/Calls\.json", "list_calls"),
        ("GET", rf"{ACCOUNT}/Calls/(CA\w+)\.json", "get_call"),
        ("GET", rf"{ACCOUNT}/Recordings\.json", "list_recordings"),
        ("GET", rf"{ACCOUNT}/Recordings/(RE\w+)\.json", "get_recording"),
    ]

    def error(self, status: int, detail: str = "", code: int | None = None) -> Reply:
        usual_code, message = ERRORS.get(status, (status, "Error"))
        code = code or usual_code
        body = {
            "code": code,
            "message": detail or message,
            "more_info": f"https://www.twilio.com/docs/errors/{code}",
            "status": status,
        }
        return Reply(status, body)

    def admit(self, account: Account, request: Request) -> None:
        # 20003 also covers closed and suspended accounts: twilio.com/docs/api/errors/20003. We assume that a suspended
        # account can still read, because otherwise its `status` field would be pointless.
        if account.status == "closed" or (account.status != "active" and request.method != "GET"):
            raise self.refuse(401)

    def get_account(self, account: Account, request: Request, sid: str) -> Reply:
        shown = self._of_path(account, sid)
        uri = f"/2010-04-01/Accounts/{sid}"
        body = {
            "sid": sid,
            "owner_account_sid": shown.owner or sid,
            "friendly_name": "Sandbox",
            "status": shown.status,
            "type": "Full",
            "auth_token": TWILIO_ACCOUNT_AUTH_TOKEN,
            "date_created": rfc2822(),
            "date_updated": rfc2822(),
            "uri": f"{uri}.json",
            "subresource_uris": {"incoming_phone_numbers": f"{uri}/IncomingPhoneNumbers.json"},
        }
        return Reply(200, body)

    def get_balance(self, account: Account, request: Request, sid: str) -> Reply:
        self._of_path(account, sid)
        return Reply(200, {"account_sid": sid, "balance": "100.00", "currency": "USD"})

    def list_numbers(self, account: Account, request: Request, sid: str) -> Reply:
        """List the account's numbers. The filter matches part of a number, with `*` for any digit."""
        wanted = re.sub(r"[^0-9*]", "", request.param("PhoneNumber")).replace("*", "[0-9]")
        name = request.param("FriendlyName")
        found = [
            resource
            for digits, resource in self._of_path(account, sid).numbers.items()
            if re.search(wanted, digits) and name in ("", resource["friendly_name"])
        ]
        return self._page(request, "incoming_phone_numbers", found)

    def get_number(self, account: Account, request: Request, sid: str, number_sid: str) -> Reply:
        return Reply(200, dict(self._number(account, sid, number_sid)))

    def update_number(self, account: Account, request: Request, sid: str, number_sid: str) -> Reply:
        """Set only the given fields. An empty value clears a field."""
        number = self._number(account, sid, number_sid)
        changes = {}
        for name, value in self.fields(request).items():
            if name in WRITABLE:
                changes[_field(name)] = self._checked(name, value)
        # "Setting one deletes the other": OpenAPI document, TrunkSid and VoiceApplicationSid.
        if changes.get("trunk_sid"):
            changes["voice_application_sid"] = None
        elif changes.get("voice_application_sid"):
            changes["trunk_sid"] = None
        number.update(changes)
        touch(number)
        return Reply(200, dict(number))

    def list_calls(self, account: Account, request: Request, sid: str) -> Reply:
        """List calls, newest first. Date bounds are inclusive; in `StartTime>=2026-01-01` the `=` is the query's."""
        wanted = {
            name: request.param(parameter) for name, parameter in CALL_FILTERS.items() if request.param(parameter)
        }
        found = [
            call
            for call in reversed(self._of_path(account, sid).calls.values())
            if all(call[name] == value for name, value in wanted.items())
            and self._dated(call["start_time"], request, "StartTime")
            and self._dated(call["end_time"], request, "EndTime")
        ]
        return self._page(request, "calls", found)

    def get_call(self, account: Account, request: Request, sid: str, call_sid: str) -> Reply:
        return Reply(200, dict(self._happened(self._of_path(account, sid).calls, call_sid)))

    def list_recordings(self, account: Account, request: Request, sid: str) -> Reply:
        found = [
            recording
            for recording in reversed(self._of_path(account, sid).recordings.values())
            if request.param("CallSid") in ("", recording["call_sid"])
            and self._dated(recording["date_created"], request, "DateCreated")
        ]
        return self._page(request, "recordings", found)

    def get_recording(self, account: Account, request: Request, sid: str, recording_sid: str) -> Reply:
        return Reply(200, dict(self._happened(self._of_path(account, sid).recordings, recording_sid)))

    def _dated(self, text: str, request: Request, name: str) -> bool:
        """Whether a date matches the filters with this name; a filter without < or > means that day."""
        return self.within(text, request, since=f"{name}>", until=f"{name}<", day=name)

    def _happened(self, resources: dict[str, dict[str, Any]], sid: str) -> dict[str, Any]:
        if sid not in resources:
            raise self.refuse(404, f"The requested resource {sid} was not found")
        return resources[sid]

    def _page(self, request: Request, name: str, found: list[dict[str, Any]]) -> Reply:
        size = request.number("PageSize", 50, 1, 1000)
        page = request.number("Page", 0, 0, 10**9)
        if size is None or page is None:
            raise self.refuse(400, "Page or PageSize is not valid")
        return Reply(200, _page(request, name, found, page, size))

    def _checked(self, name: str, value: str) -> Any:
        """The value as it is stored. Raises Twilio's 400 if it is invalid."""
        if name in URLS and value and not is_web_url(value):
            raise self.refuse(400, f"{name} is not valid: {value}", URLS[name])
        if name in METHODS and value not in ("GET", "POST"):
            raise self.refuse(400, f"{name} is not valid: {value}")
        if name in SIDS and value and not re.fullmatch(rf"{SIDS[name]}[0-9a-fA-F]{{32}}", value):
            raise self.refuse(400, f"{name} is not valid: {value}")
        if name == "VoiceReceiveMode" and value not in ("voice", "fax"):
            raise self.refuse(400, f"{name} is not valid: {value}")
        if name == "VoiceCallerIdLookup":
            return value.lower() == "true"
        return value if value or name == "FriendlyName" else None

    def _of_path(self, account: Account, sid: str) -> Account:
        """The account in the path: the caller's own or one of its subaccounts."""
        named = self.accounts.get(sid)
        if named is None or account.id not in (named.id, named.owner):
            raise self.refuse(401)
        return named

    def _number(self, account: Account, sid: str, number_sid: str) -> dict[str, Any]:
        number = self._of_path(account, sid).numbers_by_id.get(number_sid)
        if number is None:
            raise self.refuse(404, f"The requested resource {number_sid} was not found")
        return number


def _field(parameter: str) -> str:
    """The field of a parameter: `VoiceFallbackUrl` is `voice_fallback_url`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", parameter).lower()


def _page(request: Request, name: str, found: list[dict[str, Any]], page: int, size: int) -> dict[str, Any]:
    """A page of a list. The URLs of other pages are relative, like Twilio's."""
    start = page * size
    shown = [dict(resource) for resource in found[start : start + size]]
    given = {key: values[0] for key, values in request.query.items() if key not in ("Page", "PageSize", "PageToken")}

    def uri(number: int, token: str = "") -> str:
        query = given | {"PageSize": size, "Page": number} | ({"PageToken": token} if token else {})
        return f"{request.path}?{urlencode(query)}"

    more = start + size < len(found)
    return {
        name: shown,
        "page": page,
        "page_size": size,
        "start": start,
        "end": start + max(len(shown) - 1, 0),
        "uri": uri(page),
        "first_page_uri": uri(0),
        "next_page_uri": uri(page + 1, "PA" + shown[-1]["sid"]) if more and shown else None,
        "previous_page_uri": uri(page - 1, "PB" + shown[0]["sid"]) if page and shown else None,
    }
