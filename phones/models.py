"""Carrier accounts, numbers, calls and imports, as we store them."""

import secrets
from datetime import timedelta
from enum import StrEnum

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.crypto import salted_hmac

from core.fields import MillisecondField, ObjectIdField, SecretField
from integrations import PROVIDERS
from integrations.events import CallStatus, Direction, RecordingStatus

# Longer than any operation that holds a lease (services/leases.py).
LEASE = timedelta(seconds=60)
# What to do about secrets whose encryption key is lost.
ENTER_TOKEN = "Enter the auth token again on the page of one of the account's numbers."
NOT_RESTORED = "After removing the number, set its call routing in the carrier's console."


def carrier_choices() -> list[tuple[str, str]]:
    """The carriers that a field can hold. Migrations refer to this function, so a new carrier needs no migration."""
    return sorted(PROVIDERS.items())


def new_webhook_token() -> str:
    return secrets.token_urlsafe(32)


class Leased(models.Model):
    """A row that one operation at a time may change (services/leases.py). If the lease expires, its holder has died."""

    lease_id = models.CharField(max_length=24, blank=True, editable=False)
    lease_until = MillisecondField(null=True, editable=False, db_index=True)

    class Meta:
        abstract = True


class Account(Leased):
    """An account at a carrier, shared by all users whose credentials for it were verified."""

    id = ObjectIdField(primary_key=True)
    integration = models.CharField(max_length=16, choices=carrier_choices)
    account_id = models.CharField(max_length=64)
    auth_token = SecretField(editable=False, if_lost=ENTER_TOKEN)
    previous_auth_token = SecretField(
        null=True, editable=False, if_lost="Nothing to do: the current token is tried first."
    )
    rotated_at = MillisecondField(null=True, editable=False)
    # Finds a Telnyx account by its API key before it has an application, and recognizes credentials that were verified.
    token_digest = models.CharField(max_length=64, db_index=True, editable=False)
    public_key = models.CharField(max_length=64, blank=True, editable=False)
    # When the first webhook signed with the current auth token arrived or, if the carrier signs with a key of its own,
    # the first one that the current public key verified. Until then we do not know that webhooks are signed with it.
    signed_at = MillisecondField(null=True, editable=False)
    application_id = models.CharField(max_length=64, blank=True, editable=False)
    # The settings of a customer's own application before we changed it. Empty for an application that we made.
    application_snapshot = SecretField(null=True, editable=False, if_lost=NOT_RESTORED)
    application_is_customers = models.BooleanField(default=False, editable=False)
    # Set before we create an application, if none has our name. We never delete one that we found: others may use it.
    application_is_made = models.BooleanField(default=False, editable=False)
    webhook_token = models.CharField(max_length=64, unique=True, default=new_webhook_token, editable=False)
    # The lease id of the last operation that relied on this row (services/accounts.py).
    used_by = models.CharField(max_length=24, blank=True, editable=False)
    # The last webhooks that were refused for this account, as JSON (services/rejected_webhooks.py).
    refused_webhooks = models.TextField(blank=True, editable=False)
    refused_at = MillisecondField(null=True, editable=False)
    # Webhooks refused for their signature since the last accepted one. The count stops after a few.
    refused_count = models.PositiveSmallIntegerField(default=0, editable=False)
    # When we last asked the carrier for missed calls.
    pulled_at = MillisecondField(null=True, editable=False)
    created_at = MillisecondField(default=timezone.now, editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["integration", "account_id"], name="account_once")]

    def __str__(self) -> str:
        return f"{self.get_integration_display()} {self.account_id}"


def token_digest(auth_token: str) -> str:
    return salted_hmac("phones.Account.token_digest", auth_token, algorithm="sha256").hexdigest()


class MadeApplication(models.Model):
    """An application that we created at a carrier. The row outlives the application.

    A number linked to it is in the middle of one of our adds, so that link is never the customer's own route.
    """

    id = ObjectIdField(primary_key=True)
    integration = models.CharField(max_length=16, choices=carrier_choices)
    application_id = models.CharField(max_length=64)
    created_at = MillisecondField(default=timezone.now, editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["integration", "application_id"], name="made_application_once")]

    def __str__(self) -> str:
        return self.application_id


class Line(Leased):
    """A number on an account, with its settings at the carrier before us and the result of the last check."""

    class Health(models.TextChoices):
        OK = "ok"
        DRIFT = "drift"
        UNREACHABLE = "unreachable"

    id = ObjectIdField(primary_key=True)
    account = models.ForeignKey(Account, models.PROTECT, related_name="lines")
    number = models.CharField(max_length=15)
    carrier_id = models.CharField(max_length=64)
    snapshot = SecretField(editable=False, if_lost=NOT_RESTORED)
    health = models.CharField(max_length=16, choices=Health.choices, default=Health.OK, editable=False)
    # Sealed, because the customer's URLs may contain the customer's secrets.
    reasons = SecretField(null=True, editable=False, if_lost="Check the number again.")
    checked_at = MillisecondField(null=True, editable=False)
    # Since when the health has not been ok.
    unwell_since = MillisecondField(null=True, editable=False)
    created_at = MillisecondField(default=timezone.now, editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "number"], name="line_once")]
        indexes = [
            models.Index(fields=["health", "checked_at"], name="line_by_health"),
            models.Index(fields=["unwell_since"], name="line_unwell"),
        ]

    def __str__(self) -> str:
        return f"+{self.number}"


