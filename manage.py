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
            if command in ("serve", "worker"):
                signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))  # until the command has its own
            if command == "serve":
                # Where its processes count together for /metrics; prometheus_client looks for it when it is imported.
                # https://prometheus.github.io/client_python/multiprocess/ (read 2026-11-24)
                os.environ["PROMETHEUS_MULTIPROC_DIR"] = stack.enter_context(temporary_folder())
            stack.enter_context(actor_context("command", command))
            execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        faults = str(error).splitlines()
        sys.exit(f"Not configured: {faults[0]}" if len(faults) == 1 else "\n".join(["Not configured:", *faults]))
    except Exception as error:
        from core.databases.readiness import explain

        sentence = explain(error)
        if sentence is None or "--traceback" in sys.argv:
            raise
        sys.exit(sentence)


def temporary_folder() -> "tempfile.TemporaryDirectory[str]":
    """Raises ImproperlyConfigured, for example on a read-only root file system."""
    try:
        return tempfile.TemporaryDirectory(prefix="phones-metrics-")
    except OSError as error:
        raise ImproperlyConfigured(
            f"There is no temporary folder that can be written to ({error.strerror}). Mount one at /tmp (docker run "
            "--tmpfs /tmp), or name one in TMPDIR."
        ) from None


if __name__ == "__main__":
    main()
