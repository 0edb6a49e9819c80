"""Plivo's REST API, version 1: numbers, applications, calls and recordings.

Sources: plivo-python 4.63.0 and its fixtures, docs.plivo.com/docs/account/api/application and
docs.plivo.com/docs/numbers/api/account-phone-number (2026-11-23). Plivo publishes no OpenAPI document.
"""

import re
import uuid
from typing import Any
from urllib.parse import urlencode

from .carrier import Carrier, Reply, Request, is_web_url
from .resources import new_id, plivo_application, plivo_application_uri
from .state import Account

ERRORS = {
    400: "bad request",
    403: "account is suspended",
    404: "not found",
    405: "method not allowed",
    429: "too many requests",
    500: "internal server error",
}
UNAUTHORIZED = "Could not verify your access level for that URL.\nYou have to login with proper credentials"

URLS = ("answer_url", "hangup_url", "fallback_answer_url", "message_url")
METHODS = ("answer_method", "hangup_method", "fallback_method", "message_method")
FLAGS = {
    "default_number_app": "default_app",
    "default_endpoint_app": "default_endpoint_app",
    "log_incoming_messages": "log_incoming_messages",
    "public_uri": "public_uri",
}
"""Flags by their name in requests, and their name in replies."""

CALL_FILTERS = ("call_direction", "from_number", "to_number", "parent_call_uuid", "hangup_cause_code", "hangup_source")

ACCOUNT = r"/v1/Account/([A-Z0-9]{20})"


