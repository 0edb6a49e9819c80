import logging
import multiprocessing
import os
import resource
import signal
import socket
import threading
from contextlib import suppress
from copy import deepcopy
from errno import ECONNREFUSED
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connections

from core.garbage import collect_in_own_thread

# Connections per process; further ones wait in the kernel's queue until one of these is closed.
CONNECTIONS, BACKLOG = 4096, 1024
MAX_HEAD_BYTES = 64 * 1024
# An add takes up to 25 s, and another 5 s to be rolled back.
STOP_WITHIN_S = 30

log = logging.getLogger(__name__)


class Command(BaseCommand):
    help = "Run the web server at BIND until SIGTERM or SIGINT. It then finishes the requests in progress, within 30 s."
    requires_system_checks = ()  # handle() runs them together with the others

    def handle(self, *args: Any, **options: Any) -> None:
        from granian import Granian
        from granian.constants import HTTPModes, Interfaces, Loops
        from granian.http import HTTP1Settings

        self.check()
        self.prepare()
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        # Load everything before the fork, so that the processes share the memory.
        multiprocessing.set_start_method("fork", force=True)
        from workspace.asgi import application

        def begin() -> Any:
            start_worker()
            return application

        Granian(
            "workspace.asgi:application",
            **address(settings.BIND),
            interface=Interfaces.ASGINL,
            http=HTTPModes.http1,
            websockets=False,
            loop=Loops.asyncio,
            workers=settings.WORKERS,
            respawn_failed_workers=True,
            workers_kill_timeout=STOP_WITHIN_S,
            backlog=BACKLOG,
            backpressure=min(CONNECTIONS, hard // 2),
            http1_settings=HTTP1Settings(
                header_read_timeout=round(settings.REQUEST_READ_TIMEOUT_S * 1000), max_buffer_size=MAX_HEAD_BYTES
            ),
            log_dictconfig=deepcopy(settings.LOGGING),
        ).serve(target_loader=begin, wrap_loader=False)

    def prepare(self) -> None:
        """Report problems, load everything and close database connections before the fork.

        Raises ImproperlyConfigured if CREDENTIAL_KEYS are not those of the database.
        """
        from core import keys
        from integrations import PROVIDERS, load
        from workspace.health import find_problems

        for problem in find_problems():
            log.error("Not ready: %s", problem)
        with suppress(DatabaseError):  # reported by find_problems()
            keys.admit_newest()
        load(PROVIDERS)  # otherwise imported on first use, while a client waits
        connections.close_all()
        for connection in connections.all():
            if hasattr(connection, "close_pool"):  # MongoDB's client and PostgreSQL's pool do not survive a fork
                connection.close_pool()


def address(bind: str) -> dict[str, Any]:
    """Convert BIND to granian's arguments and check that nothing listens there. Raises CommandError.

    Each worker has its own socket (SO_REUSEPORT), so the kernel would let two servers share a port.

    Effects: deletes the socket file of a server that was killed.
    """
    try:
        if bind.startswith("unix:"):
            return socket_address(Path(bind.removeprefix("unix:")), bind)
        host, _, port = bind.rpartition(":")
        family, kind, _, _, place = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except socket.gaierror:
        raise CommandError(f"BIND: the host of {bind} cannot be looked up.") from None
    except OSError as error:
        raise CommandError(f"BIND: cannot listen at {bind} ({error.strerror}). Set another BIND.") from None
    return {"address": place[0], "port": place[1]}


def socket_address(path: Path, bind: str) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX) as probe:
        answer = probe.connect_ex(str(path))
    if answer == 0:
        raise CommandError(f"BIND: {bind} is already in use. Stop the other server, or set another BIND.")
    if answer == ECONNREFUSED and path.is_socket():  # of a server that was killed
        path.unlink()
    with socket.socket(socket.AF_UNIX) as probe:
        probe.bind(str(path))
    path.unlink()
    return {"uds": path, "uds_permissions": 0o666}


def start_worker() -> None:
    collect_in_own_thread()
    threading.Thread(target=exit_with_parent, name="parent", daemon=True).start()


def exit_with_parent() -> None:
    """Exit when the parent has been killed, because then nobody else stops its workers."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
