"""The containers of deploy/compose.yaml: one machine, SQLite on a volume, a root file system that is read-only."""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from sandbox.ports import free_port, free_ports
from sandbox.proxies import found
from tests.support.carriers import CARRIERS
from tests.support.compose import DEPLOY, VOLUME, Stack, can_confine, services
from tests.support.live import wait_until_ready
from users.models import User

FILES = ["compose.yaml", "sandbox.yaml"]


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    web, carriers = map(str, free_ports(2))
    here = {"0.0.0.0": "127.0.0.1", "8000": web, "8100": carriers}  # noqa: S104
    if not can_confine():
        here[VOLUME] = str(tmp_path / "phones")
    stack = Stack(tmp_path, FILES, here, is_confined=can_confine())
    stack.dotenv = {name: os.environ[name] for name in ("SECRET_KEY", "CREDENTIAL_KEYS", "PUBLIC_URL")}
    with stack.ended():
        yield stack


def test_one_machine_works_and_writes_only_to_its_volume(stack: Stack) -> None:
    assert stack.start("migrate").wait(60) == 0, stack.said("migrate")
    stack.start("web")
    wait_until_ready(int(stack.here["8000"]), stack.running["web"])
    # Kept from the proxy that the server may need to reach the carriers: gogs/gogs#7529.
    healthy = stack.run(
        "web", stack.image.healthcheck, HTTP_PROXY="http://127.0.0.1:9", http_proxy="http://127.0.0.1:9"
    )
    assert healthy.returncode == 0, healthy.stderr
    tenant = stack.create_workspace()
    headers = {"Authorization": f"Bearer {tenant['token']}"}
    url = f"http://127.0.0.1:{stack.here['8000']}"

    stack.start("sandbox")
    stack.wait_for("sandbox", "API_URL=")
    for good in CARRIERS.values():
        added = requests.post(
            f"{url}/api/call/add-phone", json=good.body(User(pk=tenant["userId"])), headers=headers, timeout=30
        )
        assert added.status_code == 201, added.text
        call = {"carrier": good.integration, "number": good.number}
        placed = requests.post(f"http://127.0.0.1:{stack.here['8100']}/_sandbox/calls", json=call, timeout=30)
        assert placed.status_code == 200, placed.text
    calls = requests.get(f"{url}/api/call/calls", headers=headers, timeout=30).json()["data"]["items"]
    assert {(call["integration"], call["status"]) for call in calls} == {(name, "completed") for name in CARRIERS}

    stack.start("worker")
    stack.wait_for("worker", "asked 3 accounts for missed calls")
    for name in ("worker", "web"):
        assert stack.stop(name) == 0, stack.said(name)
        assert "Traceback" not in stack.said(name)
    assert stack.run("web", stack.image.healthcheck).returncode == 1, "it is not running any more"
    (database,) = (stack.folder / "phones").glob("*.sqlite3")
    assert database.stat().st_mode & 0o077 == 0

    # The volume may have the temporary directory; AWS Fargate has no tmpfs: benoitc/gunicorn#2859.
    stack.services["web"]["tmpfs"] = []
    stack.start("web", TMPDIR=VOLUME)
    wait_until_ready(int(stack.here["8000"]), stack.running["web"])
    assert stack.stop("web") == 0
    assert not list((stack.folder / "phones").glob("phones-metrics-*"))


needs_bubblewrap = pytest.mark.skipif(not can_confine(), reason="there is no bubblewrap that works on this machine")


@needs_bubblewrap
@pytest.mark.parametrize("variables", [{}, {"TMPDIR": "/nowhere"}, {"TMPDIR": f"{VOLUME}/nothing"}])
def test_without_a_temporary_directory_the_start_ends_with_a_sentence(stack: Stack, variables: dict[str, str]) -> None:
    """benoitc/gunicorn#2859, meeb/tubesync#458."""
    stack.services["web"]["tmpfs"] = []
    ended = stack.run("web", stack.image.command, **variables)
    assert ended.returncode == 1
    assert ended.stderr.startswith("Not configured: There is no temporary folder that can be written to (")
    assert ended.stderr.endswith("Mount one at /tmp (docker run --tmpfs /tmp), or name one in TMPDIR.\n")


@pytest.mark.skipif(not found("caddy"), reason="there is no caddy here")
def test_caddy_serves_the_host_of_public_url(tmp_path: Path) -> None:
    """The Caddyfile as it is, with the variables that compose.yaml sets."""
    caddy = services("compose.yaml")["caddy"]
    assert "./Caddyfile:/etc/caddy/Caddyfile:ro" in caddy["volumes"]
    assert caddy["environment"]["PHONES_SERVER"] == "web:8000"
    assert caddy["environment"]["PUBLIC_URL"].startswith("${PUBLIC_URL:?")
    port, admin = free_port(), free_port()
    env = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "CADDY_ADMIN": f"127.0.0.1:{admin}",
        "PUBLIC_URL": f"http://127.0.0.1:{port}", "PHONES_SERVER": "127.0.0.1:9",
    }  # fmt: skip
    command = ["caddy", "run", "--adapter", "caddyfile", "--config", str(DEPLOY / "Caddyfile")]
    with subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL) as process:
        try:
            give_up_at = time.monotonic() + 20
            while time.monotonic() < give_up_at:
                with contextlib.suppress(requests.ConnectionError):
                    assert requests.get(f"http://127.0.0.1:{port}/", timeout=10).status_code == 502, (
                        "nobody is behind it"
                    )
                    return
                time.sleep(0.1)
            raise AssertionError("it did not start")
        finally:
            process.terminate()
