"""Plivo: webhooks are set on an application, to which numbers are linked."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from plivo import RestClient
from plivo.exceptions import AuthenticationError
from plivo.utils.signature_v3 import construct_post_url, get_signature_v3
from plivo.xml import (
    DialElement,
    HangupElement,
    NumberElement,
    RecordElement,
    ResponseElement,
    SpeakElement,
    StreamElement,
    UserElement,
)
from requests import Response

from integrations import CARRIERS
from integrations.answers import (
    CONNECTED_S,
    SILENCE_S,
    VOICEMAIL_S,
    Dial,
    HangUp,
    Plan,
    Record,
    Reject,
    Say,
    Step,
    Stream,
)
from integrations.applications import ApplicationProvider, route_to
from integrations.base import S3_PLACES
from integrations.errors import (
    BadSignature,
    MediaMissing,
    NumberNotActive,
    NumberNotOwned,
    NumberNotUsable,
    RequestFailed,
)
from integrations.events import CallReport, ParsedEvent, Payload, RecordingReport
from integrations.languages import VOICES
from integrations.plivo.applications import PAGE_SIZE, PlivoApplications
from integrations.plivo.events import listed, parse_event, recording_of
from integrations.transport import in_parallel, no_cookies, shared_adapter
from integrations.types import (
    CarrierNumber,
    ListedNumber,
    NumberRecord,
    Settings,
    address,
    e164,
    flag,
    identifier,
    setting,
)
from integrations.webhooks import Urls, Webhook, digest, one_fits

OFFICIAL_URL = "https://api.plivo.com"
DELETED = 204
PAGES_AT_ONCE = 10
# More than any account has: a greater count is nonsense, and would be asked for page by page.
MAX_NUMBERS = 1_000_000
NONCE = re.compile(r"[A-Za-z0-9_-]{1,128}")
APPLICATION_PATH = re.compile(r"/Application/([^/]+)/?$")


class SdkError(Exception):
    """An error from the SDK, with the status and headers that the SDK drops: the session still saw the reply."""

    def __init__(self, kind: str, reply: Response | None) -> None:
        super().__init__(kind)
        self.kind = kind
        self.status = None if reply is None else reply.status_code
        self.headers: Mapping[str, str] = {} if reply is None else reply.headers


class Plivo(ApplicationProvider):
    """Plivo REST API, version 1. https://www.plivo.com/docs/numbers/api/account-phone-number (read 2026-11-23)

    All requests go through `client.request()` without `is_voice_request`: the SDK's own methods for applications send a
    POST up to three times on a 5xx, reset settings that are not passed, and cannot unlink a number.
    """

    carrier = CARRIERS["plivo"]
    # The credentials are sent in any case. [U: plivo-audio] Older recordings are stored in Amazon S3. https://www.plivo.com/docs/voice/api/recording/the-recording-object
    media_places = re.compile(r"media\.plivo\.com/v1/Account/\w+/Recording/[\w.-]+|" + S3_PLACES)
    recording_path = r"/v1/Account/%s/Recording/[\w-]+(\.wav|\.mp3)?/?"

    @property
    def applications(self) -> PlivoApplications:
        return PlivoApplications(self)

    # -- verbs --------------------------------------------------------------------------------------------------------

    def verify(self, number: str, *, application_id: str, names_application: bool = False) -> CarrierNumber:
        with self.reading():
            found, application = in_parallel(
                lambda: self._number(number),
                lambda: self.applications.look_up(application_id),
            )
        if found is None or found.number != number:
            raise NumberNotOwned(self.carrier)
        if not found.active:
            raise NumberNotActive(self.carrier)
        if not found.voice:
            raise NumberNotUsable(self.carrier)
        return CarrierNumber(number, found.settings, self.route_of(found.settings, application), application)

    def list_numbers(self, cursor: str) -> tuple[list[ListedNumber], str]:
        offset = int(cursor or "0")
        with self.reading():
            (found, is_last), ours = in_parallel(
                lambda: self.ask(lambda: self.page("Number", number_of, offset)),
                self.applications.ours,
            )
        numbers = [ListedNumber.of(record, route_to(record.settings["application_id"], ours)) for record in found]
        return numbers, "" if is_last else str(offset + PAGE_SIZE)

    # -- receiving ----------------------------------------------------------------------------------------------------

    @classmethod
    def check_signature(cls, webhook: Webhook, *, auth_tokens: Iterable[str], public_key: str) -> str:
        """V3: HMAC-SHA256 over the URL, the sorted fields and a nonce. V2 does not cover the fields, so it is rejected.
        https://docs.plivo.com/docs/voice/concepts/signature-validation (read 2026-11-23)"""
        nonce = webhook.headers.get("X-Plivo-Signature-V3-Nonce", "")
        # The second is signed with the main account's token even for a call of a subaccount.
        headers = ("X-Plivo-Signature-V3", "X-Plivo-Signature-Ma-V3")
        given = [signature.strip() for name in headers for signature in webhook.headers.get(name, "").split(",")]
        # The fields and the nonce are signed with a dot between them; with a dot in the nonce, the end of the body
        # could pass as the start of the nonce.
        if not NONCE.fullmatch(nonce) or not any(given):
            raise BadSignature("X-Plivo-Signature-V3 or its nonce is missing")
        try:
            signed = construct_post_url(webhook.url, webhook.form()).decode()
        except UnicodeError:
            raise BadSignature("the query cannot be read") from None
        if not one_fits(given, (get_signature_v3(token, signed, nonce).decode() for token in auth_tokens)):
            raise BadSignature("X-Plivo-Signature-V3 does not fit")
        return digest(signed.encode())

    @classmethod
    def parse_event(cls, payload: Payload) -> ParsedEvent:
        return parse_event(payload)

    @classmethod
    def render_answer(cls, plan: Plan, urls: Urls) -> str:
        """https://www.plivo.com/docs/voice/xml (read 2026-11-29). Without a caller id, the caller's own number
        is sent."""
        response = ResponseElement()
        for step in plan:
            for element in elements_of(step, urls):
                response.add(element)
        return response.to_string(pretty=False)

    def media_url(self, recording_id: str, known_url: str) -> str:
        if known_url:
            return known_url
        with self.reading():
            url = self.find(lambda: address(self.request("GET", "Recording", recording_id).recording_url))
        if url is None:
            raise MediaMissing(self.carrier)
        return url

    def calls_page(self, since: datetime, cursor: str) -> tuple[list[CallReport], str]:
        return self._history("Call", listed, cursor, end_time__gt=since)

    def recordings_page(self, since: datetime, cursor: str) -> tuple[list[RecordingReport], str]:
        return self._history("Recording", recording_of, cursor, add_time__gt=since)

    # -- requests -----------------------------------------------------------------------------------------------------

    def client(self, replies: list[Response]) -> RestClient:
        """A client for one request: clients must not be shared between threads. Their connections are shared."""
        client = RestClient(self.account_id, self.auth_token, timeout=self.timeouts())
        client.session.cookies = no_cookies()
        client.session.mount(OFFICIAL_URL, shared_adapter(OFFICIAL_URL, self.site.api_url))
        client.session.hooks["response"].append(lambda reply, **_: replies.append(reply))
        return client

    def request(self, method: str, *path: str, **data: Any) -> Any:
        """Send one request through the SDK and return its reply."""
        replies: list[Response] = []
        try:
            reply = self.client(replies).request(method, path, data)
        except RequestFailed:
            raise
        except Exception as error:
            raise SdkError(type(error).__name__, replies[-1] if replies else None) from None
        if method == "DELETE" and replies[-1].status_code != DELETED:
            raise ValueError("the reply to DELETE is not a 204")
        return reply

    def change(self, *path: str, **data: Any) -> None:
        """Send a change. The reply must be a confirmation, or the change may not have happened; it does not include
        the new state."""
        if not isinstance(self.request("POST", *path, **data).message, str):
            raise TypeError("not a confirmation")

    def page(self, resource: str, parse: Any, offset: int, **query: Any) -> tuple[list[Any], bool]:
        """A page of a list, and whether it is the last."""
        reply = self.request("GET", resource, limit=PAGE_SIZE, offset=offset, **query)
        return entries_of(reply, parse), not setting(reply.meta.next)

    def all_numbers(self) -> list[NumberRecord]:
        """All the account's numbers: the first page says how many there are, the others are read in parallel. Raises
        RequestFailed."""
        numbers, total = self.ask(self._first_numbers)
        reads = [
            partial(self.ask, partial(self.page, "Number", number_of, offset))
            for offset in range(PAGE_SIZE, total, PAGE_SIZE)
        ]
        for start in range(0, len(reads), PAGES_AT_ONCE):
            for page, _ in in_parallel(*reads[start : start + PAGES_AT_ONCE]):
                numbers += page
        return numbers

    def _first_numbers(self) -> tuple[list[NumberRecord], int]:
        """Called within ask(): the first page of the account's numbers, and how many numbers there are."""
        reply = self.request("GET", "Number", limit=PAGE_SIZE, offset=0)
        total = reply.meta.total_count
        if isinstance(total, bool) or not isinstance(total, int) or not 0 <= total <= MAX_NUMBERS:
            raise TypeError("not a count")
        return entries_of(reply, number_of), total

    def _history(self, resource: str, parse: Any, cursor: str, **since: datetime) -> tuple[list[Any], str]:
        """A page of entries since then, without those for which `parse` returns None. Times are sent in UTC.
        [U: plivo-since]"""
        offset = int(cursor or "0")
        times = {name: time.strftime("%Y-%m-%d %H:%M:%S") for name, time in since.items()}
        entries, is_last = self.page(resource, parse, offset, **times)
        return [entry for entry in entries if entry], "" if is_last else str(offset + PAGE_SIZE)

    def _number(self, number_id: str) -> NumberRecord | None:
        return self.find(lambda: number_of(self.request("GET", "Number", number_id)))

    def _update(self, number_id: str, settings: Settings) -> None:
        # Null unlinks; to leave it out would link the account's default application. [U: plivo-unlinking]
        self.change("Number", number_id, app_id=settings["application_id"] or None)

    def kind_of(self, linked_id: str) -> str:
        """The same field of a number can name a Zentrunk trunk, but there is no way to tell whether a trunk exists.
        [U: plivo-links-elsewhere]"""
        return "application" if self.applications.read(linked_id) else ""

    # -- facts --------------------------------------------------------------------------------------------------------

    def status_of(self, error: Exception) -> int | None:
        if not isinstance(error, SdkError):
            return None
        # The SDK rejects a malformed Auth ID without sending a request; Plivo others with 401 or 403.
        # [U: plivo-refusals]
        return 401 if error.status is None and error.kind == AuthenticationError.__name__ else error.status

    def headers_of(self, error: Exception) -> Mapping[str, str]:
        return error.headers if isinstance(error, SdkError) else {}


