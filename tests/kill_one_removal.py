"""Removes numbers and dies on the way: the process that tests/test_removal_kills.py kills.

Like tests/kill_one_add.py, whose cuts it uses; a job has the id of the `phone`, and `cut`, `when` and `call`.
"""

import importlib
import json
import os
import sys
import traceback
from typing import Any

import django

from tests.kill_one_add import CRASHED, EVERY_STEP, REFUSED, SUCCEEDED, Cut, put, put_everywhere


def remove(job: dict[str, Any]) -> tuple[int, int]:
    from phones.models import PhoneNumber
    from phones.services import remove_phone

    phone = PhoneNumber.objects.get(pk=job["phone"])
    cut = Cut(when=job["when"], call=job["call"])
    if job["cut"] == EVERY_STEP:
        put_everywhere(cut)
    elif job["cut"]:
        put(cut, job["cut"])
    restored = remove_phone(phone)
    return SUCCEEDED if restored else REFUSED, cut.calls


def run(job: dict[str, Any]) -> dict[str, int]:
    """Remove in a child. Returns how it ended and, if it was not killed, how many calls the cut saw."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status, calls = CRASHED, 0
        try:
            status, calls = remove(job)
        except Exception:
            traceback.print_exc()
        finally:
            os.write(writer, str(calls).encode())
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        calls = pipe.read()
    _, ended = os.waitpid(child, 0)
    return {"ended": os.waitstatus_to_exitcode(ended), "calls": int(calls or 0)}


def main() -> None:
    django.setup()
    for module in ("twilio", "plivo", "telnyx", "bounded_httpx"):
        importlib.import_module(f"integrations.{module}")
    importlib.import_module("phones.services")
    importlib.import_module("telnyx.resources.phone_numbers")
    importlib.import_module("telnyx.resources.texml_applications")
    importlib.import_module("telnyx.resources.outbound_voice_profiles")
    for line in sys.stdin:
        sys.stdout.write(json.dumps(run(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
