"""What we keep about carrier accounts, numbers and calls."""

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

# Outlasts anything that is done under it (services/leases.py).
LEASE = timedelta(seconds=60)
# What to do about secrets whose key is lost.
ENTER_TOKEN = "Enter the auth token again, on the page of one of its numbers."
NOT_RESTORED = "When the number is removed, set right in the carrier's console where its calls shall go."


def carrier_choices() -> list[tuple[str, str]]:
    """The carriers for a field's choices. Migrations refer to it by its name, so a new carrier needs none."""
    return sorted(PROVIDERS.items())


def new_webhook_token() -> str:
    return secrets.token_urlsafe(32)


class Leased(models.Model):
    """A row that one operation at a time works on (services/leases.py). An expired lease belongs to a dead process."""

    lease_id = models.CharField(max_length=24, blank=True, editable=False)
    lease_until = MillisecondField(null=True, editable=False, db_index=True)

    class Meta:
        abstract = True


class Account(Leased):
    """One account at one carrier, shared by all whose credentials for it were verified."""

    id = ObjectIdField(primary_key=True)
    integration = models.CharField(max_length=16, choices=carrier_choices)
    account_id = models.CharField(max_length=64)
    auth_token = SecretField(editable=False, if_lost=ENTER_TOKEN)
    previous_auth_token = SecretField(
        null=True, editable=False, if_lost="Nothing to do: the present one is asked first."
    )
    rotated_at = MillisecondField(null=True, editable=False)
    # Finds a Telnyx account by its key before it has an application, and tells known credentials from guessed ones.
    token_digest = models.CharField(max_length=64, db_index=True, editable=False)
    public_key = models.CharField(max_length=64, blank=True, editable=False)
    # When the first webhook came that was signed with the present auth token; where the carrier signs with a key of its
    # own, with the present public key. Until then neither is known to be what webhooks are signed with.
    signed_at = MillisecondField(null=True, editable=False)
    application_id = models.CharField(max_length=64, blank=True, editable=False)
    # What a customer's own application was like before us. Empty for one that we made.
    application_snapshot = SecretField(null=True, editable=False, if_lost=NOT_RESTORED)
    application_is_customers = models.BooleanField(default=False, editable=False)
    # We found none with our name and set out to make one. One that we found is never deleted: others may use it.
    application_is_made = models.BooleanField(default=False, editable=False)
    webhook_token = models.CharField(max_length=64, unique=True, default=new_webhook_token, editable=False)
    # The lease id of the last operation that relied on this row (services/accounts.py).
    used_by = models.CharField(max_length=24, blank=True, editable=False)
    # The last webhooks for this account that were refused, as JSON (services/refused.py).
    refused_webhooks = models.TextField(blank=True, editable=False)
    refused_at = MillisecondField(null=True, editable=False)
    # How many were refused for their signature since the last that was accepted; more than a few are not counted.
    refused_count = models.PositiveSmallIntegerField(default=0, editable=False)
    # When the carrier was last asked for calls that we missed.
    pulled_at = MillisecondField(null=True, editable=False)
    created_at = MillisecondField(default=timezone.now, editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["integration", "account_id"], name="account_once")]

    def __str__(self) -> str:
        return f"{self.get_integration_display()} {self.account_id}"


def token_digest(auth_token: str) -> str:
    return salted_hmac("phones.Account.token_digest", auth_token, algorithm="sha256").hexdigest()


