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
from core.leased import LEASE
from phones.bulk.imports import erase_secrets, pending_rows
from phones.bulk.rows import NOT_TRIED, RowOutcome
from phones.bulk.run import add_rows
from phones.models import Import
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
    if not file.is_running or not leases.acquire(file, lease_id):
        return False
    # The audit trail takes the actor from the context.
    context = copy_context()
    Thread(target=context.run, args=(work, file, lease_id), name="import", daemon=True).start()
    return True


def has_stopped(file: Import) -> bool:
    """Whether there is work left but no process doing it: the one that did has died."""
    return file.is_running and Import.objects.filter(leases.free(), pk=file.pk, state=file.state).exists()


def work(file: Import, lease_id: str) -> None:
    """Preview or add all pending rows, for as long as the lease is ours."""
    try:
        file, stop = leases.owned(file, lease_id).get(), Event()  # the caller's thread has the other object
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
                if not leases.renew(file, lease_id):
                    stop.set()
        # In one statement: as soon as the new state is visible, somebody may start the next phase.
        leases.release(file, lease_id, state=NEXT[State(file.state)])
        if file.state == State.ADDING:
            erase_secrets(file)
    except Exception as error:
        log.error("Import %s stopped; resume it from its page", file.pk, exc_info=error)
    finally:
        leases.release(file, lease_id)
        connections.close_all()


def store_outcome(file: Import, outcome: RowOutcome) -> None:
    values = {"outcome": outcome.outcome, "error": outcome.error or "", "message": outcome.message[:500]}
    file.rows.filter(line=outcome.line).update(**values)
