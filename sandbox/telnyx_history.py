"""Telnyx's API for past calls, recordings and webhook deliveries."""

import copy
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from . import media
from .carrier import Carrier, Reply, Request
from .state import Account

CALL_FILTERS = {"to": "To", "from": "From", "status": "Status"}
RECORDING_FILTERS = ("call_control_id", "call_leg_id", "call_session_id", "connection_id", "from", "to")
RECORDING_DATES = {"created_at": "created_at", "start_time": "recording_started_at", "end_time": "recording_ended_at"}
"""Filters, and the fields that they apply to."""
DELIVERY_DATES = {"started_at": "started_at", "finished_at": "finished_at"}


class TelnyxHistory(Carrier):
    history_routes = [
        ("GET", r"/texml/Accounts/([^/]+)/Calls", "list_calls"),
        ("GET", r"/texml/Accounts/([^/]+)/Calls/([^/]+)", "get_call"),
        ("GET", r"/texml/Accounts/([^/]+)/Recordings/([^/]+)\.json", "get_texml_recording"),
        ("GET", r"/recordings", "list_recordings"),
        ("GET", r"/recordings/([^/]+)", "get_recording"),
        ("GET", r"/webhook_deliveries", "list_deliveries"),
    ]

    # TeXML, whose lists are paged like Twilio's

    def list_calls(self, account: Account, request: Request, user_id: str) -> Reply:
        """List calls, newest first. That a bound means midnight is a guess: the document says only `after`."""
        self._check_user(account, user_id)
        page, size = request.number("Page", 0, 0, 10**9), request.number("PageSize", 20, 1, 1000)
        if page is None or size is None:
            raise self.refuse(400, "Page or PageSize is not valid.")
        found = [
            call
            for call in reversed(account.calls.values())
            if all(request.param(parameter) in ("", call[name]) for name, parameter in CALL_FILTERS.items())
            and self._on(call["start_time"], request, "StartTime")
            and self._on(call["end_time"], request, "EndTime")
        ]
        given = {name: values[0] for name, values in request.query.items() if name != "Page"}

        def uri(number: int) -> str:
            return f"/v2{request.path}.json?{urlencode(given | {'Page': number, 'PageSize': size})}"

        start = page * size
        shown = found[start : start + size]
        body = {
            "calls": copy.deepcopy(shown),
            "page": page,
            "page_size": size,
            "start": start,
            "end": start + max(len(shown) - 1, 0),
            "uri": uri(page),
            "first_page_uri": uri(0),
        }
        return Reply(200, body | ({"next_page_uri": uri(page + 1)} if start + size < len(found) else {}))

    def _on(self, text: str, request: Request, name: str) -> bool:
        """Accept both spellings of bounds: _gt and _lt in the OpenAPI document, > and < in the vendor's SDK."""
        return self.within(text, request, after=f"{name}_gt", before=f"{name}_lt", day=name) and self.within(
            text, request, after=f"{name}>", before=f"{name}<"
        )

    def get_call(self, account: Account, request: Request, user_id: str, sid: str) -> Reply:
        self._check_user(account, user_id)
        return Reply(200, dict(self._one(account.calls, sid)))

    def get_texml_recording(self, account: Account, request: Request, user_id: str, sid: str) -> Reply:
        self._check_user(account, user_id)
        recording = self._one(account.recordings, sid)
        body = {
            "sid": sid,
            "account_sid": account.user_id,
            "call_sid": recording["call_control_id"],
            "conference_sid": None,
            "channels": 2 if recording["channels"] == "dual" else 1,
            "date_created": recording["created_at"],
            "date_updated": recording["updated_at"],
            "start_time": recording["recording_started_at"],
            "duration": str(recording["duration_millis"] // 1000),
            "error_code": None,
            "media_url": media.telnyx_url(self.state, account, sid),
            "source": recording["initiated_by"],
            "status": "completed",
            "subresources_uris": {"transcriptions": None},
            "uri": f"/v2/texml/Accounts/{account.user_id}/Recordings/{sid}.json",
        }
        return Reply(200, body)

    # Version 2

    def list_recordings(self, account: Account, request: Request) -> Reply:
        filters = self.filters(request, *RECORDING_FILTERS, *_bounds(RECORDING_DATES))
        found = [
            self._with_links(account, recording)
            for recording in reversed(account.recordings.values())
            if all(filters.get(name, recording[name]) == recording[name] for name in RECORDING_FILTERS)
            and self._dated(recording, request, RECORDING_DATES)
        ]
        return self.page(request, found, 20)

    def get_recording(self, account: Account, request: Request, recording_id: str) -> Reply:
        return Reply(200, {"data": self._with_links(account, self._one(account.recordings, recording_id))})

    def list_deliveries(self, account: Account, request: Request) -> Reply:
        filters = self.filters(request, "status][eq", "webhook][contains", *_bounds(DELIVERY_DATES))
        found = [
            delivery
            for delivery in reversed(account.webhook_deliveries)
            if filters.get("status][eq", delivery["status"]) == delivery["status"]
            and filters.get("webhook][contains", "") in str(delivery["webhook"])
            and self._dated(delivery, request, DELIVERY_DATES)
        ]
        return self.page(request, found, 20)

    def filters(self, request: Request, *known: str) -> dict[str, str]:
        """The values of `filter[...]`; unknown filters are rejected."""
        raise NotImplementedError

    def page(self, request: Request, found: list[dict[str, Any]], usual_size: int) -> Reply:
        raise NotImplementedError

    def _dated(self, resource: dict[str, Any], request: Request, dates: dict[str, str]) -> bool:
        return all(
            self.within(resource[field], request, since=f"filter[{name}][gte]", until=f"filter[{name}][lte]")
            for name, field in dates.items()
        )

    def _with_links(self, account: Account, recording: dict[str, Any]) -> dict[str, Any]:
        """Add download links, which are new each time and valid for ten minutes."""
        return recording | {"download_urls": {"wav": media.telnyx_url(self.state, account, recording["id"])}}

    def _check_user(self, account: Account, user_id: str) -> None:
        if user_id != account.user_id:
            raise self.refuse(404)

    def _one(self, resources: dict[str, dict[str, Any]], id: str) -> dict[str, Any]:
        if id not in resources:
            raise self.refuse(404)
        return resources[id]


def _bounds(dates: Iterable[str]) -> list[str]:
    return [f"{name}][{bound}" for name in dates for bound in ("gte", "lte")]
