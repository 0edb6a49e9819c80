"""Workspaces, users and tokens, and the records for rate limits, idempotency and the audit trail."""

import base64
import hashlib
import secrets
import time
from datetime import datetime
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models
from django.utils import timezone
from django_otp.models import Device
from django_otp.oath import TOTP

from core.fields import AddressField, MillisecondField, NameField, ObjectIdField, SecretField

TOKEN_PREFIX = "wp_"
SHOWN_CHARACTERS = 11


class Workspace(models.Model):
    """A tenant. Deactivating it disables all its tokens immediately."""

    id = ObjectIdField(primary_key=True)
    name = NameField(max_length=200)
    is_active = models.BooleanField(default=True)
    created_at = MillisecondField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return self.name


# Users who may own a number.
MAY_OWN_NUMBERS = models.Q(is_active=True, workspace__is_active=True)


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        user = self.model(email=email, **fields)
        user.set_password(password)
        user.full_clean(exclude=["password"])
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)


class User(AbstractBaseUser, PermissionsMixin):
    """Owns phone numbers in one workspace; support staff need no workspace. Signs in to the admin by e-mail."""

    id = ObjectIdField(primary_key=True)
    email = AddressField(unique=True)
    workspace = models.ForeignKey(Workspace, models.PROTECT, null=True, blank=True, related_name="users")
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField("staff", default=False, help_text="May sign in to this admin.")
    created_at = MillisecondField(default=timezone.now, editable=False)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"

    class Meta:
        permissions = [("reset_totp", "Can reset the second factor of a colleague")]

    @classmethod
    def normalize_username(cls, username: str) -> str:
        # The admin's forms call this; signing in lowercases the address as well.
        return super().normalize_username(username).lower()

    def __str__(self) -> str:
        return self.email

    @property
    def in_lists(self) -> str:
        """The user's label in choices, with the workspace."""
        return f"{self.email} · {self.workspace}"


class StaffDevice(Device):
    """A staff member's authenticator app (users/staff/totp.py). One per user; stored once its first code is verified.

    Unlike django-otp's own device, it stores its key encrypted and uses up each code by compare-and-set.
    """

    id = ObjectIdField(primary_key=True)
    user = models.OneToOneField(User, models.CASCADE, related_name="staff_device")
    secret = SecretField(editable=False, if_lost="Run: manage.py reset_totp EMAIL")
    # The time step of the last code that was used.
    last_step = models.BigIntegerField(default=-1, editable=False)
    created_at = MillisecondField(default=timezone.now, editable=False)
    name = None
    confirmed = True

    def __str__(self) -> str:
        return f"device since {self.created_at:%Y-%m-%d}"

    @property
    def persistent_id(self) -> str:
        return str(self.pk)

    def step_of(self, code: str) -> int | None:
        """The time step of a code, or None if it is invalid or used.

        Accepts the codes of the current half minute, the one before and the one after.
        """
        if not (code.isascii() and code.isdecimal() and len(code) == 6):
            return None
        totp = TOTP(base64.b32decode(self.secret.open()))
        totp.time = time.time()
        return totp.t() if totp.verify(int(code), tolerance=1, min_t=self.last_step + 1) else None

    def verify_token(self, token: str) -> bool:
        """Verify a code and use it up: if two requests send the same code at once, exactly one succeeds."""
        step = self.step_of(token)
        if step is None:
            return False
        return StaffDevice.objects.filter(pk=self.pk, last_step__lt=step).update(last_step=step) == 1


