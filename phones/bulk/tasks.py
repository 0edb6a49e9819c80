"""What a worker of a bulk add does with one task: add the number of a row, or read a page of an account's list."""

import logging
import time
from typing import Any

from core.errors import Refusal
from core.leased import LEASE
from integrations.errors import CarrierUnavailable, IntegrationError
from phones.bulk.account_queues import AccountQueue, PageRead, ReadPage, Result, Task
from phones.bulk.rows import ADDED, EXISTS, FAILED, IN_WORKSPACE, WOULD_ADD, BulkRow, Retry, RowOutcome
from phones.bulk.screening import existing_keys, find_users
from phones.errors import LineBusy, NoSuchUser, PhoneExists
from phones.services.adding import AccountHints, add_phone, rehearse_add
from users.limits import LimitHeld

log = logging.getLogger(__name__)

# Includes waiting at the gate for other rows of the account; with 5 s to undo, it stays below a lease.
ROW_BUDGET_S = 40.0
# How long a row waits in all for what a dead process holds, and how long before each retry.
PATIENCE_S, LOOK_AGAIN_S = 2.5 * LEASE.total_seconds(), 1.0
CRASHED = "Something went wrong on our side. Run the file again; the log has the details."


def perform(queue: AccountQueue, task: Task, *, workspace_id: str | None, dry_run: bool) -> Result:
    """Do a task. Runs in a worker's thread and never raises."""
    if isinstance(task, ReadPage):
        return read_page(queue, task)
    task.first_tried_at = task.first_tried_at or time.monotonic()
    try:
        return try_row(queue, task, workspace_id=workspace_id, dry_run=dry_run)
    except Exception as error:
        log.error("Row %s could not be added", task.line, exc_info=error)
        return task.outcome(FAILED, Refusal(), message=CRASHED)


def read_page(queue: AccountQueue, task: ReadPage) -> PageRead:
    try:
        queue.listed.read_page(task.numbers)
    except IntegrationError as error:
        log.info("The numbers of an account could not be listed: %s", error)
        return PageRead(has_failed=True)  # the next row shows what is wrong
    except Exception as error:
        queue.listed.stop_reading()
        log.error("The numbers of an account could not be listed", exc_info=error)
    return PageRead()


def try_row(queue: AccountQueue, row: BulkRow, *, workspace_id: str | None, dry_run: bool) -> RowOutcome | Retry:
    try:
        if not row.is_user_known:
            find_users([row], workspace_id=workspace_id)
        if row.user is None:
            raise NoSuchUser
        add(queue, row, dry_run=dry_run)
        return row.outcome(WOULD_ADD if dry_run else ADDED)
    except PhoneExists as error:
        if row.user and (row.user.pk, row.number) in existing_keys([row]):
            return row.outcome(EXISTS, message=IN_WORKSPACE)
        return retry_or_fail(row, error)
    except (LineBusy, LimitHeld) as error:
        return retry_or_fail(row, error)
    except (Refusal, IntegrationError) as error:
        if isinstance(error, CarrierUnavailable) and not error.is_final and queue.gate.is_closed:
            return retry_or_fail(row, error)
        return row.outcome(FAILED, error)


def add(queue: AccountQueue, row: BulkRow, *, dry_run: bool) -> None:
    credentials = row.credentials
    arguments: dict[str, Any] = {
        "integration": credentials.integration,
        "account_id": credentials.account_id,
        "auth_token": credentials.auth_token,
        "public_key": credentials.public_key,
        "user": row.user,
        "number": row.number,
        "on_conflict": row.on_conflict,
        "hints": AccountHints(queue.is_verified, queue.listed.pop(row.number) if queue.is_verified else None),
        "settings": row.settings,
        "budget_s": ROW_BUDGET_S,
    }
    if dry_run:
        rehearse_add(**arguments)
    else:
        add_phone(**arguments)


def retry_or_fail(row: BulkRow, error: Refusal | IntegrationError) -> RowOutcome | Retry:
    """Try again later, as whoever holds the lease or limit either finishes or lets it expire; fail after PATIENCE_S."""
    now = time.monotonic()
    return row.outcome(FAILED, error) if now - row.first_tried_at > PATIENCE_S else Retry(row, now + LOOK_AGAIN_S)
