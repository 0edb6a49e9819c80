"""Processes that add or remove a number and are killed on the way."""

import json
import os
import subprocess
import sys
from typing import Any

from sandbox.sandbox import Sandbox
from tests.support import PROJECT
from tests.support.carriers import Subject, environment_of
from tests.support.database import shared_url
from tests.support.people import Tenant

KILLED = -9
NEW_TOKEN = "a-new-token-0123456789"


class Killer:
    """The running tests/support/kill_one_add.py."""

    module = "tests.support.kill_one_add"

    def __init__(self, sandbox: Sandbox) -> None:
        environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "workspace.settings",
            "DATABASE_URL": shared_url(),
            **environment_of(sandbox),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", self.module],
            cwd=PROJECT, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def run(
        self, tenant: Tenant, subject: Subject, cut: str, when: str = "after", *, call: int = 1, auth_token: str = ""
    ) -> dict[str, int]:
        """Add the subject's number for this user, cut there. Returns how the process ended and the calls it made."""
        fields = {
            "number": subject.number,
            "integration": subject.integration,
            "account_id": subject.good.acc_sid,
            "auth_token": auth_token or subject.good.auth_token,
        }
        job = {"user": tenant.user.pk, "fields": fields, "cut": cut, "when": when, "call": call}
        return self.send(job)

    def send(self, job: dict[str, Any]) -> dict[str, int]:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def stop(self) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


def rotate_at_the_carrier(sandbox: Sandbox, subject: Subject, token: str = NEW_TOKEN) -> None:
    """The customer has made a new token; the old one is good no more."""
    owner = sandbox.state.account(subject.integration, subject.owner)
    if subject.integration == "telnyx":
        del sandbox.state.ids_by_key[owner.secret]
        sandbox.state.ids_by_key[token] = owner.id
    owner.secret = token
