"""`/healthz`: the process is up. `/readyz`: it can do its work."""

from django.core.checks import run_checks
from django.db import DatabaseError, connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse

from phones.models import Account
from workspace.checks import WORKSPACE
from workspace.secrets import CannotOpen


def healthz(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> JsonResponse:
    problems = find_problems()
    return JsonResponse(
        {"status": "not ready" if problems else "ok", "problems": problems}, status=503 if problems else 200
    )


def find_problems() -> list[str]:
    """What keeps this installation from working, each with the variable or command that mends it."""
    problems = [str(message.msg) for message in run_checks(tags=[WORKSPACE])]
    try:
        if not is_migrated(connection):
            return [*problems, "The database is not migrated. Run: manage.py migrate"]
        newest = Account.objects.order_by("-created_at").first()
    except DatabaseError:
        return [*problems, "The database cannot be used. Check DATABASE_URL."]
    try:
        if newest and not problems:
            newest.auth_token.open()
    except CannotOpen:
        problems.append("CREDENTIAL_KEYS lacks the key under which stored credentials were encrypted. Add it back.")
    return problems


def is_migrated(database: BaseDatabaseWrapper) -> bool:
    """Whether no migration is left to run. Raises DatabaseError."""
    executor = MigrationExecutor(database)
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())
