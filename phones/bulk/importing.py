"""Preview and add the rows of an imported file in a thread of the server.

All state is in the database: any process can show the progress, and if the process doing the work dies, anybody can
resume the import from its page, in their own name.
"""

import logging
from contextvars import copy_context
from threading import Event, Thread

from django.db import connections
from django.utils import timezone

from core.fields import new_object_id
from phones.bulk.imports import erase_secrets, pending_rows
from phones.bulk.rows import NOT_TRIED, RowOutcome
from phones.bulk.run import add_rows
from phones.models import LEASE, Import, lease_is_over
from phones.services import leases

# Fewer than the command uses: the server has other work to do.
WORKERS = 16
RENEW_EVERY = LEASE / 4

log = logging.getLogger(__name__)

State = Import.State
NEXT = {State.PREVIEWING: State.READY, State.ADDING: State.DONE}


def resume(file: Import) -> bool:
    """Start a thread that works on an import, unless another one does. Returns whether it started one."""
    lease_id = new_object_id()
    if not file.is_running or not leases.take(file, lease_id):
        return False
    # The audit trail takes the actor from the context.
    context = copy_context()
    Thread(target=context.run, args=(work, file.pk, lease_id), name="import", daemon=True).start()
    return True


def has_stopped(file: Import) -> bool:
    """Whether there is work left but no process doing it: the one that did has died."""
    return file.is_running and Import.objects.filter(lease_is_over(), pk=file.pk, state=file.state).exists()


def work(file_id: str, lease_id: str) -> None:
    """Preview or add all pending rows, for as long as the lease is ours."""
    mine = Import.objects.filter(pk=file_id, lease_id=lease_id)
    try:
        file, stop = mine.get(), Event()
        renewed = timezone.now()
        outcomes = add_rows(
            pending_rows(file), workspace_id=file.workspace_id, dry_run=file.state == State.PREVIEWING,
            workers=WORKERS, stop=stop,
        )  # fmt: skip
        for outcome in outcomes:
            if outcome.outcome != NOT_TRIED:
                store_outcome(file, outcome)
            if timezone.now() > renewed + RENEW_EVERY:
                renewed = timezone.now()
                if not mine.update(lease_until=renewed + LEASE):
                    stop.set()
        # In one step: as soon as the new state is visible, somebody may start the next phase.
        mine.update(state=NEXT[State(file.state)], lease_id="", lease_until=None)
        if file.state == State.ADDING:
            erase_secrets(file)
    except Exception as error:
        log.error("Import %s stopped; resume it from its page", file_id, exc_info=error)
    finally:
        mine.update(lease_id="", lease_until=None)
        connections.close_all()


def store_outcome(file: Import, outcome: RowOutcome) -> None:
    values = {"outcome": outcome.outcome, "error": outcome.error or "", "message": outcome.message[:500]}
    if outcome.phone_number:
        values["number"] = outcome.phone_number
    file.rows.filter(line=outcome.line).update(**values)
