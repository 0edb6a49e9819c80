from django.conf import settings
from django.db import models
from django.utils import timezone
from djongo.models import ObjectIdField


class Account(models.Model):
    lease_id = models.CharField(max_length=24, blank=True)
    lease_until = models.DateTimeField(null=True, db_index=True)
    id = ObjectIdField(primary_key=True, db_column="_id")
    integration = models.CharField(max_length=16)
    account_id = models.CharField(max_length=64)
    auth_token = models.TextField()
    previous_auth_token = models.TextField(null=True)
    rotated_at = models.DateTimeField(null=True)
    token_digest = models.CharField(max_length=64, db_index=True)
    public_key = models.CharField(max_length=64, blank=True)
    application_id = models.CharField(max_length=64, blank=True)
    application_snapshot = models.TextField(null=True)
    application_is_customers = models.BooleanField(default=False)
    application_is_made = models.BooleanField(default=False)
    webhook_token = models.CharField(max_length=64, unique=True)
    used_by = models.CharField(max_length=24, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["integration", "account_id"], name="account_once")]


class CallEvent(models.Model):
    id = ObjectIdField(primary_key=True, db_column="_id")
    account = models.ForeignKey(Account, models.PROTECT)
    dedupe_key = models.CharField(max_length=64, unique=True)
    kind = models.CharField(max_length=32)
    payload = models.JSONField()
    received_at = models.DateTimeField(default=timezone.now)
    merged_at = models.DateTimeField(null=True, db_index=True)


class Line(models.Model):
    lease_id = models.CharField(max_length=24, blank=True)
    lease_until = models.DateTimeField(null=True, db_index=True)
    id = ObjectIdField(primary_key=True, db_column="_id")
    account = models.ForeignKey(Account, models.PROTECT)
    number = models.CharField(max_length=15)
    carrier_id = models.CharField(max_length=64)
    snapshot = models.TextField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "number"], name="line_once")]


class Call(models.Model):
    id = ObjectIdField(primary_key=True, db_column="_id")
    account = models.ForeignKey(Account, models.PROTECT)
    line = models.ForeignKey(Line, models.SET_NULL, null=True)
    carrier_id = models.CharField(max_length=128)
    direction = models.CharField(max_length=8, blank=True)
    caller = models.CharField(max_length=128, blank=True)
    callee = models.CharField(max_length=128, blank=True)
    status = models.CharField(max_length=16, default="unknown")
    started_at = models.DateTimeField(null=True)
    answered_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    duration_s = models.PositiveIntegerField(null=True)
    hangup_cause = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "carrier_id"], name="call_once")]


class MadeApplication(models.Model):
    id = ObjectIdField(primary_key=True, db_column="_id")
    integration = models.CharField(max_length=16)
    application_id = models.CharField(max_length=64)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["integration", "application_id"], name="made_application_once")]


class PhoneNumber(models.Model):
    id = ObjectIdField(primary_key=True, db_column="_id")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT)
    line = models.ForeignKey(Line, models.PROTECT, null=True)
    integration = models.CharField(max_length=16)
    number = models.CharField(max_length=15, db_index=True)
    state = models.CharField(max_length=16, default="reserved")
    label = models.CharField(max_length=200, blank=True)
    action = models.CharField(max_length=16, default="voicemail")
    greeting = models.CharField(max_length=1000, blank=True)
    forward_to = models.CharField(max_length=15, blank=True)
    record = models.BooleanField(default=False)
    operation_id = models.CharField(max_length=24, blank=True)
    lease_until = models.DateTimeField(null=True)
    operation = models.TextField(null=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "number"], name="phone_number_once_per_user")]
        indexes = [models.Index(fields=["state", "lease_until"], name="phone_number_unfinished")]


class Recording(models.Model):
    id = ObjectIdField(primary_key=True, db_column="_id")
    account = models.ForeignKey(Account, models.PROTECT)
    call = models.ForeignKey(Call, models.CASCADE, null=True)
    carrier_id = models.CharField(max_length=128)
    status = models.CharField(max_length=16, blank=True)
    duration_s = models.PositiveIntegerField(null=True)
    channels = models.PositiveSmallIntegerField(null=True)
    url = models.CharField(max_length=2000, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "carrier_id"], name="recording_once")]
