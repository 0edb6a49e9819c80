"""The carriers' own SDKs, pointed at the sandbox."""

import plivo
import telnyx
from requests.adapters import HTTPAdapter
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client as TwilioClient

from integrations.sandbox import state as seeds


class ToSandbox(TwilioHttpClient):
    """Twilio's SDK has no base URL: replace it in every request."""

    def __init__(self, url: str) -> None:
        super().__init__(timeout=5)
        self.url = url

    def request(self, method, url, *args, **kwargs):
        return super().request(method, url.replace("https://api.twilio.com", self.url), *args, **kwargs)


class Rewriting(HTTPAdapter):
    """Plivo's SDK has none either."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url

    def send(self, request, *args, **kwargs):
        request.url = request.url.replace("https://api.plivo.com", self.url)
        return super().send(request, *args, **kwargs)


def twilio_client(sandbox, sid=seeds.TWILIO_SID, token=seeds.TWILIO_TOKEN):
    return TwilioClient(sid, token, http_client=ToSandbox(sandbox.twilio_url), environment={"_": ""})


def plivo_client(sandbox, auth_id=seeds.PLIVO_ID, token=seeds.PLIVO_TOKEN):
    client = plivo.RestClient(auth_id, token)
    client.session.mount("https://api.plivo.com", Rewriting(sandbox.plivo_url))
    return client


def telnyx_client(sandbox, key=seeds.TELNYX_KEY):
    return telnyx.Telnyx(api_key=key, base_url=sandbox.telnyx_url, max_retries=0)
