"""The services of deploy/compose.mongodb.yaml and compose.postgres.yaml, two servers among them, work together."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
import requests

from sandbox.ports import free_ports
from sandbox.postgresql import PostgreSQL, programs
from sandbox.replica_set import ReplicaSet, mongod
from tests.support.carriers import CARRIERS
from tests.support.compose import VOLUME, Stack, services
from tests.support.live import wait_until_ready
from tests.support.sampling import one_of


@contextmanager
def mongodb() -> Iterator[dict[str, str]]:
    if mongod() is None:
        pytest.skip("there is no mongod that runs on this machine")
    with ReplicaSet(3) as replica_set:
        yield {"mongodb://mongo1,mongo2,mongo3/phones?replicaSet=phones": replica_set.url("phones")}


@contextmanager
def postgres() -> Iterator[dict[str, str]]:
    if programs() is None:
        pytest.skip("PostgreSQL is not installed")
    with PostgreSQL() as server:
        server.create("phones")
        yield {"postgres://phones@postgres/phones": server.url("phones")}


@pytest.fixture(params=one_of([mongodb, postgres]))
def stack(request: pytest.FixtureRequest, tmp_path: Path, redis_url: str) -> Iterator[Stack]:
    web1, web2, carriers = map(str, free_ports(3))
    with request.param() as address:
        here = address | {
            "redis://redis:6379/0": redis_url, "0.0.0.0": "127.0.0.1",  # noqa: S104
            "8000": web1, "8002": web2, "8100": carriers, VOLUME: str(tmp_path / "phones"),
        }  # fmt: skip
        files = ["compose.yaml", f"compose.{request.param.__name__}.yaml", "sandbox.yaml"]
        stack = Stack(tmp_path, files, here, is_confined=False)
        stack.dotenv = {name: os.environ[name] for name in ("SECRET_KEY", "CREDENTIAL_KEYS", "PUBLIC_URL")}
        with stack.ended():
            yield stack


def test_the_services_work_together(stack: Stack, redis_url: str) -> None:
    assert stack.start("migrate").wait(60) == 0, stack.said("migrate")
    stack.start("web", under="web1")
    stack.start("web", under="web2", BIND="0.0.0.0:8002")
    urls = [f"http://127.0.0.1:{stack.here[port]}" for port in ("8000", "8002")]
    for url, name in zip(urls, ("web1", "web2"), strict=True):
        wait_until_ready(int(url.rpartition(":")[2]), stack.running[name])
    tenant = stack.create_workspace()
    headers = {"Authorization": f"Bearer {tenant['token']}"}
    stack.start("sandbox")  # after the servers: the image does not contain what it brings
    stack.wait_for("sandbox", "API_URL=")

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
    stack.start("worker")
    for said in ("asked 3 accounts for missed calls", "check_phones: ok", "deleted 0 events"):
        stack.wait_for("worker", said)
    for name in ("web1", "web2", "worker"):
        assert stack.stop(name) == 0, stack.said(name)
        assert "Traceback" not in stack.said(name)


def test_what_makes_the_replica_set_names_its_members() -> None:
    made = services("compose.mongodb.yaml")
    members = {name for name, service in made.items() if "--replSet" in service.get("command", [])}
    assert members == {"mongo1", "mongo2", "mongo3"}
    script = made["mongo1"]["healthcheck"]["test"][-1].replace("$$", "$")
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
