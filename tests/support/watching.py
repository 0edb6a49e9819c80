"""Servers that end with the tests."""

import shlex
import subprocess
from pathlib import Path

from sandbox.postgresql import PostgreSQL

# Kept: the pipe of a watcher that is dropped is closed.
_watchers: list["subprocess.Popen[bytes]"] = []


def kill_with_this_process(servers: list[int], folder: Path) -> None:
    """Kill these processes and remove their folder as soon as this one ends, even if it is killed."""
    _watch(" ".join(map(str, servers)), folder)


def end_with_this_process(server: PostgreSQL) -> None:
    """The same for a server that may have been restarted, or be gone, by then."""
    _watch(f"$(head -n 1 {shlex.quote(str(server.data / 'postmaster.pid'))})", server.folder)


def _watch(pids: str, folder: Path) -> None:
    """Args: pids: process ids, or shell that prints them."""
    script = f"read nothing; kill -QUIT {pids}; sleep 1; kill -KILL {pids}; rm -rf {shlex.quote(str(folder))}"
    _watchers.append(
        subprocess.Popen(
            ["/bin/sh", "-c", script], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
    )