def elements_of(step: Step, urls: Urls) -> list[Any]:
    """The elements of a document for a step."""
    match step:
        case Say(language=language):
            return [SpeakElement(part, voice=VOICES[language], language=language) for part in step.parts()]
        case Record():
            return [
                RecordElement(
                    action=urls.done, redirect=False, max_length=VOICEMAIL_S, timeout=SILENCE_S, finish_on_key="#",
                    play_beep=True, file_format="wav", callback_url=urls.recording, callback_method="POST",
                )
            ]  # fmt: skip
        case Dial():
            # Must precede Dial, or nothing is recorded; without max_length it stops after a minute.
            recording = RecordElement(
                start_on_dial_answer=True, redirect=False, max_length=CONNECTED_S, file_format="wav",
                record_channel_type="stereo", callback_url=urls.recording, callback_method="POST",
            )  # fmt: skip
            dial = DialElement(
                caller_id=None if step.is_sip else step.our_number, action=urls.done, timeout=step.ring_s,
                time_limit=CONNECTED_S,
            )  # fmt: skip
            dial.add((UserElement if step.is_sip else NumberElement)(step.target))
            return [recording, dial] if step.record else [dial]
        case Stream():
            return [
                StreamElement(
                    step.url, bidirectional=True, keepCallAlive=True, contentType="audio/x-mulaw;rate=8000",
                    extraHeaders=",".join(f"{name}={value}" for name, value in step.parameters.items()),
                    statusCallbackUrl=urls.status, statusCallbackMethod="POST",
                )
            ]  # fmt: skip
        case Reject():
            return [HangupElement(reason="rejected")]
        case HangUp():
            return [HangupElement()]


def entries_of(reply: Any, parse: Any) -> list[Any]:
    if not isinstance(reply.objects, list):
        raise TypeError("not a list")
    return [parse(entry) for entry in reply.objects]


def number_of(reply: Any) -> NumberRecord:
    number = e164(reply.number)
    return NumberRecord(
        number,
        number,
        voice=flag(getattr(reply, "voice_enabled", True)),
        active=flag(getattr(reply, "active", True)),
        settings={"application_id": linked_to(setting(reply.application))},
    )


def linked_to(path: str) -> str:
    """The id of what a number is linked to; empty if it is linked to nothing.

    Raises ValueError for a link in another form: it must not pass for none, or nothing would be restored one day.
    """
    if not path:
        return ""
    found = APPLICATION_PATH.search(path)
    if found is None:
        raise ValueError("not a link")
    return identifier(found[1])
