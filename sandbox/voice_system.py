"""A voice system at the far end of media streams: hears the caller, and says the same back.

It speaks the messages of all three carriers, as a voice bot of their customers does.
"""

import json
import logging
import socket
import threading
from dataclasses import dataclass, field
from typing import Any, Self

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

Message = dict[str, Any]

# `sessions` is the log.
logging.getLogger("websockets.server").setLevel(logging.WARNING)

MARK = "said"
VOICE_HOST = "voice.example.com"
"""Where the sandbox has a voice system when it runs as a command."""


@dataclass
class Session:
    """One stream, as the voice system saw it."""

    path: str
    host: str
    headers: dict[str, str]
    messages: list[Message] = field(default_factory=list)

    @property
    def events(self) -> list[str]:
        """What was received, each kind of message once, in order."""
        return list(dict.fromkeys(message["event"] for message in self.messages))

    @property
    def start(self) -> Message:
        return next(message for message in self.messages if message["event"] == "start")

    @property
    def heard(self) -> list[str]:
        """What the caller said: the payloads, in base64."""
        return [message["media"]["payload"] for message in self.messages if message["event"] == "media"]


class VoiceSystem:
    """A WebSocket server on a port of 127.0.0.1; `sessions` lists its streams.

    Args:
        ends_after: hang up when the caller has said this many messages and the carrier has played the answers; if None,
            listen until the caller hangs up.
        breaks_off: drop the connection at that moment instead of closing it.
    """

    def __init__(self, *, ends_after: int | None = None, breaks_off: bool = False) -> None:
        self.sessions: list[Session] = []
        self._ends_after = ends_after
        self._breaks_off = breaks_off
        # It reads all that the caller says, also while it closes the connection.
        self._server = serve(self._serve, "127.0.0.1", 0, compression=None, max_queue=None)
        self.address = f"127.0.0.1:{self._server.socket.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, name="voice system", daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()

    def _serve(self, connection: ServerConnection) -> None:
        assert connection.request
        headers = dict(connection.request.headers.raw_items())
        session = Session(connection.request.path, headers["Host"], headers)
        self.sessions.append(session)
        try:
            for text in connection:
                message = json.loads(text)
                session.messages.append(message)
                if message["event"] in ("mark", "playedStream"):
                    return
                if message["event"] == "media":
                    self._answer(connection, session, message["media"]["payload"])
        except ConnectionClosed:
            pass

    def _answer(self, connection: ServerConnection, session: Session, payload: str) -> None:
        heard = len(session.heard)
        if self._ends_after is not None and heard > self._ends_after:
            return
        connection.send(json.dumps(spoken(session.start, payload)))
        if heard == self._ends_after:
            if self._breaks_off:
                connection.socket.shutdown(socket.SHUT_RDWR)
            else:
                connection.send(json.dumps(mark(session.start)))


def spoken(start: Message, payload: str) -> Message:
    """The message that makes a carrier play this audio, mu-law in base64, in the stream that began with `start`."""
    if "streamId" in start["start"]:
        return {"event": "playAudio", "media": {"contentType": "audio/x-mulaw", "sampleRate": 8000, "payload": payload}}
    return {"event": "media", "media": {"payload": payload}} | _named(start)


def mark(start: Message) -> Message:
    """The message that makes a carrier tell when everything before it was played."""
    if "streamId" in start["start"]:
        return {"event": "checkpoint", "streamId": start["start"]["streamId"], "name": MARK}
    return {"event": "mark", "mark": {"name": MARK}} | _named(start)


def _named(start: Message) -> Message:
    """Twilio demands the id of the stream in each message; Telnyx knows none there."""
    return {"streamSid": start["streamSid"]} if "streamSid" in start else {}
