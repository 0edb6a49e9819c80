"""Telnyx's API, version 2: numbers, their connections and voice profiles.

Sources: the vendor's OpenAPI document of 2026-07-16, developers.telnyx.com (rate limiting, errors). `GET /public_key`
is in no current document, but older versions of the vendor's SDK had it.
"""

import copy
from email.message import Message
from math import ceil
from typing import Any

from . import media
from .carrier import CarrierError, Reply, Request, is_web_url
from .resources import new_id, telnyx_texml_application, telnyx_voice_profile, touch
from .state import Account
from .telnyx_history import TelnyxHistory

ERRORS = {
    400: (10015, "Bad Request"),
    401: (10009, "Authentication failed"),
    403: (10010, "Authorization failed"),
    404: (10005, "Resource not found"),
    405: (10008, "Method not allowed"),
    422: (10004, "Invalid parameter"),
    429: (10011, "Too many requests"),
    500: (10007, "Unexpected error"),
    503: (10016, "Service unavailable"),
}
TEXML_URLS = ("voice_url", "voice_fallback_url", "status_callback")
TEXML_METHODS = ("voice_method", "status_callback_method")
TEXML_FIELDS = (
    *TEXML_URLS,
    *TEXML_METHODS,
    *("friendly_name", "active", "anchorsite_override", "call_cost_in_webhooks", "dtmf_type"),
    *("first_command_timeout", "first_command_timeout_secs", "inbound", "outbound", "tags"),
)
NUMBER_FIELDS = ("billing_group_id", "customer_reference", "external_pin", "hd_voice_enabled", "tags")
PROFILE_FIELDS = ("name", "enabled", "whitelisted_destinations", "concurrent_call_limit", "tags", "call_recording")
NAMES = ("friendly_name", "application_name", "connection_name")
"""The fields in which the kinds of connection store their name."""


