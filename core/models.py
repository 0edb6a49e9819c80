"""Data about the installation itself."""

from django.db import models
from django.utils import timezone

from core.fields import MillisecondField, ObjectIdField


class SealingKey(models.Model):
    """A key of CREDENTIAL_KEYS under which something may be encrypted here. Only its check value is stored."""

    id = ObjectIdField(primary_key=True)
    check_value = models.CharField(max_length=16, unique=True, editable=False)
    created_at = MillisecondField(default=timezone.now, editable=False)

    class Meta:
        db_table = "workspace_sealingkey"  # the model was created in the app `workspace`

    def __str__(self) -> str:
        return self.check_value
