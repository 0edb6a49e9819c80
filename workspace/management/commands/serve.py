import gc
import multiprocessing
import os
import resource
import signal
import socket
import threading
import time
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connections

# Connections of one process; those beyond wait in the kernel's queue until one of these is closed.
CONNECTIONS, BACKLOG = 4096, 1024
MOST_HEAD_BYTES = 64 * 1024
# An add takes up to 25 s, and 5 s more to be undone.
STOP_WITHIN_S = 30
GARBAGE_EVERY_S = 1.0


class Command(BaseCommand):
    help = "Run the web server at BIND until SIGTERM or SIGINT. What is under way then is finished, within 30 s."
    requires_system_checks = ()  # below, in one go with the rest

    def handle(self, *args: Any, **options: Any) -> None:
        from granian import Granian
        from granian.constants import HTTPModes, Interfaces, Loops
        from granian.http import HTTP1Settings

        self.check()
        self.prepare()
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        # Everything is loaded once, before the fork, so that the processes share the memory.
        multiprocessing.set_start_method("fork", force=True)
        from workspace.asgi import application

        def begin() -> Any:
            begin_worker()
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
                header_read_timeout=round(settings.REQUEST_READ_TIMEOUT_S * 1000), max_buffer_size=MOST_HEAD_BYTES
            ),
            log_dictconfig=deepcopy(settings.LOGGING),
        ).serve(target_loader=begin, wrap_loader=False)

    def prepare(self) -> None:
        """Refuse to start with settings that cannot work, and say what else is wrong. Raises ImproperlyConfigured."""
        from core import keys
        from integrations import PROVIDERS, load
        from workspace.health import find_problems

        for problem in find_problems():
            self.stderr.write(problem)
        with suppress(DatabaseError):  # said just now
            keys.admit_newest()
        load(PROVIDERS)  # what is else imported when first used, so that no client waits for it
        connections.close_all()
        for connection in connections.all():
            if hasattr(connection, "close_pool"):  # MongoDB's client must not be carried over a fork
                connection.close_pool()


def address(bind: str) -> dict[str, Any]:
    """BIND as granian takes it, once nobody listens there. Raises CommandError.

    Each worker has a socket of its own (SO_REUSEPORT), so the kernel would let two servers share a port.
    """
    scheme, _, path = bind.partition(":")
    if scheme == "unix" and path:
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(path) == 0:
                raise CommandError(f"BIND: something listens at {bind} already. End it, or set another BIND.")
        if Path(path).is_socket():  # left behind by a server that was killed
            Path(path).unlink()
        return {"uds": Path(path), "uds_permissions": 0o666}
    host, _, port = bind.rpartition(":")
    try:
        family, kind, _, _, place = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except (ValueError, OverflowError, socket.gaierror):
        raise CommandError(f"BIND must be host:port or unix:path, not {bind}.") from None
    except OSError as error:
        raise CommandError(f"BIND: {bind} cannot be had ({error.strerror}). Set another BIND.") from None
    return {"address": place[0], "port": place[1]}


def begin_worker() -> None:
    gc.disable()
    threading.Thread(target=collect_garbage, name="garbage", daemon=True).start()
    threading.Thread(target=end_with_parent, name="parent", daemon=True).start()


def collect_garbage() -> None:
    """Collect where no database lock is held.

    Garbage may hold an SQLite cursor of another thread's connection. Whoever frees it waits as long as that thread
    waits for the write lock; if it has the write lock itself, both wait until the other gives up.
    """
    while True:
        time.sleep(GARBAGE_EVERY_S)
        gc.collect()


def end_with_parent() -> None:
    """When the parent has been killed, nobody would end its workers."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
