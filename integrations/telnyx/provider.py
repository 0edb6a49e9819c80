"""Telnyx: webhooks are set on a TeXML application, to which numbers are assigned."""

import base64
import binascii
import re
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from integrations import CARRIERS, twiml
from integrations.answers import Plan
from integrations.applications import ApplicationProvider, route_to
from integrations.base import S3_PLACES
from integrations.errors import BadSignature, MediaMissing, NumberNotActive, NumberNotOwned, RequestFailed
from integrations.events import CallReport, Direction, ParsedEvent, Payload, RecordingReport
from integrations.telnyx.applications import PAGE_SIZE, TelnyxApplications, listed
from integrations.telnyx.events import call_of, event_id, parse_event, recording_of
from integrations.transport import in_parallel
from integrations.types import CarrierNumber, ListedNumber, NumberRecord, Settings, address, e164, identifier, word
from integrations.webhooks import Urls, Webhook, digest

if TYPE_CHECKING:
    from telnyx import Telnyx as Client

PUBLIC_KEY_BYTES = 32
# https://developers.telnyx.com/docs/messaging/messages/receiving-webhooks (read 2026-11-23)
TIMESTAMP = re.compile(r"[0-9]{1,12}")
TOLERANCE_S = 300


class Telnyx(ApplicationProvider):
    """Telnyx API, version 2. https://developers.telnyx.com/api-reference (read 2026-11-23)"""

    carrier = CARRIERS["telnyx"]
    signs_with_public_key = True
    # Presigned links into Amazon S3. https://developers.telnyx.com/docs/voice/programmable-voice/recording (read
    # 2026-11-23)
    media_places = re.compile(r"([a-z0-9-]+\.)*telnyx\.com/.+|" + S3_PLACES)

    @classmethod
    def warm_up(cls) -> None:
        from telnyx import Telnyx as Client

        with Client(api_key="none", public_key="") as client:
            # The SDK imports each resource when the attribute is first accessed.
            _ = client.phone_numbers, client.texml_applications, client.outbound_voice_profiles
            _ = client.connections, client.recordings, client.texml, client.webhook_deliveries

    @property
    def applications(self) -> TelnyxApplications:
        return TelnyxApplications(self)

    # -- verbs --------------------------------------------------------------------------------------------------------

    def verify(self, number: str, *, application_id: str, names_application: bool = False) -> CarrierNumber:
        reads: dict[str, Callable[[], Any]] = {
            "numbers": lambda: self.ask(lambda: self._numbers_like(number)),
            "application": lambda: self.applications.look_up(application_id),
            "public_key": self.read_public_key,
        }
        if not application_id:
            reads["profile_id"] = lambda: self.ask(self.applications.profile_id)
        if names_application:
            reads["linked"] = lambda: self.applications.look_up_linked(application_id)
        with self.reading():
            read = dict(zip(reads, in_parallel(*reads.values()), strict=True))
        application = read["application"]
        # The filter also finds longer numbers that contain this one.
        found = next((record for record in read["numbers"] if record.number == number), None)
        if found is None:
            raise NumberNotOwned(self.carrier)
        if not found.active:
            raise NumberNotActive(self.carrier)
        return CarrierNumber(
            found.id,
            found.settings,
            self.route_of(found.settings, application),
            application,
            profile_id=read.get("profile_id"),
            public_key=read["public_key"],
            also_linked=tuple(linked for linked in read.get("linked", ()) if linked != number),
        )

    def list_numbers(self, cursor: str) -> tuple[list[ListedNumber], str]:
        page_number = int(cursor or "1")
        with self.reading():
            found, ours = in_parallel(
                lambda: self.ask(lambda: self.page_of_numbers(page_number)), self.applications.ours
            )
        numbers = [ListedNumber.of(record, route_to(record.settings["application_id"], ours)) for record in found]
        return numbers, str(page_number + 1) if len(found) == PAGE_SIZE else ""

    def read_public_key(self) -> str:
        """The account's webhook key, or empty. No current document has this endpoint, so a failure is not an error.
        [U: telnyx-public-key]"""
        try:
            return self.ask(self._fetch_public_key, attempts=1)
        except RequestFailed:
            return ""

    # -- receiving ----------------------------------------------------------------------------------------------------

    @classmethod
    def check_signature(cls, webhook: Webhook, *, auth_tokens: Iterable[str], public_key: str) -> str:
        """Ed25519 over `timestamp|body`; neither the URL nor the method is signed.
        https://developers.telnyx.com/docs/messaging/messages/receiving-webhooks (read 2026-11-23)"""
        if public_key:
            timestamp = webhook.headers.get("telnyx-timestamp", "")
            if not TIMESTAMP.fullmatch(timestamp) or abs(int(time.time()) - int(timestamp)) > TOLERANCE_S:
                raise BadSignature("telnyx-timestamp is missing or too far from now")
            try:
                signature = base64.b64decode(webhook.headers.get("telnyx-signature-ed25519", ""), validate=True)
                key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key))
                key.verify(signature, f"{timestamp}|".encode() + webhook.body)
            except (InvalidSignature, ValueError):
                raise BadSignature("telnyx-signature-ed25519 does not fit") from None
        return digest(event_id(webhook.body) or webhook.body)

    @classmethod
    def parse_event(cls, payload: Payload) -> ParsedEvent:
        return parse_event(payload)

    @classmethod
    def render_answer(cls, plan: Plan, urls: Urls) -> str:
        """https://developers.telnyx.com/docs/voice/programmable-voice/texml-verbs (read 2026-11-29): a stream sends MP3
        unless told otherwise, and is opened again when the far end closes it. Nothing is said of a missing caller
        id."""
        options = {"bidirectionalMode": "rtp", "enableReconnect": "false"}
        return twiml.render(plan, urls, stream=options, names_caller=False)

    def media_url(self, recording_id: str, known_url: str) -> str:
        """Get a new link: links in webhooks expire after ten minutes."""
        with self.reading():
            url = self.find(lambda: self._media_url(recording_id))
        if url is None:
            raise MediaMissing(self.carrier)
        return url

    def media_auth(self) -> None:
        """None: the links carry their own signature, and S3 rejects requests with additional credentials."""

    def calls_page(self, since: datetime, cursor: str) -> tuple[list[CallReport], str]:
        user_id, _, page = cursor.partition(" ")
        user_id = user_id or self._user_id()
        if not user_id:
            return [], ""  # no webhook was ever sent, so there were no calls
        # The filter works in whole days and may exclude the day it names. [U: telnyx-since]
        day_before = (since - timedelta(days=1)).strftime("%Y-%m-%d")
        reply = self.client().texml.accounts.calls.retrieve_calls(
            user_id, start_time_gt=day_before, page_size=PAGE_SIZE, **texml_page(page)
        )
        # The list does not distinguish a leg of a forwarded call from other outbound calls.
        inbound = [call for call in map(call_of, reply.calls or []) if call.direction is Direction.INBOUND]
        query = parse_qs(urlsplit(reply.next_page_uri or "").query)
        following = f"{user_id} {query['Page'][0]} {query.get('PageToken', [''])[0]}" if "Page" in query else ""
        return [call for call in inbound if not call.started_at or call.started_at >= since], following

    def recordings_page(self, since: datetime, cursor: str) -> tuple[list[RecordingReport], str]:
        number = int(cursor or "1")
        entries = listed(
            self.client().recordings.list(
                filter={"created_at": {"gte": since.isoformat()}}, page_number=number, page_size=PAGE_SIZE
            )
        )
        # Recordings of conferences have no call.
        found = [recording_of(entry) for entry in entries if entry.call_control_id]
        return found, str(number + 1) if len(entries) == PAGE_SIZE else ""

    # -- requests -----------------------------------------------------------------------------------------------------

    def client(self) -> "Client":
        # The SDK takes a second to import: only processes that use Telnyx pay for it; the server loads it at startup.
        import httpx
        from telnyx import Telnyx as Client

        from integrations.bounded_httpx import shared_httpx_client

        timeouts = self.timeouts()
        return Client(
            api_key=self.auth_token,
            base_url=self.site.api_url,
            timeout=httpx.Timeout(timeouts.read_s, connect=timeouts.connect_s),
            max_retries=0,
            http_client=shared_httpx_client(self.site.api_url),
            # Set explicitly, or the SDK would take it from the environment for every tenant.
            public_key="",
        )

    def _numbers_like(self, number: str) -> list[NumberRecord]:
        # Digits only: with a plus sign the filter finds nothing (OpenAPI, filter[phone_number]).
        page = self.client().phone_numbers.list(filter={"phone_number": number}, page_size=20)
        return [number_of(entry) for entry in listed(page)]

    def page_of_numbers(self, page_number: int, application_id: str = "") -> list[NumberRecord]:
        """Called within ask(): a page (from 1) of the account's numbers, or of those linked to an application."""
        page = self.client().phone_numbers.list(
            filter={"connection_id": application_id} if application_id else {},
            page_number=page_number,
            page_size=PAGE_SIZE,
        )
        return [number_of(entry) for entry in listed(page)]

    def _number(self, number_id: str) -> NumberRecord | None:
        return self.find(lambda: number_of(self.client().phone_numbers.retrieve(number_id).data))

    def _update(self, number_id: str, settings: Settings) -> Settings:
        linked_id = settings["application_id"]  # an empty one unassigns the number [U: telnyx-unassigning]
        return settings_of(self.client().phone_numbers.update(number_id, connection_id=linked_id).data)

    def kind_of(self, linked_id: str) -> str:
        """`record_type` of Connection (OpenAPI document); empty if the connection does not exist."""
        return self.find(lambda: identifier(self._connection(linked_id).record_type)) or ""

    def _connection(self, id: str) -> Any:
        return self.client().connections.retrieve(id).data

    def _user_id(self) -> str:
        """The account's id in TeXML, which only webhook delivery records contain; empty if there are none.
        [U: telnyx-user-id]"""
        deliveries = listed(self.client().webhook_deliveries.list(page_size=1))
        return identifier(deliveries[0].user_id) if deliveries else ""

    def _media_url(self, recording_id: str) -> str:
        urls: Any = self.client().recordings.retrieve(recording_id).data.download_urls  # type: ignore[union-attr]
        return address(urls.wav or urls.mp3)

    def _fetch_public_key(self) -> str:
        import httpx

        reply = self.client().get("/public_key", cast_to=httpx.Response)
        key = identifier(reply.json()["data"]["public"])
        return key if is_public_key(key) else ""

    # -- facts --------------------------------------------------------------------------------------------------------

    def status_of(self, error: Exception) -> int | None:
        """401 and 403 mean that the key is rejected. [U: telnyx-refusals]"""
        return getattr(error, "status_code", None)

    def headers_of(self, error: Exception) -> Mapping[str, str]:
        return getattr(getattr(error, "response", None), "headers", {})


def is_public_key(key: str) -> bool:
    """Whether this is the base64 of an Ed25519 public key."""
    try:
        return len(base64.b64decode(key, validate=True)) == PUBLIC_KEY_BYTES
    except (binascii.Error, ValueError):
        return False


def number_of(number: Any) -> NumberRecord:
    return NumberRecord(
        identifier(number.id),
        e164(number.phone_number),
        voice=True,  # all Telnyx numbers can receive calls; no field says so [U: telnyx-takes-calls]
        active=word(number.status) == "active",
        settings=settings_of(number),
    )


def settings_of(number: Any) -> Settings:
    """An unassigned number has null or an empty string. A reply without the field says nothing of the route."""
    if "connection_id" not in number.model_fields_set:
        raise TypeError("no connection_id")
    return {"application_id": identifier(number.connection_id) if number.connection_id not in (None, "") else ""}


def texml_page(page: str) -> dict[str, Any]:
    """The SDK's arguments for a page of a TeXML list; pages count from zero."""
    number, _, token = page.partition(" ")
    return {"page": int(number or "0"), **({"page_token": token} if token else {})}
