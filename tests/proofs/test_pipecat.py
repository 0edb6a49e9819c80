"""Pipecat's own code, from its package, accepts the streams of the simulated carriers and is heard by the caller.

Pipecat and what it imports are in a folder of their own, so that nothing else sees them:
`.venv/bin/pip install --target build/pipecat --no-deps --require-hashes -r requirements-pipecat.txt`.
"""

import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from typing import IO

import pytest

from sandbox.sandbox import Sandbox
from tests.support import PROJECT
from tests.support.carriers import CARRIERS
from tests.support.customer import CALLER, HOST, only, serving, stream

PIPECAT = PROJECT / "build/pipecat"

pytestmark = pytest.mark.skipif(not PIPECAT.is_dir(), reason="Pipecat is not installed in build/pipecat")


@pytest.fixture(scope="module")
def bot() -> Iterator[tuple[str, IO[str]]]:
    """Pipecat in a process of its own: where it listens, and what it prints."""
    command = [sys.executable, "-m", "tests.support.pipecat_bot"]
    environment = os.environ | {"PYTHONPATH": str(PIPECAT), "LOGURU_LEVEL": "WARNING"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout and process.stdin
        yield process.stdout.readline().strip(), process.stdout
        process.stdin.close()
    assert process.returncode == 0


@pytest.mark.parametrize("carrier", sorted(CARRIERS))
def test_pipecat_accepts_the_stream_and_is_heard(bot: tuple[str, IO[str]], carrier: str) -> None:
    address, printed = bot
    with serving() as webhooks, Sandbox() as sandbox:
        sandbox.deliver_to, sandbox.hosts[HOST] = webhooks.url, address
        line = only(sandbox, webhooks, carrier)
        webhooks.documents["/answer"] = stream(line)
        call = sandbox.place_call(carrier, line.number, talk_s=1)
    (placed,) = call.streams
    assert (placed.connected, placed.failure, placed.received) == (True, "", 1)
    read = json.loads(printed.readline())
    assert (read["carrier"], read["call_id"]) == (carrier, call.id)
    # Of the parameters, Pipecat reads Twilio's only; of the numbers, Telnyx's.
    assert read["body"] == ({"phoneId": "p1", "callId": "c1"} if carrier == "twilio" else {})
    assert (read["from"], read["to"]) == ((CALLER, f"+{line.number}") if carrier == "telnyx" else (None, None))
    samples = struct.unpack("<160h", bytes.fromhex(read["audio"]))
    assert samples[:8] == (samples[0],) * 8 and samples[8:16] == (-samples[0],) * 8, "the caller's tone"
