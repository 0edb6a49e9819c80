"""Carrier accounts and their numbers, as we store them."""

import secrets

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.crypto import salted_hmac

from core.fields import MillisecondField, ObjectIdField, SecretField
from core.leased import Leased
from integrations import PROVIDERS
from integrations.languages import DEFAULT_LANGUAGE

# What to do about secrets whose encryption key is lost.
ENTER_TOKEN = "Enter the auth token again on the page of one of the account's numbers."
NOT_RESTORED = "After removing the number, set its call routing in the carrier's console."


# How long a target of calls may ring: what all carriers can do.
MIN_RING_S, MAX_RING_S = 5, 120


def carrier_choices() -> list[tuple[str, str]]:
    """The carriers that a field can hold. Migrations refer to this function, so a new carrier needs no migration."""
    return sorted(PROVIDERS.items())


def new_webhook_token() -> str:
    return secrets.token_urlsafe(32)


class Account(Leased):
    """An account at a carrier, as one workspace has proved it. Its webhooks and calls are that workspace's alone."""

    id = ObjectIdField(primary_key=True)
    # Null only for an account that had no number left when accounts came to belong to workspaces.
    workspace = models.ForeignKey("users.Workspace", models.PROTECT, null=True, related_name="accounts")
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
    # The digest of the auth token that the carrier refused when another workspace proved one of the account's numbers
    # (services/ownership.py). While it is the current token's, nothing is asked with it.
    retired_digest = models.CharField(max_length=64, blank=True, editable=False)
    # Since when no line uses the account.
    released_at = MillisecondField(null=True, editable=False)
    # The lease id of the last operation that relied on this row (services/releasing.py).
    used_by = models.CharField(max_length=24, blank=True, editable=False)
    # The last webhooks that were refused for this account, as JSON (services/rejected_webhooks.py).
    refused_webhooks = models.TextField(blank=True, editable=False)
    refused_at = MillisecondField(null=True, editable=False)
    # Webhooks refused for their signature since the last accepted one. The count stops after a few.
    refused_count = models.PositiveSmallIntegerField(default=0, editable=False)
    pulled_at = MillisecondField(null=True, editable=False)
    created_at = MillisecondField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace", "integration", "account_id"], name="account_once_a_workspace")
        ]

    def __str__(self) -> str:
        return f"{self.get_integration_display()} {self.account_id}"

    @property
    def has_something_at_carrier(self) -> bool:
        """Whether we made an application there, or changed the customer's."""
        return self.application_is_made or self.application_snapshot is not None

    @property
    def is_retired(self) -> bool:
        """Whether the carrier refused the current auth token, so that another workspace may take the numbers."""
        return bool(self.retired_digest) and self.retired_digest == self.token_digest


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
    """A real number at a carrier, with its settings there before us and the result of the last check.

    It is in the hands of one account, and so of one workspace, at a time. Numbers that this workspace's users own are
    active on it; those of workspaces that have lost it are retired.
    """

    class Health(models.TextChoices):
        OK = "ok"
        DRIFT = "drift"
        UNREACHABLE = "unreachable"

    id = ObjectIdField(primary_key=True)
    account = models.ForeignKey(Account, models.PROTECT, related_name="lines")
    integration = models.CharField(max_length=16, choices=carrier_choices)
    number = models.CharField(max_length=15)
    # Since when the account's workspace has had the number: earlier calls are not its own.
    held_since = MillisecondField(default=timezone.now, editable=False)
    carrier_id = models.CharField(max_length=64)
    # Null once it has been restored: nothing of ours is left there.
    snapshot = SecretField(null=True, editable=False, if_lost=NOT_RESTORED)
    health = models.CharField(max_length=16, choices=Health.choices, default=Health.OK, editable=False)
    # Sealed, because the customer's URLs may contain the customer's secrets.
    reasons = SecretField(null=True, editable=False, if_lost="Check the number again.")
    checked_at = MillisecondField(null=True, editable=False)
    # Until then, a change of ours that the carrier has not confirmed may still take effect (services/settling.py); the
    # token is that of the operation that sent it.
    unsettled_until = MillisecondField(null=True, editable=False, db_index=True)
    unsettled_token = SecretField(null=True, editable=False, if_lost="Nothing to do: the account's token is tried.")
    # Since when the health has not been ok.
    unwell_since = MillisecondField(null=True, editable=False)
    created_at = MillisecondField(default=timezone.now, editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["integration", "number"], name="line_once_a_number")]
        indexes = [
            models.Index(fields=["health", "checked_at"], name="line_by_health"),
            models.Index(fields=["unwell_since"], name="line_unwell"),
        ]

    def __str__(self) -> str:
        return f"+{self.number}"


