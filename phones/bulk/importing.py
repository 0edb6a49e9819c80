"""Trying and adding the rows of a file that staff have brought, by a thread of the server.

All that matters is in the rows, so whoever opens the page sees how far it is, and when the process that was at work has
died, somebody lets it go on there, in their own name.
"""

import logging
from contextvars import copy_context
from threading import Event, Thread

from django.db import connections
from django.utils import timezone

from core.fields import new_object_id
from phones.bulk.imports import forget, pending_rows
from phones.bulk.rows import NOT_TRIED, RowOutcome
from phones.bulk.run import add_rows
from phones.models import LEASE, Import, lease_is_over
from phones.services import leases

# A server has other things to do as well.
WORKERS = 16
RENEW_EVERY = LEASE / 4

log = logging.getLogger(__name__)

State = Import.State
NEXT = {State.PREVIEWING: State.READY, State.ADDING: State.DONE}


def go_on(file: Import) -> bool:
    """Have a thread of this process work on an import, if nobody does. Says whether it does now."""
    operation_id = new_object_id()
    if not file.is_running or not leases.take(file, operation_id):
        return False
    # With who acts, for the audit trail.
    context = copy_context()
    Thread(target=context.run, args=(work, file.pk, operation_id), name="import", daemon=True).start()
    return True


def has_stopped(file: Import) -> bool:
    """Whether nobody is at work although there is something to do: the process that was has died."""
    return file.is_running and Import.objects.filter(lease_is_over(), pk=file.pk, state=file.state).exists()


def work(file_id: str, operation_id: str) -> None:
    """Do all rows that are to be done, as long as the lease is ours."""
    mine = Import.objects.filter(pk=file_id, lease_id=operation_id)
    try:
        file, stop = mine.get(), Event()
        renewed = timezone.now()
        outcomes = add_rows(
            pending_rows(file), workspace_id=file.workspace_id, dry_run=file.state == State.PREVIEWING,
            workers=WORKERS, stop=stop,
        )  # fmt: skip
        for outcome in outcomes:
            if outcome.outcome != NOT_TRIED:
                keep_outcome(file, outcome)
            if timezone.now() > renewed + RENEW_EVERY:
                renewed = timezone.now()
                if not mine.update(lease_until=renewed + LEASE):
                    stop.set()
        # In one step: whoever sees that it is ready may begin the next.
        mine.update(state=NEXT[State(file.state)], lease_id="", lease_until=None)
        if file.state == State.ADDING:
            forget(file)
    except Exception as error:
        log.error("Import %s stopped; its page has a button to let it go on", file_id, exc_info=error)
    finally:
        mine.update(lease_id="", lease_until=None)
        connections.close_all()


def keep_outcome(file: Import, outcome: RowOutcome) -> None:
    told = {"outcome": outcome.outcome, "error": outcome.error or "", "message": outcome.message[:500]}
    if outcome.phone_number:
        told["number"] = outcome.phone_number
    file.rows.filter(line=outcome.line).update(**told)
