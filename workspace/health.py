"""`/healthz`: the process is up. `/readyz`: it can do its work."""

from django.core.checks import run_checks
from django.db import DatabaseError, connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse

from workspace import keys
from workspace.checks import WORKSPACE


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
        lost = [] if problems else keys.missing()
    except DatabaseError:
        return [*problems, "The database cannot be used. Check DATABASE_URL."]
    if lost:
        problems.append(
            f"CREDENTIAL_KEYS lacks a key under which stored secrets are sealed (check value {', '.join(lost)}). "
            "Put it back at the end of the list. If it is lost for good: manage.py rotate_credential_keys --key-lost"
        )
    return problems


def is_migrated(database: BaseDatabaseWrapper) -> bool:
    """Whether no migration is left to run. Raises DatabaseError."""
    executor = MigrationExecutor(database)
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())
