"""The services of deploy/, as processes of this machine: there is no Docker engine in the tests.

What Docker would do is done by hand: the image's folder is made by the Dockerfile's own lines, each service gets its
command and its environment from the two compose files, and the names of hosts become addresses of this machine.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import requests
import yaml

from sandbox.ports import free_ports
from sandbox.replica_set import ReplicaSet, mongod
from tests.support import PROJECT
from tests.support.carriers import CARRIERS
from tests.support.live import wait_until_ready

DEPLOY = PROJECT / "deploy"
ENDS_WITHIN_S = 45


class Compose(yaml.SafeLoader):
    """Compose's own tags: what stands beside them replaces what was there."""


def sequence(loader: Compose, node: yaml.Node) -> list[Any]:
    assert isinstance(node, yaml.SequenceNode)
    return loader.construct_sequence(node)


Compose.add_constructor("!override", sequence)
Compose.add_constructor("!reset", lambda loader, node: None)


def services() -> dict[str, dict[str, Any]]:
    """Each service of compose.yaml with what sandbox.yaml changes."""
    merged: dict[str, dict[str, Any]] = {}
    for name in ("compose.yaml", "sandbox.yaml"):
        document = yaml.load((DEPLOY / name).read_text(), Compose)  # noqa: S506
        for service, given in document["services"].items():
            before = merged.setdefault(service, {})
            environment = before.get("environment", {}) | given.get("environment", {})
            merged[service] = before | given | {"environment": environment}
    return merged


