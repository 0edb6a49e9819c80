"""Adds, removes, checks and takes in webhooks at random until it is killed: the process of tests/proofs/test_random_kills.py.

Reads one job a line from stdin: `seed`, `users`, `kill_after_s`, `kept`. For each a child works and is killed with SIGKILL
after so many seconds, wherever it is; one line goes to stdout: how it ended. To the file `kept` it writes the key of each
webhook that was answered.
"""

import itertools
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.support.kill_one_add import CRASHED, load


def work(job: dict[str, Any]) -> None:
    from django.db import connection

    from core import keys
    from core.errors import Refusal
    from integrations.errors import IntegrationError
    from users.models import User

    connection.ensure_connection()
    keys.admit_newest()
    chance = random.Random(job["seed"])
    users = list(User.objects.filter(pk__in=job["users"]).order_by("pk"))
    acts: list[Callable[..., None]] = [add, add, add, remove, check, take_in]
    with Path(job["kept"]).open("a") as kept:
        for number in itertools.count():
            with suppress(IntegrationError, Refusal):
                chance.choice(acts)(chance, users, f"{job['seed']}-{number}", kept)


def add(chance: random.Random, users: list[Any], *_: Any) -> None:
    from phones.services import add_phone
    from tests.support.carriers import SUBJECTS

    subject = chance.choice(list(SUBJECTS.values()))
    add_phone(
        user=chance.choice(users),
        number=subject.number,
        integration=subject.integration,
        account_id=subject.good.acc_sid,
        auth_token=subject.good.auth_token,
    )


def remove(chance: random.Random, *_: Any) -> None:
    from phones.services import remove_phone

    if phone := any_number(chance):
        remove_phone(phone)


def check(chance: random.Random, *_: Any) -> None:
    from phones.services import check_phone

    if phone := any_number(chance):
        check_phone(phone, repair=True)


def any_number(chance: random.Random) -> Any:
    from phones.models import PhoneNumber

    active = list(PhoneNumber.objects.filter(state=PhoneNumber.State.ACTIVE).select_related("line__account"))
    return chance.choice(active) if active else None


def take_in(chance: random.Random, users: list[Any], key: str, kept: Any) -> None:
    from urllib.parse import urlencode

    from phones.services.calls import record_event
    from tests.support.webhooks import event

    if phone := any_number(chance):
        account = phone.line.account
        record_event(account, "status", urlencode(event(account.integration, f"CA-{key}")), key)
        kept.write(f"{key}\n")
        kept.flush()


def run(job: dict[str, Any]) -> int:
    """Have a child work and kill it. Returns how it ended."""
    child = os.fork()
    if child == 0:
        try:
            work(job)
        except BaseException:
            traceback.print_exc()
        os._exit(CRASHED)
    time.sleep(job["kill_after_s"])
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    load()
    import tests.support.carriers
    import tests.support.webhooks  # noqa: F401  what a child would load takes longer than it lives

    for line in sys.stdin:
        sys.stdout.write(json.dumps({"ended": run(json.loads(line))}) + "\n")
        sys.stdout.flush()
