"""What `migrate` refuses before it changes anything: shared accounts, and numbers that are stored several times.

From phones.0011 on, an account belongs to one workspace, and a number at a carrier is one line.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from django.core.management.base import CommandError
from django.db import connections
from django.db.models import Count

from integrations import PROVIDERS

GIVES_ACCOUNTS_TO_WORKSPACES = ("phones", "0011_accounts_of_workspaces")
# How many accounts and numbers are listed, and how many numbers of each workspace; the others are counted.
MOST_LISTED = 50
REFUSAL = """Nothing was migrated. In this version, an account at a carrier belongs to one workspace, and a number is \
stored once for each carrier. Accounts with numbers of several workspaces: {accounts}. Numbers that are stored for \
several accounts: {numbers}.

{listed}

To solve this:
1. Start the previous version again.
2. Of each account listed, remove the numbers of all workspaces but one. Remove each number listed from all accounts \
but one.
3. Run its reconcile once, stop it, and run migrate of this version again.
4. Start this version and add the removed numbers again."""


def refuse_shared(using: str, apps: Any, plan: Iterable[tuple[Any, bool]], **kwargs: Any) -> None:
    """Stop `migrate` if accounts cannot be given to workspaces. Receives `pre_migrate`; only reads the database.

    Args:
        using: the alias of the database.
        apps: the models as of the migrations that have been applied.
        plan: the migrations to run, each with whether it runs backwards.

    Raises:
        CommandError: names the accounts and numbers concerned and says what to do.
    """
    forwards = {(migration.app_label, migration.name) for migration, is_backwards in plan if not is_backwards}
    if GIVES_ACCOUNTS_TO_WORKSPACES not in forwards or not has_numbers(using, apps):
        return
    phones, lines = (apps.get_model("phones", name).objects.using(using) for name in ("PhoneNumber", "Line"))
    accounts, numbers = shared_accounts(phones), repeated_numbers(lines)
    found = len(accounts) + len(numbers)
    if found:
        listed = [about_account(phones, account_id) for account_id in accounts[:MOST_LISTED]]
        listed += [about_number(phones, lines, *number) for number in numbers[: MOST_LISTED - len(listed)]]
        if found > len(listed):
            listed.append(f"and {found - len(listed)} more")
        raise CommandError(
            REFUSAL.format(accounts=len(accounts), numbers=len(numbers), listed="\n".join(listed)), returncode=1
        )


def has_numbers(using: str, apps: Any) -> bool:
    """Whether the table exists. In a new database it does not."""
    try:
        table = apps.get_model("phones", "PhoneNumber")._meta.db_table
    except LookupError:
        return False
    return table in connections[using].introspection.table_names()


def shared_accounts(phones: Any) -> list[str]:
    """The ids of the accounts that have numbers of several workspaces, whatever the state of the numbers."""
    workspaces = defaultdict(set)
    pairs = phones.exclude(line=None).values_list("line__account", "user__workspace").distinct()
    for account_id, workspace_id in pairs.iterator():
        workspaces[account_id].add(workspace_id)
    return sorted(account_id for account_id, ids in workspaces.items() if len(ids) > 1)


def repeated_numbers(lines: Any) -> list[tuple[str, str]]:
    """The numbers that have several lines at a carrier, each as (carrier, number)."""
    counted = lines.values_list("account__integration", "number").annotate(Count("pk"))
    return sorted((integration, number) for integration, number, count in counted.iterator() if count > 1)


def about_account(phones: Any, account_id: str) -> str:
    """An account and its numbers, by workspace."""
    numbers = phones.filter(line__account=account_id)
    integration, carriers_id = numbers.values_list("line__account__integration", "line__account__account_id")[0]
    return f"- {PROVIDERS.get(integration, integration)} account {carriers_id}\n{by_workspace(numbers)}"


def about_number(phones: Any, lines: Any, integration: str, number: str) -> str:
    """A number and its accounts, each with its workspaces."""
    there = lines.filter(account__integration=integration, number=number).order_by("account__account_id")
    accounts = [
        f"  - account {carriers_id}\n{by_workspace(phones.filter(line=line_id), indent=4)}"
        for line_id, carriers_id in there.values_list("pk", "account__account_id")
    ]
    return "\n".join([f"- {PROVIDERS.get(integration, integration)} number {number}", *accounts])


def by_workspace(phones: Any, indent: int = 2) -> str:
    """The numbers of each workspace, in a line."""
    numbers = defaultdict(list)
    owners = phones.order_by("user__workspace", "number").values_list(
        "user__workspace", "user__workspace__name", "number"
    )
    for workspace_id, name, number in owners.iterator():
        numbers[f"{name} ({workspace_id})"].append(number)
    return "\n".join(f"{' ' * indent}- {workspace}: {some_of(numbers[workspace])}" for workspace in numbers)


def some_of(numbers: list[str]) -> str:
    more = [f"and {len(numbers) - MOST_LISTED} more"] if len(numbers) > MOST_LISTED else []
    return ", ".join([*numbers[:MOST_LISTED], *more])
