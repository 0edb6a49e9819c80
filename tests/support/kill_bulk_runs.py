"""Runs the bulk command for each line of stdin, in a child that is killed: the process of tests/proofs/test_bulk_kills.py.

The argument is the file of numbers. The child's process id is printed, and then how it ended. Children share the SDKs
that are loaded here, and nothing else.
"""

import importlib
import os
import sys
from pathlib import Path

import django
from django.core.management import call_command


def main() -> None:
    django.setup()
    from integrations import PROVIDERS, load

    load(PROVIDERS)
    importlib.import_module("integrations.bounded_httpx")
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            add_phones(sys.argv[1])
        tell(child)
        tell(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def tell(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def add_phones(file: str) -> None:
    status = 1
    try:
        with Path(os.devnull).open("w") as nowhere:
            call_command("add_phones", file, stdout=nowhere)
        status = 0
    except SystemExit as error:
        status = int(error.code or 0)
    finally:
        os._exit(status)


if __name__ == "__main__":
    main()
