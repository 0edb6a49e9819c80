#!/usr/bin/env python
"""Django's command line for Workspace Phones."""

import os
import signal
import sys
import tempfile
from contextlib import ExitStack

from django import get_version
from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

from users.actor import actor_context
from workspace import __version__


def main() -> None:
    os.umask(0o077)  # databases, reports and sockets hold what is nobody else's
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "workspace.settings")
    command = sys.argv[1] if len(sys.argv) > 1 else "help"
    if command in ("version", "--version"):
        sys.stdout.write(f"Workspace Phones {__version__} (Django {get_version()})\n")
        return
    try:
        with ExitStack() as stack:
            if command == "serve":
                # Where its processes count together for /metrics; prometheus_client looks for it when it is imported.
                # https://prometheus.github.io/client_python/multiprocess/ (read 2026-11-24)
                counters = stack.enter_context(tempfile.TemporaryDirectory(prefix="phones-metrics-"))
                os.environ["PROMETHEUS_MULTIPROC_DIR"] = counters
                signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))  # until the server has its own
            stack.enter_context(actor_context("command", command))
            execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"Not configured: {error}")


if __name__ == "__main__":
    main()
