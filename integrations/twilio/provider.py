"""Twilio: webhooks are set on the number itself."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import parse_qs, quote, urlsplit

from twilio.base import values
from twilio.base.exceptions import TwilioException
from twilio.http import HttpClient
from twilio.http.response import Response
from twilio.request_validator import HMAC_SHA256, SIGNATURE_SETTINGS_HEADER, RequestValidator, add_port, remove_port
from twilio.rest import Client

from integrations import CARRIERS, twiml
from integrations.answers import Plan
from integrations.base import Provider
from integrations.errors import AccountNotActive, BadSignature, NumberNotOwned, NumberNotUsable, SignedOtherwise
from integrations.events import CallReport, ParsedEvent, Payload, RecordingReport
from integrations.transport import Timeouts, in_parallel, shared_session
from integrations.twilio.events import CALL_STATUS, OWN_HOSTS, listed, recording_of
from integrations.types import (
    Application,
    CarrierNumber,
    Difference,
    ListedNumber,
    NumberRecord,
    Route,
    Settings,
    compare_settings,
    e164,
    flag,
    identifier,
    setting,
    word,
)
from integrations.webhooks import Urls, Webhook, digest, is_ours, one_fits

T = TypeVar("T")

OFFICIAL_URL = "https://api.twilio.com"
RECORDING_PATH = r"/2010-04-01/Accounts/%s/Recordings/\w+(\.wav|\.mp3)?"
# The default of a number bought in the console. https://www.twilio.com/docs/voice/quickstart (read 2026-11-23)
DEMO_URL = "https://demo.twilio.com/"
PAGE_SIZE = 20

# The fields that we set and restore. Fields in a tuple belong together: they are restored only if all of them still
# have our values. A trunk or a TwiML application overrides the voice URL (OpenAPI: IncomingPhoneNumber, trunk_sid).
FIELD_GROUPS = [
    ("voice_url", "voice_method"),
    ("voice_fallback_url", "voice_fallback_method"),
    ("status_callback", "status_callback_method"),
    ("voice_application_sid", "trunk_sid"),
    ("voice_receive_mode",),
]
URLS = ("voice_url", "voice_fallback_url", "status_callback")
# The same fields of an unrouted number.
EMPTY = {
    "voice_url": "", "voice_method": "POST",
    "voice_fallback_url": "", "voice_fallback_method": "POST",
    "status_callback": "", "status_callback_method": "POST",
    "voice_application_sid": "", "trunk_sid": "",
    "voice_receive_mode": "voice",
}  # fmt: skip
# The setting that the vendor's example of a reply leaves out, as it does the status.
OMITTED = {"voice_receive_mode": None}
SID = re.compile(r"(AP|TK)[0-9a-fA-F]{32}")
# Each of these overrides the voice URL.
OVERRIDES = {
    "trunk_sid": "overridden_by_trunk",
    "voice_application_sid": "overridden_by_application",
    "voice_receive_mode": "overridden_by_application",
}
# https://www.twilio.com/docs/iam/api/account (read 2026-11-23)
INACTIVE = ("suspended", "closed")
# 404: there is no account with this SID. [U: twilio-refusals]
REFUSALS = (401, 403, 404)
# The maximum is 1000, which is 2 MB.
LISTED_PAGE_SIZE = 250
HISTORY_PAGE_SIZE = 1000


class TooManyRequests(TwilioException):
    """A 429. The SDK's own exception lacks the headers."""

    status = 429

    def __init__(self, headers: Mapping[str, str]) -> None:
        self.headers = headers


class SharedHttpClient(HttpClient):
    """Sends the SDK's requests through the shared pool. The SDK's own client creates a new pool every time.

    `reply` is the last one: the SDK's objects do not tell a field that is left out from one that is empty.
    """

    reply: Response

    def __init__(self, api_url: str, timeouts: Timeouts) -> None:
        self.session = shared_session(OFFICIAL_URL, api_url)
        self.timeouts = timeouts

    def request(self, method: str, uri: str, *args: Any, **kwargs: Any) -> Response:
        reply = self.session.request(method, uri, *args, **kwargs | {"timeout": self.timeouts})
        if reply.status_code == TooManyRequests.status:
            raise TooManyRequests(reply.headers)
        self.reply = Response(reply.status_code, reply.content.decode("utf-8", "replace"), reply.headers)
        return self.reply