class Telnyx(TelnyxHistory):
    name = "telnyx"
    prefix = "/telnyx/v2"
    media_prefix = "/telnyx-media/"
    media_path = r"/telnyx-media/([0-9a-f-]+)/([0-9a-f-]+)\.wav"
    routes = [
        ("GET", r"/balance", "get_balance"),
        ("GET", r"/public_key", "get_public_key"),
        ("GET", r"/phone_numbers", "list_numbers"),
        ("GET", r"/phone_numbers/voice", "list_voice_settings"),
        ("GET", r"/phone_numbers/([^/]+)", "get_number"),
        ("PATCH", r"/phone_numbers/([^/]+)", "update_number"),
        ("GET", r"/texml_applications", "list_texml"),
        ("POST", r"/texml_applications", "create_texml"),
        ("GET", r"/texml_applications/([^/]+)", "get_texml"),
        ("PATCH", r"/texml_applications/([^/]+)", "update_texml"),
        ("DELETE", r"/texml_applications/([^/]+)", "delete_texml"),
        ("GET", r"/call_control_applications", "list_call_control"),
        ("GET", r"/call_control_applications/([^/]+)", "get_call_control"),
        ("GET", r"/connections/([^/]+)", "get_connection"),
        ("GET", r"/outbound_voice_profiles", "list_profiles"),
        ("POST", r"/outbound_voice_profiles", "create_profile"),
        ("GET", r"/outbound_voice_profiles/([^/]+)", "get_profile"),
        ("DELETE", r"/outbound_voice_profiles/([^/]+)", "delete_profile"),
        *TelnyxHistory.history_routes,
    ]

    def authenticate(self, headers: Message) -> Account | None:
        scheme, _, key = headers.get("Authorization", "").partition(" ")
        account_id = self.state.ids_by_key.get(key)
        return self.accounts[account_id] if scheme.lower() == "bearer" and account_id else None

    def error(self, status: int, detail: str = "", code: int | None = None) -> Reply:
        limits = {"x-ratelimit-limit": "100", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1"}
        return Reply(status, {"errors": self._errors(status, detail, code)}, limits if status == 429 else {})

    def _errors(self, status: int, detail: str, code: int | None = None) -> list[dict[str, Any]]:
        usual_code, title = ERRORS.get(status, (status, "Error"))
        code = code or usual_code
        meta = {"url": f"https://developers.telnyx.com/docs/overview/errors/{code}"}
        return [{"code": str(code), "title": title, "detail": detail or title, "meta": meta}]

    def admit(self, account: Account, request: Request) -> None:
        if account.status != "active":
            raise self.refuse(403)

    def admit_to_file(self, caller: Account | None, owner: Account, request: Request) -> None:
        """The link itself grants access; S3, where the files are stored, rejects additional credentials."""
        if "Authorization" in request.headers:
            raise _storage_error(400, "InvalidArgument", "Only one auth mechanism allowed")
        if not media.link_is_good(
            self.state, request.path, request.param("X-Amz-Date"), request.param("X-Amz-Signature")
        ):
            raise _storage_error(403, "AccessDenied", "Request has expired")

    def get_balance(self, account: Account, request: Request) -> Reply:
        balance = {"balance": "100.00", "credit_limit": "0.00", "available_credit": "100.00", "pending": "0.00"}
        return _data(balance | {"currency": "USD", "record_type": "balance"})

    def get_public_key(self, account: Account, request: Request) -> Reply:
        if not account.has_public_key:
            raise self.refuse(404)
        return _data({"public": account.public_key(), "record_type": "public_key"})

    # Numbers

    def list_numbers(self, account: Account, request: Request) -> Reply:
        """List numbers. The filter matches part of a number; if it contains anything but digits, it finds nothing."""
        filters = self.filters(request, "phone_number", "connection_id", "status")
        digits = filters.pop("phone_number", None)
        if digits is not None and len(digits) < 3:
            raise self.refuse(400, "The phone_number filter requires at least three digits.")
        found = [
            number
            for own_digits, number in account.numbers.items()
            if (digits is None or digits in own_digits) and all(number[name] == filters[name] for name in filters)
        ]
        return self.page(request, found, 20)

    def list_voice_settings(self, account: Account, request: Request) -> Reply:
        found = [
            {name: number[name] for name in ("id", "phone_number", "connection_id") if number[name]}
            | {"record_type": "voice_settings"}
            for number in account.numbers.values()
        ]
        return self.page(request, found, 20)

    def get_number(self, account: Account, request: Request, number_id: str) -> Reply:
        return _data(self._find(account.numbers_by_id, number_id))

    def update_number(self, account: Account, request: Request, number_id: str) -> Reply:
        """Assign the number to a connection. What null or an empty string does is undocumented; here both unassign."""
        number = self._find(account.numbers_by_id, number_id)
        fields = self.fields(request)
        changes = {name: fields[name] for name in NUMBER_FIELDS if name in fields}
        if "connection_id" in fields:
            connection_id = str(fields["connection_id"] or "") or None
            if connection_id and connection_id not in account.applications:
                raise self._invalid("connection_id", "The connection does not exist.")
            changes["connection_id"] = connection_id
            changes["connection_name"] = _name(account.applications[connection_id]) if connection_id else None
        number.update(changes)
        touch(number)
        return _data(number)

    # What a number can be connected to

    def list_texml(self, account: Account, request: Request) -> Reply:
        filters = self.filters(request, "friendly_name", "outbound_voice_profile_id")
        profile = filters.get("outbound_voice_profile_id")
        return self.page(
            request,
            [
                app
                for app in self._named(account, filters.get("friendly_name"), "texml_application")
                if profile in (None, app["outbound"].get("outbound_voice_profile_id"))
            ],
            250,
        )

    def list_call_control(self, account: Account, request: Request) -> Reply:
        name = self.filters(request, "application_name][contains").get("application_name][contains")
        return self.page(request, self._named(account, name, "call_control_application"), 20)

    def get_texml(self, account: Account, request: Request, app_id: str) -> Reply:
        return _data(self._find(account.applications, app_id, "texml_application"))

    def get_call_control(self, account: Account, request: Request, app_id: str) -> Reply:
        return _data(self._find(account.applications, app_id, "call_control_application"))

    def get_connection(self, account: Account, request: Request, connection_id: str) -> Reply:
        return _data(_as_connection(self._find(account.applications, connection_id)))

    def create_texml(self, account: Account, request: Request) -> Reply:
        """Names need not be unique: a repeated request creates a second application."""
        changes = self._texml_changes(account, request)
        app_id = new_id(1_293_384_261_075_731_500)
        account.applications[app_id] = _set(telnyx_texml_application(app_id), changes)
        return _data(account.applications[app_id], 201)

    def update_texml(self, account: Account, request: Request, app_id: str) -> Reply:
        app = self._find(account.applications, app_id, "texml_application")
        _set(app, self._texml_changes(account, request))
        touch(app)
        return _data(app)

    def delete_texml(self, account: Account, request: Request, app_id: str) -> Reply:
        """What happens to its numbers is undocumented; here they remain, unassigned, or the request is refused.

        For external connections, Telnyx documents that deletion may be prevented if numbers use them, with a 422; error
        10021 is "Resource in use".
        """
        app = self._find(account.applications, app_id, "texml_application")
        linked = [number for number in account.numbers.values() if number["connection_id"] == app_id]
        if linked and self.state.refuse_in_use:
            raise self.refuse(422, "The resource can not be removed as it is still in use.", 10021)
        del account.applications[app_id]
        for number in linked:
            number.update(connection_id=None, connection_name=None)
        return _data(app)

    def _texml_changes(self, account: Account, request: Request) -> dict[str, Any]:
        """The given fields of a TeXML application. Raises Telnyx's 422 if any is invalid."""
        given = self.fields(request)
        for name in ("friendly_name", "voice_url"):  # required in updates too, according to the OpenAPI document
            if not given.get(name):
                raise self._invalid(name, f"{name} is required.")
        for name in TEXML_URLS:
            if given.get(name) and not is_web_url(given[name]):
                raise self._invalid(name, f"{name} is not a valid URL.")
        for name in TEXML_METHODS:
            if given.get(name, "post") not in ("get", "post"):
                raise self._invalid(name, f"{name} must be get or post.")
        outbound = given.get("outbound", {})
        if not isinstance(outbound, dict):
            raise self._invalid("outbound", "outbound must be an object.")
        profile = outbound.get("outbound_voice_profile_id")
        if profile and profile not in account.profiles:
            raise self._invalid("outbound/outbound_voice_profile_id", "The outbound voice profile does not exist.")
        return {name: given[name] for name in TEXML_FIELDS if name in given}

    # Outbound voice profiles

    def list_profiles(self, account: Account, request: Request) -> Reply:
        name = self.filters(request, "name][contains").get("name][contains", "")
        found = [_counted(account, profile) for profile in account.profiles.values() if name in profile["name"]]
        return self.page(request, found, 20)

    def create_profile(self, account: Account, request: Request) -> Reply:
        given = self.fields(request)
        if len(given.get("name") or "") < 3:
            raise self._invalid("name", "name must have at least three characters.")
        profile_id = new_id(1_593_384_261_075_731_500)
        changes = {name: given[name] for name in PROFILE_FIELDS if name in given}
        account.profiles[profile_id] = telnyx_voice_profile(profile_id) | changes
        return _data(_counted(account, account.profiles[profile_id]))  # 200, not 201, according to the OpenAPI document

    def get_profile(self, account: Account, request: Request, profile_id: str) -> Reply:
        return _data(_counted(account, self._find(account.profiles, profile_id)))

    def delete_profile(self, account: Account, request: Request, profile_id: str) -> Reply:
        profile = _counted(account, self._find(account.profiles, profile_id))
        del account.profiles[profile_id]
        return _data(profile)

    # Shared

    def _find(self, resources: dict[str, dict[str, Any]], id: str, record_type: str = "") -> dict[str, Any]:
        found = resources.get(id)
        if found is None or record_type not in ("", found["record_type"]):
            raise self.refuse(404)
        return found

    def _named(self, account: Account, name: str | None, record_type: str) -> list[dict[str, Any]]:
        """Applications whose name contains `name`, ignoring case; all applications without a name."""
        if name is not None and len(name) < 3:
            raise self.refuse(400, "The filter requires at least three characters.")
        return [
            app
            for app in account.applications.values()
            if app["record_type"] == record_type and (name or "").lower() in _name(app).lower()
        ]

    def filters(self, request: Request, *known: str) -> dict[str, str]:
        """The values of `filter[...]`. An unknown filter is rejected, because ignoring it would return too much."""
        filters = {
            name.removeprefix("filter[").removesuffix("]"): values[0]
            for name, values in request.query.items()
            if name.startswith("filter[")
        }
        for name in filters.keys() - set(known):
            raise self.refuse(400, f"The sandbox does not know the filter {name}.")
        return filters

    def _invalid(self, field: str, detail: str) -> CarrierError:
        (error,) = self._errors(422, detail)
        return CarrierError(Reply(422, {"errors": [error | {"source": {"pointer": f"/{field}"}}]}))

    def page(self, request: Request, found: list[dict[str, Any]], usual_size: int) -> Reply:
        number = request.number("page[number]", 1, 1, 10**9)
        size = request.number("page[size]", usual_size, 1, 250)
        if number is None or size is None:
            raise self.refuse(400, "page[number] must be 1 or more and page[size] 1 to 250.")
        meta = {
            "page_number": number,
            "page_size": size,
            "total_pages": ceil(len(found) / size),
            "total_results": len(found),
        }
        return Reply(200, {"data": copy.deepcopy(found[(number - 1) * size : number * size]), "meta": meta})


def _storage_error(status: int, code: str, message: str) -> CarrierError:
    text = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return CarrierError(Reply(status, text, {"Content-Type": "application/xml"}))


def _data(resource: dict[str, Any], status: int = 200) -> Reply:
    return Reply(status, {"data": copy.deepcopy(resource)})


def _name(connection: dict[str, Any]) -> str:
    return next(connection[name] for name in NAMES if name in connection)


def _set(app: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Change an application. An emptied URL is removed: the OpenAPI document allows neither null nor empty."""
    app.update(changes)
    for name in TEXML_URLS:
        if name in app and not app[name]:
            del app[name]
    return app


def _as_connection(app: dict[str, Any]) -> dict[str, Any]:
    """A connection as `/connections` shows it, with fewer fields than its own resource."""
    shown = {name: app[name] for name in ("id", "record_type", "active", "anchorsite_override", "tags")}
    shown |= {"connection_name": _name(app), "created_at": app["created_at"], "updated_at": app["updated_at"]}
    shown["webhook_api_version"] = app.get("webhook_api_version", "1")
    shown["webhook_event_url"] = app.get("voice_url") or app.get("webhook_event_url")
    shown["webhook_event_failover_url"] = app.get("voice_fallback_url") or app.get("webhook_event_failover_url")
    return shown | app.get("outbound", {})


def _counted(account: Account, profile: dict[str, Any]) -> dict[str, Any]:
    """The profile with the number of connections that use it."""
    users = [
        app
        for app in account.applications.values()
        if app.get("outbound", {}).get("outbound_voice_profile_id") == profile["id"]
    ]
    return profile | {"connections_count": len(users)}
