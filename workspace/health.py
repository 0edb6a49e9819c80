"""`/healthz`: the process is running. `/readyz`: it can do its work."""

import logging
from datetime import timedelta

from django.contrib import admin
from django.core.checks import run_checks
from django.db import DatabaseError, connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse

from core import clock, keys
from users.models import LimitCounter
from workspace.checks import WORKSPACE

PROBE = "readyz"
# How long the result of a write is reused, because anybody may call /readyz as often as they like.
PROBE_LASTS = timedelta(seconds=1)

log = logging.getLogger(__name__)


def healthz(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> JsonResponse:
    """200 if ready, otherwise 503. Only the log and staff get the problems."""
    problems = find_problems()
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
    problems = [str(message.msg) for message in run_checks(tags=[WORKSPACE]) if message.is_serious()]
    try:
        if not is_migrated(connection):
            return [*problems, "The database is not migrated. Run: manage.py migrate"]
        lost = [] if problems else keys.missing()
    except DatabaseError:
        return [*problems, "The database cannot be used. Check DATABASE_URL."]
    if lost:
        problems.append(
            f"CREDENTIAL_KEYS lacks a key under which stored secrets are encrypted (check value {', '.join(lost)}). "
            "Add it back at the end of the list. If it is lost for good: manage.py rotate_credential_keys --key-lost"
        )
    try:
        write()
    except DatabaseError:
        problems.append(
            "The database cannot be written to. Check whether its disk is full and whether it has a primary."
        )
    return problems


def is_migrated(database: BaseDatabaseWrapper) -> bool:
    """Whether all migrations have been applied. Raises DatabaseError."""
    executor = MigrationExecutor(database)
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())


def write() -> None:
    """Write a row, unless one was written within PROBE_LASTS. Raises DatabaseError."""
    now = clock.now()
    until = {"expires_at": now + PROBE_LASTS}
    if not LimitCounter.objects.filter(key=PROBE, expires_at__lt=now).update(**until):
        LimitCounter.objects.get_or_create(key=PROBE, defaults=until)