class Twilio(Provider):
    """Twilio REST API, version 2010-04-01. https://www.twilio.com/docs/phone-numbers/api/incomingphonenumber-resource
    (read 2026-11-23)"""

    carrier = CARRIERS["twilio"]
    blank = EMPTY
    # Recordings in Twilio's other regions: api.EDGE.REGION.twilio.com.
    media_places = re.compile(r"api(\.[a-z0-9-]+){0,2}\.twilio\.com" + RECORDING_PATH % r"\w+")
    recording_path = RECORDING_PATH
    reachable = "a sip: or sips: address, a wss: address at port 443 or a number"

    # -- verbs --------------------------------------------------------------------------------------------------------

    def verify(self, number: str, *, application_id: str, names_application: bool = False) -> CarrierNumber:
        numbers = self._read_if_active(lambda: self.ask(lambda: self._numbers_like(number)))
        # The filter also finds longer numbers that contain this one.
        found = next((record for record in numbers if record.number == number), None)
        if found is None:
            raise NumberNotOwned(self.carrier)
        if not found.voice:
            raise NumberNotUsable(self.carrier)
        return CarrierNumber(found.id, found.settings, self.route_of(found.settings))

    def compare(self, number_id: str, urls: Urls, application_id: str, public_key: str) -> list[Difference]:
        number = self._read_if_active(lambda: self._number(number_id))
        if number is None:
            return [Difference("number_missing", number_id, "")]
        found = [] if number.voice else [Difference("number_inactive", "voice", "no voice")]
        now, ours = number.settings, self.wanted(urls)
        for name, reason in OVERRIDES.items():
            if now[name] != ours[name]:
                found.append(Difference(reason, ours[name], now[name]))
        addresses = {name: value for name, value in ours.items() if name not in OVERRIDES}
        return found + compare_settings(addresses, now)

    def list_numbers(self, cursor: str) -> tuple[list[ListedNumber], str]:
        if not cursor:
            return self._read_if_active(lambda: self.ask(lambda: self._listed(cursor)))
        with self.reading(refusals=REFUSALS):  # the account was checked with the first page
            return self.ask(lambda: self._listed(cursor))

    def restore(self, number_id: str, snapshot: Settings, urls: Urls, application_id: str) -> bool:
        now, ours = self.read(number_id), self.wanted(urls)
        # The other fields that we set are empty or a default, which anybody may have set.
        if not any(is_ours(now[name], ours[name]) for name in URLS):
            return False
        restored = {
            name: snapshot[name]
            for group in FIELD_GROUPS
            if all(is_ours(now[name], ours[name]) for name in group)
            for name in group
            if snapshot[name] != now[name]
        }
        if not restored:
            return False
        after = self.write(lambda: self._update(number_id, restored)) or self.read(number_id)
        if any(after[name] != value for name, value in restored.items()):
            raise self.not_changed("the original settings were not restored")
        return True

    # -- receiving ----------------------------------------------------------------------------------------------------

    @classmethod
    def check_signature(cls, webhook: Webhook, *, auth_tokens: Iterable[str], public_key: str) -> str:
        """HMAC-SHA1 over the URL and the sorted fields. https://www.twilio.com/docs/usage/webhooks/webhooks-security
        (read 2026-11-23)

        A rule of the account's may make Twilio sign them with a shared key instead, which we do not have: Webhooks
        configuration API, in beta (SDK 9.13.0, request_validator.py).
        """
        fields = Fields(webhook.form()) if webhook.is_form else None
        if fields is None and not covers_body(webhook):
            raise BadSignature("neither a form nor covered by bodySHA256")
        url = urlsplit(webhook.url)
        # Some of Twilio's servers sign the URL with its port, some without it.
        spellings = dict.fromkeys([webhook.url, remove_port(url), add_port(url)])
        given = [webhook.headers.get("X-Twilio-Signature", "")]
        for auth_token in auth_tokens:
            validator = RequestValidator(auth_token)
            if one_fits(given, (validator.compute_signature(spelling, fields) for spelling in spellings)):
                # The SDK's signature with an empty key identifies the signed content.
                return digest(RequestValidator("").compute_signature(webhook.url, fields, HMAC_SHA256).encode())
        if webhook.headers.get(SIGNATURE_SETTINGS_HEADER):
            raise SignedOtherwise(f"signed with a shared key, not the auth token ({SIGNATURE_SETTINGS_HEADER})")
        raise BadSignature("X-Twilio-Signature does not fit")

    @classmethod
    def parse_event(cls, payload: Payload) -> ParsedEvent:
        return twiml.parse_event(payload, CALL_STATUS, OWN_HOSTS)

    @classmethod
    def render_answer(cls, plan: Plan, urls: Urls) -> str:
        """https://www.twilio.com/docs/voice/twiml/sip (read 2026-11-29): the caller's own number is the default."""
        return twiml.render(plan, urls, stream={}, names_caller=True)

    @classmethod
    def can_reach(cls, target: str) -> bool:
        """https://www.twilio.com/docs/voice/twiml/stream (read 2026-11-29): streams use port 443."""
        return not target.startswith("wss:") or urlsplit(target).port in (None, 443)

    def media_url(self, recording_id: str, known_url: str) -> str:
        account, recording = self.account_id, quote(recording_id, safe="")
        return f"{self.site.api_url}/2010-04-01/Accounts/{account}/Recordings/{recording}.wav"

    def calls_page(self, since: datetime, cursor: str) -> tuple[list[CallReport], str]:
        where = page_after(cursor, HISTORY_PAGE_SIZE)
        # Documented for days; a time of day gets the calls of the same day too. [U: twilio-since]
        reply = self.client().calls.page(start_time_after=since, **where)
        return [report for report in map(listed, reply) if report], cursor_after(reply)

    def recordings_page(self, since: datetime, cursor: str) -> tuple[list[RecordingReport], str]:
        where = page_after(cursor, HISTORY_PAGE_SIZE)
        reply = self.client().recordings.page(date_created_after=since, **where)
        # Recordings of conferences have no call.
        return [recording_of(recording) for recording in reply if recording.call_sid], cursor_after(reply)

    # -- requests -----------------------------------------------------------------------------------------------------

    def client(self) -> Client:
        # A non-empty environment stops the SDK from reading os.environ.
        return Client(
            self.account_id,
            self.auth_token,
            http_client=SharedHttpClient(self.site.api_url, self.timeouts()),
            environment={"TWILIO_REGION": ""},
        )

    def _reply(self, send: Callable[[Client], object]) -> Any:
        """Make an SDK call and return the JSON of its reply. What becomes a snapshot is read of this."""
        client = self.client()
        send(client)
        http_client: Any = client.http_client
        return json.loads(http_client.reply.text)

    def _numbers_like(self, number: str) -> list[NumberRecord]:
        return numbers_of(self.client().incoming_phone_numbers.page(phone_number=f"+{number}", page_size=PAGE_SIZE))

    def _number(self, number_id: str) -> NumberRecord | None:
        return self.find(
            lambda: number_of(self._reply(lambda client: client.incoming_phone_numbers(number_id).fetch()))
        )

    def _listed(self, cursor: str) -> tuple[list[ListedNumber], str]:
        reply = self.client().incoming_phone_numbers.page(**page_after(cursor, LISTED_PAGE_SIZE))
        listed = [ListedNumber.of(number, self.route_of(number.settings)) for number in numbers_of(reply)]
        return listed, cursor_after(reply)

    def _read_if_active(self, read: Callable[[], T]) -> T:
        """Do a read, and check the account's status at the same time. Raises AccountNotActive."""
        with self.reading(refusals=REFUSALS):
            found, account_status = in_parallel(read, lambda: self.ask(self._account_status))
        if account_status in INACTIVE:
            raise AccountNotActive(self.carrier, f"account status {account_status}")
        return found

    def _account_status(self) -> str:
        return word(self.client().api.v2010.accounts(self.account_id).fetch().status)

    def _update(self, number_id: str, settings: Settings) -> Settings:
        return settings_of(self._reply(lambda client: client.incoming_phone_numbers(number_id).update(**settings)))

    # -- facts --------------------------------------------------------------------------------------------------------

    def wanted(self, urls: Urls, application_id: str = "") -> Settings:
        return self.blank | {
            "voice_url": urls.answer,
            "voice_fallback_url": urls.fallback,
            "status_callback": urls.status,
        }

    def route_of(self, settings: Settings, application: Application | None = None) -> Route:
        url = settings["voice_url"]
        if settings["trunk_sid"] or settings["voice_application_sid"] or settings["voice_receive_mode"] != "voice":
            return Route.ELSEWHERE
        if url.startswith(self.site.webhooks_url):
            return Route.OURS
        return Route.NONE if not url or url.startswith(DEMO_URL) else Route.ELSEWHERE

    def status_of(self, error: Exception) -> int | None:
        if not isinstance(error, TwilioException):
            return None
        # A failed list raises a bare TwilioException with the reply as its second argument (SDK 9.13.0, base/page.py).
        reply = error.args[1] if len(error.args) > 1 else None
        return getattr(error, "status", None) or getattr(reply, "status_code", None)

    def headers_of(self, error: Exception) -> Mapping[str, str]:
        return error.headers if isinstance(error, TooManyRequests) else {}


