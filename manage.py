#!/usr/bin/env python
"""Django's command line for Workspace Phones."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

from users.acting import acting


def main() -> None:
    os.umask(0o077)  # databases, reports and sockets hold what is nobody else's
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "workspace.settings")
    try:
        with acting("command", sys.argv[1] if len(sys.argv) > 1 else "help"):
            execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"Not configured: {error}")


if __name__ == "__main__":
    main()
