"""PostgreSQL servers for tests and benches: real processes on free loopback ports."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg

from sandbox.ports import free_port

USER = "phones"
# Debian has one folder for each version, outside PATH.
VERSIONS = Path("/usr/lib/postgresql")


def programs() -> Path | None:
    """The folder of initdb, pg_ctl and pg_basebackup, of the newest version; None if PostgreSQL is not installed."""
    versions = sorted(VERSIONS.glob("*/bin/initdb"), key=lambda program: int(program.parts[-3]))
    found = shutil.which("initdb")
    newest = next(iter([*reversed(versions), *([Path(found)] if found else [])]), None)
    return newest and newest.resolve().parent


class PostgreSQL:
    """A context manager: a server that can be killed, restarted, followed by a standby, and promoted.

    Args:
        is_durable: whether a commit waits for the disk. Off, because most tests are not about that.
        settings: further lines of postgresql.conf.
        follows: the primary that it is a standby of.
        locale: options of initdb that name another locale than C.UTF-8.
    """

    def __init__(
        self,
        *,
        is_durable: bool = False,
        settings: Mapping[str, str | int] | None = None,
        follows: "PostgreSQL | None" = None,
        locale: Sequence[str] = (),
    ) -> None:
        self.settings = {"fsync": "on" if is_durable else "off", "max_connections": 100, **(settings or {})}
        self.follows = follows
        self.locale = locale
        self.folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
        self.data = self.folder / "data"
        self.name = f"node{free_port()}"  # in synchronous_standby_names
        self.port = 0  # drawn at the first start

    def url(self, database: str, *others: "PostgreSQL") -> str:
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in (self, *others))
        return f"postgres://{USER}@{hosts}/{database}"

    def __enter__(self) -> "PostgreSQL":
        try:
            if user := owner():
                os.chown(self.folder, user["user"], user["group"])
            if self.follows:
                self.run("pg_basebackup", "-D", self.data, "-R", "-c", "fast", "-d", self.follows.url("postgres"))
            else:
                options = ["-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", *self.locale]
                self.run("initdb", "-D", self.data, *options)
            self.start_somewhere()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        if (self.data / "postmaster.pid").exists():
            self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def start_somewhere(self) -> None:
        """Start on a port that nobody has, also if somebody takes the first ones meanwhile."""
        for _ in range(10):
            self.port = free_port()
            try:
                return self.start()
            except RuntimeError as error:
                if "could not bind" not in str(error):
                    raise
                (self.folder / "log").unlink()
        raise RuntimeError("there is no free port")

    def start(self) -> None:
        places = {
            "port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "cluster_name": self.name
        }  # fmt: skip
        options = [word for name, value in (self.settings | places).items() for word in ("-c", f"{name}={value}")]
        log = self.folder / "log"
        self.run("pg_ctl", "start", "-w", "-t", "60", "-D", self.data, "-l", log, "-o", " ".join(map(quoted, options)))

    def stop(self, mode: str = "fast") -> None:
        """Args: mode: "fast", or "immediate", after which the next start recovers as from a crash."""
        self.run("pg_ctl", "stop", "-w", "-D", self.data, "-m", mode)

    def kill(self) -> None:
        """Kill all of its processes at once, as if the machine had died."""
        postmaster = int((self.data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        for process in (postmaster, *map(int, children)):
            with contextlib.suppress(ProcessLookupError):  # the children end by themselves, too
                os.kill(process, signal.SIGKILL)
        (self.data / "postmaster.pid").unlink()

    def promote(self) -> None:
        """Make a standby a primary. Returns when it takes writes."""
        self.run("pg_ctl", "promote", "-w", "-D", self.data)

    def connect(self, database: str = "postgres") -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(self.url(database), autocommit=True)

    def create(self, database: str) -> None:
        with self.connect() as connection:
            connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(database)))

    def wait_until(self, query: str, within_s: float = 30) -> None:
        """Ask until the answer is true."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            with self.connect() as connection:
                if (row := connection.execute(query.encode()).fetchone()) and row[0]:
                    return
            time.sleep(0.05)
        raise TimeoutError(query)

    def run(self, program: str, *arguments: str | Path) -> None:
        folder = programs()
        assert folder, "PostgreSQL is not installed"
        done = subprocess.run(
            [folder / program, *arguments], cwd=self.folder, env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
            **owner(),
        )  # fmt: skip
        if done.returncode:
            log = self.folder / "log"
            raise RuntimeError(f"{program}: {done.stderr}{log.read_text() if log.exists() else ''}")


def owner() -> dict[str, Any]:
    """Whom the server runs as, for subprocess.run: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    user = max(
        (user for user in pwd.getpwall() if user.pw_name in ("postgres", "nobody")), key=lambda user: user.pw_name
    )
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def quoted(word: str) -> str:
    return "'" + word.replace("'", r"'\''") + "'"
