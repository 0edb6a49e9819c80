"""Three mongod, two servers, one sandbox: what these tests share. `make test-mongodb` runs them."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from sandbox.ports import free_ports
from sandbox.replica_set import ReplicaSet, mongod
from sandbox.sandbox import Sandbox
from tests.support import PROJECT
from tests.support.carriers import environment_of
from tests.support.live import SERVE, run_manage, wait_until_ready

DATABASE = "failover"


@dataclass
class Cluster:
    """Two servers on one replica set, which share nothing else."""

    replica_set: ReplicaSet
    env: dict[str, str]
    urls: list[str]
    user: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run_manage(*arguments, env=self.env)

    @contextlib.contextmanager
    def database(self) -> Iterator[Any]:
        client: MongoClient[dict[str, Any]] = MongoClient(self.replica_set.url(DATABASE), w="majority")
        with client:
            yield client[DATABASE]

    def age_leases(self) -> None:
        """As if a minute and more had passed: whoever held something is taken for dead."""
        with self.database() as database:
            for name in ("phones_account", "phones_line", "phones_phonenumber"):
                held = {"lease_until": {"$ne": None}}
                database[name].update_many(held, {"$set": {"lease_until": datetime(2020, 1, 1, tzinfo=UTC)}})


@pytest.fixture
def cluster(tmp_path: Path, sandbox: Sandbox, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Fresh; a mark `limits` sets variables."""
    if mongod() is None:
        pytest.skip("there is no mongod that runs on this machine")
    given = request.node.get_closest_marker("limits")
    ports = free_ports(2)
    with ReplicaSet(3) as replica_set, contextlib.ExitStack() as stack:
        env = os.environ | {
            "DATABASE_URL": replica_set.url(DATABASE),
            **environment_of(sandbox),
            "LIMIT_REQUESTS": "off",
            "LIMIT_ADDS": "off",
            **(given.kwargs if given else {}),
        }
        migrated = run_manage("migrate", "--verbosity", "0", env=env)
        assert migrated.returncode == 0, migrated.stderr
        made = json.loads(run_manage("create_workspace", "Cluster", "--email", "a@cluster.example.com", env=env).stdout)
        log = stack.enter_context((tmp_path / "server.log").open("wb"))
        for port in ports:
            bound = env | {"BIND": f"127.0.0.1:{port}", "WORKERS": "1"}
            server = subprocess.Popen([sys.executable, *SERVE], cwd=PROJECT, env=bound, stdout=log, stderr=log)
            stack.callback(server.wait)
            stack.callback(server.kill)
            wait_until_ready(port, server)
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        yield Cluster(replica_set, env, urls, made["userId"], made["token"])
