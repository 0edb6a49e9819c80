"""Streams a recording's audio from its carrier."""

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter

from integrations.base import Provider
from integrations.errors import (
    CarrierUnavailable,
    IntegrationError,
    InvalidCredentials,
    MediaElsewhere,
    MediaMissing,
    MediaRangeRefused,
    MediaRefused,
    RecordingNotReady,
    RequestFailed,
    is_final,
)
from integrations.transport import CHUNK_BYTES, POOL_SIZE, Deadline, no_cookies, read_environment

MAX_REDIRECTS = 3
# The file may not exist yet when the recording's callback arrives. [U: twilio-late-audio]
NOT_READY_PAUSES_S = (0.5, 1.0, 2.0)
# A client that is still reading after this time is cut off at the next chunk.
MAX_STREAM_S = 900.0
PASSED_ON = ("Content-Length", "Content-Range", "Accept-Ranges", "Last-Modified", "ETag")
PLAIN_URL = re.compile(r"https?://[A-Za-z0-9.:-]+(/[!-\[\]-~]*)?")
AUDIO = re.compile(r"audio/[a-z0-9.+-]{1,40}")
# Content types for files of unknown type; then the file extension decides.
BYTES = ("", "application/octet-stream", "binary/octet-stream")
AUDIO_TYPES = {".wav": "audio/wav", ".mp3": "audio/mpeg"}
# Recording ids come from webhooks too, and become part of a URL.
RECORDING_ID = re.compile(r"[A-Za-z0-9_:-]+")


@dataclass
class Media:
    """Audio being streamed. `status` is 200, or 206 for a range; `headers` are to be passed on to the client;
    `closed_with` holds whatever must be closed together with it."""

    status: int
    content_type: str
    headers: dict[str, str]
    response: requests.Response
    closed_with: ExitStack = field(default_factory=ExitStack)

    def __iter__(self) -> Iterator[bytes]:
        deadline = Deadline(MAX_STREAM_S)
        for chunk in self.response.raw.stream(CHUNK_BYTES, decode_content=False):
            if not deadline.remaining_s():
                raise TimeoutError("streaming the audio took too long")
            yield chunk

    def close(self) -> None:
        with self.closed_with:
            self.response.close()


def open_media(provider: Provider, recording_id: str, known_url: str, byte_range: str, *, may_be_new: bool) -> Media:
    """Request a recording's audio from the carrier, without reading the body yet.

    Args:
        known_url: the URL that the carrier reported earlier; may be empty.
        byte_range: the value of the Range header, or empty.
        may_be_new: whether the file may not exist yet, so that it is worth waiting a few seconds for it.

    Raises:
        MediaMissing, also for a URL that is not the carrier's and for a refusal; MediaRangeRefused; InvalidCredentials;
        RecordingNotReady; CarrierUnavailable, also when the content is not audio.
    """
    if not RECORDING_ID.fullmatch(recording_id):
        raise MediaMissing(provider.carrier)
    known_url = encrypted(provider, known_url)
    if known_url and not is_admitted(provider, known_url):
        raise MediaElsewhere(provider.carrier)
    pauses = iter(NOT_READY_PAUSES_S if may_be_new else ())
    while True:
        response = get(provider, provider.media_url(recording_id, known_url), byte_range)
        if response.status_code in (200, 206) and (audio_type := type_of_audio(response)):
            return Media(response.status_code, audio_type, passed_on(response), response)
        response.close()
        if response.status_code in (200, 206):
            raise CarrierUnavailable(provider.carrier, "the content at the recording's URL is not audio")
        if response.status_code == 416:
            raise MediaRangeRefused(provider.carrier)
        if known_url:
            known_url = ""  # the file may have moved: next, ask the carrier's API for its URL
            continue
        if not is_missing(provider, response, may_be_new=may_be_new):
            raise failure_of(provider, response)
        pause_s = next(pauses, None)
        if pause_s is None:
            raise RecordingNotReady(provider.carrier) if may_be_new else MediaMissing(provider.carrier)
        time.sleep(pause_s)


def failure_of(provider: Provider, response: requests.Response) -> IntegrationError:
    status = response.status_code
    detail = f"media request failed with status {status}"
    if status in (401, 403) and takes_credentials(provider, response.url):
        return InvalidCredentials(provider.carrier, detail)
    if status == 410:
        return MediaMissing(provider.carrier, detail)
    return (MediaRefused if is_final(status) else CarrierUnavailable)(provider.carrier, detail)


