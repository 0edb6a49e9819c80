"""Media streams: a call's audio, exchanged with a voice system over a WebSocket in the carrier's own messages.

Sources: twilio.com/docs/voice/media-streams/websocket-messages, plivo.com/docs/voice/audio-streaming/audio-streaming,
developers.telnyx.com/api-reference/websockets/stream-call-media-over-websocket (2026-11-30).
"""

import base64
import json
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from websockets.exceptions import ConnectionClosed, ConnectionClosedOK, WebSocketException
from websockets.sync.client import ClientConnection, connect

Message = dict[str, Any]

FRAME_MS = 20
FRAMES_PER_S = 1000 // FRAME_MS
FRAME = (b"\x9a" * 8 + b"\x1a" * 8) * 10
"""The caller's voice, a tone of 500 Hz: 20 ms of mu-law at 8 kHz."""
OPEN_S = 5
PACE_S = 0.001
"""How long the caller listens between two messages, in real seconds: long enough that a hang-up is noticed."""
PATIENCE_S = 1.0
"""How long the caller waits for the voice system to go on speaking before hanging up, in real seconds."""


class StreamFailed(Exception):
    """The stream could not be connected, or broke off; the text says why."""


@dataclass
class PlacedStream:
    """A stream that has ended. `sent` and `received` count messages with audio; `failure` says why it failed, if so."""

    url: str
    connected: bool = False
    failure: str = ""
    sent: int = 0
    received: int = 0
    marks: int = 0
    """How often the voice system asked to be told when what it said was played."""
    cleared: int = 0
    """How often the voice system took back what was not yet played."""


class Subject(NamedTuple):
    """What a stream is about. `stream`, `call` and `account` are the carrier's ids; `encoding` is its word."""

    stream: str
    call: str
    account: str
    caller: str
    called: str
    encoding: str
    parameters: dict[str, str]


class Messages:
    """A carrier's messages in one stream, in order. Each carrier has its own subclass."""

    def __init__(self, about: Subject) -> None:
        self.about = about
        self._number = self._chunk = 0

    # Implemented by subclasses

    def opening(self) -> list[Message]:
        raise NotImplementedError

    def media(self) -> Message:
        """The next 20 ms of what the caller says."""
        raise NotImplementedError

    def closing(self) -> list[Message]:
        """What is sent when the caller hangs up."""
        raise NotImplementedError

    def take(self, message: Message, placed: PlacedStream) -> Message | None:
        """Obey a message of the voice system and count it in `placed`. Returns the reply, if there is one. Raises
        StreamFailed for a message that the carrier does not know."""
        raise NotImplementedError

    def next_number(self) -> int:
        self._number += 1
        return self._number

    def next_chunk(self) -> dict[str, Any]:
        self._chunk += 1
        at_ms = (self._chunk - 1) * FRAME_MS
        payload = base64.b64encode(FRAME).decode()
        return {"track": "inbound", "chunk": str(self._chunk), "timestamp": str(at_ms), "payload": payload}


class TwilioMessages(Messages):
    def opening(self) -> list[Message]:
        about = self.about
        start = {
            "accountSid": about.account,
            "streamSid": about.stream,
            "callSid": about.call,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": about.encoding, "sampleRate": 8000, "channels": 1},
            "customParameters": about.parameters,
        }
        return [{"event": "connected", "protocol": "Call", "version": "1.0.0"}, self._of("start", start)]

    def media(self) -> Message:
        return self._of("media", self.next_chunk())

    def closing(self) -> list[Message]:
        return [self._of("stop", {"accountSid": self.about.account, "callSid": self.about.call})]

    def take(self, message: Message, placed: PlacedStream) -> Message | None:
        match message:
            case {"event": "media", "streamSid": self.about.stream, "media": {"payload": str()}}:
                placed.received += 1
            case {"event": "mark", "streamSid": self.about.stream, "mark": {"name": str(name)}}:
                placed.marks += 1
                return self._of("mark", {"name": name})
            case {"event": "clear", "streamSid": self.about.stream}:
                placed.cleared += 1
            case _:
                raise StreamFailed("31951 Stream - Protocol - Invalid message")
        return None

    def _of(self, event: str, content: Message) -> Message:
        number = str(self.next_number())
        return {"event": event, "sequenceNumber": number, event: content, "streamSid": self.about.stream}