class Plivo(Carrier):
    name = "plivo"
    prefix = "/plivo"
    media_prefix = "/plivo/"
    media_path = r"/v1/Account/([A-Z0-9]+)/Recording/([0-9a-f-]+)\.wav"
    routes = [
        ("GET", rf"{ACCOUNT}/", "get_account"),
        ("GET", rf"{ACCOUNT}/Number/", "list_numbers"),
        ("GET", rf"{ACCOUNT}/Number/([0-9]+)/", "get_number"),
        ("POST", rf"{ACCOUNT}/Number/([0-9]+)/", "update_number"),
        ("GET", rf"{ACCOUNT}/Application/", "list_applications"),
        ("POST", rf"{ACCOUNT}/Application/", "create_application"),
        ("GET", rf"{ACCOUNT}/Application/([0-9]+)/", "get_application"),
        ("POST", rf"{ACCOUNT}/Application/([0-9]+)/", "update_application"),
        ("DELETE", rf"{ACCOUNT}/Application/([0-9]+)/", "delete_application"),
        ("GET", rf"{ACCOUNT}/Call/", "list_calls"),
        ("GET", rf"{ACCOUNT}/Call/([0-9a-f-]+)/", "get_call"),
        ("GET", rf"{ACCOUNT}/Recording/", "list_recordings"),
        ("GET", rf"{ACCOUNT}/Recording/([0-9a-f-]+)/", "get_recording"),
    ]

    def error(self, status: int, detail: str = "", code: int | None = None) -> Reply:
        if status == 401:
            return Reply(401, UNAUTHORIZED, {"Content-Type": "text/html; charset=utf-8"})
        return self._reply(status, error=detail or ERRORS.get(status, "error"))

    def _reply(self, status: int, **body: Any) -> Reply:
        return Reply(status, {"api_id": str(uuid.uuid4())} | body)

    def admit(self, account: Account, request: Request) -> None:
        if not request.path.startswith(f"/v1/Account/{account.id}/"):
            raise self.refuse(401)
        if account.status != "active":
            raise self.refuse(403)

    def get_account(self, account: Account, request: Request, auth_id: str) -> Reply:
        return self._reply(
            200,
            auth_id=account.id,
            account_type="standard",
            name="Sandbox",
            address="",
            city="",
            state="",
            timezone="UTC",
            billing_mode="prepaid",
            cash_credits="100.00000",
            auto_recharge=False,
            resource_uri=f"/v1/Account/{account.id}/",
        )

    def list_numbers(self, account: Account, request: Request, auth_id: str) -> Reply:
        start, alias = request.param("number_startswith"), request.param("alias")
        found = [
            number
            for digits, number in account.numbers.items()
            if digits.startswith(start) and alias in (number["alias"] or "")
        ]
        return self._page(request, found)

    def get_number(self, account: Account, request: Request, auth_id: str, digits: str) -> Reply:
        return self._reply(200, **self._number(account, digits))

    def update_number(self, account: Account, request: Request, auth_id: str, digits: str) -> Reply:
        """Link the number. According to the docs page, without `app_id` it gets the account's default application."""
        number = self._number(account, digits)
        fields = self.fields(request)
        default = next((id for id, app in account.applications.items() if app["default_app"]), None)
        app_id = str(fields.get("app_id", default) or "")
        if app_id and app_id not in account.applications and app_id not in account.trunks:
            raise self.refuse(400, "app_id is not valid")
        number["application"] = plivo_application_uri(account.id, app_id) if app_id else None
        number.update({name: fields[name] for name in ("alias", "cnam_lookup") if name in fields})
        return self._reply(202, message="changed")

    def list_applications(self, account: Account, request: Request, auth_id: str) -> Reply:
        """How the name filter matches is undocumented; here it finds every name that contains it."""
        name = request.param("app_name")
        return self._page(request, [app for app in account.applications.values() if name in app["app_name"]])

    def create_application(self, account: Account, request: Request, auth_id: str) -> Reply:
        """Names need not be unique: two identical requests create two applications."""
        changes = self._application_changes(request)
        if not changes.get("app_name"):
            raise self.refuse(400, "app_name is required")
        changes.setdefault("hangup_url", changes.get("answer_url", ""))
        app_id = new_id(20_468_599_130_940_000)
        account.applications[app_id] = plivo_application(account.id, app_id)
        self._change(account, app_id, changes)
        return self._reply(201, app_id=app_id, message="created")

    def get_application(self, account: Account, request: Request, auth_id: str, app_id: str) -> Reply:
        return self._reply(200, **self._application(account, app_id))

    def update_application(self, account: Account, request: Request, auth_id: str, app_id: str) -> Reply:
        self._application(account, app_id)
        self._change(account, app_id, self._application_changes(request))
        return self._reply(202, message="changed")

    def delete_application(self, account: Account, request: Request, auth_id: str, app_id: str) -> Reply:
        """Delete an application. `cascade` is about its endpoints (docs page, 2026-11-30), which the sandbox lacks.

        What happens to its numbers is undocumented; here they remain, unlinked, or the request is refused.
        """
        self._application(account, app_id)
        uri = plivo_application_uri(account.id, app_id)
        linked = [number for number in account.numbers.values() if number["application"] == uri]
        if linked and self.state.refuse_in_use:
            raise self.refuse(400, "application is in use")
        del account.applications[app_id]
        for number in linked:
            number["application"] = None
        return Reply(204)

    def list_calls(self, account: Account, request: Request, auth_id: str) -> Reply:
        """List calls, newest first. Numbers are compared by their digits."""
        return self._page(request, self._happened(account.calls, request, CALL_FILTERS, "end_time"))

    def get_call(self, account: Account, request: Request, auth_id: str, call_uuid: str) -> Reply:
        if call_uuid not in account.calls:
            raise self.refuse(404)
        return self._reply(200, **account.calls[call_uuid])

    def list_recordings(self, account: Account, request: Request, auth_id: str) -> Reply:
        return self._page(request, self._happened(account.recordings, request, ("call_uuid",), "add_time"))

    def get_recording(self, account: Account, request: Request, auth_id: str, recording_id: str) -> Reply:
        if recording_id not in account.recordings:
            raise self.refuse(404)
        return self._reply(200, **account.recordings[recording_id])

    def _happened(
        self, resources: dict[str, dict[str, Any]], request: Request, names: tuple[str, ...], date: str
    ) -> list[dict[str, Any]]:
        """The resources that match the filters on these names and on a date."""
        wanted = {name: request.param(name).lstrip("+") for name in names if request.param(name)}
        bounds = {"after": f"{date}__gt", "since": f"{date}__gte", "until": f"{date}__lte", "before": f"{date}__lt"}
        return [
            resource
            for resource in reversed(resources.values())
            if all(str(resource[name]) == value for name, value in wanted.items())
            and self.within(resource[date], request, **bounds)
        ]

    def _application_changes(self, request: Request) -> dict[str, Any]:
        """The given fields as the application will show them. Raises Plivo's 400 if any is invalid."""
        fields = self.fields(request)
        changes = {}
        if "app_name" in fields:
            changes["app_name"] = fields["app_name"]
            if not re.fullmatch(r"[A-Za-z0-9_-]+", str(fields["app_name"])):
                raise self.refuse(400, "app_name may only have letters, digits, - and _")
        for name in fields.keys() & set(URLS):
            changes[name] = fields[name] or ""
            if fields[name] and not is_web_url(fields[name]):
                raise self.refuse(400, f"{name} is not a valid URL")
        for name in fields.keys() & set(METHODS):
            changes[name] = fields[name]
            if fields[name] not in ("GET", "POST"):
                raise self.refuse(400, f"{name} must be GET or POST")
        for name in fields.keys() & FLAGS.keys():
            changes[FLAGS[name]] = fields[name]
            if not isinstance(fields[name], bool):
                raise self.refuse(400, f"{name} must be true or false")
        return changes

    def _change(self, account: Account, app_id: str, changes: dict[str, Any]) -> None:
        if changes.get("default_app"):  # an account has a single default
            for app in account.applications.values():
                app["default_app"] = False
        account.applications[app_id].update(changes)

    def _number(self, account: Account, digits: str) -> dict[str, Any]:
        if digits not in account.numbers:
            raise self.refuse(404)
        return account.numbers[digits]

    def _application(self, account: Account, app_id: str) -> dict[str, Any]:
        if app_id not in account.applications:
            raise self.refuse(404)
        return account.applications[app_id]

    def _page(self, request: Request, found: list[dict[str, Any]]) -> Reply:
        limit, offset = request.number("limit", 20, 1, 20), request.number("offset", 0, 0, 10**9)
        if limit is None or offset is None:
            raise self.refuse(400, "limit must be 1 to 20 and offset 0 or more")
        given = {key: values[0] for key, values in request.query.items()}

        def uri(start: int) -> str:
            return f"{request.path}?{urlencode(given | {'limit': limit, 'offset': start})}"

        meta = {
            "limit": limit,
            "offset": offset,
            "next": uri(offset + limit) if offset + limit < len(found) else None,
            "previous": uri(max(offset - limit, 0)) if offset else None,
            "total_count": len(found),
        }
        return self._reply(200, meta=meta, objects=[dict(resource) for resource in found[offset : offset + limit]])
