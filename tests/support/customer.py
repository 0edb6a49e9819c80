"""The webhooks of a customer whom the simulated carriers call, and a line at each carrier that leads there."""

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, parse_qsl, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from plivo.utils import validate_v3_signature
from twilio.request_validator import RequestValidator

from sandbox import state as seeds
from sandbox.sandbox import Sandbox

OURS = "https://ours.example.com"
CALLER = "+441632960083"
HOST = "voice.example.com"
URL = f"wss://{HOST}/calls/1"
"""Of the customer's voice system."""


class Fields(dict[str, list[str]]):
    """A form as the vendors' validators read it: repeated names keep all their values."""

    def getlist(self, name: str) -> list[str]:
        return self[name]

    def flat(self) -> dict[str, str | list[str]]:
        return {name: values[0] if len(values) == 1 else values for name, values in self.items()}


@dataclass
class Received:
    method: str
    path: str
    query: str
    form: dict[str, str]
    valid: bool


@dataclass
class Webhooks:
    """A web server that answers documents by path and asks the vendor's own validator about every request."""

    documents: dict[str, str | tuple[int, str, str]] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    validate: Callable[[str, str, bytes, dict[str, str]], bool] = field(default=lambda *_: False)
    url: str = ""

    def paths(self) -> list[str]:
        return [one.path for one in self.received]

    def forms(self, path: str) -> list[dict[str, str]]:
        return [one.form for one in self.received if one.path == path]

    def form(self, path: str) -> dict[str, str]:
        (form,) = self.forms(path)
        return form


@contextmanager
def serving() -> Iterator[Webhooks]:
    """The webhooks, while the block lasts."""
    hooks = Webhooks()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            url = urlsplit(self.path)
            form = dict(parse_qsl(body.decode() if body else url.query, keep_blank_values=True))
            valid = hooks.validate(self.command, OURS + self.path, body, dict(self.headers))
            hooks.received.append(Received(self.command, url.path, url.query, form, valid))
            document = hooks.documents.get(url.path, "<Response/>")
            status, text, kind = document if isinstance(document, tuple) else (200, document, "text/xml; charset=utf-8")
            self.send_response(status if valid else 403)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = answer

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hooks.url = f"http://127.0.0.1:{server.server_address[1]}"
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield hooks
    server.shutdown()
    server.server_close()


def twilio_valid(method: str, url: str, body: bytes, headers: dict[str, str]) -> bool:
    params = Fields(parse_qs(body.decode(), keep_blank_values=True)) if method == "POST" else {}
    return RequestValidator(seeds.TWILIO_TOKEN).validate(url, params, headers["X-Twilio-Signature"])


def plivo_valid(method: str, url: str, body: bytes, headers: dict[str, str]) -> bool:
    params = Fields(parse_qs(body.decode(), keep_blank_values=True)).flat() if method == "POST" else {}
    nonce, signature = headers["X-Plivo-Signature-V3-Nonce"], headers["X-Plivo-Signature-V3"]
    return validate_v3_signature(method, url, nonce, seeds.PLIVO_TOKEN, signature, params)


def telnyx_valid(method: str, url: str, body: bytes, headers: dict[str, str]) -> bool:
    account = seeds.seeded().account("telnyx", seeds.TELNYX_ACCOUNT)
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(account.public_key()))
    headers = {name.lower(): value for name, value in headers.items()}
    signature = base64.b64decode(headers["telnyx-signature-ed25519"])
    try:
        key.verify(signature, headers["telnyx-timestamp"].encode() + b"|" + body)
    except InvalidSignature:
        return False
    return True


@dataclass(frozen=True)
class Line:
    """A number of a carrier and that carrier's words for what all of them do."""

    carrier: str
    account: str
    number: str
    validate: Callable[[str, str, bytes, dict[str, str]], bool]
    say: str
    dial: str
    refuse: str
    refused: str
    call_id: str
    recording_id: str
    recording_url: str

    def voicemail(self, more: str = "") -> str:
        callbacks = 'callbackUrl="/recorded"' if self.carrier == "plivo" else 'recordingStatusCallback="/recorded"'
        return (
            f"<Response><{self.say}>Leave a message.</{self.say}>"
            f'<Record action="/done" maxLength="120" {callbacks} {more}/><Hangup/></Response>'
        )


