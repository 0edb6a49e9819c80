"""`/healthz`: the process is running. `/readyz`: it can do its work."""

import logging
from datetime import timedelta

from django.contrib import admin
from django.db import DatabaseError, connection
from django.db.models import Q
from django.http import HttpRequest, JsonResponse

from core import clock, keys
from core.databases import unwritable_path
from core.databases.readiness import NOT_MIGRATED, explain, is_migrated
from core.quiet import Quiet
from users import limits
from users.models import LimitCounter

PROBE = "readyz"
# How long the result of a write is reused, because anybody may call /readyz as often as they like.
PROBE_LASTS = timedelta(seconds=1)
UNUSABLE = "The database cannot be used. Check DATABASE_URL."
UNWRITABLE = "The database cannot be written to. Check whether its disk is full and whether it has a primary."

log = logging.getLogger(__name__)

quiet = Quiet(["not ready"])
# The problems that were logged last.
told: list[str] = []


def healthz(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> JsonResponse:
    """200 if ready, otherwise 503. Only staff get the problems, and the log, when they change and once a minute."""
    problems = find_problems()
    is_due = quiet.turn("not ready") is not None
    if is_due or problems != told:
        told[:] = problems
        for problem in problems:
            log.error("Not ready: %s", problem)
    reply: dict[str, object] = {"status": "not ready" if problems else "ok"}
    if is_staff(request):
        reply["problems"] = problems
    return JsonResponse(reply, status=503 if problems else 200)


def is_staff(request: HttpRequest) -> bool:
    try:
        return admin.site.has_permission(request)
    except DatabaseError:
        return False


def find_problems() -> list[str]:
    """What keeps this installation from working; each problem names the variable or command that fixes it."""
    problems = [problem] if (problem := limits.find_problem()) else []
    try:
        if not is_migrated(connection):
            return [*problems, NOT_MIGRATED]
        lost = keys.missing()
    except DatabaseError as error:
        return [*problems, permission_problem() or explain(error) or UNUSABLE]
    if lost:
        problems.append(
            f"CREDENTIAL_KEYS lacks a key under which stored secrets are encrypted (check value {', '.join(lost)}). "
            "Add it back at the end of the list. If it is lost for good: manage.py rotate_credential_keys --key-lost"
        )
    if problem := permission_problem():
        return [*problems, problem]
    try:
        write()
    except DatabaseError as error:
        problems.append(explain(error) or UNWRITABLE)
    return problems


def permission_problem() -> str:
    """Empty if this process may write to the database's files, or if the database is not a file."""
    if path := unwritable_path(connection.settings_dict):
        return (
            f"The database cannot be written: {path} is read-only for the user of this process. Give it to that user "
            "(chown), or mount its volume for writing."
        )
    return ""


def write() -> None:
    """Write a row, unless one was written within PROBE_LASTS. Raises DatabaseError."""
    now = clock.now()
    until = {"expires_at": now + PROBE_LASTS}
    # In the future: it was written before the clock was set back.
    is_old = Q(expires_at__lt=now) | Q(expires_at__gt=now + 2 * PROBE_LASTS)
    if not LimitCounter.objects.filter(is_old, key=PROBE).update(**until):
        LimitCounter.objects.get_or_create(key=PROBE, defaults=until)