class Image:
    """The folder, the environment and the command that the Dockerfile makes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env: dict[str, str] = {}
        self.command: list[str] = []
        admitted = set(re.findall(r"^!(\S+)", (DEPLOY / "Dockerfile.dockerignore").read_text(), re.MULTILINE))
        for line in (DEPLOY / "Dockerfile").read_text().splitlines():
            word, _, rest = line.partition(" ")
            if word == "COPY":
                *sources, target = rest.split()
                assert admitted >= set(sources), f"{sources} are left out by Dockerfile.dockerignore"
                for source in sources:
                    self.copy(PROJECT / source, folder / target / ("" if (PROJECT / source).is_dir() else source))
            elif word == "ENV":
                self.env |= dict(pair.split("=", 1) for pair in rest.split())
            elif word == "CMD":
                self.command = json.loads(rest)

    @staticmethod
    def copy(source: Path, target: Path) -> None:
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.sqlite3*"))
        else:
            shutil.copy(source, target)


class Stack:
    """Services that run, by their names."""

    def __init__(self, image: Image, here: dict[str, str], logs: Path) -> None:
        self.image, self.here, self.logs = image, here, logs
        self.services = services()
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def on_this_machine(self, text: str) -> str:
        return re.sub("|".join(map(re.escape, self.here)), lambda found: self.here[found[0]], text)

    def env(self, name: str) -> dict[str, str]:
        given = self.image.env | self.services[name]["environment"]
        return os.environ | {name: self.on_this_machine(value) for name, value in given.items()}

    def start(self, name: str) -> "subprocess.Popen[bytes]":
        for volume in self.services[name].get("volumes", []):
            source, target, _ = volume.split(":")
            (self.image.folder / Path(target).name).symlink_to((DEPLOY / source).resolve())
        first, *rest = self.services[name].get("command") or self.image.command
        programs = {"python": [sys.executable]}
        words = [self.on_this_machine(word) for word in rest]
        path = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        with (self.logs / name).open("wb") as log:
            command = programs.get(first, [first]) + words
            self.running[name] = subprocess.Popen(
                command,
                cwd=self.image.folder,
                env=self.env(name) | path,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self.running[name]

    def said(self, name: str) -> str:
        return (self.logs / name).read_text()

    def wait_for(self, name: str, text: str) -> None:
        give_up_at = time.monotonic() + 30
        while text not in self.said(name):
            assert time.monotonic() < give_up_at and self.running[name].poll() is None, self.said(name)
            time.sleep(0.1)

    def kill(self) -> None:
        for process in self.running.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def stack(tmp_path: Path, redis_url: str) -> Iterator[Stack]:
    if mongod() is None:
        pytest.skip("there is no mongod that runs on this machine")
    image, logs = tmp_path / "image", tmp_path / "logs"
    image.mkdir()
    logs.mkdir()
    web1, web2, carriers = map(str, free_ports(3))
    with ReplicaSet(3) as replica_set:
        here = {
            "mongodb://mongo1,mongo2,mongo3/phones?replicaSet=phones": replica_set.url("phones"),
            "redis://redis:6379/0": redis_url, "0.0.0.0": "127.0.0.1",  # noqa: S104
            "8000": web1, "8002": web2, "8100": carriers,
        }  # fmt: skip
        stack = Stack(Image(image), here, logs)
        try:
            yield stack
        finally:
            stack.kill()


def test_the_services_work_together(stack: Stack, redis_url: str) -> None:
    assert stack.start("migrate").wait(60) == 0, stack.said("migrate")
    for name in ("web1", "web2", "sandbox"):  # the servers without what only the sandbox has
        stack.start(name)
    urls = [f"http://127.0.0.1:{stack.here[port]}" for port in ("8000", "8002")]
    for url, name in zip(urls, ("web1", "web2"), strict=True):
        wait_until_ready(int(url.rpartition(":")[2]), stack.running[name])
    command = [sys.executable, "manage.py", "create_workspace", "Acme", "--email", "ann@acme.example"]
    made = subprocess.run(
        command, cwd=stack.image.folder, env=stack.env("web1"), capture_output=True, text=True, check=True
    )
    tenant = json.loads(made.stdout)
    headers = {"Authorization": f"Bearer {tenant['token']}"}

    for place, (carrier, good) in enumerate(CARRIERS.items()):
        body = {
            "userId": tenant["userId"], "phoneNumber": good.number, "integration": carrier,
            "authToken": good.auth_token,
        } | ({"accSId": good.acc_sid} if good.acc_sid else {})  # fmt: skip
        added = requests.post(f"{urls[place % 2]}/api/call/add-phone", json=body, headers=headers, timeout=30)
        assert added.status_code == 201, added.text
        placed = requests.post(
            f"http://127.0.0.1:{stack.here['8100']}/_sandbox/calls",
            json={"carrier": carrier, "number": good.number}, timeout=30,
        )  # fmt: skip
        assert placed.status_code == 200, placed.text
    for url in urls:
        calls = requests.get(f"{url}/api/call/calls", headers=headers, timeout=30).json()["data"]["items"]
        assert {(call["integration"], call["status"]) for call in calls} == {(name, "completed") for name in CARRIERS}

    with redis.Redis.from_url(redis_url) as counters:
        assert counters.dbsize(), "the limits are counted in Redis"
    for name in ("reconcile", "purge"):
        stack.start(name)
    stack.wait_for("reconcile", "asked 3 accounts for missed calls")
    stack.wait_for("purge", "deleted 0 events")
    for name in ("web1", "web2", "reconcile"):
        stack.running[name].send_signal(signal.SIGTERM)
        assert stack.running[name].wait(ENDS_WITHIN_S) == 0, stack.said(name)
        assert "Traceback" not in stack.said(name)


def test_what_makes_the_replica_set_names_its_members(stack: Stack) -> None:
    members = {name for name, service in stack.services.items() if "--replSet" in service.get("command", [])}
    assert members == {"mongo1", "mongo2", "mongo3"}
    script = stack.services["mongo1"]["healthcheck"]["test"][-1].replace("$$", "$")
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node to run the script")
    # mongosh is JavaScript; here are the three things that the script asks of it.
    shell = """
        let initiated, ended
        const rs = {
          status() { if (!initiated) throw new Error("not yet"); return {members: [{stateStr: "PRIMARY"}]} },
          initiate(config) { initiated = config },
        }
        const quit = (code) => { ended = code }
    """
    told = f"{shell}\n{script}\nconsole.log(JSON.stringify({{initiated, ended}}))"
    done = subprocess.run([node, "-e", told], capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    assert result["ended"] == 0
    assert {one["host"] for one in result["initiated"]["members"]} == {f"{name}:27017" for name in members}
    assert result["initiated"]["_id"] == "phones"