TWILIO = Line(
    "twilio",
    seeds.TWILIO_SID,
    "12125551234",
    twilio_valid,
    "Say",
    '<Dial callerId="+12125551234" record="record-from-answer-dual" recordingStatusCallback="/recorded" action="/dialed">'
    '<Number statusCallback="/leg" statusCallbackEvent="initiated ringing answered completed">+441632960001</Number></Dial>',
    '<Reject reason="busy"/>',
    "busy",
    "CallSid",
    "RecordingSid",
    "RecordingUrl",
)
TELNYX = Line(
    "telnyx",
    seeds.TELNYX_ACCOUNT,
    "13125551234",
    telnyx_valid,
    "Say",
    TWILIO.dial,
    '<Reject reason="busy"/>',
    "busy",
    "CallSid",
    "RecordingSid",
    "RecordingUrl",
)
PLIVO = Line(
    "plivo",
    seeds.PLIVO_ID,
    "14155551234",
    plivo_valid,
    "Speak",
    '<Record startOnDialAnswer="true" redirect="false" maxLength="14400" recordChannelType="stereo" callbackUrl="/recorded"/>'
    '<Dial callerId="14155551234" action="/dialed" callbackUrl="/leg"><Number>441632960001</Number></Dial>',
    '<Hangup reason="busy"/>',
    "completed",
    "CallUUID",
    "RecordingID",
    "RecordUrl",
)
LINES = {line.carrier: line for line in (TWILIO, PLIVO, TELNYX)}


def route(sandbox: Sandbox, line: Line, method: str = "POST") -> None:
    """Point the line at the webhooks, as the carrier's console would."""
    match line.carrier:
        case "twilio":
            urls = {"voice_url": f"{OURS}/answer?line=1", "voice_fallback_url": f"{OURS}/fallback"}
            methods = dict.fromkeys(("voice_method", "voice_fallback_method", "status_callback_method"), method)
            sandbox.console(
                "twilio", line.account, number=line.number, status_callback=f"{OURS}/status", **urls, **methods
            )
        case "plivo":
            app = seeds.PLIVO_CUSTOMER_APP
            uri = f"/v1/Account/{line.account}/Application/{app}/"
            urls = {"answer_url": f"{OURS}/answer?line=1", "fallback_answer_url": f"{OURS}/fallback"}
            methods = dict.fromkeys(("answer_method", "fallback_method", "hangup_method"), method)
            sandbox.console("plivo", line.account, application=app, hangup_url=f"{OURS}/status", **urls, **methods)
            with sandbox.lock:  # the console's own `application` is the one to edit
                sandbox.state.account("plivo", line.account).numbers[line.number]["application"] = uri
        case _:
            app = seeds.TELNYX_CUSTOMER_APP
            urls = {"voice_url": f"{OURS}/answer?line=1", "voice_fallback_url": f"{OURS}/fallback"}
            methods = dict.fromkeys(("voice_method", "status_callback_method"), method.lower())
            sandbox.console(
                "telnyx", line.account, application=app, status_callback=f"{OURS}/status", **urls, **methods
            )
            sandbox.console("telnyx", line.account, number=line.number, connection_id=app)


def only(sandbox: Sandbox, webhooks: Webhooks, carrier: str) -> Line:
    """The carrier's line, whose calls go to the webhooks."""
    line = LINES[carrier]
    route(sandbox, line)
    webhooks.validate = line.validate
    return line


def stream(line: Line, url: str = URL, **changes: str) -> str:
    """A document that connects the caller with a voice system and then says goodbye."""
    if line.carrier == "plivo":
        options = {
            "bidirectional": "true", "keepCallAlive": "true", "contentType": "audio/x-mulaw;rate=8000",
            "extraHeaders": "phoneId=p1,callId=c1", "statusCallbackUrl": "/stream",
        } | changes  # fmt: skip
        return f"<Response><Stream {attributes(options)}>{url}</Stream><Speak>Goodbye</Speak></Response>"
    options = {"url": url, "statusCallback": "/stream"}
    if line.carrier == "telnyx":
        options |= {"bidirectionalMode": "rtp", "enableReconnect": "false"}
    parameters = '<Parameter name="phoneId" value="p1"/><Parameter name="callId" value="c1"/>'
    noun = f"<Stream {attributes(options | changes)}>{parameters}</Stream>"
    return f"<Response><Connect>{noun}</Connect><Say>Goodbye</Say></Response>"


def attributes(options: dict[str, str]) -> str:
    return " ".join(f'{name}="{value}"' for name, value in options.items())