class ApiToken(models.Model):
    """A workspace's bearer token: 256 random bits, shown once; only its SHA-256 is stored."""

    id = ObjectIdField(primary_key=True)
    workspace = models.ForeignKey(Workspace, models.PROTECT, related_name="tokens")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    prefix = models.CharField(max_length=SHOWN_CHARACTERS, db_index=True, editable=False)
    expires_at = MillisecondField(null=True, blank=True)
    revoked_at = MillisecondField(null=True, blank=True, editable=False)
    last_used_at = MillisecondField(null=True, blank=True, editable=False)
    created_at = MillisecondField(default=timezone.now, editable=False)

    class Meta:
        verbose_name = "API token"

    def __str__(self) -> str:
        return f"{self.prefix}…"

    @staticmethod
    def digest_of(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()

    @classmethod
    def issue(cls, workspace: Workspace, expires_at: datetime | None = None) -> tuple["ApiToken", str]:
        """Create a token. Returns its row and its text, which cannot be shown again."""
        text = TOKEN_PREFIX + secrets.token_urlsafe(32)
        token = cls.objects.create(
            workspace=workspace, digest=cls.digest_of(text), prefix=text[:SHOWN_CHARACTERS], expires_at=expires_at
        )
        return token, text

    def is_usable(self) -> bool:
        """Neither revoked nor expired, and its workspace is active."""
        now = timezone.now()
        return (
            self.revoked_at is None and (self.expires_at is None or self.expires_at > now) and self.workspace.is_active
        )


class LimitCounter(models.Model):
    """How much of a rate limit is used in one window (users/limits.py)."""

    id = ObjectIdField(primary_key=True)
    key = models.CharField(max_length=200, unique=True)
    used = models.PositiveIntegerField(default=0)
    held = models.PositiveIntegerField(default=0)
    held_until = MillisecondField(null=True)
    expires_at = MillisecondField(db_index=True)

    def __str__(self) -> str:
        return self.key


class IdempotentReply(models.Model):
    """The first response to an Idempotency-Key (users/idempotency.py). `status` is null while it is in progress."""

    id = ObjectIdField(primary_key=True)
    key = models.CharField(max_length=64, unique=True)
    request_digest = models.CharField(max_length=64)
    owner = ObjectIdField()
    status = models.PositiveSmallIntegerField(null=True)
    body = models.TextField(blank=True)
    expires_at = MillisecondField(db_index=True)

    def __str__(self) -> str:
        return self.key


class AppendOnly(Exception):
    """Code tried to change or delete a row of the audit trail."""


class AuditQuerySet(models.QuerySet["AuditEntry"]):
    """Rows can be added and read, but not changed or deleted."""

    def update(self, **kwargs: Any) -> int:
        raise AppendOnly("Rows of the audit trail cannot be changed.")

    def delete(self) -> tuple[int, dict[str, int]]:
        raise AppendOnly("Rows of the audit trail cannot be deleted.")

    def bulk_create(self, objs: Any, *args: Any, update_conflicts: bool = False, **kwargs: Any) -> Any:
        if update_conflicts:
            raise AppendOnly("Rows of the audit trail cannot be changed.")
        return super().bulk_create(objs, *args, **kwargs)


class AuditEntry(models.Model):
    """One action or attempt (users/audit.py). It has no foreign keys, because history outlives the rows."""

    id = ObjectIdField(primary_key=True)
    at = MillisecondField(default=timezone.now, editable=False)
    actor_kind = models.CharField("kind of actor", max_length=8)
    actor = models.CharField(max_length=254, blank=True)
    address = models.CharField(max_length=64, blank=True)
    action = models.CharField(max_length=32)
    outcome = models.CharField(max_length=32, default="ok")
    number = models.CharField(max_length=15, blank=True)
    phone_id = ObjectIdField("phone", null=True, blank=True)
    workspace_id = ObjectIdField("workspace", null=True, blank=True)
    request_id = models.CharField("request", max_length=64, blank=True)
    detail = models.CharField(max_length=500, blank=True)

    objects = AuditQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "audit entries"
        default_permissions = ["view"]
        ordering = ["-at", "-id"]
        indexes = [
            models.Index(fields=["at", "id"], name="audit_newest"),
            models.Index(fields=["action", "at", "id"], name="audit_by_action"),
            models.Index(fields=["outcome", "at", "id"], name="audit_by_outcome"),
            models.Index(fields=["actor", "at", "id"], name="audit_by_actor"),
            models.Index(fields=["number", "at", "id"], name="audit_by_number"),
            models.Index(fields=["phone_id", "at", "id"], name="audit_by_phone"),
            models.Index(fields=["workspace_id", "at", "id"], name="audit_by_workspace"),
            models.Index(fields=["request_id"], name="audit_by_request"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.at:%Y-%m-%d %H:%M:%S}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AppendOnly("Rows of the audit trail cannot be changed.")
        super().save(*args, **{**kwargs, "force_insert": True})

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        raise AppendOnly("Rows of the audit trail cannot be deleted.")
