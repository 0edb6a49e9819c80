"""A MongoDB replica set for tests and benches: real mongod processes on free loopback ports."""

import shutil
import signal
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from sandbox.ports import free_ports

NAME = "tests"
ELECTION_MS, HEARTBEAT_MS = 2000, 500


def mongod() -> Path | None:
    """The mongod executable, from the system or from the wheel; None if none runs."""
    spec = find_spec("fiftyone")
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()] if spec else []
    wheel = [folder / "db" / "bin" / "mongod" for folder in folders]
    found = shutil.which("mongod")
    for program in [*([Path(found)] if found else []), *wheel]:
        if program.is_file():
            program.chmod(program.stat().st_mode | 0o111)
            if subprocess.run([program, "--version"], capture_output=True, check=False).returncode == 0:
                return program
    return None


class ReplicaSet:
    """A context manager whose members can be stepped down, killed and restarted."""

    def __init__(self, members: int = 1, *, cache_gb: float = 0.25) -> None:
        self.cache_gb = cache_gb
        self.folder = Path(tempfile.mkdtemp(prefix="mongod-"))
        self.ports = free_ports(members)
        self.processes: dict[int, subprocess.Popen[bytes]] = {}

    def url(self, database: str) -> str:
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        return f"mongodb://{hosts}/{database}?replicaSet={NAME}"

    def __enter__(self) -> "ReplicaSet":
        try:
            for port in self.ports:
                self.start(port)
            members = [{"_id": place, "host": f"127.0.0.1:{port}"} for place, port in enumerate(self.ports)]
            settings = {"electionTimeoutMillis": ELECTION_MS, "heartbeatIntervalMillis": HEARTBEAT_MS}
            with self.member(self.ports[0]) as client:
                client.admin.command("replSetInitiate", {"_id": NAME, "members": members, "settings": settings})
            self.wait_for_primary()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, port: int) -> None:
        data = self.folder / str(port)
        data.mkdir(exist_ok=True)
        program = mongod()
        assert program, "no working mongod was found"
        options = {
            "dbpath": data, "port": port, "bind_ip": "127.0.0.1", "replSet": NAME, "oplogSize": 64,
            "wiredTigerCacheSizeGB": self.cache_gb, "logpath": data / "log",
        }  # fmt: skip
        # enableTestCommands lets a test make commands fail.
        parameters = ["diagnosticDataCollectionEnabled=false", "enableTestCommands=1"]
        command = [
            str(program),
            "--nounixsocket",
            *(word for name, value in options.items() for word in (f"--{name}", str(value))),
            *(word for parameter in parameters for word in ("--setParameter", parameter)),
        ]
        self.processes[port] = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C ends those that use it first
        )  # fmt: skip
        with self.member(port) as client:
            client.admin.command("ping")

    def member(self, port: int) -> "MongoClient[Any]":
        return MongoClient("127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=20_000)

    def wait_for_primary(self) -> int:
        """Wait for a primary and return its port."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for port, process in self.processes.items():
                if process.poll() is None:
                    try:
                        with self.member(port) as client:
                            if client.admin.command("hello")["isWritablePrimary"]:
                                return port
                    except PyMongoError:
                        continue
            time.sleep(0.05)
        raise TimeoutError("the replica set has no primary")

    def step_down(self) -> None:
        with self.member(self.wait_for_primary()) as client:
            client.admin.command("replSetStepDown", 5, force=True)

    def kill_primary(self) -> int:
        """Kill the primary with SIGKILL. Returns its port, for start()."""
        port = self.wait_for_primary()
        process = self.processes[port]
        process.send_signal(signal.SIGKILL)
        process.wait()
        return port