class MadeApplication(models.Model):
    """An application that we made at a carrier, remembered after its end.

    A number that is seen linked to it was on its way through an add of ours; that is never the customer's own route.
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
    """One number on one account, with what the carrier had configured before us, and what the last check found."""

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
    # Sealed, as the customer's addresses may hold secrets of the customer's.
    reasons = SecretField(null=True, editable=False, if_lost="Check the number again.")
    checked_at = MillisecondField(null=True, editable=False)
    # Since when its health is other than ok.
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
    """A user owns a number. Only an active one is shown and gets calls.

    The lease is that of the add or removal in progress; `operation` has what is needed to roll it back after a crash.
    """

    class State(models.TextChoices):
        RESERVED = "reserved"
        APPLYING = "applying"
        ACTIVE = "active"
        REMOVING = "removing"

    # Few at any time, all others are active.
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
    lease_until = MillisecondField(null=True, editable=False)  # indexed with the state
    operation = SecretField(null=True, editable=False, if_lost="Nothing to do: reconcile ends the operation.")
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
    """Something by whose beginning a number is found (services/searching.py)."""

    id = ObjectIdField(primary_key=True)
    phone_number = models.ForeignKey(PhoneNumber, models.CASCADE, related_name="search_terms")
    term = models.CharField(max_length=254, db_index=True)

    def __str__(self) -> str:
        return self.term


def choices(statuses: type[StrEnum]) -> list[tuple[str, str]]:
    return [(one.value, one.value) for one in statuses]


class Call(models.Model):
    """A call on a line: all that its events and the carrier's lists say of it, merged (services/calls.py)."""

    id = ObjectIdField(primary_key=True)
    account = models.ForeignKey(Account, models.PROTECT, related_name="calls")
    line = models.ForeignKey(Line, models.SET_NULL, null=True, related_name="calls")
    carrier_id = models.CharField(max_length=128)
    direction = models.CharField(max_length=8, choices=choices(Direction), blank=True)
    caller = models.CharField(max_length=128, blank=True)
    callee = models.CharField(max_length=128, blank=True)
    status = models.CharField(max_length=16, choices=choices(CallStatus), default=CallStatus.UNKNOWN.value)
    # When the carrier says that it began, or when we first heard of it: the log is sorted by it.
    started_at = MillisecondField()
    answered_at = MillisecondField(null=True)
    ended_at = MillisecondField(null=True)
    duration_s = models.PositiveIntegerField(null=True)
    hangup_cause = models.CharField(max_length=128, blank=True)
    cost = models.DecimalField(max_digits=12, decimal_places=6, null=True)
    currency = models.CharField(max_length=3, blank=True)
    # Counts the changes: who changes a row says which one it has seen.
    version = models.PositiveIntegerField(default=0, editable=False)
    created_at = MillisecondField(default=timezone.now, db_index=True, editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "carrier_id"], name="call_once")]
        # Each list of calls is one of some lines, newest first (services/call_log.py). The id is what calls of the same
        # moment are sorted by: without it MongoDB reads and sorts all of a period instead of a page.
        indexes = [
            models.Index(fields=["line", "started_at", "id"], name="calls_of_line"),
            models.Index(fields=["line", "status", "started_at", "id"], name="calls_by_status"),
            models.Index(fields=["line", "direction", "started_at", "id"], name="calls_by_direction"),
        ]

    def __str__(self) -> str:
        return self.carrier_id

    @property
    def talked_s(self) -> int | None:
        """How long it lasted; not every carrier says so, but then when it was answered and when it ended."""
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
    """A webhook that was accepted, its body as received, kept once; of a very long body only what is read.

    `dedupe_key` is made of what the carrier signed and nothing else. Without `merged_at` it is not in the log of calls
    yet; `reconcile` sees to that.
    """

    id = ObjectIdField(primary_key=True)
    account = models.ForeignKey(Account, models.PROTECT, related_name="events")
    # The call that it was merged into.
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
    """How many of something there were on a day, for the dashboard (services/figures.py)."""

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
    """A file of numbers that staff have brought (services/imports.py). Who works on it has the lease."""

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
    """One row of such a file, with what became of it. What it holds is sealed, and forgotten when it is done."""

    id = ObjectIdField(primary_key=True)
    file = models.ForeignKey(Import, models.CASCADE, related_name="rows")
    line = models.PositiveIntegerField()
    fields = SecretField(null=True, if_lost="Bring the file again.")
    user_id = models.CharField(max_length=24, blank=True)
    number = models.CharField(max_length=40, blank=True)
    # As bulk.RowOutcome: empty before the preview has come to it.
    outcome = models.CharField(max_length=16, blank=True)
    error = models.CharField(max_length=32, blank=True)
    message = models.CharField(max_length=500, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["file", "line"], name="import_row_once")]
        indexes = [models.Index(fields=["file", "outcome", "line"], name="import_row_by_outcome")]

    def __str__(self) -> str:
        return f"{self.file} {self.line}"