class PhoneNumber(Leased):
    """A number that a user owns. Active numbers answer calls; until there is one on the line, the one being added does.
    Retired numbers are shown with the calls of their time.

    The lease is that of the add or removal in progress; `operation` holds what is needed to roll it back after a crash.
    """

    class State(models.TextChoices):
        RESERVED = "reserved"
        APPLYING = "applying"
        ACTIVE = "active"
        REMOVING = "removing"
        # Another workspace has proved that the number is now its own (services/ownership.py).
        RETIRED = "retired"

    # The carrier sends us the calls, or may do so.
    ROUTED = [State.APPLYING, State.ACTIVE, State.REMOVING]
    # Numbers that their workspace sees.
    SHOWN = [State.ACTIVE, State.RETIRED]
    # Few rows at any time; all others are shown.
    UNFINISHED = [State.RESERVED, State.APPLYING, State.REMOVING]

    class Action(models.TextChoices):
        VOICEMAIL = "voicemail"
        FORWARD = "forward"
        CONNECT = "connect"
        REJECT = "reject"

    class IfUnanswered(models.TextChoices):
        VOICEMAIL = "voicemail"
        HANGUP = "hangup"

    id = ObjectIdField(primary_key=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="phone_numbers")
    line = models.ForeignKey(Line, models.PROTECT, null=True, related_name="phone_numbers")
    integration = models.CharField(max_length=16, choices=carrier_choices)
    number = models.CharField(max_length=15, db_index=True)
    state = models.CharField(max_length=16, choices=State.choices, default=State.RESERVED, editable=False)
    label = models.CharField(max_length=200, blank=True)
    action = models.CharField(max_length=16, choices=Action.choices, default=Action.VOICEMAIL)
    greeting = models.CharField(max_length=1000, blank=True)
    # A key of integrations.languages.VOICES.
    language = models.CharField(max_length=8, default=DEFAULT_LANGUAGE)
    forward_to = models.CharField(max_length=15, blank=True)
    # E.164 digits, or an address as phones/targets.py reads it.
    connect_to = models.CharField(max_length=500, blank=True)
    ring_seconds = models.PositiveSmallIntegerField(default=30)
    if_unanswered = models.CharField(max_length=16, choices=IfUnanswered.choices, default=IfUnanswered.VOICEMAIL)
    record = models.BooleanField(default=False)
    lease_until = MillisecondField(null=True, editable=False)  # indexed together with the state
    operation = SecretField(null=True, editable=False, if_lost="Nothing to do: reconcile finishes the operation.")
    # Of a retired number: the account that it was on, why (a reason of services/reasons.py), and since when.
    retired_from = models.ForeignKey(Account, models.PROTECT, null=True, related_name="retired_numbers", editable=False)
    retired_for = models.CharField(max_length=32, blank=True, editable=False)
    retired_at = MillisecondField(null=True, editable=False)
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
            ("move_phonenumber", "Can move a phone number to another workspace"),
        ]

    def __str__(self) -> str:
        return f"+{self.number}"

    @property
    def target(self) -> str:
        """Where calls go on to: E.164 digits or an address; empty if they stay here."""
        targets: dict[str, str] = {self.Action.FORWARD: self.forward_to, self.Action.CONNECT: self.connect_to}
        return targets.get(self.action, "")

    @property
    def is_retired(self) -> bool:
        return self.state == PhoneNumber.State.RETIRED

    @property
    def health(self) -> str:
        """A Line.Health."""
        return Line.Health.DRIFT if self.is_retired or not self.line else self.line.health

    @property
    def account(self) -> Account | None:
        """The account that the number is on; if it is retired, the one that it was on."""
        return self.retired_from or (self.line.account if self.line else None)


class SearchTerm(models.Model):
    """A text that finds a number when a search matches its beginning (services/searching.py)."""

    id = ObjectIdField(primary_key=True)
    phone_number = models.ForeignKey(PhoneNumber, models.CASCADE, related_name="search_terms")
    term = models.CharField(max_length=254, db_index=True)

    def __str__(self) -> str:
        return self.term
