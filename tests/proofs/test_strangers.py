"""Webhooks are answered whatever strangers do to the server, without a proxy and behind one.

Here other tests take their part of the machine, so what is looked at is whether carriers would still be waiting: 15 s.
`python -m bench.strangers --check` compares with a server that nobody disturbs.
"""

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from sandbox.proxies import PROXIES, behind, found
from sandbox.sandbox import Sandbox
from sandbox.strangers import ATTACKS, Walls, steadily
from tests.support.carriers import TWILIO
from tests.support.knocking import PATIENCE_S, send_add, send_webhook
from tests.support.live import Live, serve


@pytest.fixture(scope="module")
def live(running_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    running_sandbox.reset()
    folder = tmp_path_factory.mktemp("live")
    # Fewer threads than there are strangers; and who sends halves is cut off while webhooks come.
    few: dict[str, Any] = {"CARRIER_SLOTS": "20", "REQUEST_READ_TIMEOUT_S": "3"}
    with serve(folder, running_sandbox, workers=2, TRUSTED_PROXY_COUNT="1", **few) as server:
        assert send_add(server, TWILIO.number).status_code == 201
        yield server


def webhooks(live: Live, sandbox: Sandbox, port: int) -> Walls:
    def call(_: int) -> float:
        status, took_s = send_webhook(live, sandbox, f"CA{uuid.uuid4().hex}", port=port)
        assert status == 200
        return took_s

    return steadily(call, per_second=10, seconds=6)


@pytest.mark.parametrize("door", ["itself", *PROXIES])
def test_strangers_keep_no_webhook_waiting(live: Live, running_sandbox: Sandbox, tmp_path: Path, door: str) -> None:
    if door in PROXIES and not found(door):
        pytest.skip(f"there is no {door} here")
    with ExitStack() as stack:
        port = live.port if door == "itself" else stack.enter_context(behind(door, live.port, tmp_path))
        workers = live.workers()
        webhooks(live, running_sandbox, port)  # all processes open their connections
        for name, attack in ATTACKS.items():
            with attack(("127.0.0.1", port)):
                walls = webhooks(live, running_sandbox, port)
            assert walls.p99 / PATIENCE_S < 1 / 3, name
        assert live.workers() == workers, "none was killed"
