"""Adds a file of numbers while the command is killed with SIGKILL again and again, at random, and run again each time.

A run is killed at a random moment after its first request to a carrier, so that each kill hits one that has something
to do; the leases that it leaves are then made as old as if they had run out, which otherwise takes a minute. When the
file is finished, every number must be there once, its route ours, and nothing reserved, held or made twice; then the
database and the carriers begin anew, until there were enough kills.
"""

import argparse
import contextlib
import importlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from bench.bulk import CARRIERS, COLUMNS, environment, make_user, mixed
from integrations.sandbox import Sandbox

KILLS, ROWS = 200, 1000
# How long a run goes on after it has asked a carrier for the first time.
LIFE_S = (0.0, 0.7)
GIVE_UP_S = 120
KILLED = -signal.SIGKILL


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--forks", metavar="FILE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.forks:
        fork_runs(options.forks)
        return
    random.seed(options.seed)
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as name, Sandbox() as sandbox:
        os.environ.update(environment(Path(name), sandbox.url))
        user_id = make_user(dict(os.environ))
        import django

        django.setup()
        print(Trial(sandbox, user_id, Path(name), options.rows).run(options.kills))


# -- the process whose children are killed ----------------------------------------------------------------------------


def fork_runs(file: str) -> None:
    """For each line of stdin run the command in a child, which shares the SDKs that are loaded here and nothing else.
    Prints the child's process id, and then how it ended."""
    import django
    from django.core.management import call_command

    django.setup()
    from integrations import PROVIDERS, load

    load(PROVIDERS)
    importlib.import_module("integrations.bounded_httpx")
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                with Path(os.devnull).open("w") as nowhere:
                    call_command("add_phones", file, stdout=nowhere)
                status = 0
            except SystemExit as error:
                status = int(error.code or 0)
            finally:
                os._exit(status)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


# -- the trial --------------------------------------------------------------------------------------------------------


class Trial:
    """A file of numbers of five accounts, a database and the carriers. Django must be set up."""

    def __init__(self, sandbox: Sandbox, user_id: str, directory: Path, rows: int) -> None:
        self.sandbox, self.user_id = sandbox, user_id
        lines = mixed(user_id, 0, rows)
        self.file = directory / "numbers.csv"
        self.file.write_text("\n".join([COLUMNS, *lines, ""]))
        self.numbers = {carrier: carrier.numbers(0, rows) for carrier in CARRIERS}

    def run(self, kills: int) -> str:
        """Kill so many runs, finishing the file as often as it comes to that. Returns what happened as a sentence."""
        command = [sys.executable, "-m", "bench.bulk_kills", "--forks", str(self.file)]
        done = half_done = files = 0
        self.runner = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            while done < kills:
                self.begin_anew()
                while (ended := self.run_once(kill=done < kills)) == KILLED:
                    done += 1
                    half_done += self.age_leases()
                assert ended == 0, f"the run that was not killed ended with {ended}"
                self.check()
                files += 1
        finally:
            assert self.runner.stdin and self.runner.stdout
            self.runner.stdin.close()
            self.runner.wait()
            self.runner.stdout.close()
        rows = sum(len(numbers) for numbers in self.numbers.values())
        return (
            f"{done} kills, {half_done} of them left something half-done, in {files} files of {rows} numbers: "
            "each number once, each route ours, nothing left over"
        )

    def begin_anew(self) -> None:
        from phones.models import Account, Line, MadeApplication, PhoneNumber

        for model in (PhoneNumber, Line, Account, MadeApplication):
            model.objects.all().delete()
        self.sandbox.reset()
        for carrier, numbers in self.numbers.items():
            for number in numbers:
                self.sandbox.add_number(carrier.name, carrier.account, number)

    def run_once(self, *, kill: bool) -> int:
        """Run the command; kill it if it is not done before. Returns how it ended."""
        assert self.runner.stdin and self.runner.stdout
        self.sandbox.clear_ledger()
        self.runner.stdin.write("\n")
        self.runner.stdin.flush()
        child = int(self.runner.stdout.readline())
        if kill:
            give_up_at = time.monotonic() + GIVE_UP_S
            while not self.sandbox.ledger and self.is_alive(child) and time.monotonic() < give_up_at:
                time.sleep(0.005)
            time.sleep(random.uniform(*LIFE_S))
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        return int(self.runner.stdout.readline())

    @staticmethod
    def is_alive(child: int) -> bool:
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return False
        return True

    @staticmethod
    def age_leases() -> bool:
        """As if the time that a lease lasts had gone by. Says whether anything was left half-done."""
        from django.utils import timezone

        from phones.models import Account, Line, PhoneNumber
        from users.models import LimitCounter

        LimitCounter.objects.update(held=0)
        past = timezone.now() - timedelta(hours=1)
        models: list[Any] = [PhoneNumber, Line, Account]
        return sum(model.objects.exclude(lease_until=None).update(lease_until=past) for model in models) > 0

    def check(self) -> None:
        """Every number once, routed to us; what was there before remembered; nothing held or made twice."""
        from django.conf import settings

        from phones.models import Account, Line, PhoneNumber, lease_is_over

        with self.sandbox.lock:
            carriers = self.sandbox.state.snapshot()
        wanted = sorted(number for numbers in self.numbers.values() for number in numbers)
        assert sorted(PhoneNumber.objects.values_list("number", flat=True)) == wanted
        settled = PhoneNumber.objects.filter(state="active", operation_id="", lease_until=None, operation=None)
        assert settled.count() == len(wanted), list(PhoneNumber.objects.exclude(pk__in=settled).values())
        # A dead run may have held a line whose number was ready, on MongoDB, or an account whose application was:
        # nobody needs these leases any more, and they have run out.
        held = list(Line.objects.exclude(lease_is_over()).values_list("number", "lease_id"))
        assert held == [], f"held: {held}"
        held = list(Account.objects.exclude(lease_is_over()).values_list("account_id", "lease_id"))
        assert held == [], f"held: {held}"
        assert Account.objects.count() == len(CARRIERS), list(Account.objects.values_list("account_id", "used_by"))
        lines = Line.objects.select_related("account")
        assert sorted(line.number for line in lines) == wanted
        accounts = {line.number: line.account for line in lines}
        for carrier, numbers in self.numbers.items():
            there = carriers[carrier.name][carrier.account]
            ours = [id for id, one in there["applications"].items() if "workspace-phones" in json.dumps(one)]
            assert len(ours) == (carrier.name != "twilio"), ours
            for number in numbers:
                account, one = accounts[number], there["numbers"][number]
                address = f"{settings.PUBLIC_URL}/api/webhooks/twilio/{account.webhook_token}/"
                route = {
                    "twilio": str(one.get("voice_url")).startswith(address),
                    "plivo": str(one.get("application")).endswith(f"/{account.application_id}/"),
                    "telnyx": one.get("connection_id") == account.application_id,
                }
                assert route[carrier.name], (carrier.name, one)
        for line in lines:
            before = json.loads(line.snapshot.open())
            assert not before.get("voice_url") and not before.get("application_id"), (line.number, "is ours")


if __name__ == "__main__":
    main()
