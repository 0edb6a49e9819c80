"""The carriers' own SDKs, pointed at the sandbox."""

from typing import Any

import plivo
import telnyx
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from twilio.http.http_client import TwilioHttpClient
from twilio.http.response import Response as TwilioResponse
from twilio.rest import Client as TwilioClient

from sandbox import state as seeds
from sandbox.sandbox import Sandbox


class ToSandbox(TwilioHttpClient):
    """Twilio's SDK has no base URL: replace it in every request."""

    def __init__(self, url: str) -> None:
        super().__init__(timeout=5)
        self.url = url

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> TwilioResponse:
        return super().request(method, url.replace("https://api.twilio.com", self.url), *args, **kwargs)


class Rewriting(HTTPAdapter):
    """Plivo's SDK has none either."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        assert request.url is not None
        request.url = request.url.replace("https://api.plivo.com", self.url)
        return super().send(request, *args, **kwargs)


def twilio_client(sandbox: Sandbox, sid: str = seeds.TWILIO_SID, token: str = seeds.TWILIO_TOKEN) -> TwilioClient:
    return TwilioClient(sid, token, http_client=ToSandbox(sandbox.twilio_url), environment={"_": ""})


def plivo_client(sandbox: Sandbox, auth_id: str = seeds.PLIVO_ID, token: str = seeds.PLIVO_TOKEN) -> plivo.RestClient:
    client = plivo.RestClient(auth_id, token)
    client.session.mount("https://api.plivo.com", Rewriting(sandbox.plivo_url))
    return client


def telnyx_client(sandbox: Sandbox, key: str = seeds.TELNYX_KEY) -> Any:
    """Not typed: to this SDK, each part of each reply may be None."""
    return telnyx.Telnyx(api_key=key, base_url=sandbox.telnyx_url, max_retries=0)