def numbers_of(page: Any) -> list[NumberRecord]:
    """The numbers of a page, read of the reply itself as by `Twilio._reply`."""
    entries = page._payload["incoming_phone_numbers"]
    if not isinstance(entries, list):
        raise TypeError("not a list")
    return [number_of(entry) for entry in entries]


def number_of(entry: dict[str, Any]) -> NumberRecord:
    return NumberRecord(
        identifier(entry["sid"]),
        e164(entry["phone_number"]),
        voice=flag(entry["capabilities"]["voice"]),
        active=setting(entry.get("status")) in ("", "in-use"),
        settings=settings_of(entry),
    )


def settings_of(entry: dict[str, Any]) -> Settings:
    """The fields that we set and restore. Twilio sends an empty field as null or an empty string.
    [U: twilio-empty-settings]"""
    fields = OMITTED | entry
    found = {name: setting(fields[name]) or empty for name, empty in EMPTY.items()}
    if not all(SID.fullmatch(found[name]) for name in ("voice_application_sid", "trunk_sid") if found[name]):
        raise TypeError("not a SID")
    return found


def page_after(cursor: str, size: int) -> dict[str, Any]:
    """The SDK's arguments for the page at a cursor; the first page if it is empty."""
    page, _, token = cursor.partition(" ")
    return {"page_number": page or values.unset, "page_token": token or values.unset, "page_size": size}


def cursor_after(page: Any) -> str:
    """The cursor of the next page, for page_after(); empty after the last."""
    query = parse_qs(urlsplit(page.next_page_url or "").query)
    return f"{query['Page'][0]} {query.get('PageToken', [''])[0]}" if "Page" in query else ""


class Fields(dict[str, list[str]]):
    """A form as the SDK expects it."""

    def getlist(self, name: str) -> list[str]:
        return self[name]


def covers_body(webhook: Webhook) -> bool:
    """Whether the signed URL contains the hash of the body, as it does when the body is not a form."""
    claimed = parse_qs(urlsplit(webhook.url).query).get("bodySHA256", [])
    return one_fits(claimed[:1], [digest(webhook.body)])
