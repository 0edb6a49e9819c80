from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models
from django.utils import timezone
from djongo.models import GenericObjectIdField, ObjectIdField


class Workspace(models.Model):
    id = ObjectIdField(primary_key=True, db_column="_id")
    name = models.CharField(max_length=200)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now)


class User(AbstractBaseUser, PermissionsMixin):
    id = ObjectIdField(primary_key=True, db_column="_id")
    email = models.EmailField(unique=True)
    workspace = models.ForeignKey(Workspace, models.PROTECT, null=True)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)

    objects = BaseUserManager()
    USERNAME_FIELD = "email"


class ApiToken(models.Model):
    id = ObjectIdField(primary_key=True, db_column="_id")
    workspace = models.ForeignKey(Workspace, models.PROTECT)
    digest = models.CharField(max_length=64, unique=True)
    prefix = models.CharField(max_length=11, db_index=True)
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=timezone.now)


class LimitCounter(models.Model):
    id = ObjectIdField(primary_key=True, db_column="_id")
    key = models.CharField(max_length=200, unique=True)
    used = models.PositiveIntegerField(default=0)
    held = models.PositiveIntegerField(default=0)
    held_until = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(db_index=True)


class IdempotentReply(models.Model):
    id = ObjectIdField(primary_key=True, db_column="_id")
    key = models.CharField(max_length=64, unique=True)
    request_digest = models.CharField(max_length=64)
    owner = GenericObjectIdField()
    status = models.PositiveSmallIntegerField(null=True)
    body = models.TextField(blank=True)
    expires_at = models.DateTimeField(db_index=True)
