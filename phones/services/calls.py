"""What carriers say about calls: kept once as events, merged into the log of calls (docs/decisions/0006).

Merging knows one rule: of all values that were ever said the furthest status, the greatest number, the earliest start,
the alphabet's last text stay. So the log is the same whatever the order in which it hears of something, and however
often.
"""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from django.db import DatabaseError, IntegrityError, connection, transaction
from django.utils import timezone

from integrations import provider_class
from integrations.events import CallEvent as SaidEvent
from integrations.events import (
    CallReport,
    CallStatus,
    Direction,
    RecordingReport,
    RecordingStatus,
    read_event,
    read_payload,
)
from phones.models import Account, Call, CallEvent, Line, Recording
from users import limits

log = logging.getLogger(__name__)

Row = TypeVar("Row", Call, Recording)


def record_event(account: Account, kind: str, body: str, dedupe_key: str) -> SaidEvent:
    """Count a webhook that was accepted, keep it, and merge what it says. A repeat changes nothing, but counts.

    Args:
        kind: which of our addresses it came to.
        body: as received.
        dedupe_key: a digest of what the carrier signed.

    Returns what it says. Raises ValueError for a body that cannot be read, LimitReached when the account has had too
    many, django.db.Error when it cannot be kept. One that is kept and cannot be merged is left to `reconcile`.
    """
    said, payload = read_event(body, provider_class(account.integration).parse_event)
    event = CallEvent(account=account, kind=kind, payload=payload, dedupe_key=dedupe_key)
    with transaction.atomic():  # one disk flush for the count, the event and what it changes
        limits.spend(("events", account.pk))
        if is_first(event):
            merge_or_leave(event, said)
        # The merge could not even be undone: to leave here quietly would undo all. (Where there are no savepoints,
        # nothing is ever undone, and the flag only says that something was tried again.)
        if connection.needs_rollback and connection.features.uses_savepoints:
            raise DatabaseError("The event cannot be kept.")
    return said


def is_first(event: CallEvent) -> bool:
    """Insert an event, unless it is there already. Raises django.db.Error."""
    try:
        with transaction.atomic():
            event.save(force_insert=True)
        return True
    except IntegrityError:
        if not CallEvent.objects.filter(dedupe_key=event.dedupe_key).exists():
            raise
        return False


def parse(account: Account, body: str) -> SaidEvent:
    return provider_class(account.integration).parse_event(read_payload(body))


def merge_or_leave(event: CallEvent, said: SaidEvent | None = None) -> bool:
    """Merge an event; says whether that went well. If not, it stays as it is, to be tried again."""
    try:
        with transaction.atomic():
            merge_event(event, said)
        return True
    except Exception as error:  # whatever is wrong with it, it is not lost
        log.error("Event %s is kept and not merged yet; reconcile will do it", event.pk, exc_info=error)
        return False


def merge_event(event: CallEvent, said: SaidEvent | None = None) -> None:
    """Merge what an event says of its call and its recording, and mark it as merged."""
    said, call = said or parse(event.account, event.payload), None
    if said.call:
        call = merge_call(event.account, said.call, event.received_at)
        if said.recording:
            merge_recording(call, said.recording)
    CallEvent.objects.filter(pk=event.pk).update(merged_at=timezone.now(), call=call)


def merge_call(account: Account, said: CallReport, heard_at: datetime) -> Call:
    """Bring a report into the row of its call, which is made if this is the first."""
    started_at = min(filter(None, (said.started_at, heard_at)))
    new = Call(account=account, carrier_id=said.id, started_at=started_at)
    rows = Call.objects.filter(account=account, carrier_id=said.id)
    return merge(new, rows, lambda call: change_call(call, said, started_at))


def change_call(call: Call, said: CallReport, started_at: datetime) -> None:
    status = max(CallStatus(call.status), said.status, key=lambda one: one.rank)
    call.status = status.value
    call.started_at = min(call.started_at, started_at)
    call.answered_at = least(call.answered_at, said.answered_at)
    call.ended_at = most(call.ended_at, said.ended_at)
    call.duration_s = most(call.duration_s, said.duration_s)
    call.cost = most(call.cost, said.cost)
    call.currency = max(call.currency, said.currency)
    call.hangup_cause = max(call.hangup_cause, said.hangup_cause)
    before = call.direction, call.caller, call.callee
    call.caller, call.callee = max(call.caller, said.caller), max(call.callee, said.callee)
    if said.direction:
        call.direction = said.direction.value
    if call.line_id is None or before != (call.direction, call.caller, call.callee):
        find_line(call)


def find_line(call: Call) -> None:
    """The line of a call is the end that is ours; Telnyx may leave it to us to see which of them it is."""
    for number, direction in ((call.callee, Direction.INBOUND), (call.caller, Direction.OUTBOUND)):
        if number and call.direction in ("", direction):
            lines = Line.objects.filter(account_id=call.account_id, number=number).only("number", "created_at")
            line = next(iter(lines), None)
            # A call that is older than the line was another owner's.
            if line and line.created_at <= call.created_at:
                call.line, call.direction = line, direction.value
                return


def merge_recording(call: Call, said: RecordingReport) -> Recording:
    """Bring a report into the row of its recording, which is made if this is the first."""
    new = Recording(account_id=call.account_id, call=call, carrier_id=said.id)
    rows = Recording.objects.filter(account_id=call.account_id, carrier_id=said.id)
    return merge(new, rows, lambda recording: change_recording(recording, said))


def change_recording(recording: Recording, said: RecordingReport) -> None:
    status = max(RecordingStatus(recording.status), said.status, key=lambda one: one.rank)
    recording.status = status.value
    recording.started_at = least(recording.started_at, said.started_at)
    recording.duration_s = most(recording.duration_s, said.duration_s)
    recording.channels = most(recording.channels, said.channels)
    recording.url = max(recording.url, said.url)


def least(*values: Any) -> Any:
    return min((value for value in values if value is not None), default=None)


def most(*values: Any) -> Any:
    return max((value for value in values if value is not None), default=None)


def merge(new: Row, rows: Any, change: Callable[[Row], None]) -> Row:
    """Insert `new`, or change the row that is there, until nobody else did so in between. Returns the row."""
    while True:
        # Asked anew each time. At most one: to sort it would only cost time.
        row = next(iter(rows.all()), None)
        if row is None:
            change(new)
            try:
                with transaction.atomic():
                    new.save(force_insert=True)
                return new
            except IntegrityError:
                if not rows.all().exists():
                    raise
                continue  # somebody else has inserted it just now
        before = {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}
        change(row)
        changes = {name: getattr(row, name) for name, value in before.items() if getattr(row, name) != value}
        if not changes:
            return row
        row.version += 1
        if rows.filter(version=before["version"]).update(**changes, version=row.version):
            return row
