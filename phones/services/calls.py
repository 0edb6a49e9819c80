"""What carriers report about calls: stored once as events and merged into the call log (docs/decisions/0006).

The merge has a single rule: of all reported values, keep the furthest status, the greatest number, the earliest start,
and the text that sorts last. So the result does not depend on the order of the reports or on repeats. The status shown
of a call that was forwarded and that nobody took follows from two of these values, and of causes our own comes first.
"""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from django.db import DatabaseError, IntegrityError, connection, transaction
from django.utils import timezone

from integrations import provider_class
from integrations.events import (
    STREAM_FAILED,
    CallReport,
    CallStatus,
    Direction,
    ParsedEvent,
    RecordingReport,
    RecordingStatus,
    read_event,
    read_payload,
)
from phones.models import Account, Call, CallEvent, Recording
from phones.services.ownership import tenures
from users import limits

log = logging.getLogger(__name__)

Row = TypeVar("Row", Call, Recording)


def record_event(account: Account, kind: str, body: str, dedupe_key: str) -> ParsedEvent:
    """Count an accepted webhook, store it and merge it into the call log. A repeat is counted but changes nothing else.

    Args:
        kind: which of our URLs received it (`integrations.webhooks.KINDS`).
        body: as received.
        dedupe_key: a digest of what the carrier signed.

    Returns the parsed event. Raises ValueError if the body cannot be read, LimitReached if the account has sent too
    many, django.db.Error if the event cannot be stored. If it is stored but cannot be merged, `reconcile` merges it.
    """
    parsed, payload = read_event(body, provider_class(account.integration).parse_event)
    event = CallEvent(account=account, kind=kind, payload=payload, dedupe_key=dedupe_key)
    with transaction.atomic():  # one disk flush for the count, the event and the merge
        limits.spend(("events", account.pk))
        if is_first(event):
            merge_or_leave(event, parsed)
        # The failed merge could not be rolled back alone, so leaving the block would silently roll back the event, too.
        # (Without savepoints, nothing is rolled back, and the flag means only that an operation was retried.)
        if connection.needs_rollback and connection.features.uses_savepoints:
            raise DatabaseError("The event could not be stored.")
    return parsed


def is_first(event: CallEvent) -> bool:
    """Insert an event. Returns False if it is there already. Raises django.db.Error."""
    try:
        with transaction.atomic():
            event.save(force_insert=True)
        return True
    except IntegrityError:
        if not CallEvent.objects.filter(dedupe_key=event.dedupe_key).exists():
            raise
        return False


def parse(account: Account, body: str) -> ParsedEvent:
    return provider_class(account.integration).parse_event(read_payload(body))


def merge_or_leave(event: CallEvent, parsed: ParsedEvent | None = None) -> bool:
    """Merge an event. Returns whether that succeeded; if not, the event stays unmerged, to be tried again."""
    try:
        with transaction.atomic():
            merge_event(event, parsed)
        return True
    except Exception as error:  # whatever is wrong, the event is stored
        log.error("Event %s is stored but not merged yet; reconcile will do it", event.pk, exc_info=error)
        return False


def merge_event(event: CallEvent, parsed: ParsedEvent | None = None) -> None:
    """Merge the call and the recording that an event reports, and mark the event as merged."""
    parsed, call = parsed or parse(event.account, event.payload), None
    if parsed.call:
        call = merge_call(event.account, parsed.call, event.received_at)
        if parsed.recording:
            merge_recording(call, parsed.recording)
    CallEvent.objects.filter(pk=event.pk).update(merged_at=timezone.now(), call=call)


def merge_call(account: Account, parsed: CallReport, heard_at: datetime, *, is_listed: bool = False) -> Call:
    """Merge a report into the row of its call. The first report inserts the row.

    Args:
        is_listed: the report is from the carrier's list of calls, so its start tells whose the number was. A webhook
            came to an address of the workspace, so the number was its own when we heard of the call.
    """
    started_at = min(filter(None, (parsed.started_at, heard_at)))
    is_own_from = started_at if is_listed else heard_at
    new = Call(account=account, carrier_id=parsed.id, started_at=started_at)
    rows = Call.objects.filter(account=account, carrier_id=parsed.id)
    return merge(new, rows, lambda call: change_call(call, parsed, started_at, is_own_from))


