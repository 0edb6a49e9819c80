"""The call log, as we store it."""

from datetime import datetime
from enum import StrEnum

from django.db import models
from django.utils import timezone

from core.fields import MillisecondField, ObjectIdField
from integrations.events import CallStatus, Direction, RecordingStatus
from phones.models.numbers import Account, Line


def choices(statuses: type[StrEnum]) -> list[tuple[str, str]]:
    return [(status.value, status.value) for status in statuses]


class Call(models.Model):
    """A call on a line, merged from its events and the carrier's lists (services/calls.py)."""

    id = ObjectIdField(primary_key=True)
    account = models.ForeignKey(Account, models.PROTECT, related_name="calls")
    line = models.ForeignKey(Line, models.SET_NULL, null=True, related_name="calls")
    carrier_id = models.CharField(max_length=128)
    direction = models.CharField(max_length=8, choices=choices(Direction), blank=True)
    caller = models.CharField(max_length=128, blank=True)
    callee = models.CharField(max_length=128, blank=True)
    status = models.CharField(max_length=16, choices=choices(CallStatus), default=CallStatus.UNKNOWN.value)
    # The outcome of forwarding. If nobody took an inbound call, it is the `status` too; the carrier's is
    # `reported_status`, which is null otherwise.
    forwarding = models.CharField(max_length=16, null=True, editable=False)
    reported_status = models.CharField(max_length=16, null=True, editable=False)
    # The earlier of the start that the carrier reports and of when we first heard of the call: the log is sorted by it.
    started_at = MillisecondField()
    # As the carrier reports it; `taken_at` is what is shown.
    answered_at = MillisecondField(null=True)
    ended_at = MillisecondField(null=True)
    duration_s = models.PositiveIntegerField(null=True)
    hangup_cause = models.CharField(max_length=128, blank=True)
    cost = models.DecimalField(max_digits=12, decimal_places=6, null=True)
    currency = models.CharField(max_length=3, blank=True)
    # Increases with each change; an update succeeds only if the version is still the one that was read.
    version = models.PositiveIntegerField(default=0, editable=False)
    created_at = MillisecondField(default=timezone.now, db_index=True, editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "carrier_id"], name="call_once")]
        # Every list of calls selects by line, newest first (services/call_log.py). The id orders calls with the same
        # start: without it, MongoDB reads and sorts a whole period instead of a page.
        indexes = [
            models.Index(fields=["line", "started_at", "id"], name="calls_of_line"),
            models.Index(fields=["line", "status", "started_at", "id"], name="calls_by_status"),
            models.Index(fields=["line", "direction", "started_at", "id"], name="calls_by_direction"),
        ]

    def __str__(self) -> str:
        return self.carrier_id

    @property
    def taken_at(self) -> datetime | None:
        """When the call was answered. The carrier also answers one that is forwarded and that nobody takes."""
        return None if self.reported_status else self.answered_at

    @property
    def talked_s(self) -> int | None:
        """The duration. If the carrier does not report it, it is computed from the answer and the end of the call."""
        if self.duration_s is None and self.taken_at and self.ended_at:
            return round((self.ended_at - self.taken_at).total_seconds())
        return self.duration_s


class Recording(models.Model):
    """A recording of a call; the audio stays at the carrier."""

    id = ObjectIdField(primary_key=True)
    account = models.ForeignKey(Account, models.PROTECT, related_name="recordings")
    call = models.ForeignKey(Call, models.CASCADE, related_name="recordings")
    carrier_id = models.CharField(max_length=128)
    status = models.CharField(max_length=16, choices=choices(RecordingStatus), default=RecordingStatus.UNKNOWN.value)
    started_at = MillisecondField(null=True)
    duration_s = models.PositiveIntegerField(null=True)
    channels = models.PositiveSmallIntegerField(null=True)
    url = models.TextField(blank=True)
    version = models.PositiveIntegerField(default=0, editable=False)
    created_at = MillisecondField(default=timezone.now, editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "carrier_id"], name="recording_once")]

    def __str__(self) -> str:
        return self.carrier_id


class CallEvent(models.Model):
    """An accepted webhook with its body as received, stored once; of a very long body, only the fields that we read.

    `dedupe_key` is a digest of exactly what the carrier signed. Until `merged_at` is set, the event is not in the call
    log; `reconcile` merges it later.
    """

    id = ObjectIdField(primary_key=True)
    account = models.ForeignKey(Account, models.PROTECT, related_name="events")
    call = models.ForeignKey(Call, models.SET_NULL, null=True, related_name="events")
    dedupe_key = models.CharField(max_length=64, unique=True)
    kind = models.CharField(max_length=32)
    payload = models.TextField()
    received_at = MillisecondField(default=timezone.now)
    merged_at = MillisecondField(null=True)

    class Meta:
        indexes = [models.Index(fields=["merged_at", "received_at"], name="event_by_merging")]

    def __str__(self) -> str:
        return f"{self.kind} {self.received_at:%Y-%m-%d %H:%M:%S}"
