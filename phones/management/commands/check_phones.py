import json
import sys
from argparse import ArgumentParser
from collections import Counter
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError

from core.fields import OBJECT_ID
from core.management.base import DatabaseCommand
from core.wire import wire_time
from phones.models import Line
from phones.services.checking import Check, active_lines, check_lines, summary, verdict


class Command(DatabaseCommand):
    help = (
        "Check every number's settings at its carrier against what they should be. The worker does "
        "so every hour. Exit status: 0 all numbers are fine or repaired, 3 some are not."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--repair", action="store_true", help="fix the settings that differ")
        parser.add_argument("--workspace", metavar="ID", help="check only the numbers of this workspace")
        parser.add_argument("--output", choices=["table", "json"], default="table", help="json: one object per line")

    def handle(self, *args: Any, **options: Any) -> None:
        workspace_id = options["workspace"]
        if workspace_id is not None and not OBJECT_ID.fullmatch(workspace_id):
            raise CommandError("--workspace: send an id of 24 hexadecimal digits.", returncode=2)
        verdicts: Counter[str] = Counter()
        for line, check in check_lines(active_lines(workspace_id), repair=options["repair"]):
            verdicts[verdict(check)] += 1
            self.stdout.write(as_json(line, check) if options["output"] == "json" else as_text(line, check))
        self.stderr.write(summary(verdicts))
        if set(verdicts) - {"ok", "repaired"}:
            sys.exit(3)


def as_json(line: Line, check: Check | None) -> str:
    row: dict[str, Any] = {"phoneNumber": line.number, "integration": line.account.integration, "health": "failed"}
    if check:
        reasons = [asdict(reason) for reason in check.reasons]
        row |= {"health": check.health, "reasons": reasons, "repaired": check.repaired}
        row["checkedAt"] = wire_time(check.checked_at)
    return json.dumps(row)


def as_text(line: Line, check: Check | None) -> str:
    if check is None:
        return f"{line.number}  {line.account.integration:<7} failed: see the log"
    findings = "repaired" if check.repaired else ", ".join(reason.reason for reason in check.reasons)
    return f"{line.number}  {line.account.integration:<7} {check.health:<11} {findings}".rstrip()