def change_call(call: Call, parsed: CallReport, started_at: datetime, is_own_from: datetime) -> None:
    call.started_at = min(call.started_at, started_at)
    call.answered_at = least(call.answered_at, parsed.answered_at)
    call.ended_at = most(call.ended_at, parsed.ended_at)
    call.duration_s = most(call.duration_s, parsed.duration_s)
    call.cost = most(call.cost, parsed.cost)
    call.currency = max(call.currency, parsed.currency)
    call.hangup_cause = max(call.hangup_cause, parsed.hangup_cause, key=lambda cause: (cause == STREAM_FAILED, cause))
    before = call.direction, call.caller, call.callee
    call.caller, call.callee = max(call.caller, parsed.caller), max(call.callee, parsed.callee)
    if parsed.direction:
        call.direction = parsed.direction.value
    if call.line_id is None or before != (call.direction, call.caller, call.callee):
        find_line(call, min(call.created_at, is_own_from))
    change_status(call, parsed)  # once the direction is known


def change_status(call: Call, parsed: CallReport) -> None:
    """Set the status. The carrier answers a call to forward it, so it is completed for the carrier even if nobody took
    it: then the outcome of forwarding is the status.

    Only of an inbound call. One that the customer placed may have legs, too, but they are not why it was answered.
    """
    reported = furthest(call.reported_status or call.status, parsed.status)
    outcome = furthest(call.forwarding or CallStatus.UNKNOWN, parsed.forwarding)
    is_taken = outcome in (CallStatus.UNKNOWN, CallStatus.COMPLETED) or call.direction != Direction.INBOUND
    gives_way = not reported.is_final or reported is CallStatus.COMPLETED
    call.forwarding = None if outcome is CallStatus.UNKNOWN else outcome.value
    call.reported_status = None if is_taken else reported.value
    call.status = (reported if is_taken or not gives_way else outcome).value


def furthest(known: str, said: CallStatus) -> CallStatus:
    return max(CallStatus(known), said, key=lambda status: status.rank)


def find_line(call: Call, at: datetime) -> None:
    """Set the line of a call: the end that was the workspace's number then. If Telnyx left out the direction, set that,
    too."""
    for number, direction in ((call.callee, Direction.INBOUND), (call.caller, Direction.OUTBOUND)):
        if number and call.direction in ("", direction):
            own = (tenure.line for tenure in tenures(call.account, number=number) if tenure.covers(at))
            line = next(own, None)
            if line:
                call.line, call.direction = line, direction.value
                return


def merge_recording(call: Call, parsed: RecordingReport) -> Recording:
    """Merge a report into the row of its recording. The first report inserts the row."""
    new = Recording(account_id=call.account_id, call=call, carrier_id=parsed.id)
    rows = Recording.objects.filter(account_id=call.account_id, carrier_id=parsed.id)
    return merge(new, rows, lambda recording: change_recording(recording, parsed))


def change_recording(recording: Recording, parsed: RecordingReport) -> None:
    status = max(RecordingStatus(recording.status), parsed.status, key=lambda status: status.rank)
    recording.status = status.value
    recording.started_at = least(recording.started_at, parsed.started_at)
    recording.duration_s = most(recording.duration_s, parsed.duration_s)
    recording.channels = most(recording.channels, parsed.channels)
    recording.url = max(recording.url, parsed.url)


def least(*values: Any) -> Any:
    return min((value for value in values if value is not None), default=None)


def most(*values: Any) -> Any:
    return max((value for value in values if value is not None), default=None)


def merge(new: Row, rows: Any, change: Callable[[Row], None]) -> Row:
    """Insert `new` or change the existing row, and retry if another process was faster. Returns the row."""
    while True:
        # Queried anew each time, and unsorted: at most one row matches.
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
                continue  # another process has just inserted it
        before = {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}
        change(row)
        changes = {name: getattr(row, name) for name, value in before.items() if getattr(row, name) != value}
        if not changes:
            return row
        row.version += 1
        if rows.filter(version=before["version"]).update(**changes, version=row.version):
            return row
