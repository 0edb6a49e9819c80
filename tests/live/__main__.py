import os
import sys

from django.core.exceptions import ImproperlyConfigured

from tests.live.configuration import installation
from tests.live.run import UNUSABLE, run

INTERRUPTED = 130


def write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def ask(prompt: str) -> str:
    try:
        return input(prompt)
    except EOFError:
        return ""


def main() -> int:
    environment = os.environ.copy()
    try:
        installed = installation()
    except ImproperlyConfigured as error:
        write(f"{error}\n")
        return UNUSABLE
    try:
        # A person is asked before a call is placed.
        return run(environment, installed, write, ask=ask if sys.stdin.isatty() else None)
    except KeyboardInterrupt:
        write("\nInterrupted. If the carrier has taken the request for a call, the phone may still ring.\n")
        return INTERRUPTED


sys.exit(main())