class PhoneNumber(Leased):
    """A number that a user owns. Only active numbers are shown and answer calls.

    The lease is that of the add or removal in progress; `operation` holds what is needed to roll it back after a crash.
    """

    class State(models.TextChoices):
        RESERVED = "reserved"
        APPLYING = "applying"
        ACTIVE = "active"
        REMOVING = "removing"

    # Few rows at any time; all others are active.
    UNFINISHED = [State.RESERVED, State.APPLYING, State.REMOVING]

    class Action(models.TextChoices):
        VOICEMAIL = "voicemail"
        FORWARD = "forward"
        REJECT = "reject"

    id = ObjectIdField(primary_key=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="phone_numbers")
    line = models.ForeignKey(Line, models.PROTECT, null=True, related_name="phone_numbers")
    integration = models.CharField(max_length=16, choices=carrier_choices)
    number = models.CharField(max_length=15, db_index=True)
    state = models.CharField(max_length=16, choices=State.choices, default=State.RESERVED, editable=False)
    label = models.CharField(max_length=200, blank=True)
    action = models.CharField(max_length=16, choices=Action.choices, default=Action.VOICEMAIL)
    greeting = models.CharField(max_length=1000, blank=True)
    forward_to = models.CharField(max_length=15, blank=True)
    record = models.BooleanField(default=False)
    lease_until = MillisecondField(null=True, editable=False)  # indexed together with the state
    operation = SecretField(null=True, editable=False, if_lost="Nothing to do: reconcile finishes the operation.")
    created_at = MillisecondField(default=timezone.now, editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "number"], name="phone_number_once_per_user")]
        indexes = [
            models.Index(fields=["state", "lease_until"], name="phone_number_unfinished"),
            models.Index(fields=["user", "state", "created_at"], name="phone_number_newest"),
            models.Index(fields=["created_at"], name="phone_number_newest_of_all"),
            models.Index(fields=["integration", "created_at"], name="phone_number_newest_there"),
        ]
        permissions = [
            ("check_phonenumber", "Can check a phone number at its carrier"),
            ("repair_phonenumber", "Can repair a phone number at its carrier"),
            ("rotate_phonenumber", "Can replace the credentials of an account"),
            ("hear_recording", "Can listen to recordings"),
        ]

    def __str__(self) -> str:
        return f"+{self.number}"


class SearchTerm(models.Model):
    """A text that finds a number when a search matches its beginning (services/searching.py)."""

    id = ObjectIdField(primary_key=True)
    phone_number = models.ForeignKey(PhoneNumber, models.CASCADE, related_name="search_terms")
    term = models.CharField(max_length=254, db_index=True)

    def __str__(self) -> str:
        return self.term


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
    # The earlier of the start that the carrier reports and of when we first heard of the call: the log is sorted by it.
    started_at = MillisecondField()
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
    def talked_s(self) -> int | None:
        """The duration. If the carrier does not report it, it is computed from the answer and the end of the call."""
        if self.duration_s is None and self.answered_at and self.ended_at:
            return round((self.ended_at - self.answered_at).total_seconds())
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


class Figure(models.Model):
    """A daily count for the dashboard (services/figures.py)."""

    id = ObjectIdField(primary_key=True)
    day = models.DateField()
    name = models.CharField(max_length=16)
    key = models.CharField(max_length=64, blank=True)
    count = models.PositiveIntegerField()
    counted_at = MillisecondField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["day", "name", "key"], name="figure_once")]

    def __str__(self) -> str:
        return f"{self.day} {self.name} {self.key}"


class Import(Leased):
    """A file of numbers that staff import (bulk/imports.py). The process that works on it holds the lease."""

    class State(models.TextChoices):
        PREVIEWING = "previewing"
        READY = "ready"
        ADDING = "adding"
        DONE = "done"

    id = ObjectIdField(primary_key=True)
    name = models.CharField("file", max_length=200)
    workspace = models.ForeignKey("users.Workspace", models.PROTECT, null=True, blank=True, related_name="+")
    staff = models.EmailField("brought by")
    state = models.CharField(max_length=16, choices=State.choices, default=State.PREVIEWING)
    created_at = MillisecondField("brought", default=timezone.now, db_index=True)

    def __str__(self) -> str:
        return self.name

    @property
    def is_running(self) -> bool:
        return self.state in (Import.State.PREVIEWING, Import.State.ADDING)


class ImportRow(models.Model):
    """A row of an imported file and its outcome. Its fields are sealed, and cleared once it is done."""

    id = ObjectIdField(primary_key=True)
    file = models.ForeignKey(Import, models.CASCADE, related_name="rows")
    line = models.PositiveIntegerField()
    fields = SecretField(null=True, if_lost="Import the file again.")
    user_id = models.CharField(max_length=24, blank=True)
    number = models.CharField(max_length=40, blank=True)
    # A bulk.RowOutcome; empty until the preview reaches the row.
    outcome = models.CharField(max_length=16, blank=True)
    error = models.CharField(max_length=32, blank=True)
    message = models.CharField(max_length=500, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["file", "line"], name="import_row_once")]
        indexes = [models.Index(fields=["file", "outcome", "line"], name="import_row_by_outcome")]

    def __str__(self) -> str:
        return f"{self.file} {self.line}"
