"""How gunicorn serves `workspace.wsgi`. https://docs.gunicorn.org/en/stable/settings.html (read 2026-11-23)"""

import atexit
import gc
import io
import os
import shutil
import sys
import tempfile
import threading
import time
from contextlib import suppress

import django
from django.core.exceptions import ImproperlyConfigured
from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker

GARBAGE_EVERY_S = 1.0
# For webhooks, lists, pages: whatever asks no carrier.
OTHER_THREADS = 32

os.umask(0o077)  # as manage.py
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "workspace.settings")
try:
    from django.conf import settings

    bind = settings.BIND
    # Where the workers count together for /metrics, from zero; prometheus_client looks for it when it is imported.
    # https://prometheus.github.io/client_python/multiprocess/ (read 2026-11-24)
    counters, counters_of = tempfile.mkdtemp(prefix="phones-metrics-"), os.getpid()
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = counters
    django.setup()
except ImproperlyConfigured as error:
    sys.exit(f"Not configured: {error}")


@atexit.register
def drop_counters() -> None:
    if os.getpid() == counters_of:  # workers come here, too
        shutil.rmtree(counters, ignore_errors=True)


wsgi_app = "workspace.wsgi"
# An add waits for a carrier most of its time: threads wait cheaply, processes use the cores.
worker_class = "workspace.worker.Worker"
logger_class = "workspace.worker.Logger"
workers = 2
threads = settings.CARRIER_SLOTS + OTHER_THREADS
# Those beyond wait in the kernel's queue (backlog) until one of these is closed.
worker_connections = 1000
# Loaded once, before the fork, so that the workers share the memory.
preload_app = True
control_socket_disable = True
# An add takes up to 25 s, and 5 s more to be undone.
timeout = 60
graceful_timeout = 35
keepalive = 30
backlog = 512
limit_request_line = 4094
limit_request_fields = 64
limit_request_field_size = 8190


def on_starting(server: Arbiter) -> None:
    """Refuse to start with settings that cannot work, and say what else is wrong."""
    from django.core.management import CommandError, call_command
    from django.db import DatabaseError, connections

    from workspace import keys
    from workspace.health import find_problems

    try:
        call_command("check", stdout=io.StringIO())
    except CommandError as error:
        sys.exit(str(error))
    try:
        for problem in find_problems():
            server.log.error(problem)
        with suppress(DatabaseError):  # said just now
            keys.admit_newest()
    except ImproperlyConfigured as error:
        sys.exit(f"Not configured: {error}")
    connections.close_all()
    for connection in connections.all():
        if hasattr(connection, "close_pool"):  # MongoDB's client must not be carried over a fork
            connection.close_pool()


def post_fork(server: Arbiter, worker: Worker) -> None:
    gc.disable()
    threading.Thread(target=collect_garbage, name="garbage", daemon=True).start()


def collect_garbage() -> None:
    """Collect where no database lock is held.

    Garbage may hold an SQLite cursor of another thread's connection. Whoever frees it waits as long as that thread
    waits for the write lock; if it has the write lock itself, both wait until the other gives up.
    """
    while True:
        time.sleep(GARBAGE_EVERY_S)
        gc.collect()


def when_ready(server: Arbiter) -> None:
    """Load what is imported when first used, so that no client waits for it."""
    from integrations import PROVIDERS, load

    load(PROVIDERS)
