"""A server as in production: `manage.py serve`, with a database of its own and a free port."""

import contextlib
import fcntl
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sandbox.ports import free_port
from sandbox.sandbox import Sandbox
from tests.support import PROJECT
from tests.support.carriers import environment_of
from tests.support.database import Database, apart

READY_WITHIN_S = 60
SERVE = ["manage.py", "serve"]
# Says that the template is complete, and whose workspace and token it has.
MADE = "workspace.json"


@dataclass
class Live:
    """Where a running server is, and what it knows."""

    port: int
    database: Database
    user: str
    token: str
    env: dict[str, str]
    server: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def workers(self) -> list[int]:
        """The ids of its processes that serve."""
        threads = Path(f"/proc/{self.server.pid}/task").glob("*/children")
        return [int(child) for file in threads for child in file.read_text().split()]

    def manage(self, *arguments: str, **variables: str) -> str:
        """Run a command of manage.py beside the server. Returns what it prints."""
        done = run_manage(*arguments, env=self.env | variables)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def send(self, data: bytes, *, timeout_s: float = 10) -> bytes:
        """Everything that the server answers to these bytes until it closes; empty when it just closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout_s) as connection:
            connection.sendall(data)
            answer = b""
            with contextlib.suppress(ConnectionError):
                while part := connection.recv(65536):
                    answer += part
            return answer


def run_manage(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True, timeout=60, check=False)


def run_server(env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The server, for as long as it runs: with settings that it is to refuse."""
    return run_manage("serve", env=env)


def template_folder() -> Path:
    return Path(os.environ["TESTS_FOLDER"])


@cache
def template() -> Database:
    """A migrated database with a workspace, to be copied: to migrate one takes a hundred times as long.

    The first process of a run that asks for it makes it.
    """
    folder = template_folder()
    database = apart(folder)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / MADE).exists():
            database.create()
            env = os.environ | {"DATABASE_URL": database.url}
            migrated = run_manage("migrate", "--verbosity", "0", env=env)
            assert migrated.returncode == 0, migrated.stderr
            made = run_manage("create_workspace", "Live", "--email", "user@live.example.com", env=env)
            assert made.returncode == 0, made.stderr
            (folder / MADE).write_text(made.stdout)
    return database


@contextlib.contextmanager
def serve(
    folder: Path,
    sandbox: Sandbox,
    *,
    database: Database | None = None,
    is_public: bool = True,
    workers: int = 1,
    **variables: str,
) -> Iterator[Live]:
    """Run the server with a migrated database of its own that has a workspace in it, in this folder.

    Args:
        database: another one, which exists.
        is_public: has the PUBLIC_URL of the tests; if not, its own address, so that carriers and a browser reach it.
        variables: more of the environment.
    """
    empty = template()
    if database is None:
        database = apart(folder)
        empty.copy_to(database)
    made = json.loads((template_folder() / MADE).read_text())
    port = free_port()
    env = os.environ | {
        "DATABASE_URL": database.url,
        "BIND": f"127.0.0.1:{port}",
        "WORKERS": str(workers),
        **environment_of(sandbox),
        **({} if is_public else {"PUBLIC_URL": f"http://127.0.0.1:{port}"}),
        **variables,
    }
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen([sys.executable, *SERVE], cwd=PROJECT, env=env, stdout=log, stderr=log)
        try:
            wait_until_ready(port, server)
            yield Live(port, database, made["userId"], made["token"], env, server)
        finally:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
            database.drop()


def wait_until_ready(port: int, server: subprocess.Popen[bytes]) -> None:
    give_up_at = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < give_up_at and server.poll() is None:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as ready,
        ):
            if ready.status == 200:
                return
        time.sleep(0.1)
    raise AssertionError("the server did not get ready")
