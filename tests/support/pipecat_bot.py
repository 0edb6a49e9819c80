"""A bot of Pipecat's own code: finds out which carrier calls, decodes what the caller says, and says it back.

`python -m tests.support.pipecat_bot` with Pipecat on PYTHONPATH. It prints the address at which it listens, and then a
line of JSON for each stream: the carrier, what Pipecat read from the first messages, and the audio that it decoded. A
stream ends after one message with audio, the process when its standard input does.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

from pipecat.frames.frames import OutputAudioRawFrame
from pipecat.processors.frame_processor import FrameProcessorSetup
from pipecat.runner.utils import parse_telephony_websocket
from pipecat.serializers.plivo import PlivoFrameSerializer
from pipecat.serializers.telnyx import TelnyxFrameSerializer
from pipecat.serializers.twilio import TwilioFrameSerializer
from websockets.asyncio.server import ServerConnection, serve

RATE = 8000


class WebSocket:
    """What Pipecat uses of a FastAPI WebSocket."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection

    def iter_text(self) -> AsyncIterator[Any]:
        return aiter(self.connection)


def serializer(carrier: str, data: Any) -> Any:
    """As Pipecat's own `create_transport` makes it, without the credentials by which it would end the call."""
    kind = {"twilio": TwilioFrameSerializer, "plivo": PlivoFrameSerializer, "telnyx": TelnyxFrameSerializer}[carrier]
    encodings = [data.outbound_encoding, "PCMU"] if carrier == "telnyx" else []
    return kind(data.stream_id, *encodings, params=kind.InputParams(auto_hang_up=False))


async def talk(connection: ServerConnection) -> None:
    carrier, data = await parse_telephony_websocket(WebSocket(connection))
    pipe = serializer(carrier, data)
    await pipe.setup(FrameProcessorSetup(None, None, None, audio_in_sample_rate=RATE, audio_out_sample_rate=RATE))
    heard = None
    while heard is None:
        heard = await pipe.deserialize(await connection.recv())
    await connection.send(await pipe.serialize(OutputAudioRawFrame(heard.audio, heard.sample_rate, 1)))
    read = {name: data.get(name) for name in ("call_id", "stream_id", "body", "from", "to")}
    print(json.dumps({"carrier": carrier, **read, "audio": heard.audio.hex()}), flush=True)  # noqa: T201 - for the test


async def main() -> None:
    async with serve(talk, "127.0.0.1", 0, max_queue=None) as server:
        host, port = server.sockets[0].getsockname()
        print(f"{host}:{port}", flush=True)  # noqa: T201 - for the test
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