def is_missing(provider: Provider, response: requests.Response, *, may_be_new: bool) -> bool:
    """Whether the file is not there, or not yet. Amazon S3 then answers 403, too, unless the bucket may be listed.
    https://docs.aws.amazon.com/sdk-for-python/v4/guide/s3-errors.html (read 2026-11-30)"""
    is_hidden = response.status_code == 403 and may_be_new and not takes_credentials(provider, response.url)
    return response.status_code == 404 or is_hidden


def get(provider: Provider, url: str, byte_range: str) -> requests.Response:
    """Send a GET; follow redirects only to allowed URLs."""
    provider.site.before_waiting()
    for _ in range(MAX_REDIRECTS + 1):
        url = encrypted(provider, url)
        if not is_admitted(provider, url):
            raise MediaElsewhere(provider.carrier)
        try:
            response = media_session().get(
                url,
                headers={"Accept-Encoding": "identity"} | ({"Range": byte_range} if byte_range else {}),
                auth=provider.media_auth() if takes_credentials(provider, url) else None,
                timeout=provider.timeouts(),
                allow_redirects=False,
                **read_environment(url) | {"stream": True},
            )
            if not response.is_redirect:
                return response
            response.close()
            url = urljoin(url, response.headers["Location"])
        except (requests.RequestException, RequestFailed) as error:
            raise CarrierUnavailable(provider.carrier, f"media: {type(error).__name__}") from None
        except ValueError:
            raise MediaElsewhere(provider.carrier) from None
    raise CarrierUnavailable(provider.carrier, "media: too many redirects")


def encrypted(provider: Provider, url: str) -> str:
    """The URL with `https:`, unless it is the API's. Plivo also wrote http://s3.amazonaws.com/recordings_2013/…"""
    scheme, _, rest = url.partition("://")
    plain = f"{scheme.lower()}://{rest}"
    if not PLAIN_URL.fullmatch(plain):
        return url
    return plain if is_api(provider, plain) else f"https://{rest}"


def is_admitted(provider: Provider, url: str) -> bool:
    """Whether this URL is the carrier's. It comes from a webhook, so it must not lead into our own network (SSRF)."""
    # Reject URLs in which two parsers could see different hosts.
    if not PLAIN_URL.fullmatch(url):
        return False
    try:
        parts = urlsplit(url)
        standard = parts.username is None and parts.port in (None, 443) and parts.scheme == "https"
    except ValueError:
        return False
    if is_api(provider, url):
        return is_recording(provider, parts.path)
    return standard and bool(provider.media_places.fullmatch(f"{parts.hostname}{parts.path}"))


def is_recording(provider: Provider, path: str) -> bool:
    """Whether a path in the carrier's API is that of a recording of this account."""
    if not provider.recording_path:
        return True
    api = urlsplit(provider.site.api_url).path.rstrip("/")
    own = provider.recording_path % re.escape(provider.account_id)
    return re.fullmatch(re.escape(api) + own, path, re.ASCII) is not None


def takes_credentials(provider: Provider, url: str) -> bool:
    """Whether the account's credentials may be sent there: to the carrier itself, not to its file storage."""
    stored_elsewhere = (urlsplit(url).hostname or "").endswith(".amazonaws.com")
    return provider.media_auth() is not None and (is_api(provider, url) or not stored_elsewhere)


def is_api(provider: Provider, url: str) -> bool:
    return origin(url) == origin(provider.site.api_url)


def origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower().removesuffix(":443" if parts.scheme == "https" else ":80")


def type_of_audio(response: requests.Response) -> str:
    """The media type; empty if it is not audio, so that clients never receive web pages or other content."""
    given = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if AUDIO.fullmatch(given):
        return given
    return AUDIO_TYPES.get(urlsplit(response.url).path[-4:].lower(), "") if given in BYTES else ""


def passed_on(response: requests.Response) -> dict[str, str]:
    return {name: response.headers[name] for name in PASSED_ON if name in response.headers}


@cache
def media_session() -> requests.Session:
    session = requests.Session()
    session.cookies = no_cookies()  # type: ignore[assignment]
    session.trust_env = False  # no .netrc; proxies and certificates are passed with each request
    session.mount("http://", HTTPAdapter(pool_maxsize=POOL_SIZE))
    session.mount("https://", HTTPAdapter(pool_maxsize=POOL_SIZE))
    return session
