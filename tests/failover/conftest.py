"""Servers whose database fails over: what these tests share. `make test-failover` runs them."""

import contextlib
import json
import os
import subprocess
import sys
from abc import ABC, abstractmethod
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
LEASED = ("phones_account", "phones_line", "phones_phonenumber")
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass
class Cluster(ABC):
    """Servers that share a database and nothing else."""

    env: dict[str, str]
    urls: list[str]
    user: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run_manage(*arguments, env=self.env)

    @abstractmethod
    def rows(self, table: str) -> list[dict[str, Any]]: ...

    @abstractmethod
    def age_leases(self) -> None:
        """As if a minute and more had passed: whoever held something is taken for dead."""


@dataclass
class OnMongoDB(Cluster):
    replica_set: ReplicaSet

    @contextlib.contextmanager
    def database(self) -> Iterator[Any]:
        client: MongoClient[dict[str, Any]] = MongoClient(self.replica_set.url(DATABASE), w="majority")
        with client:
            yield client[DATABASE]

    def rows(self, table: str) -> list[dict[str, Any]]:
        with self.database() as database:
            return list(database[table].find())

    def age_leases(self) -> None:
        with self.database() as database:
            for name in LEASED:
                database[name].update_many({"lease_until": {"$ne": None}}, {"$set": {"lease_until": LONG_AGO}})


@contextlib.contextmanager
def servers(count: int, folder: Path, sandbox: Sandbox, **variables: str) -> Iterator[dict[str, Any]]:
    """Run servers on a database that is migrated first. Yields what a cluster consists of."""
    env = os.environ | {**environment_of(sandbox), "LIMIT_REQUESTS": "off", "LIMIT_ADDS": "off", **variables}
    migrated = run_manage("migrate", "--verbosity", "0", env=env)
    assert migrated.returncode == 0, migrated.stderr
    made = json.loads(run_manage("create_workspace", "Cluster", "--email", "a@cluster.example.com", env=env).stdout)
    ports = free_ports(count)
    with contextlib.ExitStack() as stack:
        log = stack.enter_context((folder / "server.log").open("wb"))
        for port in ports:
            bound = env | {"BIND": f"127.0.0.1:{port}", "WORKERS": "1"}
            server = subprocess.Popen([sys.executable, *SERVE], cwd=PROJECT, env=bound, stdout=log, stderr=log)
            stack.callback(server.wait)
            stack.callback(server.kill)
            wait_until_ready(port, server)
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        yield {"env": env, "urls": urls, "user": made["userId"], "token": made["token"]}


@pytest.fixture
def cluster(tmp_path: Path, sandbox: Sandbox, request: pytest.FixtureRequest) -> Iterator[OnMongoDB]:
    """Two servers and three members, fresh; a mark `limits` sets variables."""
    if mongod() is None:
        pytest.skip("there is no mongod that runs on this machine")
    given = request.node.get_closest_marker("limits")
    with (
        ReplicaSet(3) as replica_set,
        servers(
            2, tmp_path, sandbox, DATABASE_URL=replica_set.url(DATABASE), **(given.kwargs if given else {})
        ) as running,
    ):
        yield OnMongoDB(**running, replica_set=replica_set)
