"""Adds numbers and dies on the way: the process that tests/proofs/test_kills.py kills.

Reads one job a line from stdin, JSON: `user`, `fields` of add_phone(), `cut` ("module:name" or "module:Class.name"),
`when` ("before" or "after" it runs), `call` (which of its calls, from 1). For each job a child adds the number and
kills itself with SIGKILL at the cut; one line goes to stdout: how the child ended (-9: killed), and how many calls the
cut saw. The cut "every:step" is any write to the database or request to a carrier. Children share the SDKs that are
loaded here, and nothing else: no connection is open and no thread runs when they are made.
"""

import importlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import django

EVERY_STEP = "every:step"
SUCCEEDED, REFUSED, CRASHED = 0, 3, 4
# Does a job. Returns how it ended and how many calls the cut saw.
Act = Callable[[dict[str, Any]], tuple[int, int]]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Cut:
    """Kills this process right before or right after one call of what it is put around."""

    def __init__(self, *, when: str, call: int) -> None:
        self.when, self.call, self.calls = when, call, 0
        self.statements = ExitStack()  # held: a context manager that is dropped ends

    def around(self, act: Callable[..., Any]) -> Callable[..., Any]:
        def cut(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            mine = self.calls == self.call
            if mine and self.when == "before":
                die()
            try:
                return act(*args, **kwargs)
            finally:
                if mine and self.when == "after":
                    die()

        return cut


def put(cut: Cut, where: str) -> None:
    module, _, path = where.partition(":")
    owner = importlib.import_module(module)
    *classes, name = path.split(".")
    for one in classes:
        owner = getattr(owner, one)
    act = owner.__dict__[name]
    if isinstance(act, staticmethod | classmethod):
        raise TypeError(f"{where} is no plain function")
    setattr(owner, name, cut.around(act))


def put_everywhere(cut: Cut) -> None:
    """Around each statement that changes a row, each commit and each request to a carrier."""
    import httpx
    from django.db import connection
    from requests.adapters import HTTPAdapter

    from tests.support.database import Statement, around_statements

    def around(run: Callable[[], Any], statement: Statement) -> Any:
        return (cut.around(run) if statement.is_write else run)()

    connection.ensure_connection()
    cut.statements.enter_context(around_statements(around))
    for owner, name in ((connection, "_commit"), (HTTPAdapter, "send"), (httpx.HTTPTransport, "handle_request")):
        setattr(owner, name, cut.around(getattr(owner, name)))


def put_wanted(job: dict[str, Any]) -> Cut:
    """The cut that a job asks for, put where it shall be."""
    cut = Cut(when=job["when"], call=job["call"])
    if job["cut"] == EVERY_STEP:
        put_everywhere(cut)
    elif job["cut"]:
        put(cut, job["cut"])
    return cut


def add(job: dict[str, Any]) -> tuple[int, int]:
    from core import keys
    from core.errors import Refusal
    from integrations.errors import IntegrationError
    from phones.services import add_phone
    from users.models import User

    user = User.objects.get(pk=job["user"])
    keys.admit_newest()  # as a server does before it serves
    cut = put_wanted(job)
    try:
        add_phone(user=user, **job["fields"])
    except (IntegrationError, Refusal):
        return REFUSED, cut.calls
    return SUCCEEDED, cut.calls


def run(job: dict[str, Any], act: Act) -> dict[str, int]:
    """Do it in a child. Returns how it ended and, if it was not killed, how many calls the cut saw."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status, calls = CRASHED, 0
        try:
            status, calls = act(job)
        except Exception:
            traceback.print_exc()
        finally:
            os.write(writer, str(calls).encode())
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        counted = pipe.read()
    _, ended = os.waitpid(child, 0)
    return {"ended": os.waitstatus_to_exitcode(ended), "calls": int(counted or 0)}


def load() -> None:
    """What children share, so that none waits for it."""
    django.setup()
    for module in ("twilio.provider", "plivo.provider", "telnyx.provider", "bounded_httpx"):
        importlib.import_module(f"integrations.{module}")
    importlib.import_module("phones.services")
    importlib.import_module("telnyx.resources.phone_numbers")
    importlib.import_module("telnyx.resources.texml_applications")
    importlib.import_module("telnyx.resources.outbound_voice_profiles")


def main(act: Act) -> None:
    """Do each job that comes in, one in a line, and tell how it went."""
    load()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(run(json.loads(line), act)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(add)