class TelnyxMessages(Messages):
    def opening(self) -> list[Message]:
        about = self.about
        start: Message = {
            "user_id": about.account,
            "call_control_id": about.call,
            "call_session_id": str(uuid.uuid5(uuid.NAMESPACE_OID, about.call)),
            "from": about.caller,
            "to": about.called,
            "tags": [],
            "client_state": "",
            "custom_parameters": about.parameters,
            "media_format": {"encoding": about.encoding, "sample_rate": 8000, "channels": 1},
        }
        return [{"event": "connected", "version": "1.0.0"}, self._of("start", start)]

    def media(self) -> Message:
        return self._of("media", self.next_chunk())

    def closing(self) -> list[Message]:
        return [self._of("stop", {"user_id": self.about.account, "call_control_id": self.about.call})]

    def take(self, message: Message, placed: PlacedStream) -> Message | None:
        match message:
            case {"event": "media", "media": {"payload": str()}}:
                placed.received += 1
            case {"event": "mark", "mark": {"name": str(name)}}:
                placed.marks += 1
                return self._of("mark", {"name": name})
            case {"event": "clear"}:
                placed.cleared += 1
            case _:
                raise StreamFailed("malformed frame")
        return None

    def _of(self, event: str, content: Message) -> Message:
        number = str(self.next_number())
        return {"event": event, "sequence_number": number, event: content, "stream_id": self.about.stream}


class PlivoMessages(Messages):
    def opening(self) -> list[Message]:
        about = self.about
        start = {
            "callId": about.call,
            "streamId": about.stream,
            "accountId": about.account,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": about.encoding, "sampleRate": 8000},
        }
        return [self._of("start", {"start": start, "extra_headers": self._headers})]

    def media(self) -> Message:
        chunk = self.next_chunk()
        media = chunk | {"chunk": int(chunk["chunk"])}
        return self._of("media", {"streamId": self.about.stream, "media": media, "extra_headers": self._headers})

    def closing(self) -> list[Message]:
        """Plivo documents no message for the end: it closes the connection."""
        return []

    def take(self, message: Message, placed: PlacedStream) -> Message | None:
        match message:
            case {"event": "playAudio", "media": {"contentType": str(), "sampleRate": int(), "payload": str()}}:
                placed.received += 1
            case {"event": "checkpoint", "streamId": self.about.stream, "name": str(name)}:
                placed.marks += 1
                return {"event": "playedStream", "streamId": self.about.stream, "name": name}
            case {"event": "clearAudio", "streamId": self.about.stream}:
                placed.cleared += 1
                return self._of("clearedAudio", {"streamId": self.about.stream})
            case _:
                raise StreamFailed("invalid event")
        return None

    @property
    def _headers(self) -> str:
        return ";".join(f"{name}={value}" for name, value in self.about.parameters.items())

    def _of(self, event: str, content: Message) -> Message:
        return {"event": event, "sequenceNumber": self.next_number(), **content}


def open_connection(url: str, hosts: Mapping[str, str], headers: Mapping[str, str]) -> ClientConnection:
    """Connect with a voice system.

    Args:
        url: a `wss:` URL. The connection itself is not encrypted, as it does not leave this machine.
        hosts: the addresses of hosts, as `127.0.0.1:9001`, in place of a name server. There are no others.
        headers: those of the handshake, by which the carrier signs it.

    Raises StreamFailed.
    """
    parts = urlsplit(url)
    if parts.scheme != "wss":
        raise StreamFailed("the URL is not wss:")
    address = hosts.get(parts.hostname or "")
    if address is None:
        raise StreamFailed("the host is not known")
    host, _, port = address.rpartition(":")
    try:
        local = socket.create_connection((host, int(port)), timeout=OPEN_S)
    except OSError:
        raise StreamFailed("the connection was refused") from None
    try:
        # The caller must be able to send while the voice system does not read, so that what it says is always taken.
        return connect(
            urlunsplit(parts._replace(scheme="ws")), sock=local, additional_headers=headers, open_timeout=OPEN_S,
            close_timeout=PATIENCE_S, compression=None, max_queue=None, proxy=None,
        )  # fmt: skip
    except (OSError, WebSocketException) as error:
        local.close()
        raise StreamFailed(f"the handshake failed: {error}") from None


def exchange(connection: ClientConnection, messages: Messages, talk_s: int, placed: PlacedStream) -> bool:
    """Let the caller talk for `talk_s` seconds, faster than in real time, and then listen until the voice system closes
    the connection or is silent. Returns whether the caller ended the stream. Raises StreamFailed if it breaks off."""
    with connection:
        try:
            for message in messages.opening():
                connection.send(json.dumps(message))
            for _ in range(talk_s * FRAMES_PER_S):
                connection.send(json.dumps(messages.media()))
                placed.sent += 1
                _listen(connection, messages, PACE_S, placed)
        except ConnectionClosed:
            pass  # what was said before is still heard
        try:
            _listen(connection, messages, PATIENCE_S, placed)
            for message in messages.closing():
                connection.send(json.dumps(message))
        except ConnectionClosedOK:
            return False
        except ConnectionClosed:
            raise StreamFailed("the connection was lost") from None
    return True


def _listen(connection: ClientConnection, messages: Messages, patience_s: float, placed: PlacedStream) -> None:
    """Obey what the voice system says until it is silent for this long."""
    while True:
        try:
            message = json.loads(connection.recv(timeout=patience_s))
        except TimeoutError:
            return
        except ValueError:
            raise StreamFailed("a message was not JSON") from None
        reply = messages.take(message, placed)
        if reply:
            connection.send(json.dumps(reply))
